"""What a store may forget: artifacts that nothing leads to, and the cache records that name them.

What leads to an artifact: a name in the registry, a forecast in the ledger (its bundle can make it again), the note of
a recent run, the pin of a run that was killed and may come back, and its age: a run may be working with it just now.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lstm_model.registry import ALIASES, BUNDLE, VERSION_DIGITS, Registry
from lstm_model.store import HOST, Artifact, Store, write_atomically

KEEP_RUNS = 20
"""Runs of each flow whose artifacts are kept, so that a setting that is changed back still finds its results."""
BULKY = ("series", "windows")
KEEP_BULKY = 3
"""As `KEEP_RUNS`, for kinds that hold the whole data once again in each run."""
GRACE_SECONDS = 24 * 3600.0
"""What was used within this time is kept whatever else: a run may be working with it just now."""


def remember(store: Store, artifacts: Sequence[Artifact], *, flow: str) -> None:
    """Note which artifacts a finished run of a flow used; notes beyond the latest `KEEP_RUNS` of that flow go."""
    note = store.root / "runs" / flow / f"{time.time_ns()}-{os.getpid()}.json"
    write_atomically(note, json.dumps([artifact.sha256 for artifact in artifacts]))
    for old in _notes(store, flow)[:-KEEP_RUNS]:
        old.unlink(missing_ok=True)


def forget(store: Store, *, grace_seconds: float = GRACE_SECONDS) -> int:
    """Remove what no remembered run used and nobody touched lately; returns how many artifacts went.

    One process at a time; a note that cannot be read counts as empty, since what it names was touched with it.
    """
    with store.lock("forget"):
        return _forget(store, grace_seconds)


def _forget(store: Store, grace_seconds: float) -> int:
    needed, needed_bulky = _reachable(store), _noted(store, KEEP_BULKY) | _pinned(store)
    youngest = time.time() - grace_seconds
    folders = (store.root / "artifacts").glob("*/*")
    unused = [f for f in folders if f.name not in (needed_bulky if f.parent.name in BULKY else needed)]
    if any(f.parent.name == BUNDLE and _last_use(f) < youngest for f in unused):
        issued = _issued(store)
        unused = [f for f in unused if f.parent.name != BUNDLE or f.name[:VERSION_DIGITS] not in issued]
    gone = {folder.name for folder in unused if _take_away(store, folder, youngest)}
    _drop_records(store, gone)
    _drop_locks(store, youngest)
    return len(gone)


def _take_away(store: Store, folder: Path, youngest: float) -> bool:
    """Remove an artifact unless it was used meanwhile: whoever begins to use one touches it first, then looks.

    It is moved out of sight in one step, so that nobody finds half of it.
    """
    grave = store.root / "tmp" / f"gone-{HOST}-{os.getpid()}-{folder.name}"
    grave.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if folder.stat().st_mtime < youngest:
            folder.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)
            return True
    return False


def _reachable(store: Store) -> set[str]:
    state = Registry(store).state()
    named = {bundle.sha256 for alias in ALIASES if (bundle := getattr(state, alias)) is not None}
    return named | _noted(store, KEEP_RUNS) | _pinned(store)


def _issued(store: Store) -> set[str]:
    """The bundles that ever forecast; asked for only where a bundle may go, since the whole ledger is read."""
    from lstm_model.ledger import Ledger

    return Ledger(store).model_versions()


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _noted(store: Store, runs: int) -> set[str]:
    """What the latest runs of each flow used."""
    flows = [folder.name for folder in (store.root / "runs").glob("*") if folder.is_dir()]
    return {sha for flow in flows for note in _notes(store, flow)[-runs:] for sha in _read_note(note)}


def _pinned(store: Store) -> set[str]:
    """What runs that have not ended work on."""
    pins = [_read_pin(file) for file in (store.root / "pins").glob("*.json")]
    return {artifact["sha256"] for pin in pins for artifact in pin.values() if artifact}


def _read_pin(file: Path) -> dict[str, dict[str, str] | None]:
    try:
        pin: dict[str, dict[str, str] | None] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return pin


def _read_note(note: Path) -> list[str]:
    try:
        shas: list[str] = json.loads(note.read_text())
    except (OSError, ValueError):
        return []
    return shas


def _notes(store: Store, flow: str) -> list[Path]:
    """Oldest first: names begin with the time."""
    return sorted((store.root / "runs" / flow).glob("*.json"))


def _drop_records(store: Store, gone: set[str]) -> None:
    """Cache records of artifacts that are gone: harmless, since hits are verified, but they would pile up."""
    if not gone:
        return
    for record in (store.root / "results").glob("*"):
        text = record.read_text(encoding="utf-8", errors="ignore")
        if any(sha in text for sha in gone):
            record.unlink(missing_ok=True)


def _drop_locks(store: Store, youngest: float) -> None:
    """Files of locks that nobody has taken lately and nobody holds: one is made for every key."""
    for file in (store.root / "locks").glob("*.lock"):
        with suppress(Timeout, FileNotFoundError):
            if file.stat().st_mtime < youngest:
                with FileLock(file, timeout=0):
                    file.unlink(missing_ok=True)
