"""Open a text file that may be compressed; its first bytes must be of the kind that its name says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
from fsspec.implementations.zip import ZipFileSystem

from lstm_model.contracts.findings import DataError, listed
from lstm_model.sources.files import TABLE_SUFFIXES

OPENERS: dict[str, Callable[[Any], Any]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": partial(pa.CompressedInputStream, compression="zstd"),
}
FIRST_BYTES = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\0": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip or .xlsx",
    b"PAR1": ".parquet",
}
LONGEST_LINE = 1 << 24
"""Bytes without an end of line. More is no table, though a small compressed file may hold gigabytes of it."""
READ_AHEAD = 1 << 18
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


@contextmanager
def open_text(filesystem: Any, file: str, name: str) -> Iterator[Any]:
    """Open a file for reading its text as bytes, decompressed.

    Raises:
        DataError: no permission, damaged, of another kind than its name says, or without ends of lines.
    """
    suffix = PurePosixPath(file.lower()).suffix
    suffix = suffix if suffix in OPENERS else ""
    try:
        with filesystem.open(file, "rb") as stream:
            first = stream.read(6)
            found = next((kind for begin, kind in FIRST_BYTES.items() if first.startswith(begin)), "")
            if first and found != suffix:
                say = f"its first bytes are those of {found}" if found else f"its first bytes are not those of {suffix}"
                raise DataError(f"{name}: {say}, unlike its name; rename it, or write it again as CSV")
            opener: Callable[[Any], Any] = OPENERS.get(suffix, _leave_open)
            with _rewind(stream, filesystem, file) as whole, opener(whole) as content:
                yield io.BufferedReader(_Lines(content, name), READ_AHEAD)
    except PermissionError as error:
        raise DataError(
            f"{name} cannot be opened: {error.strerror or error}; give this user the right to read"
        ) from None
    except (ConnectionError, TimeoutError):  # of a network: the next try may be luckier
        raise
    except (*DAMAGED, OSError) as error:
        # bz2 and Arrow tell of damaged content by an OSError without the number of an error of the system.
        if isinstance(error, OSError) and not isinstance(error, DAMAGED) and (error.errno or not suffix):
            raise
        raise DataError(
            f"{name} is damaged or cut off, so that it cannot be decompressed ({error}); bring it again"
        ) from None


@contextmanager
def open_archive(filesystem: Any, file: str, name: str) -> Iterator[tuple[Any, str]]:
    """Open a .zip archive as a filesystem, with the name of the only table inside.

    Raises:
        DataError: damaged or encrypted, or not exactly one table inside.
    """
    try:
        with filesystem.open(file, "rb") as stream:
            archive = ZipFileSystem(fo=stream)
            inside = [path for path in archive.find("") if not re.search(r"(^|/)(__MACOSX/|[._])", path)]
            tables = [path for path in inside if path.lower().endswith(TABLE_SUFFIXES)]
            if len(tables) != 1:
                found = f"{len(tables)} tables ({listed(tables)})" if tables else f"no table ({listed(inside)})"
                raise DataError(
                    f"{name} holds {found}, expected one; unpack it and name the files with a glob such as folder/*.csv"
                )
            yield archive, tables[0]
    except RuntimeError as error:  # of a file that is encrypted
        raise DataError(f"{name} cannot be unpacked: {error}; unpack it first") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{name} is no zip archive, or damaged ({error}); bring it again, or unpack it first") from None


@contextmanager
def _leave_open(stream: Any) -> Iterator[Any]:
    yield stream


@contextmanager
def _rewind(stream: Any, filesystem: Any, file: str) -> Iterator[Any]:
    """Yield the file from its beginning: a second request only where a server cannot give parts of it."""
    try:
        stream.seek(0)
    except (OSError, ValueError):
        with filesystem.open(file, "rb") as again:
            yield again
    else:
        yield stream


class _Lines(io.RawIOBase):
    """Read bytes whose lines are bounded."""

    def __init__(self, content: Any, name: str) -> None:
        self.content, self.name, self.ended, self.begun = content, name, 0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.content.read(len(buffer))
        last = data.rfind(b"\n")
        self.ended += data.count(b"\n")
        self.begun = self.begun + len(data) if last < 0 else len(data) - last - 1
        if self.begun > LONGEST_LINE:
            raise DataError(
                f"{self.name}, line {self.ended + 1}: longer than {LONGEST_LINE:,} bytes, which no row of a table is; "
                "bring a CSV file with one row a line"
            )
        buffer[: len(data)] = data
        return len(data)
