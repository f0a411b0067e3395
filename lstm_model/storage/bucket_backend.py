"""Keep artifacts in an object store: a folder is one while its manifest is there, which comes last and goes first.

Nothing can be moved there in one step. So an artifact that is to be forgotten first loses its name (the manifest
becomes `gone.json`), which whoever needs it meanwhile gives back; its files go after another time of grace. What an
upload that broke off left behind goes with them. Artifacts are read through copies in a folder of this machine.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lstm_model.contracts.artifact import MANIFEST, Artifact
from lstm_model.storage.backend import ASIDE, Entry, Kept, is_artifact, name_folder
from lstm_model.storage.bucket import TIMEOUT_SECONDS, Bucket
from lstm_model.storage.drafts import hold_lock, make_scratch, remove_path
from lstm_model.storage.folder_backend import FolderBackend
from lstm_model.storage.manifest import DamagedArtifactError, Manifest, parse_manifest, read_manifest, verify_folder

GONE, DAMAGED = "gone.json", "damaged"


class BucketBackend(Bucket):
    """A folder below a bucket with artifacts in it, see `Backend` and `Bucket`; copies go to the folder `cache`."""

    def __init__(self, url: str, cache: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        super().__init__(url, timeout_seconds=timeout_seconds)
        self._copies = FolderBackend(cache)

    def local(self, entry: Entry) -> Path:
        path = self._name_copy(entry)
        if not path.exists():
            self.download(entry, path)
        return path

    def drop_copy(self, entry: Entry) -> None:
        remove_path(self._name_copy(entry))

    def publish(self, draft: Path, artifact: Artifact) -> None:
        self._upload(draft, artifact)
        self._copies.publish(draft, artifact)

    def fetch(self, artifact: Artifact) -> Path:
        """Return a copy of the artifact, whole and as it was written.

        What does not arrive as it was written is fetched once more. If that is no better, it is marked in the bucket:
        nothing else would tell, since its size is right, and the next run that asks for it makes it again.
        """
        folder = self._copies.fetch(artifact)
        if (folder / MANIFEST).is_file():
            return folder
        try:
            try:
                self._copy(artifact)
            except DamagedArtifactError:
                self._copy(artifact)
        except FileNotFoundError as error:
            raise DamagedArtifactError(str(error)) from error
        except DamagedArtifactError as error:
            self.write(f"{name_folder(artifact)}/{DAMAGED}", b"")
            raise DamagedArtifactError(f"{self.shown(name_folder(artifact))} is damaged; run again: {error}") from error
        return folder

    def read_manifest(self, artifact: Artifact) -> Manifest:
        if (self._copies.fetch(artifact) / MANIFEST).is_file():
            return self._copies.read_manifest(artifact)
        try:
            text = self.read(f"{name_folder(artifact)}/{MANIFEST}")
        except FileNotFoundError as error:
            raise DamagedArtifactError(str(error)) from error
        return parse_manifest(text, artifact, MANIFEST)

    def verify(self, artifact: Artifact) -> None:
        """By name and size the bucket must have all of it; a damaged copy on this machine goes, to be fetched again.

        What the bucket has lost, a whole copy on this machine brings back.

        Nothing is fetched to be verified: that would bring every shard to whoever looks whether they are there. What
        is fetched is verified then.
        """
        copy = self._copies.fetch(artifact)
        has_copy = copy.exists()
        if has_copy:
            try:
                self._copies.verify(artifact)
            except DamagedArtifactError:
                remove_path(copy)
                has_copy = False
        found = self._list(artifact)
        if DAMAGED in found:
            self._mend(artifact)
            found = self._list(artifact)
        wanted = {file: facts.bytes for file, facts in self.read_manifest(artifact).files.items()}
        for file in (MANIFEST, *wanted):
            if file not in found or found[file].size != wanted.get(file, found[file].size):
                if has_copy:
                    return self._upload(copy, artifact)
                raise DamagedArtifactError(f"{self.shown(name_folder(artifact))}/{file} is missing or of another size")
        return None

    def touch(self, artifact: Artifact) -> None:
        """Make it young, and give it back its name if a clean-up has taken it; nothing if it is gone for good."""
        self._copies.touch(artifact)
        name = name_folder(artifact)
        for manifest in (MANIFEST, GONE):
            with suppress(FileNotFoundError):
                return self.write(f"{name}/{MANIFEST}", self.read(f"{name}/{manifest}"))
        return None

    def artifacts(self, kind: str = "*") -> list[Kept]:
        """List what has a manifest, and what was left without one; the age of the latter is its youngest file's."""
        folders: dict[tuple[str, str], list[Entry]] = {}
        for entry in self.entries("artifacts" if kind == "*" else f"artifacts/{kind}"):
            _, *names = entry.name.split("/")
            if len(names) > 2 and is_artifact(*names[:2]):  # not what somebody else put there
                folders.setdefault((names[0], names[1]), []).append(entry)
        found = []
        for (of_kind, sha256), entries in folders.items():
            ages = [entry.modified for entry in entries]
            used = [e.modified for e in entries if e.name == f"artifacts/{of_kind}/{sha256}/{MANIFEST}"]
            found.append(Kept(of_kind, sha256, min(ages) if used else None, max(used or ages)))
        return found

    def take_away(self, kept: Kept, *, youngest: float) -> bool:
        """Take its name from an artifact that was last used before `youngest`; the files of one without a name go."""
        entries = self._list(kept)
        if manifest := entries.get(MANIFEST):
            with suppress(FileNotFoundError):
                if manifest.modified < youngest:
                    self.write(f"{name_folder(kept)}/{GONE}", self.read(manifest.name))
                    self.remove(manifest.name)
                    return True
        elif all(entry.modified < youngest for entry in entries.values()):
            for entry in entries.values():
                self.remove(entry.name)
        return False

    def set_aside(self, artifact: Artifact) -> str:
        """Copy the files, then remove them, the manifest first: without it there is no artifact."""
        target, found = f"{ASIDE}/{artifact.kind}-{artifact.sha256}-{time.time_ns()}", self._list(artifact)
        for file, entry in sorted(found.items(), key=lambda one: one[0] != MANIFEST):
            with suppress(FileNotFoundError):  # another run was faster
                self.write(f"{target}/{file}", self.read(entry.name))
                self.remove(entry.name)
        shutil.rmtree(self._copies.fetch(artifact), ignore_errors=True)
        return self.shown(target)

    def drop_copies(self, needed: Callable[[str, str], bool], *, youngest: float) -> None:
        for kept in self._copies.artifacts():
            if not needed(kept.kind, kept.sha256):
                self._copies.take_away(kept, youngest=youngest)
        with hold_lock(self._copies.root, "ledger"):  # whose files they are
            for folder in (self._copies.root / "fetched").glob("*"):
                self._copies.remove_folder(f"fetched/{folder.name}", youngest)

    def _name_copy(self, entry: Entry) -> Path:
        """Return where the copy of a file lies, by name and tag: a name may be used again."""
        key = hashlib.sha256(f"{entry.name}\0{entry.tag}".encode()).hexdigest()[:16]
        return self._copies.root / "fetched" / key / Path(entry.name).name

    def _upload(self, folder: Path, artifact: Artifact) -> None:
        """Send a finished folder; nobody sees it before all of it is there, and it counts as whole from then on."""
        name = name_folder(artifact)
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file != folder / MANIFEST:
                self.upload(f"{name}/{file.relative_to(folder).as_posix()}", file)
        self.write(f"{name}/{MANIFEST}", (folder / MANIFEST).read_bytes())
        self.remove(f"{name}/{DAMAGED}")

    def _copy(self, artifact: Artifact) -> None:
        """Fetch every file into a copy; FileNotFoundError if the artifact is not there, or goes meanwhile."""
        entries = self._list(artifact)
        if MANIFEST not in entries:
            raise FileNotFoundError(f"{self.shown(name_folder(artifact))} does not exist")
        with make_scratch(self._copies.root, artifact.kind) as draft:
            self.download(entries[MANIFEST], draft / MANIFEST)
            for file in read_manifest(draft, artifact).files:
                if file in entries:
                    self.download(entries[file], draft / file)
            verify_folder(draft, artifact)
            self._copies.publish(draft, artifact)

    def _mend(self, artifact: Artifact) -> None:
        """Take the mark from what is whole on this machine, has been restored, or has been whole all the time."""
        copy = self._copies.fetch(artifact)
        if copy.exists():  # it was verified just now
            return self._upload(copy, artifact)
        try:
            self._copy(artifact)
        except (DamagedArtifactError, FileNotFoundError) as error:
            shown = self.shown(name_folder(artifact))
            raise DamagedArtifactError(f"{shown} was not what was written when it was fetched: {error}") from error
        return self.remove(f"{name_folder(artifact)}/{DAMAGED}")

    def _list(self, artifact: Artifact | Kept) -> dict[str, Entry]:
        """List the files in the bucket by their names in the artifact."""
        name = name_folder(artifact)
        return {entry.name.removeprefix(f"{name}/"): entry for entry in self.entries(name)}
