"""Read the small JSON files by which runs find artifacts again: records of stages, pins, notes of finished runs.

Whoever may write to the store may have written them, and a crash may have cut them off. So no more is read than such a
file can hold, and nothing counts that is not of the form that this project writes.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from lstm_model.storage.backend import Backend

MOST_BYTES = 16 << 20
"""A note holds 68 bytes for each artifact, also of a panel of many thousand shards."""

Content = TypeVar("Content")


def read_note(backend: Backend, name: str, form: type[Content]) -> Content:
    """Return the content of a small JSON file of the store.

    Args:
        backend: of the store.
        name: of the file.
        form: a pydantic model, or another type that pydantic can check.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another form, too long, or no file.
    """
    content = backend.read(name, most_bytes=MOST_BYTES)
    adapter: TypeAdapter[Any] = TypeAdapter(form)
    try:
        found: Content = adapter.validate_json(content, strict=True)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise ValueError(f"{backend.shown(name)}: {f'{where}: ' if where else ''}{problem['msg']}") from None
    return found
