"""What a flow run works on, noted under its id: when it is killed and executed again, it goes on with the same."""

from __future__ import annotations

import time

from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, ValidationError

from lstm_model.registry import Registry
from lstm_model.store import Artifact, DamagedArtifactError, Store, write_atomically
from tasks.caching import StageRecord, StageRunner

KEEP_SECONDS = 7 * 24 * 3600.0
"""Of runs that were never executed again."""


class Pin(BaseModel):
    """Data and champion at the start of a run: data that arrive, and promotions, meanwhile are for the next one."""

    model_config = ConfigDict(frozen=True)

    series: Artifact
    champion: Artifact | None


def recall(run: StageRunner) -> Pin | None:
    """What this very flow run worked on before it was killed; None in its first execution."""
    file = run.store.root / "pins" / f"{flow_run.id}.json"
    try:
        pin = Pin.model_validate_json(file.read_bytes())
        for artifact in (pin.series, *([pin.champion] if pin.champion else [])):
            run.store.verify(artifact)
    except FileNotFoundError:
        return None
    except (ValidationError, DamagedArtifactError) as error:
        get_run_logger().warning("what this run began with is gone (%s); it begins anew", error)
        return None
    get_run_logger().info("execution %s of this run: it goes on with the data it began with", flow_run.run_count)
    run.records.append(StageRecord(stage="ingest", outcome="cached", seconds=0.0, artifact=pin.series))
    return pin


def keep(run: StageRunner, series: Artifact) -> Pin:
    """Note what this run works on, until `drop`."""
    pin = Pin(series=series, champion=Registry(run.store).get("champion"))
    write_atomically(run.store.root / "pins" / f"{flow_run.id}.json", pin.model_dump_json(), durable=True)
    return pin


def drop(store: Store) -> None:
    """This run has ended well; notes of runs that never came back go too."""
    (store.root / "pins" / f"{flow_run.id}.json").unlink(missing_ok=True)
    for old in (store.root / "pins").glob("*.json"):
        if old.stat().st_mtime < time.time() - KEEP_SECONDS:
            old.unlink(missing_ok=True)
