"""Write tables as Parquet files that hold checksums, and read parts of them that are what was written.

The footer holds the sha256 of each row group, and its own as `checksums` has it. A reader checks the footer and those
row groups that it reads, so that a question about yesterday does not read years. (The format's own checksums leave the
footer and the headers of pages out.)
"""

from __future__ import annotations

import hashlib
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from lstm_model.storage.checksums import BLANK, CHECKSUM, DamagedFileError, add_checksum, check_content
from lstm_model.storage.drafts import open_regular

ROW_GROUP_ROWS = 1 << 17
NAME = "name"
"""In the footer's metadata: the name of the file, where that says something which a renaming would make untrue."""
ROW_GROUPS = "row_groups"
"""In the footer's metadata: the end of each row group in the file, and the sha256 of its bytes."""
MAGIC = b"PAR1"


def dump_table(table: pa.Table, *, name: str = "") -> bytes:
    """Return a table as a Parquet file with checksums, which says its name if it has one."""
    buffer, row_groups, start = io.BytesIO(), [], 0
    with pq.ParquetWriter(buffer, table.schema, compression="zstd") as writer:
        for first in range(0, table.num_rows, ROW_GROUP_ROWS):
            writer.write_table(table.slice(first, ROW_GROUP_ROWS), row_group_size=ROW_GROUP_ROWS)
            end = buffer.tell()
            with buffer.getbuffer() as content:
                row_groups.append((end, hashlib.sha256(content[start:end]).hexdigest()))
            start = end
        writer.add_key_value_metadata({NAME: name, ROW_GROUPS: json.dumps(row_groups), CHECKSUM: BLANK})
    buffer.seek(start := max(start, len(MAGIC)))
    footer = add_checksum(buffer.read())
    buffer.seek(start)
    buffer.write(footer)
    return buffer.getvalue()


class CheckedParquet:
    """A Parquet file from `dump_table`, whose footer was checked.

    Args:
        source: a file of this machine, or the content of one.
        shown: where a person finds it.
        name: what it was written as, see `dump_table`.

    Raises (the methods too):
        DamagedFileError: what was read is not what was written.
    """

    def __init__(self, source: Path | bytes, shown: str, *, name: str = "") -> None:
        self.source, self.shown = source, shown
        footer = self._read_footer()
        check_content(footer, self.shown)
        self.metadata = pq.read_metadata(pa.BufferReader(MAGIC + footer))
        known = self.metadata.metadata or {}
        if (written := known.get(NAME.encode(), b"").decode()) != name:
            raise DamagedFileError(f"{self.shown} was written as {written!r}: it was renamed or copied")
        self._row_groups = [(0, ""), *json.loads(known.get(ROW_GROUPS.encode(), b"[]"))]
        if (self._row_groups[-1][0] or len(MAGIC)) != self._footer_start:
            raise DamagedFileError(f"{self.shown} is not what was written: it has bytes too many or too few")

    @property
    def schema(self) -> pa.Schema:
        return self.metadata.schema.to_arrow_schema()

    def read(
        self, *, schema: pa.Schema | None = None, condition: Any = None, columns: list[str] | None = None
    ) -> pa.Table:
        """Return the rows that meet a condition; columns of `schema` that the file does not have are empty."""
        schema = schema or self.schema
        fragment = pads.ParquetFileFormat().make_fragment(self._for_arrow())
        fragment = fragment if condition is None else fragment.subset(condition, schema=schema)
        self._check({row_group.id for row_group in fragment.row_groups})
        return fragment.to_table(schema=schema, columns=columns, filter=condition)

    def read_last_rows(self, columns: list[str]) -> pa.Table:
        """Return the last row group."""
        last = self.metadata.num_row_groups - 1
        self._check({last})
        with pq.ParquetFile(self._for_arrow()) as file:
            return file.read_row_group(last, columns=columns)

    def _check(self, numbers: set[int]) -> None:
        """Check the bytes of row groups."""
        with self._open() as file:
            for number, ((start, _), (end, sha256)) in enumerate(pairwise(self._row_groups)):
                if number in numbers:
                    file.seek(start)
                    if hashlib.sha256(file.read(end - start)).hexdigest() != sha256:
                        raise DamagedFileError(f"{self.shown} is not what was written: row group {number} is damaged")

    def _open(self) -> BinaryIO:
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else open_regular(self.source)

    def _for_arrow(self) -> Any:
        return pa.BufferReader(self.source) if isinstance(self.source, bytes) else pa.OSFile(str(self.source))

    def _read_footer(self) -> bytes:
        """Return all after the row groups."""
        with self._open() as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - 8))
            end = file.read()
            self._footer_start = size - 8 - int.from_bytes(end[:4], "little")
            if self._footer_start < len(MAGIC) or end[4:] != MAGIC:
                raise DamagedFileError(f"{self.shown} is no Parquet file, or its end is missing")
            file.seek(self._footer_start)
            return file.read()
