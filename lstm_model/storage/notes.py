"""Write and read the small JSON files by which runs find artifacts again: records of stages, pins, notes of runs.

Whoever may write to the store may have written them, and a crash or a disk may have damaged them. So no more is read
than such a file can hold, and nothing counts that is not what this project wrote.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from lstm_model.storage.backend import Backend
from lstm_model.storage.checksums import DamagedFileError, dump_json, load_json

MOST_BYTES = 16 << 20
"""A note holds 68 bytes for each artifact, also of a panel of many thousand shards."""

Content = TypeVar("Content")


def write_note(backend: Backend, name: str, content: BaseModel, *, durable: bool = False) -> None:
    """Write a small JSON file of the store, with a checksum; `durable`: it is there after a power cut too."""
    backend.write(name, dump_json(content), durable=durable)


def read_note(backend: Backend, name: str, form: type[Content]) -> Content:
    """Return the content of a small JSON file of the store.

    Args:
        backend: of the store.
        name: of the file.
        form: a pydantic model, or another type that pydantic can check.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is not what was written, of another form, too long, or no file.
    """
    shown = backend.shown(name)
    try:
        content = backend.read(name, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise DamagedFileError(str(error)) from None
    adapter: TypeAdapter[Any] = TypeAdapter(form)
    try:
        found: Content = adapter.validate_python(load_json(content, shown))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DamagedFileError(f"{shown}: {f'{where}: ' if where else ''}{problem['msg']}") from None
    return found
