"""Open a text file that may be compressed; its first bytes must be of the kind that its name says."""

from __future__ import annotations

import bz2
import gzip
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
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


@contextmanager
def open_text(filesystem: Any, file: str, name: str) -> Iterator[Any]:
    """Open a file for reading its text as bytes, decompressed.

    Raises:
        DataError: no permission, damaged, or of another kind than its name says.
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
        with filesystem.open(file, "rb") as stream, opener(stream) as text:
            yield text
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
