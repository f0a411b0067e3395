"""Read one text file with separators as a frame; texts that are not numbers stay texts.

The common way is one pass of pandas over the file. Only where that fails, or finds lines that are no data, is the text
read line by line, which costs more and knows every line by its number.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, zip_longest
from typing import Any

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed, number
from lstm_model.contracts.settings import Source
from lstm_model.sources import dialects
from lstm_model.sources.compression import open_text
from lstm_model.sources.dialects import detect_encoding, detect_separator, explain_encoding, split_records
from lstm_model.sources.numbers import MISSING_TEXTS, Decimals, convert_columns, find_decimals
from lstm_model.sources.parquet import check_unique
from lstm_model.sources.raw_table import RawTable, drop_unnamed, name_columns
from lstm_model.sources.series_names import is_name_column
from lstm_model.sources.table_bounds import (
    Header,
    Record,
    find_footer,
    find_header,
    is_blank,
    is_data,
    make_width_error,
)

SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class Text:
    """A text file, or what is left of it without lines that are no data."""

    filesystem: Any
    file: str
    name: str
    encoding: str
    left_out: frozenset[int] = frozenset()
    """Lines that are no data, counted from 1."""

    @contextmanager
    def open(self) -> Iterator[io.TextIOWrapper]:
        """Open it for reading lines as they are, with the marks that end them."""
        with open_text(self.filesystem, self.file, self.name) as stream:
            text = io.TextIOWrapper(stream, encoding=self.encoding, newline="")
            try:
                yield text
            finally:
                text.detach()  # the stream is closed by its owner

    def read_kept(self, first_line: int) -> io.StringIO:
        """Return the lines from one on, without those that are left out."""
        with self.open() as text:
            kept = (t for line, t in enumerate(text, start=1) if line >= first_line and line not in self.left_out)
            return io.StringIO("".join(kept), newline="")


def read_text(filesystem: Any, file: str, name: str, source: Source) -> RawTable:
    """Read a CSV file, or one like it, as a frame.

    Raises:
        DataError: it is empty or no table, or what it holds can be read in two ways.
    """
    with open_text(filesystem, file, name) as stream:
        head = stream.read(SAMPLE_BYTES)
    encoding = source.encoding or detect_encoding(head)
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise DataError(f"source.encoding {encoding!r} is no encoding; expected such as utf-8 or cp1252") from None
    try:
        try:
            if encoding == "utf-8-sig":
                head[: max(0, SAMPLE_BYTES - 4)].decode(encoding)
            return _read_table(Text(filesystem, file, name, encoding), head, source)
        except UnicodeDecodeError:
            if encoding != "utf-8-sig":
                raise
        with open_text(filesystem, file, name) as stream:
            reason = ("encoding", explain_encoding(stream, name))
        return _read_table(Text(filesystem, file, name, "cp1252"), head, source, (reason,))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is no text in the encoding {encoding} ({error.reason}); set source.encoding (--set "
            "source.encoding=cp1252), or save it in UTF-8"
        ) from None
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{name} cannot be read as CSV: {str(error).strip()}") from None


def _read_table(text: Text, head: bytes, source: Source, reasons: tuple[tuple[str, str], ...] = ()) -> RawTable:
    lines = _take_sample(head, text)
    _refuse_other_formats(lines, text.name)
    separator, reason = _find_separator(lines, text.name, source)
    records = list(split_records(lines, separator))
    header = find_header(records, text.name, header_line=source.header_line)
    check_unique([name for name in header.names if name], text.name)
    reader = _Reader(text, separator, header, source)
    return reader.read(records, (*reasons, *reason, *header.reasons))


def _take_sample(head: bytes, text: Text) -> list[str]:
    """Return the first lines of a file, the last of them whole."""
    name, decoded = text.name, head.decode(text.encoding, errors="ignore")
    if not decoded.strip():
        raise DataError(f"{name} is empty (0 bytes of text); expected a CSV file with column names in its first line")
    if "\0" in decoded:
        line = decoded[: decoded.index("\0")].count("\n") + 1
        raise DataError(f"{name}, line {line}: a NUL byte, which no text has; save the file as CSV in UTF-8")
    lines = list(io.StringIO(decoded, newline=""))
    lines = lines if len(head) < SAMPLE_BYTES else lines[:-1]
    if not lines:
        raise DataError(
            f"{name}: the first line is longer than {SAMPLE_BYTES:,} bytes; expected column names. Bring a table with "
            "so many columns in the long layout (series, time, value)"
        )
    return lines


def _find_separator(lines: list[str], name: str, source: Source) -> tuple[str, tuple[tuple[str, str], ...]]:
    if source.separator is not None:
        if len(source.separator) > 1 and source.separator != dialects.SPACES:
            raise DataError(rf"source.separator {source.separator!r} is no separator; expected one character, or \s+")
        return source.separator, ()
    filled = list(islice((line for line in lines if line.strip()), dialects.SAMPLE_LINES))
    separator = detect_separator(filled, name)
    return separator, ((("separator", f"{separator!r} splits every line of {name} alike"),) if separator != "," else ())


def _refuse_other_formats(lines: list[str], name: str) -> None:
    first = next(line for line in lines if line.strip()).strip()
    page, json = re.match(r"<[!?a-zA-Z]", first), re.match(r"\{\s*(\"|$)|\[\s*([\[{]|$)", first)
    if page or json:
        kind = "HTML or XML (perhaps a page that asks for a login)" if page else "JSON"
        raise DataError(f"{name} is {kind}, not CSV: it begins with {first[:40]!r}; export it as CSV or Parquet")


@dataclass(frozen=True)
class _Reader:
    """Reads the rows of a text file below its header."""

    text: Text
    separator: str
    header: Header
    source: Source

    def read(self, records: list[Record], reasons: tuple[tuple[str, str], ...]) -> RawTable:
        header, name = self.header, self.text.name
        rows = [record for record in records[header.first :] if not _is_empty(record)]
        if not rows:
            raise DataError(f"{name} has column names ({listed(header.names)}) but no rows")
        if not self.text.left_out and any(map(self._is_out_of_line, rows)):
            return self._read_cleaned(records, reasons)
        names = name_columns(header.names)
        decimals = self._judge_numbers(rows, names)
        plain = list(decimals.plain)
        first_line = rows[0].line
        try:
            frame = self._parse(first_line, names, plain, decimals.mark)
        except pd.errors.ParserError:
            if self.text.left_out:
                raise
            return self._read_cleaned(records, reasons)
        if not self.text.left_out and self._holds_foreign_lines(frame):
            return self._read_cleaned(records, reasons)
        places = _Places(self, first_line)
        count, why_footer = find_footer(
            frame, header.kinds, footer_lines=self.source.footer_lines, locate=places.locate, name=name
        )
        if count:
            if count == len(frame):
                raise DataError(f"{name} has column names ({listed(header.names)}) but no rows")
            if len(rows) == len(frame):  # what is no data was judged as such
                decimals = self._judge_numbers(rows[:-count], names)
                plain = list(decimals.plain)
            frame = self._parse(first_line, names, plain, decimals.mark, nrows=len(frame) - count)
        if surprising := decimals.find_surprises(frame):
            plain = [column for column in plain if column not in surprising]
            frame = self._parse(first_line, names, plain, decimals.mark, nrows=len(frame))
        frame, why_index = drop_unnamed(frame, header.given_names, name)
        if (blank := frame.isna().all(axis=1).to_numpy()).any():
            places = replace(places, kept=np.flatnonzero(~blank))
            frame = frame[~blank].reset_index(drop=True)
        frame, notes = convert_columns(frame, decimals, self.source.decimal)
        why = (("decimal", decimals.reason),) if decimals.reason else ()
        reasons = (*reasons, *why, *why_footer, *why_index)
        return RawTable(name, frame, decimals.hint, reasons, notes, places.locate)

    def _judge_numbers(self, rows: Sequence[Record], names: list[str]) -> Decimals:
        """Return which columns hold numbers, and their decimal mark, by the first rows."""
        width = len(names)
        texts = list(zip_longest(*(row.cells[:width] for row in rows), fillvalue=""))
        texts += [("",) * len(rows)] * (width - len(texts))  # columns that no row fills
        kept = {name: cells for name, cells in zip(names, texts, strict=True) if not is_name_column(name, self.source)}
        return find_decimals(pd.DataFrame(kept, dtype="str"), self.source.decimal)

    def _parse(
        self, first_line: int, names: list[str], numeric: list[str], decimal: str, nrows: int | None = None
    ) -> pd.DataFrame:
        """Parse the rows from a line on with pandas."""

        def parse(stream: Any) -> pd.DataFrame:
            return pd.read_csv(
                stream,
                sep=self.separator,
                header=None,
                names=names,
                index_col=False,
                keep_default_na=False,
                decimal=decimal,
                dtype={column: str for column in names if column not in numeric},
                na_values={column: MISSING_TEXTS if column in numeric else [""] for column in names},
                low_memory=False,
                nrows=nrows,
            )

        if self.text.left_out:
            return parse(self.text.read_kept(first_line))
        with self.text.open() as stream:
            for _ in range(first_line - 1):
                stream.readline()
            return parse(stream)

    def _is_out_of_line(self, record: Record) -> bool:
        return len(record.cells) > len(self.header.names) or self._is_comment(record.cells[0])

    def _is_comment(self, cell: str) -> bool:
        return cell.lstrip().startswith("#") and self.header.kinds[0] not in ("text", "empty")

    def _holds_foreign_lines(self, frame: pd.DataFrame) -> bool:
        """Return whether there are comments, or the names of the columns once more, below the first rows."""
        first = frame.iloc[:, 0]
        if self.header.kinds[0] in ("text", "empty") or first.dtype.kind in "iufb":
            return False
        texts = first.astype("str").str.strip()
        return bool((texts.str.startswith("#") | texts.eq(self.header.names[0])).any())

    def _read_cleaned(self, records: list[Record], reasons: tuple[tuple[str, str], ...]) -> RawTable:
        """Find the lines that are no data one by one, and read the file without them.

        Raises:
            DataError: a row has more fields than there are columns.
        """
        header, name = self.header, self.text.name
        first_line = next(record.line for record in records[header.first :] if not _is_empty(record))
        with self.text.open() as lines:
            rows = [row for row in _split_from(lines, first_line, self.separator) if not _is_empty(row)]
        width = max((len(row.cells) for row in rows if is_blank(row.cells[len(header.names) :])), default=0)
        names = [*header.names, *[""] * (width - len(header.names))]
        last = next((i for i in range(len(rows) - 1, -1, -1) if is_data(rows[i].cells[:width], header.kinds)), -1)
        foreign = []
        for i, row in enumerate(rows):
            repeats = [cell.strip() for cell in row.cells] == header.names
            if self._is_comment(row.cells[0]) or repeats or (len(row.cells) > len(names) and i > last):
                foreign.append(i)
            elif len(row.cells) > len(names):
                raise make_width_error(name, row.line, len(row.cells), len(header.names))
        ends = [row.line for row in rows[1:]] + [rows[-1].line + 1_000]
        left_out = {line for i in foreign for line in range(rows[i].line, ends[i])}
        if foreign:
            shown = listed([f"line {rows[i].line} ({','.join(rows[i].cells)[:40]!r})" for i in foreign], limit=4)
            why = f"{number(len(foreign), 'row')} of {name} left out, comments, notes or repeated names: {shown}"
            reasons = (*reasons, ("rows left out", why))
        text = replace(self.text, left_out=frozenset(left_out) | {0})
        reader = replace(self, text=text, header=replace(header, names=names))
        gone = {rows[i].line for i in foreign}
        return reader.read([*records[: header.first], *(row for row in rows if row.line not in gone)], reasons)


@dataclass(frozen=True)
class _Places:
    """Knows the lines of rows; counts them only once a message needs one."""

    reader: _Reader
    first_line: int
    kept: np.ndarray | None = None
    """The rows of the file that the frame has, if not all."""

    def locate(self, position: int) -> int:
        row = position if self.kept is None else int(self.kept[position])
        return self.lines[row] if row < len(self.lines) else self.lines[-1]

    @cached_property
    def lines(self) -> list[int]:
        left_out = self.reader.text.left_out
        with self.reader.text.open() as text:
            rows = _split_from(text, self.first_line, self.reader.separator)
            return [row.line for row in rows if not _is_empty(row) and row.line not in left_out]


def _split_from(text: Iterator[str], first_line: int, separator: str) -> Iterator[Record]:
    """Divide the lines from one on into records."""
    for _ in range(first_line - 1):
        next(text)
    for record in split_records(text, separator):
        yield Record(record.line + first_line - 1, record.cells)


def _is_empty(record: Record) -> bool:
    """Return whether a line is blank: pandas passes over it."""
    return len(record.cells) < 2 and is_blank(record.cells)
