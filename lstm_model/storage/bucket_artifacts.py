"""Keep artifacts in an object store: a folder is one while its manifest is there, which comes last and goes first.

Nothing can be moved there in one step. So an artifact that is to be forgotten first loses its name alone (the manifest
becomes `gone.json`), which whoever needs it meanwhile gives back; its files go after another time of grace. What an
upload that broke off left behind goes with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lstm_model.storage.backend import Entry
from lstm_model.storage.bucket import ObjectHome

MANIFEST, GONE, DAMAGED = "manifest.json", "gone.json", "damaged"


def upload(home: ObjectHome, folder: Path, name: str) -> None:
    """Send a finished folder to `name`; nobody sees it before all of it is there."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file != folder / MANIFEST]
    for file in files:
        home.upload(f"{name}/{file.relative_to(folder).as_posix()}", file)
    home.write(f"{name}/{MANIFEST}", (folder / MANIFEST).read_bytes())
    unmark(home, name)


def mark(home: ObjectHome, name: str) -> None:
    """Have all machines know that its content is not what was written, until one finds it whole."""
    home.write(f"{name}/{DAMAGED}", b"")


def unmark(home: ObjectHome, name: str) -> None:
    """It is what was written."""
    home.remove(f"{name}/{DAMAGED}")


def download(home: ObjectHome, name: str, folder: Path) -> None:
    """Fetch every file of an artifact into a new folder; FileNotFoundError where it is not there, or goes meanwhile."""
    entries = home.entries(name)
    if not any(entry.name == f"{name}/{MANIFEST}" for entry in entries):
        raise FileNotFoundError(f"{home.shown(name)} does not exist")
    for entry in entries:
        file = entry.name.removeprefix(f"{name}/")
        if file not in (GONE, DAMAGED):
            home.download(entry, folder / file)


def sizes(home: ObjectHome, name: str) -> dict[str, int]:
    """The files that lie there, by their names in the artifact."""
    return {entry.name.removeprefix(f"{name}/"): entry.size for entry in home.entries(name)}


def touch(home: ObjectHome, name: str) -> None:
    """Make it young, and give it back its name where a clean-up has taken it; nothing where it is gone for good."""
    for manifest in (MANIFEST, GONE):
        with suppress(FileNotFoundError):
            return home.write(f"{name}/{MANIFEST}", home.read(f"{name}/{manifest}"))
    return None


def take_away(home: ObjectHome, name: str, youngest: float) -> bool:
    """Take its name from an artifact that was last used before `youngest`; the files of one without a name go."""
    entries = {entry.name: entry for entry in home.entries(name)}
    manifest = entries.get(f"{name}/{MANIFEST}")
    if manifest is not None:
        if manifest.modified >= youngest:
            return False
        home.write(f"{name}/{GONE}", home.read(manifest.name))
        home.remove(manifest.name)
        return True
    if all(entry.modified < youngest for entry in entries.values()):
        for entry in entries:
            home.remove(entry)
    return False


def folders(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries by the artifact that they belong to: artifacts/kind/sha256."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault("/".join(entry.name.split("/")[:3]), []).append(entry)
    return found
