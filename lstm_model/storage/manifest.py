"""Name an artifact by the sha256 of its manifest, which holds that of every file, and check files against it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from io import BufferedReader
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lstm_model.contracts.artifact import MANIFEST, Artifact
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.drafts import open_regular, read_bounded

MOST_BYTES = 1 << 30
"""Of a manifest."""
DAMAGE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO, getattr(errno, "EUCLEAN", errno.EIO))
"""Errors of the system that say that a file is lost; any other, such as of a network's folder, may pass."""


class DamagedArtifactError(ValueError):
    """An artifact's files are missing or not the bytes that were written."""


class FileFacts(BaseModel):
    """What a manifest says of one file."""

    sha256: str
    bytes: int


class Manifest(BaseModel):
    """The content of `manifest.json`."""

    kind: str
    num_rows: int
    meta: dict[str, Any]
    """As JSON holds it: the store keeps facts of any stage, and `Store.read_meta` gives them their type."""
    files: dict[str, FileFacts]


def write_manifest(folder: Path, *, kind: str, num_rows: int, meta: dict[str, Any]) -> Artifact:
    """Write the manifest of a finished folder, and return the artifact that the folder is from then on."""
    files = {
        file.relative_to(folder).as_posix(): FileFacts(sha256=hash_file(file), bytes=file.stat().st_size)
        for file in folder.rglob("*")
        if file.is_file()
    }
    manifest = Manifest(kind=kind, num_rows=num_rows, meta=meta, files=files)
    text = json.dumps(manifest.model_dump(), sort_keys=True, indent=1).encode()
    (folder / MANIFEST).write_bytes(text)
    return Artifact(kind=kind, sha256=hashlib.sha256(text).hexdigest(), num_rows=num_rows)


def read_manifest(folder: Path, artifact: Artifact) -> Manifest:
    """Read the manifest of an artifact's folder.

    Raises:
        DamagedArtifactError: it cannot be read, or is not what was written.
    """
    try:
        text = read_bounded(folder / MANIFEST, MOST_BYTES)
    except DamagedFileError as error:
        raise DamagedArtifactError(str(error)) from None
    except OSError as error:
        if error.errno not in DAMAGE:
            raise
        raise DamagedArtifactError(f"{folder / MANIFEST} cannot be read: {error}") from error
    return parse_manifest(text, artifact, folder / MANIFEST)


def parse_manifest(text: bytes, artifact: Artifact, file: Path | str) -> Manifest:
    """Parse the text of a manifest once it is sure that it is the artifact's; the error names `file`."""
    if hashlib.sha256(text).hexdigest() != artifact.sha256:
        raise DamagedArtifactError(f"{file} is not what was written: its sha256 differs from the artifact's name")
    return Manifest.model_validate(json.loads(text))


def verify_folder(folder: Path, artifact: Artifact) -> None:
    """Check that every file of an artifact is in the folder with the bytes that were written.

    Raises:
        DamagedArtifactError: naming the file and what is wrong with it.
    """
    for name, expected in read_manifest(folder, artifact).files.items():
        file = folder / name
        try:
            with open_regular(file) as content:
                whole = os.fstat(content.fileno()).st_size == expected.bytes and _hash(content) == expected.sha256
        except FileNotFoundError:
            raise DamagedArtifactError(f"{file} is missing") from None
        except DamagedFileError as error:
            raise DamagedArtifactError(str(error)) from None
        except OSError as error:
            if error.errno not in DAMAGE:
                raise
            raise DamagedArtifactError(f"{file} cannot be read: {error}") from error
        if not whole:
            raise DamagedArtifactError(f"{file} is not what was written: its size or sha256 differs from the manifest")


def hash_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return _hash(file)


def _hash(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
