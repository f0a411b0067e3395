"""The files that a source names, and the hash that changes when its data do: what every run asks, changed or not."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import Source, SourceKind

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".csv.zst", ".csv.bz2", ".csv.xz")
PARQUET_SUFFIXES = (".parquet", ".pq")

BLOCK_BYTES = 1 << 20


def fingerprint(source: Source, *, password: str | None = None) -> str:
    """Hex sha256 that changes when the source's data does.

    Files: names relative to the glob, and bytes. SQL: the rows of the query. Synthetic: its settings.
    """
    if source.kind is SourceKind.files:
        return hash_files(source)
    if source.kind is SourceKind.sql:
        from lstm_model.sources.readers import hash_query  # pandas and SQLAlchemy, for those who have a query

        return hash_query(source, password)
    fields = {"dataset", "num_steps"} | ({"num_series", "seed"} if source.dataset == "panel" else set())
    settings = source.model_dump(mode="json", include=fields)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Located:
    """The files that a path, glob or URL names."""

    filesystem: Any
    files: tuple[str, ...]
    """Full paths, ascending."""
    names: tuple[str, ...]
    """The same relative to the fixed part of the glob: they do not change when the folder moves."""


def locate(path: str) -> Located:
    """Find the files of a path, a glob or an fsspec URL.

    Raises:
        DataError: nothing there; the message says what lies beside it.
    """
    shown = redact(path)
    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise DataError(
            f"source.path {shown!r} cannot be opened: {error}. Install the package that this kind of URL needs"
        ) from error
    is_glob = any(mark in root for mark in "*?[") and not filesystem.exists(root)
    found = sorted(filesystem.glob(root)) if is_glob else [root]
    found = [file for file in found if not filesystem.isdir(file)] if is_glob else found
    if not found:
        raise DataError(f"source.path {shown!r} matches no file; {_neighbours(filesystem, root)}")
    if not is_glob and filesystem.isdir(root):
        kinds = CSV_SUFFIXES + PARQUET_SUFFIXES
        inside = Counter(k for file in filesystem.ls(root, detail=False) for k in kinds if str(file).endswith(k))
        ending = max(kinds, key=lambda kind: inside[kind])
        raise DataError(
            f"source.path {shown!r} is a folder; name its files with a glob such as {shown.rstrip('/')}/*{ending}"
        )
    if not is_glob and not filesystem.exists(root):
        raise DataError(f"source.path {shown!r} does not exist; {_neighbours(filesystem, root)}")
    base = re.split(r"[*?\[]", root)[0].rpartition("/")[0] if is_glob else root.rpartition("/")[0]
    return Located(filesystem, tuple(found), tuple(file[len(base) :].lstrip("/") for file in found))


def hash_files(source: Source) -> str:
    """Hex sha256 over the names (relative to the glob) and bytes of the files, streamed in order of name."""
    assert source.path is not None
    located = locate(source.path)
    digest = hashlib.sha256()
    for file, name in zip(located.files, located.names, strict=True):
        content = hashlib.sha256()
        with located.filesystem.open(file, "rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                content.update(block)
        digest.update(f"{len(name)}:{name}:{content.hexdigest()}\n".encode())
    return digest.hexdigest()


def redact(path: str) -> str:
    """A URL without its user part, which may hold credentials."""
    return re.sub(r"//[^?@]*:[^?@]*@", "//***@", path)


def _neighbours(filesystem: Any, root: str) -> str:
    """What exists in the nearest folder above, for the message about a missing file."""
    folder = re.split(r"[*?\[]", root)[0].rpartition("/")[0]
    while folder and not filesystem.isdir(folder):
        folder = folder.rpartition("/")[0]
    try:
        names = sorted(PurePosixPath(name).name for name in filesystem.ls(folder or "/", detail=False))
    except (OSError, NotImplementedError):
        return "check the path"
    return f"the folder {folder or '/'} holds: {listed(names)}" if names else f"the folder {folder or '/'} is empty"
