"""Content-addressed artifacts in a local folder.

An artifact is a folder of files, named by the sha256 of its manifest, written under a temporary name and renamed
once whole: what can be seen is complete, and two writers of the same content cannot disturb each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

MANIFEST = "manifest.json"
HOST = re.sub("[^A-Za-z0-9]", "_", platform.node())
"""In the names of drafts: only the machine that wrote one can tell whether its writer lives."""


class Artifact(BaseModel):
    """What stages pass to each other: small, JSON-serialisable, independent of where the store lies."""

    model_config = ConfigDict(frozen=True)

    kind: str
    sha256: str
    num_rows: int


class DamagedArtifactError(ValueError):
    """An artifact's files are missing or not the bytes that were written."""


class Draft:
    """An artifact being written: fill `folder`, set `num_rows` and, for small facts, `meta`."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.num_rows = 0
        self.meta: dict[str, Any] = {}
        self._artifact: Artifact | None = None

    @property
    def artifact(self) -> Artifact:
        """The finished artifact; only after the `with` block that created the draft."""
        assert self._artifact is not None, "the draft is still being written"
        return self._artifact


class Store:
    """A folder of artifacts."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).resolve()

    def path(self, artifact: Artifact) -> Path:
        """Where the artifact's files lie."""
        return self.root / "artifacts" / artifact.kind / artifact.sha256

    def meta(self, artifact: Artifact) -> dict[str, Any]:
        """The small facts that its writer left in the manifest."""
        meta: dict[str, Any] = self._manifest(artifact)["meta"]
        return meta

    def num_rows(self, artifact: Artifact) -> int:
        """As the writer counted: what an artifact is found again by its folder's name alone lacks."""
        rows: int = self._manifest(artifact)["num_rows"]
        return rows

    def shards(self, artifact: Artifact) -> list[Artifact]:
        """The artifacts that it was gathered from (`meta["shards"]`), in order; itself where it is of one piece."""
        return [Artifact.model_validate(one) for one in self.meta(artifact).get("shards", ())] or [artifact]

    @contextmanager
    def create(self, kind: str) -> Iterator[Draft]:
        """Write an artifact: on success `draft.artifact` names it; on any error nothing is left behind."""
        folder = self.root / "tmp" / f"{kind}-{HOST}-{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        draft = Draft(kind, folder)
        try:
            yield draft
            draft._artifact = self._publish(draft)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def verify(self, artifact: Artifact) -> None:
        """Check that every file is there with the bytes that were written, those of its shards too.

        Raises:
            DamagedArtifactError: naming the file and what is wrong with it.
        """
        manifest = self._manifest(artifact)
        for name, expected in manifest["files"].items():
            file = self.path(artifact) / name
            if not file.is_file():
                raise DamagedArtifactError(f"{file} is missing")
            if file.stat().st_size != expected["bytes"] or hash_file(file) != expected["sha256"]:
                raise DamagedArtifactError(
                    f"{file} is not what was written: its size or sha256 differs from the manifest"
                )
        for shard in manifest["meta"].get("shards", ()):
            self.verify(Artifact.model_validate(shard))

    def touch(self, artifact: Artifact) -> None:
        """Mark it and its shards as in use now, so that the clean-up leaves them alone for a while."""
        with suppress(FileNotFoundError):
            os.utime(self.path(artifact))
        with suppress(DamagedArtifactError):
            for shard in self._manifest(artifact)["meta"].get("shards", ()):
                self.touch(Artifact.model_validate(shard))

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

    def _manifest(self, artifact: Artifact) -> dict[str, Any]:
        file = self.path(artifact) / MANIFEST
        try:
            text = file.read_bytes()
        except OSError as error:
            raise DamagedArtifactError(f"{file} cannot be read: {error}") from error
        if hashlib.sha256(text).hexdigest() != artifact.sha256:
            raise DamagedArtifactError(f"{file} is not what was written: its sha256 differs from the artifact's name")
        manifest: dict[str, Any] = json.loads(text)
        return manifest

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
        self._move_into_place(draft.folder, artifact)
        return artifact

    def _move_into_place(self, folder: Path, artifact: Artifact) -> None:
        target = self.path(artifact)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.lock(f"publish {artifact.sha256}"):
            if target.exists():
                try:
                    self.touch(artifact)
                    self.verify(artifact)
                    return
                except DamagedArtifactError:
                    shutil.rmtree(target)
            folder.replace(target)


def write_atomically(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Readers see the old content or the new one, never half of it; `durable`: after a power cut too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            flush(draft)
        draft.replace(path)
        if durable:
            flush(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
