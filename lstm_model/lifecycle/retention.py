"""Forget what a store no longer needs: artifacts that nothing leads to, and their cache records.

What leads to an artifact: a name in the registry, a forecast in the ledger (its bundle can make it again), the note of
a recent run or of the last delivery, the pin of a run that was killed and may come back, and its age: a run may be
working with it just now.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import suppress

from pydantic import BaseModel

from lstm_model.contracts.artifact import VERSION_DIGITS, Artifact
from lstm_model.lifecycle.registry import ALIASES, BUNDLE, Registry
from lstm_model.storage.backend import Entry, Kept
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.drafts import drop_locks
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.notes import Content, read_note, write_note
from lstm_model.storage.store import Store

logger = logging.getLogger(__name__)

KEEP_RUNS = 20
"""Runs of each flow whose artifacts are kept, so that a setting that is changed back still finds its results."""
BULKY = ("generated", "series", "windows")
KEEP_BULKY = 3
"""As `KEEP_RUNS`, for kinds that hold the whole data once again in each run."""
GRACE_SECONDS = 24 * 3600.0
"""What was used within this time is kept whatever else: a run may be working with it just now."""


class RunNote(BaseModel):
    """What a finished run used."""

    artifacts: list[str]
    """By sha256."""


def remember(store: Store, artifacts: Sequence[Artifact], *, flow: str) -> None:
    """Note which artifacts a finished run of a flow used; notes beyond the latest `KEEP_RUNS` of that flow go."""
    note = f"runs/{flow}/{time.time_ns()}-{os.getpid()}.json"
    pieces = [*artifacts, *(shard for artifact in artifacts for shard in _shards(store, artifact))]
    write_note(store.backend, note, RunNote(artifacts=sorted({piece.sha256 for piece in pieces})))
    for old in _notes(store, flow)[:-KEEP_RUNS]:
        store.backend.remove(old.name)


def clean_up(store: Store) -> None:
    """Remove what nothing leads to; if that cannot be told, remove nothing, since a full disk is tomorrow's trouble."""
    try:
        forget(store)
    except (ValueError, OSError) as error:
        logger.warning("not everything was cleaned up: %s", error)


def forget(store: Store, *, grace_seconds: float = GRACE_SECONDS) -> int:
    """Remove what no remembered run used and nobody touched lately; returns how many artifacts went.

    One process at a time; a note that cannot be read counts as empty, since what it names was touched with it.
    """
    with store.lock("forget"):
        return _forget(store, grace_seconds)


def _forget(store: Store, grace_seconds: float) -> int:
    needed, needed_bulky = _reachable(store), _noted(store, KEEP_BULKY) | _pinned(store) | _delivered(store)
    youngest = time.time() - grace_seconds

    def is_needed(kind: str, sha256: str) -> bool:
        return sha256 in (needed_bulky if kind in BULKY else needed)

    unused = [kept for kept in store.backend.artifacts() if not is_needed(kept.kind, kept.sha256)]
    if any(kept.kind == BUNDLE and kept.last_use < youngest for kept in unused):
        issued = _issued(store)
        unused = [kept for kept in unused if kept.kind != BUNDLE or kept.sha256[:VERSION_DIGITS] not in issued]
    gone = {
        kept.sha256 for kept in unused if _is_old(kept, youngest) and store.backend.take_away(kept, youngest=youngest)
    }
    _drop_records(store, gone)
    store.backend.drop_copies(is_needed, youngest=youngest)
    drop_locks(store.root, youngest)
    return len(gone)


def _is_old(kept: Kept, youngest: float) -> bool:
    """Asked before the artifact is looked at once more, which in an object store takes a request for each."""
    return kept.last_use < youngest


def _reachable(store: Store) -> set[str]:
    state = Registry(store).state()
    named = {bundle.sha256 for alias in ALIASES if (bundle := getattr(state, alias)) is not None}
    return named | _noted(store, KEEP_RUNS) | _pinned(store)


def _issued(store: Store) -> set[str]:
    """The bundles that ever forecast; asked for only where a bundle may go, since the whole ledger is read."""
    from lstm_model.lifecycle.ledger import Ledger

    return Ledger(store).model_versions()


def _noted(store: Store, runs: int) -> set[str]:
    """What the latest runs of each flow used."""
    by_flow: dict[str, list[Entry]] = {}
    for note in store.backend.entries("runs"):
        by_flow.setdefault(note.name.split("/")[1], []).append(note)
    return {sha for notes in by_flow.values() for note in notes[-runs:] for sha in _list_noted(store, note)}


def _pinned(store: Store) -> set[str]:
    """What runs that have not ended work on."""
    pins = [_read_pin(store, entry) for entry in store.backend.entries("pins")]
    pinned = [value for pin in pins for value in pin.values() if isinstance(value, Artifact)]
    return {artifact.sha256 for artifact in pinned} | {shard.sha256 for one in pinned for shard in _shards(store, one)}


def _delivered(store: Store) -> set[str]:
    """What later deliveries are compared with."""
    from lstm_model.lifecycle.delivery import list_deliveries

    delivered = list_deliveries(store)
    return {one.sha256 for series in delivered for one in (series, *_shards(store, series))}


def _shards(store: Store, artifact: Artifact) -> list[Artifact]:
    """Of what a note or a pin names; it may be gone, which its run will say."""
    try:
        return store.shards(artifact)
    except DamagedArtifactError:
        return []


def _read_pin(store: Store, pin: Entry) -> dict[str, Artifact | str | None]:
    return _read_note(store, pin, dict[str, Artifact | str | None]) or {}


def _list_noted(store: Store, note: Entry) -> list[str]:
    found = _read_note(store, note, RunNote)
    return found.artifacts if found else []


def _read_note(store: Store, entry: Entry, form: type[Content]) -> Content | None:
    """Return what a note or a pin holds; None if it is gone or damaged, since what it names was touched with it."""
    try:
        return read_note(store.backend, entry.name, form)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        logger.warning("%s. What it names may be cleaned up, and is computed again if it is needed", error)
        return None


def _notes(store: Store, flow: str) -> list[Entry]:
    """Oldest first: names begin with the time."""
    return store.backend.entries(f"runs/{flow}")


def _drop_records(store: Store, gone: set[str]) -> None:
    """Remove the records of artifacts that are gone, and those that name none: both would pile up."""
    if not gone:
        return
    for record in store.backend.entries("results"):
        with suppress(FileNotFoundError):
            try:
                is_needed = read_note(store.backend, record.name, Artifact).sha256 not in gone
            except ValueError:
                is_needed = False
            if not is_needed:
                store.backend.remove(record.name)
