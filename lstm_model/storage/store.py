"""Keep content-addressed artifacts, in a folder of this machine or in an object store.

An artifact is a folder of files, named by the sha256 of its manifest, written under a temporary name and renamed
once whole: what can be seen is complete, and two writers of the same content cannot disturb each other.
Where the home of a store is an object store, artifacts are read through copies in a folder of this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout

from lstm_model.contracts.artifact import MANIFEST, Artifact
from lstm_model.contracts.stage_meta import StageMeta
from lstm_model.storage.backend import HOST, Folder, Home

if TYPE_CHECKING:
    from lstm_model.storage.bucket import ObjectHome

Meta = TypeVar("Meta", bound=StageMeta)


@dataclass(frozen=True)
class Kept:
    """An artifact that a store holds, by what can be told from outside."""

    kind: str
    sha256: str
    made: float | None
    """None where there is no manifest."""
    last_use: float


class DamagedArtifactError(ValueError):
    """An artifact's files are missing or not the bytes that were written."""


class Draft:
    """An artifact being written: fill `folder`, set `num_rows` and, for small facts, `meta`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.num_rows = 0
        self.meta: dict[str, Any] = {}  # as the manifest holds it: a `StageMeta` as JSON
        self._artifact: Artifact | None = None

    @property
    def artifact(self) -> Artifact:
        """The finished artifact; only after the `with` block that created the draft."""
        assert self._artifact is not None, "the draft is still being written"
        return self._artifact


class Store:
    """Artifacts, and the small files around them.

    Args:
        root: folder of this machine. Drafts, locks and checkpoints lie there whatever the home.
        home: where all that the runs share lies; the root itself when empty.
    """

    def __init__(self, root: Path, home: ObjectHome | None = None) -> None:
        self.root = Path(root).resolve()
        self.home: Home = home or Folder(self.root)
        self._shared = home

    def path(self, artifact: Artifact) -> Path:
        """Where the artifact's files lie on this machine.

        Raises:
            DamagedArtifactError: the home is an object store and does not have it whole.
        """
        folder = self._folder(artifact)
        if self._shared and not (folder / MANIFEST).is_file():
            self._fetch(artifact, self._shared)
        return folder

    def meta(self, artifact: Artifact) -> dict[str, Any]:
        """The small facts that its writer left in the manifest."""
        meta: dict[str, Any] = self._manifest(artifact)["meta"]
        return meta

    def read_meta(self, artifact: Artifact, kind: type[Meta]) -> Meta:
        """Return these facts as the model that its writer used.

        Raises:
            ValueError: its writer left other facts.
        """
        return kind.model_validate(self.meta(artifact))

    def num_rows(self, artifact: Artifact) -> int:
        """As the writer counted: what an artifact is found again by its folder's name alone lacks."""
        rows: int = self._manifest(artifact)["num_rows"]
        return rows

    def shards(self, artifact: Artifact) -> list[Artifact]:
        """The artifacts that it was gathered from (`meta["shards"]`), in order; itself where it is of one piece."""
        return self._gathered(artifact) or [artifact]

    @contextmanager
    def create(self, kind: str) -> Iterator[Draft]:
        """Write an artifact: on success `draft.artifact` names it; on any error nothing is left behind."""
        with self.scratch(kind) as folder:
            draft = Draft(kind, folder)
            yield draft
            draft._artifact = self._publish(draft)

    @contextmanager
    def scratch(self, what: str) -> Iterator[Path]:
        """A folder on the store's disk that goes at the end, or in a later `sweep` where this process is killed."""
        folder = self.root / "tmp" / f"{what}-{HOST}-{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def verify(self, artifact: Artifact) -> None:
        """Check that every file is there with the bytes that were written, those of its shards too.

        Raises:
            DamagedArtifactError: naming the file and what is wrong with it.
        """
        if self._shared:
            self._verify_shared(artifact, self._shared)
        else:
            self._verify(artifact, self.path(artifact))
        for shard in self._gathered(artifact):
            self.verify(shard)

    def _verify_shared(self, artifact: Artifact, home: ObjectHome) -> None:
        """By name and size the home must have all of it; a damaged copy on this machine goes, to be fetched again.

        Nothing is fetched to be verified: that would bring every shard to whoever looks whether they are there. What
        is fetched is verified then.
        """
        from lstm_model.storage.bucket_artifacts import DAMAGED, sizes

        folder = self._folder(artifact)
        if folder.exists():
            try:
                self._verify(artifact, folder)
            except DamagedArtifactError:
                shutil.rmtree(folder, ignore_errors=True)
        name, found = _name(artifact), sizes(home, _name(artifact))
        if DAMAGED in found:
            self._mend(artifact, home)
            found = sizes(home, name)
        wanted = {file: facts["bytes"] for file, facts in self._manifest(artifact)["files"].items()}
        for file in (MANIFEST, *wanted):
            if file not in found or found[file] != wanted.get(file, found[file]):
                raise DamagedArtifactError(f"{home.shown(name)}/{file} is missing or of another size")

    def _mend(self, artifact: Artifact, home: ObjectHome) -> None:
        """What was marked may be whole on this machine, or have been restored, or have been whole all the time."""
        from lstm_model.storage.bucket_artifacts import unmark, upload

        if self._folder(artifact).exists():  # it was verified just now
            return upload(home, self._folder(artifact), _name(artifact))
        try:
            self._copy(artifact, home)
        except (DamagedArtifactError, FileNotFoundError) as error:
            shown = home.shown(_name(artifact))
            raise DamagedArtifactError(f"{shown} was not what was written when it was fetched: {error}") from error
        return unmark(home, _name(artifact))

    def _verify(self, artifact: Artifact, folder: Path) -> None:
        manifest = _manifest_in(folder, artifact)
        for name, expected in manifest["files"].items():
            file = folder / name
            if not file.is_file():
                raise DamagedArtifactError(f"{file} is missing")
            if file.stat().st_size != expected["bytes"] or hash_file(file) != expected["sha256"]:
                raise DamagedArtifactError(
                    f"{file} is not what was written: its size or sha256 differs from the manifest"
                )

    def touch(self, artifact: Artifact) -> None:
        """Mark it and its shards as in use now, so that the clean-up leaves them alone for a while."""
        with suppress(FileNotFoundError):
            os.utime(self._folder(artifact))
        if self._shared:
            from lstm_model.storage.bucket_artifacts import touch

            touch(self._shared, _name(artifact))
        with suppress(DamagedArtifactError):
            for shard in self._gathered(artifact):
                self.touch(shard)

    def artifacts(self, kind: str = "*") -> list[Kept]:
        """All artifacts of the home, or those of one kind."""
        if self._shared:
            return self._shared_artifacts(self._shared, kind)
        found = []
        for folder in (self.root / "artifacts").glob(f"{kind}/*"):
            with suppress(FileNotFoundError):
                manifest = folder / MANIFEST
                made = manifest.stat().st_mtime if manifest.is_file() else None
                found.append(Kept(folder.parent.name, folder.name, made, folder.stat().st_mtime))
        return found

    def _shared_artifacts(self, home: ObjectHome, kind: str) -> list[Kept]:
        """What has a manifest, and what was left without one; the age of the latter is that of its youngest file."""
        from lstm_model.storage.bucket_artifacts import folders

        found = []
        for name, entries in folders(home.entries("artifacts" if kind == "*" else f"artifacts/{kind}")).items():
            ages = [entry.modified for entry in entries]
            used = [entry.modified for entry in entries if entry.name == f"{name}/{MANIFEST}"]
            made = min(ages) if used else None
            _, of_kind, sha256 = name.split("/")
            found.append(Kept(of_kind, sha256, made, max(used or ages)))
        return found

    def take_away(self, kept: Kept, *, youngest: float) -> bool:
        """Remove an artifact unless it was used meanwhile: whoever begins to use one touches it first, then looks."""
        name = f"artifacts/{kept.kind}/{kept.sha256}"
        if not self._shared:
            return self._take_away_here(name, youngest)
        from lstm_model.storage.bucket_artifacts import take_away

        with suppress(FileNotFoundError):
            return take_away(self._shared, name, youngest)
        return False

    def _take_away_here(self, name: str, youngest: float) -> bool:
        """Moved out of sight in one step, so that nobody finds half of it."""
        folder = self.root / name
        grave = self.root / "tmp" / f"gone-{HOST}-{os.getpid()}-{folder.name}"
        grave.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < youngest:
                folder.rename(grave)
                shutil.rmtree(grave, ignore_errors=True)
                return True
        return False

    def drop_copies(self, needed: Callable[[str, str], bool], *, youngest: float) -> None:
        """Where the home is an object store: remove what of it this machine has a copy of, and has no more use for."""
        if not self._shared:
            return
        for folder in (self.root / "artifacts").glob("*/*"):
            if not needed(folder.parent.name, folder.name):
                self._take_away_here(folder.relative_to(self.root).as_posix(), youngest)
        with self.lock("ledger"):  # whose files they are
            for folder in (self.root / "fetched").glob("*"):
                self._take_away_here(f"fetched/{folder.name}", youngest)

    def sweep(self) -> None:
        """Remove what writers of this machine that were killed left behind; what a living process is writing stays."""
        for folder in (self.root / "tmp").glob(f"*-{HOST}-*-*"):
            if not is_alive(int(folder.name.split("-")[-2])):
                shutil.rmtree(folder, ignore_errors=True)
        for draft in self.root.glob(f".*.{HOST}-*-*"):
            if not is_alive(int(draft.name.split("-")[-2])):
                draft.unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold a lock across processes; the operating system frees it when its holder dies.

        `on_wait` is called once where another process holds it.
        """
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if on_wait is not None:
                on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _gathered(self, artifact: Artifact) -> list[Artifact]:
        return [Artifact.model_validate(one) for one in self.meta(artifact).get("shards", ())]

    def _manifest(self, artifact: Artifact) -> dict[str, Any]:
        if self._shared and not (self._folder(artifact) / MANIFEST).is_file():
            return _parsed(self._read_shared(f"{_name(artifact)}/{MANIFEST}", self._shared), artifact)
        return _manifest_in(self._folder(artifact), artifact)

    def _read_shared(self, name: str, home: ObjectHome) -> bytes:
        try:
            return home.read(name)
        except FileNotFoundError as error:
            raise DamagedArtifactError(str(error)) from error

    def _folder(self, artifact: Artifact) -> Path:
        return self.root / _name(artifact)

    def _fetch(self, artifact: Artifact, home: ObjectHome) -> None:
        """Copy an artifact to this machine, whole and as it was written, or not at all.

        What does not arrive as it was written is fetched once more. If that is no better, it is marked in the home:
        nothing else would tell, where its size is right, and the next run that asks for it makes it again.
        """
        from lstm_model.storage.bucket_artifacts import mark

        try:
            with suppress(DamagedArtifactError):
                return self._copy(artifact, home)
            return self._copy(artifact, home)
        except FileNotFoundError as error:
            raise DamagedArtifactError(str(error)) from error
        except DamagedArtifactError as error:
            mark(home, _name(artifact))
            raise DamagedArtifactError(f"{home.shown(_name(artifact))} is damaged; run again: {error}") from error

    def _copy(self, artifact: Artifact, home: ObjectHome) -> None:
        from lstm_model.storage.bucket_artifacts import download

        with self.scratch(artifact.kind) as draft:
            download(home, _name(artifact), draft)
            self._verify(artifact, draft)
            self._move_into_place(draft, artifact)

    def _publish(self, draft: Draft) -> Artifact:
        files = {
            file.relative_to(draft.folder).as_posix(): {"sha256": hash_file(file), "bytes": file.stat().st_size}
            for file in sorted(draft.folder.rglob("*"))
            if file.is_file()
        }
        manifest = {"kind": draft.kind, "num_rows": draft.num_rows, "meta": draft.meta, "files": files}
        text = json.dumps(manifest, sort_keys=True, indent=1).encode()
        artifact = Artifact(kind=draft.kind, sha256=hashlib.sha256(text).hexdigest(), num_rows=draft.num_rows)
        (draft.folder / MANIFEST).write_bytes(text)
        if self._shared:
            from lstm_model.storage.bucket_artifacts import upload

            upload(self._shared, draft.folder, _name(artifact))
        self._move_into_place(draft.folder, artifact)
        return artifact

    def _move_into_place(self, folder: Path, artifact: Artifact) -> None:
        target = self._folder(artifact)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.lock(f"publish {artifact.sha256}"):
            if target.exists():
                try:
                    with suppress(FileNotFoundError):
                        os.utime(target)
                    self._verify(artifact, target)
                    return
                except DamagedArtifactError:
                    shutil.rmtree(target)
            folder.replace(target)


def _name(artifact: Artifact) -> str:
    return f"artifacts/{artifact.kind}/{artifact.sha256}"


def _manifest_in(folder: Path, artifact: Artifact) -> dict[str, Any]:
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise DamagedArtifactError(f"{folder / MANIFEST} cannot be read: {error}") from error
    return _parsed(text, artifact, folder / MANIFEST)


def _parsed(text: bytes, artifact: Artifact, file: Path | str = MANIFEST) -> dict[str, Any]:
    if hashlib.sha256(text).hexdigest() != artifact.sha256:
        raise DamagedArtifactError(f"{file} is not what was written: its sha256 differs from the artifact's name")
    manifest: dict[str, Any] = json.loads(text)
    return manifest


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def hash_file(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
