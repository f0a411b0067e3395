"""Hash the data of a source, so that a run sees whether they changed."""

from __future__ import annotations

import hashlib

from lstm_model.contracts.settings import Source, SourceKind
from lstm_model.sources.files import locate_files

BLOCK_BYTES = 1 << 20


def hash_source(source: Source, *, password: str | None = None) -> str:
    """Return the sha256 (hex) of a source's data, which changes when the data do.

    Files: names relative to the glob, and bytes. SQL: the rows of the query.
    """
    if source.kind is SourceKind.sql:
        from lstm_model.sources.readers import hash_query  # pandas and SQLAlchemy, for those who have a query

        return hash_query(source, password)
    return hash_files(source)


def hash_files(source: Source) -> str:
    """Return the sha256 (hex) of the files' names (relative to the glob) and bytes, read in order of name."""
    assert source.path is not None
    located = locate_files(source.path)
    digest = hashlib.sha256()
    for file, name in zip(located.files, located.names, strict=True):
        content = hashlib.sha256()
        with located.filesystem.open(file, "rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                content.update(block)
        digest.update(f"{len(name)}:{name}:{content.hexdigest()}\n".encode())
    return digest.hexdigest()
