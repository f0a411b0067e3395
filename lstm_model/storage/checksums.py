"""Keep a file's checksum and name inside the file: for files that are replaced as a whole and that no manifest names.

The last `BLANK` in the content, a sha256 of zeros, is replaced by the sha256 of that very content. So file
and checksum are written in one step, and any reader of JSON or Parquet still reads the file. The name tells a file
from a copy of another one.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json

CHECKSUM = "checksum"
"""The key whose value is the checksum: the last of a JSON object, and of the metadata of a Parquet file."""
NAME = "file"
"""The key before it in a JSON object: the name of the file in its store."""
BLANK = f"sha256:{64 * '0'}"
_FILLED = re.compile(rb"sha256:[0-9a-f]{64}")


class DamagedFileError(ValueError):
    """A file has no checksum, is not what was written, or is no file."""


def add_checksum(content: bytes) -> bytes:
    """Fill in the last `BLANK` of a content."""
    before, _, after = content.rpartition(BLANK.encode())
    return before + _digest(content) + after


def check_content(content: bytes, shown: str) -> None:
    """Check that a content is what `add_checksum` returned.

    Args:
        content: all of it.
        shown: where a person finds the file.

    Raises:
        DamagedFileError: it is not.
    """
    found = list(_FILLED.finditer(content))
    if not found:
        raise DamagedFileError(f"{shown} has no checksum: it is damaged, or was written by hand or an earlier version")
    start, end = found[-1].span()
    if _digest(content[:start] + BLANK.encode() + content[end:]) != content[start:end]:
        raise DamagedFileError(f"{shown} is not what was written: its checksum does not fit its content")


def dump_json(document: BaseModel, name: str) -> bytes:
    """Return a document as JSON with the name of its file and a checksum."""
    content = {**document.model_dump(mode="json"), NAME: name, CHECKSUM: BLANK}
    return add_checksum(json.dumps(content, indent=1).encode())


def load_json(content: bytes, name: str, shown: str) -> dict[str, Any]:
    """Return what `dump_json` was given, as JSON holds it; errors show the file as `shown`.

    Raises:
        DamagedFileError: the content is not what was written, or was written under another name.
    """
    check_content(content, shown)
    try:
        document: dict[str, Any] = from_json(content)  # bounds how deep it is nested
        del document[CHECKSUM]
        written = document.pop(NAME)
    except (ValueError, TypeError, KeyError):
        raise DamagedFileError(f"{shown} is no JSON object with its name and a checksum at its end") from None
    if written != name:
        raise DamagedFileError(f"{shown} was written as {str(written)[:100]!r}: it was renamed or copied")
    return document


def _digest(content: bytes) -> bytes:
    return f"sha256:{hashlib.sha256(content).hexdigest()}".encode()
