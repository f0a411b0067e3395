"""Note what a flow run works on, so that a run that is killed and executed again goes on with the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.lifecycle.champion import find_damage, require_whole
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.notes import read_note, write_note
from lstm_model.storage.store import Store
from tasks.runtime.notify import tell
from tasks.runtime.records import StageRecord
from tasks.runtime.runner import StageRunner

KEEP_SECONDS = 24 * 3600.0
"""Of runs that were never executed again: what crashed longer ago is not started again by itself."""


class Pin(BaseModel):
    """Data and champion at the start of a run: data that arrive, and promotions, meanwhile are for the next one."""

    model_config = ConfigDict(frozen=True)

    series: Artifact
    champion: Artifact | None
    damaged: str = ""
    """Version of a champion that is damaged: this run goes on as if there were none."""


class Choice(BaseModel):
    """The bundle that a run promotes."""

    bundle: Artifact


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


def keep(
    run: StageRunner,
    series: Artifact,
    *,
    if_damaged: Literal["refuse", "leave", "set aside"] = "refuse",
    notify: str | None = None,
) -> Pin:
    """Note what this run works on, until `drop`.

    Args:
        run: of the flow.
        series: the data.
        if_damaged: a run that needs the champion refuses one that is damaged; any other goes on as if there were none,
            and leaves it as it is or, if it may put another in its place, sets it aside.
        notify: block that is told of a champion that is set aside.

    Raises:
        DamagedChampionError: the champion's files are damaged, and this run needs them.
        ValueError: forecasts were issued, but the registry is gone.
    """
    registry, backend = Registry(run.store), run.store.backend
    champion = registry.get("champion")
    if champion is None and not registry.state().history and backend.entries("ledger"):
        raise ValueError(
            f"forecasts were issued, but {backend.shown('registry.json')} is gone, so that any new model would become "
            "champion without a comparison. Restore it, or name the champion: python -m flows.promote ID --name "
            f"{backend.name} --store {backend.parent}; to begin anew on purpose, move {backend.shown('ledger')} away"
        )
    damaged = registry.find_set_aside()
    if champion is not None and if_damaged == "refuse":
        require_whole(champion, run.store)
    elif champion is not None and (damage := find_damage(champion, run.store)):
        if if_damaged == "set aside":
            _set_aside(champion, damage, notify, run.store)
        else:
            get_run_logger().warning("%s. It stays as it is; this run goes on as if there were no champion", damage)
        damaged, champion = version_of(champion), None
    pin = Pin(series=series, champion=champion, damaged=damaged)
    _write(run.store, pin)
    return pin


def _set_aside(champion: Artifact, damage: str, notify: str | None, store: Store) -> None:
    """Take its name from a damaged champion, and tell; `previous` and the history stay."""
    place = Registry(store).set_champion_aside(champion, why=damage)
    text = (
        f"{damage}. What is left of it is kept in {place}. This run trains another as if there were no champion; until "
        "one is promoted, nothing forecasts"
    )
    get_run_logger().warning("%s", text)
    tell(notify, f"{store.backend.name}: the champion {version_of(champion)} is damaged", text)


def choose_once(store: Store, choose: Callable[[], Artifact]) -> Artifact:
    """What this flow run chose in its first execution: names such as previous mean another bundle after the change.

    Raises:
        DamagedFileError: the note of it is damaged; choosing again could undo what the first execution did.
    """
    try:
        return read_note(store.backend, _file(), Choice).bundle
    except FileNotFoundError:
        chosen = choose()
        _write(store, Choice(bundle=chosen))
        return chosen
    except DamagedFileError as error:
        way_out = "This run was started again: see which bundle is the champion now, and promote by its version"
        raise DamagedFileError(f"{error}. {way_out}") from error


def drop(store: Store) -> None:
    """This run has ended well; notes of runs that never came back go too."""
    store.backend.remove(_file())
    for old in store.backend.entries("pins"):
        if old.modified < time.time() - KEEP_SECONDS:
            store.backend.remove(old.name)


def _file() -> str:
    return f"pins/{flow_run.id}.json"


def _write(store: Store, note: Pin | Choice) -> None:
    write_note(store.backend, _file(), note, durable=True)
