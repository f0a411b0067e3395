"""Keep files and artifacts in a folder of this machine."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lstm_model.contracts.artifact import MANIFEST, Artifact
from lstm_model.storage.backend import ASIDE, Change, Entry, Kept, is_artifact, name_folder
from lstm_model.storage.drafts import hold_lock, make_folder, name_draft, read_bounded, remove_path, write_atomically
from lstm_model.storage.manifest import DAMAGE, DamagedArtifactError, Manifest, read_manifest, verify_folder


class FolderBackend:
    """A folder of this machine, see `Backend`. Writers of one file hold a lock of the store."""

    is_shared = False

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()
        self.name, self.parent = self.root.name, str(self.root.parent)

    def shown(self, name: str) -> str:
        return str(self.root / name)

    def read(self, name: str, *, most_bytes: int | None = None) -> bytes:
        return read_bounded(self.root / name, most_bytes)

    def write(self, name: str, content: str | bytes, *, durable: bool = False) -> None:
        write_atomically(self.root / name, content, durable=durable)

    def add(self, name: str, content: bytes) -> Entry | None:
        self.write(name, content, durable=True)
        return self._describe(self.root / name)

    def change(self, name: str, change: Change) -> bool:
        try:
            before = self.read(name)
        except FileNotFoundError:
            before = None
        after = change(before)
        if after is not None:
            self.write(name, after, durable=True)
        return after is not None

    def entries(self, folder: str) -> list[Entry]:
        """List pipes, links that lead nowhere and the like too: whoever reads them says so, and none is absent."""
        files = []
        for place, folders, names in os.walk(self.root / folder, onerror=_refuse_unless_absent):
            # No folder of a store has a suffix: one that has lies where a file belongs.
            names += [name for name in folders if Path(name).suffix or Path(place, name).is_symlink()]
            folders[:] = [name for name in folders if not name.startswith(".") and name not in names]
            files += [Path(place, name) for name in names if not name.startswith(".")]
        found = []
        for file in sorted(files):
            with suppress(FileNotFoundError):
                found.append(self._describe(file))
        return found

    def remove(self, name: str) -> None:
        remove_path(self.root / name)

    def local(self, entry: Entry) -> Path:
        return self.root / entry.name

    def drop_copy(self, entry: Entry) -> None:
        """Do nothing: a folder is read as it is."""

    def publish(self, draft: Path, artifact: Artifact) -> None:
        target = self.fetch(artifact)
        make_folder(target.parent)
        with hold_lock(self.root, f"publish {artifact.sha256}"):
            try:
                self.touch(artifact)
                self.verify(artifact)
            except DamagedArtifactError:  # or not there
                remove_path(target)
                draft.replace(target)

    def fetch(self, artifact: Artifact) -> Path:
        return self.root / name_folder(artifact)

    def read_manifest(self, artifact: Artifact) -> Manifest:
        return read_manifest(self.fetch(artifact), artifact)

    def verify(self, artifact: Artifact) -> None:
        verify_folder(self.fetch(artifact), artifact)

    def touch(self, artifact: Artifact) -> None:
        try:
            os.utime(self.fetch(artifact))
        except OSError as error:
            if error.errno not in DAMAGE:
                raise

    def artifacts(self, kind: str = "*") -> list[Kept]:
        found = []
        for folder in (self.root / "artifacts").glob(f"{kind}/*"):
            if not is_artifact(folder.parent.name, folder.name) or not folder.is_dir():
                continue  # what somebody else put there
            with suppress(FileNotFoundError):
                manifest = folder / MANIFEST
                made = manifest.stat().st_mtime if manifest.is_file() else None
                found.append(Kept(folder.parent.name, folder.name, made, folder.stat().st_mtime))
        return found

    def take_away(self, kept: Kept, *, youngest: float) -> bool:
        return self.remove_folder(name_folder(kept), youngest)

    def set_aside(self, artifact: Artifact) -> str:
        target = f"{ASIDE}/{artifact.kind}-{artifact.sha256}-{time.time_ns()}"
        (self.root / ASIDE).mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            self.fetch(artifact).rename(self.root / target)
        return self.shown(target)

    def drop_copies(self, needed: Callable[[str, str], bool], *, youngest: float) -> None:
        """Do nothing: a folder is read as it is."""

    def remove_folder(self, name: str, youngest: float) -> bool:
        """Remove a folder unless it was used since; moved out of sight in one step, so that nobody finds half of it."""
        folder = self.root / name
        grave = self.root / "tmp" / f"{folder.name}-{name_draft()}"
        grave.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < youngest:
                folder.rename(grave)
                shutil.rmtree(grave, ignore_errors=True)
                return True
        return False

    def _describe(self, file: Path) -> Entry:
        try:
            facts = file.stat()
        except OSError:
            facts = file.lstat()  # a link that leads nowhere
        return Entry(file.relative_to(self.root).as_posix(), facts.st_mtime, facts.st_size)


def _refuse_unless_absent(error: OSError) -> None:
    """Raise what keeps a folder from being listed: it must not count as empty. One that is not there is."""
    if error.errno != errno.ENOENT or Path(error.filename).is_symlink():
        raise OSError(
            f"{error.filename}, a folder of the store, cannot be listed: {error.strerror}. Restore it, or move it away"
        ) from None
