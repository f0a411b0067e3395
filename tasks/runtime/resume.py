"""Note what a flow run works on, so that a run that is killed and executed again goes on with the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict

from lstm_model.contracts.artifact import Artifact
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.notes import read_note
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


def recall(run: StageRunner) -> Pin | None:
    """What this very flow run worked on before it was killed; None in its first execution."""
    try:
        pin = read_note(run.store.backend, _file(), Pin)
        for artifact in (pin.series, *([pin.champion] if pin.champion else [])):
            run.store.touch(artifact)  # first: a clean-up beside this run then leaves it alone
            run.store.verify(artifact)
    except FileNotFoundError:
        return None
    except ValueError as error:
        get_run_logger().warning("what this run began with is gone (%s); it begins anew", error)
        run.store.backend.remove(_file())
        return None
    get_run_logger().info("execution %s of this run: it goes on with the data it began with", flow_run.run_count)
    run.records.append(StageRecord(stage="ingest", outcome="cached", seconds=0.0, artifact=pin.series))
    return pin


def keep(run: StageRunner, series: Artifact) -> Pin:
    """Note what this run works on, until `drop`.

    Raises:
        ValueError: the champion's files are damaged; better now than after a training.
    """
    champion = Registry(run.store).get("champion")
    if champion is not None:
        try:
            run.store.touch(champion)
            run.store.verify(champion)
        except DamagedArtifactError as error:
            name, store = run.store.backend.name, run.store.backend.parent
            raise ValueError(
                f"the champion is damaged: {error}. Restore its folder, or go back to the model before it: "
                f"python -m flows.promote previous --name {name} --store {store}"
            ) from error
    pin = Pin(series=series, champion=champion)
    _write(run.store, pin.model_dump_json())
    return pin


def choose_once(store: Store, choose: Callable[[], Artifact]) -> Artifact:
    """What this flow run chose in its first execution: names such as previous mean another bundle after the change.

    Raises:
        ValueError: the note of it is damaged; choosing again could undo what the first execution did.
    """
    try:
        return read_note(store.backend, _file(), dict[str, Artifact])["bundle"]
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"this run was started again, and its note of the bundle that it chose cannot be read: {error}. Start a "
            "new run, and name the bundle by its version"
        ) from None
    except FileNotFoundError:
        chosen = choose()
        _write(store, json.dumps({"bundle": chosen.model_dump()}))
        return chosen


def drop(store: Store) -> None:
    """This run has ended well; notes of runs that never came back go too."""
    store.backend.remove(_file())
    for old in store.backend.entries("pins"):
        if old.modified < time.time() - KEEP_SECONDS:
            store.backend.remove(old.name)


def _file() -> str:
    return f"pins/{flow_run.id}.json"


def _write(store: Store, text: str) -> None:
    store.backend.write(_file(), text, durable=True)
