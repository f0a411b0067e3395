"""Find the files that a source names: a path, a glob or a URL."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.redaction import redact, redact_address

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".csv.zst", ".csv.bz2", ".csv.xz")
PARQUET_SUFFIXES = (".parquet", ".pq")
SHEET_SUFFIXES = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
TABLE_SUFFIXES = (*CSV_SUFFIXES, *PARQUET_SUFFIXES, *SHEET_SUFFIXES, ".zip")


@dataclass(frozen=True)
class LocatedFiles:
    """The files that a path, glob or URL names."""

    filesystem: Any
    files: tuple[str, ...]
    """Full paths, ascending."""
    names: tuple[str, ...]
    """The same relative to the fixed part of the glob: they do not change when the folder moves."""
    others: tuple[str, ...] = ()
    """Names of files that the glob matches too, and that are no tables by their names."""


def locate_files(path: str) -> LocatedFiles:
    """Find the files of a path, a glob or an fsspec URL.

    Raises:
        DataError: nothing is there; the message lists its neighbours.
    """
    shown = redact_address(path)
    try:
        filesystem, root = fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:
        raise DataError(
            f"source.path {shown!r} cannot be opened: {redact(str(error))}. "
            "Install the package that this kind of URL needs"
        ) from None  # it holds the URL
    is_glob = any(mark in root for mark in "*?[") and not filesystem.exists(root)
    found = sorted(filesystem.glob(root)) if is_glob else [root]
    found = [file for file in found if not filesystem.isdir(file) and not _is_note(file)] if is_glob else found
    if not found:
        raise DataError(f"source.path {shown!r} matches no file; {_list_neighbours(filesystem, root)}")
    if not is_glob and filesystem.isdir(root):
        files = filesystem.ls(root, detail=False)
        nested = not any(str(file).endswith(TABLE_SUFFIXES) for file in files)
        files = filesystem.find(root) if nested else files
        inside = Counter(kind for file in files for kind in TABLE_SUFFIXES if str(file).endswith(kind))
        glob = ("/**/*" if nested and inside else "/*") + max(TABLE_SUFFIXES, key=lambda kind: inside[kind])
        raise DataError(
            f"source.path {shown!r} is a folder; name its files with a glob such as {shown.rstrip('/')}{glob}"
        )
    if not is_glob and not filesystem.exists(root):
        raise DataError(f"source.path {shown!r} does not exist; {_list_neighbours(filesystem, root)}")
    tables = [file for file in found if file.lower().endswith(TABLE_SUFFIXES)]
    others = [PurePosixPath(file).name for file in found if file not in {*tables}] if is_glob and tables else []
    found = tables if others else found
    for file in found:
        _check_regular(filesystem, file)
    base = re.split(r"[*?\[]", root)[0].rpartition("/")[0] if is_glob else root.rpartition("/")[0]
    names = tuple(file[len(base) :].lstrip("/") for file in found)
    return LocatedFiles(filesystem, tuple(found), names, tuple(others))


def _is_note(file: str) -> bool:
    """Return whether a file is one that writers of tables leave beside them, such as _SUCCESS or .part.crc."""
    return PurePosixPath(file).name.startswith(("_", "."))


def _check_regular(filesystem: Any, file: str) -> None:
    """Refuse a pipe, socket or device of this machine: reading it could wait for ever, or never end."""
    if "file" in filesystem.protocol and not (path := Path(file)).is_file() and path.exists():
        raise DataError(
            f"source.path {file!r} is a pipe, socket or device, expected a file, which can be read more than once. "
            "Write what it gives into a file first"
        )


def _list_neighbours(filesystem: Any, root: str) -> str:
    """Return which files in the nearest existing folder could be meant, for the message about a missing one.

    Other names stay unsaid: whoever may name a source, in the UI for one, could not read those files through it either.
    """
    folder = re.split(r"[*?\[]", root)[0].rpartition("/")[0]
    while folder and not filesystem.isdir(folder):
        folder = folder.rpartition("/")[0]
    try:
        names = sorted(PurePosixPath(name).name for name in filesystem.ls(folder or "/", detail=False))
    except (OSError, NotImplementedError):
        return "check the path"
    tables = [name for name in names if name.lower().endswith(TABLE_SUFFIXES)]
    found = f"holds: {listed(tables)}" if tables else "holds no table (CSV, Parquet or spreadsheet)"
    return f"the folder {folder or '/'} {found}"
