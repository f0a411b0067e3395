"""Keep content-addressed artifacts, in a folder of this machine or in an object store.

An artifact is a folder of files, named by the sha256 of its manifest, written under a temporary name and renamed
once whole: what can be seen is complete, and two writers of the same content cannot disturb each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.stage_meta import StageMeta
from lstm_model.storage.backend import Backend, name_folder
from lstm_model.storage.drafts import hold_lock, make_scratch, sweep
from lstm_model.storage.folder_backend import FolderBackend
from lstm_model.storage.manifest import DamagedArtifactError, write_manifest

Meta = TypeVar("Meta", bound=StageMeta)


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
        root: folder of this machine, with drafts, locks and checkpoints whatever the backend.
        backend: keeps all that the runs share; the root itself when empty.
    """

    def __init__(self, root: Path, backend: Backend | None = None) -> None:
        self.root = Path(root).resolve()
        self.backend: Backend = backend or FolderBackend(self.root)

    def path(self, artifact: Artifact) -> Path:
        """Return the folder of this machine with the artifact's files.

        Raises:
            DamagedArtifactError: the backend is an object store and does not have it whole.
        """
        return self.backend.fetch(artifact)

    def meta(self, artifact: Artifact) -> dict[str, Any]:
        """Return the small facts that its writer left in the manifest, as JSON holds them."""
        return self.backend.read_manifest(artifact).meta

    def read_meta(self, artifact: Artifact, kind: type[Meta]) -> Meta:
        """Return these facts as the model that its writer used.

        Raises:
            ValueError: its writer left other facts.
        """
        return kind.model_validate(self.meta(artifact))

    def num_rows(self, artifact: Artifact) -> int:
        """Return what the writer counted, which an artifact that was found by its folder's name does not know."""
        return self.backend.read_manifest(artifact).num_rows

    def shards(self, artifact: Artifact) -> list[Artifact]:
        """Return the artifacts that it was gathered from, in order; itself if it is of one piece."""
        return _list_gathered(self.meta(artifact)) or [artifact]

    @contextmanager
    def create(self, kind: str) -> Iterator[Draft]:
        """Write an artifact: on success `draft.artifact` names it; on any error nothing is left behind."""
        with self.scratch(kind) as folder:
            draft = Draft(kind, folder)
            yield draft
            artifact = write_manifest(folder, kind=kind, num_rows=draft.num_rows, meta=draft.meta)
            self.backend.publish(folder, artifact)
            draft._artifact = artifact

    def verify(self, artifact: Artifact) -> None:
        """Check that every file is there with the bytes that were written, those of its shards too.

        Raises:
            DamagedArtifactError: naming the file and what is wrong with it.
        """
        self.backend.verify(artifact)
        manifest = self.backend.read_manifest(artifact)
        if manifest.num_rows != artifact.num_rows:
            folder = self.backend.shown(name_folder(artifact))
            raise DamagedArtifactError(f"{folder} has {manifest.num_rows} rows, what names it says {artifact.num_rows}")
        for shard in _list_gathered(manifest.meta):
            self.verify(shard)

    def touch(self, artifact: Artifact) -> None:
        """Mark it and its shards as in use now, so that the clean-up leaves them alone for a while."""
        self.backend.touch(artifact)
        with suppress(DamagedArtifactError):
            for shard in _list_gathered(self.meta(artifact)):
                self.touch(shard)

    def scratch(self, what: str) -> AbstractContextManager[Path]:
        """Make a folder on the store's disk that goes at the end, or in a later `sweep` if this process is killed."""
        return make_scratch(self.root, what)

    def sweep(self) -> None:
        """Remove what killed writers left behind; what a living one is writing stays."""
        sweep(self.root)

    def lock(self, name: str, **waiting: Any) -> AbstractContextManager[None]:
        """Hold a lock across processes; see `hold_lock`."""
        return hold_lock(self.root, name, **waiting)


def _list_gathered(meta: dict[str, Any]) -> list[Artifact]:
    return [Artifact.model_validate(one) for one in meta.get("shards", ())]
