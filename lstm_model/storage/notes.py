"""Write and read the small JSON files of a store: the registry, records of stages, pins, notes of runs.

Whoever may write to the store may have written them, and a crash or a disk may have damaged them. So no more is read
than such a file can hold, and nothing counts that is not what this project wrote under that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from lstm_model.storage.backend import Backend
from lstm_model.storage.checksums import DamagedFileError, dump_json, load_json

MOST_BYTES = 16 << 20
"""A note holds 68 bytes for each artifact, also of a panel of many thousand shards."""

Content = TypeVar("Content")
Model = TypeVar("Model", bound=BaseModel)


def write_note(backend: Backend, name: str, content: BaseModel, *, durable: bool = False) -> None:
    """Write a small JSON file of the store, with a checksum; `durable`: it is there after a power cut too."""
    backend.write(name, dump_json(content, name), durable=durable)


def add_note(backend: Backend, name: str, content: BaseModel) -> bool:
    """Write a small JSON file that is not there yet; return False if there is one of that name."""
    return backend.add(name, dump_json(content, name)) is not None


def change_note(backend: Backend, name: str, form: type[Model], change: Callable[[Model | None], Model | None]) -> bool:
    """Replace the content by what `change` makes of it (None: nothing), see `Backend.change` and `read_note`."""

    def rewrite(before: bytes | None) -> bytes | None:
        after = change(None if before is None else _parse(before, backend.shown(name), name, form))
        return None if after is None else dump_json(after, name)

    return backend.change(name, rewrite)


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
    return _parse(backend.read(name, most_bytes=MOST_BYTES), backend.shown(name), name, form)


def _parse(content: bytes, shown: str, name: str, form: type[Content]) -> Content:
    try:
        return TypeAdapter(form).validate_python(load_json(content, name, shown))
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = "".join(f"{part}: " for part in problem["loc"])
        raise DamagedFileError(f"{shown} is of another version: {where}{problem['msg']}") from None
