"""Note what a flow run works on, so that a run that is killed and executed again goes on with the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, ValidationError

from lstm_model.contracts.artifact import Artifact
from lstm_model.lifecycle.champion import require_whole, set_aside_if_damaged
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.checksums import DamagedFileError, dump_json, load_json
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store
from tasks.runtime.records import StageRecord
from tasks.runtime.runner import StageRunner

KEEP_SECONDS = 24 * 3600.0
"""Of runs that were never executed again: what crashed longer ago is not started again by itself."""


class Pin(BaseModel):
    """Data and champion at the start of a run: data that arrive, and promotions, meanwhile are for the next one."""

    model_config = ConfigDict(frozen=True)

    series: Artifact
    champion: Artifact | None


class Choice(BaseModel):
    """The bundle that a run promotes."""

    bundle: Artifact


def recall(run: StageRunner) -> Pin | None:
    """What this very flow run worked on before it was killed; None in its first execution."""
    try:
        pin = Pin.model_validate(_read(run.store))
        for artifact in (pin.series, *([pin.champion] if pin.champion else [])):
            run.store.touch(artifact)  # first: a clean-up beside this run then leaves it alone
            run.store.verify(artifact)
    except FileNotFoundError:
        return None
    except (ValidationError, DamagedArtifactError, DamagedFileError) as error:
        get_run_logger().warning("what this run began with is gone (%s); it begins anew", error)
        return None
    get_run_logger().info("execution %s of this run: it goes on with the data it began with", flow_run.run_count)
    run.records.append(StageRecord(stage="ingest", outcome="cached", seconds=0.0, artifact=pin.series))
    return pin


def keep(run: StageRunner, series: Artifact, *, can_replace: bool = False) -> Pin:
    """Note what this run works on, until `drop`.

    Args:
        run: of the flow.
        series: the data.
        can_replace: this run trains: a champion that is damaged is set aside, and it goes on as if there were none.

    Raises:
        DamagedChampionError: the champion's files are damaged, and this run needs them.
    """
    champion = Registry(run.store).get("champion")
    if champion is not None and not can_replace:
        require_whole(champion, run.store)
    elif champion is not None and (damage := set_aside_if_damaged(champion, run.store)):
        get_run_logger().warning("%s", damage)
        champion = None
    pin = Pin(series=series, champion=champion)
    _write(run.store, pin)
    return pin


def choose_once(store: Store, choose: Callable[[], Artifact]) -> Artifact:
    """What this flow run chose in its first execution: names such as previous mean another bundle after the change.

    Raises:
        DamagedFileError: what it chose can no longer be told.
    """
    try:
        return Choice.model_validate(_read(store)).bundle
    except FileNotFoundError:
        chosen = choose()
        _write(store, Choice(bundle=chosen))
        return chosen
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. See which bundle is the champion now, and promote by its version") from error


def drop(store: Store) -> None:
    """This run has ended well; notes of runs that never came back go too."""
    store.backend.remove(_file())
    for old in store.backend.entries("pins"):
        if old.modified < time.time() - KEEP_SECONDS:
            store.backend.remove(old.name)


def _file() -> str:
    return f"pins/{flow_run.id}.json"


def _read(store: Store) -> dict[str, Any]:
    return load_json(store.backend.read(_file()), store.backend.shown(_file()))


def _write(store: Store, note: Pin | Choice) -> None:
    store.backend.write(_file(), dump_json(note), durable=True)
