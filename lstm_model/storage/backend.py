"""Say what a store asks of the place that keeps its bytes, and which place an address means.

- `Backend`: the protocol. Names are relative to the store, with slashes. What only this machine needs (drafts, locks,
  checkpoints) is no concern of a backend.
  - `folder_backend.FolderBackend`: a folder of this machine.
  - `bucket_backend.BucketBackend`: an object store, read through copies in such a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.redaction import find_secret
from lstm_model.storage.manifest import Manifest

ASIDE = "damaged"
"""Folder of what was moved out of the way."""
Change = Callable[[bytes | None], bytes | None]
"""From the present content (None: there is no such file) to the new one; None leaves it as it is."""


@dataclass(frozen=True)
class Entry:
    """A file of a backend, as it was when it was listed."""

    name: str
    modified: float
    """Seconds since 1970, by the clock of the backend."""
    size: int
    tag: str = ""
    """Changes with the content; empty in a folder."""


@dataclass(frozen=True)
class Kept:
    """An artifact that a store holds, by what can be told from outside."""

    kind: str
    sha256: str
    made: float | None
    """None if there is no manifest."""
    last_use: float


class Backend(Protocol):
    """What a store asks of the place that keeps its files and artifacts."""

    is_shared: bool
    """Whether other machines write there too: locks of this machine are not enough then."""
    name: str
    """Of the problem."""
    parent: str
    """What a person gives as --store."""

    def shown(self, name: str) -> str:
        """Return where a person finds it: a path or a URL."""

    def read(self, name: str, *, most_bytes: int | None = None) -> bytes:
        """Return the content; FileNotFoundError if there is none, DamagedFileError if it is longer or no file."""

    def write(self, name: str, content: str | bytes, *, durable: bool = False) -> None:
        """Write so that readers see the old content or the new one; `durable`: after a power cut too."""

    def add(self, name: str, content: bytes) -> Entry | None:
        """Write a file that is not there yet; None if there is one of that name."""

    def change(self, name: str, change: Change) -> bool:
        """Replace the content by what `change` makes of it, unless another writer came between; whether it changed."""

    def entries(self, folder: str) -> list[Entry]:
        """List all files below a folder, in order of name; none if there is no such folder."""

    def remove(self, name: str) -> None:
        """Remove a file, or what is in its place, if it is there."""

    def local(self, entry: Entry) -> Path:
        """Return a file of this machine with the entry's very content; FileNotFoundError if that is gone."""

    def drop_copy(self, entry: Entry) -> None:
        """Remove what `local` returned, if that is a copy: it is damaged, and the next call fetches another."""

    def publish(self, draft: Path, artifact: Artifact) -> None:
        """Make a finished folder the artifact's: nobody sees it before all of it is there."""

    def fetch(self, artifact: Artifact) -> Path:
        """Return the artifact's folder on this machine; DamagedArtifactError if it does not arrive there whole."""

    def read_manifest(self, artifact: Artifact) -> Manifest:
        """Return the artifact's manifest; DamagedArtifactError if it is gone or another."""

    def verify(self, artifact: Artifact) -> None:
        """Check that every file is there as it was written; DamagedArtifactError names the one that is not."""

    def touch(self, artifact: Artifact) -> None:
        """Mark it as in use now, so that the clean-up leaves it alone for a while; nothing if it is gone."""

    def artifacts(self, kind: str = "*") -> list[Kept]:
        """List all artifacts, or those of one kind."""

    def take_away(self, kept: Kept, *, youngest: float) -> bool:
        """Remove an artifact unless it was used meanwhile: whoever begins to use one touches it first, then looks."""

    def set_aside(self, artifact: Artifact) -> str:
        """Move what is left of an artifact out of the way, for a person to look at; return where that is shown."""

    def drop_copies(self, needed: Callable[[str, str], bool], *, youngest: float) -> None:
        """Remove the copies on this machine, if the backend makes any, that are not `needed` (kind and sha256)."""


def name_folder(artifact: Artifact | Kept) -> str:
    """Return the name of an artifact's folder."""
    return f"artifacts/{artifact.kind}/{artifact.sha256}"


def is_artifact(kind: str, sha256: str) -> bool:
    """Tell whether a folder of these names can be an artifact's; anything else in its place is a stranger's."""
    return bool(re.fullmatch("[a-z_]+", kind) and re.fullmatch("[0-9a-f]{64}", sha256))


def is_url(root: str) -> bool:
    """Tell whether a store's root is an object store's address rather than a folder."""
    return "://" in root


def whole_root(root: str) -> str:
    """Return a store's root as it means the same from every folder: an absolute path, or the URL.

    Raises:
        ValueError: the URL has a password in it, which would be stored and logged.
    """
    if not is_url(root):
        return str(Path(root).resolve())
    if found := find_secret(root):
        raise ValueError(
            f"the store's URL contains {found}; it would be stored and logged. Remove it and set it in the "
            "environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3://)"
        )
    return root.rstrip("/")
