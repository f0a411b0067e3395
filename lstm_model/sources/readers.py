"""Read files and query results as frames, before their columns have roles."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import Source
from lstm_model.contracts.shard import IdRange
from lstm_model.sources.compression import open_text
from lstm_model.sources.files import CSV_SUFFIXES, PARQUET_SUFFIXES, locate_files
from lstm_model.sources.parquet import check_unique, open_parquet, read_series_range
from lstm_model.sources.series_names import is_name_column
from lstm_model.storage.database import connected
from lstm_model.timeline.timestamps import DATE, MISSING_TEXTS, NUMBER, kind_of_texts

SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True)
class RawTable:
    """One file or query result as a frame, before its columns have roles."""

    name: str
    frame: pd.DataFrame
    decimal: str = "."
    reasons: tuple[tuple[str, str], ...] = ()


def read_files(source: Source, *, only: IdRange | None = None) -> list[RawTable]:
    """Read every file of `source.path` as a frame; CSV texts that are not numbers stay texts.

    With `only`, the rows of some series of Parquet files whose column of names `source.columns` says.

    Raises:
        DataError: no such file, an unknown kind of file, an empty or damaged one.
    """
    assert source.path is not None
    located = locate_files(source.path)
    loaded = []
    for file, name in zip(located.files, located.names, strict=True):
        suffix = "".join(PurePosixPath(file.lower()).suffixes)
        if suffix.endswith(PARQUET_SUFFIXES):
            loaded.append(
                _read_parquet(located.filesystem, file, name)
                if only is None
                else RawTable(name, read_series_range(located.filesystem, file, name, source=source, only=only))
            )
        elif suffix.endswith(CSV_SUFFIXES):
            loaded.append(_read_csv(located.filesystem, file, name, source))
        else:
            raise DataError(
                f"{name}: cannot tell the kind of file; expected a name that ends in "
                f"{listed(CSV_SUFFIXES + PARQUET_SUFFIXES, limit=99)}"
            )
        if loaded[-1].frame.empty and only is None:
            raise DataError(f"{name} has column names ({listed(loaded[-1].frame.columns)}) but no rows")
    return loaded


def run_query(source: Source, password: str | None) -> RawTable:
    """Run `source.query`; the password goes to the driver only and is removed from every message.

    Raises:
        ConnectionError: the server cannot be reached or went away, which time may heal.
        DataError: no access, a failing query, or one without rows.
    """
    assert source.url is not None and source.query is not None
    with connected(source.url, password, setting="source.url") as connection:
        result = connection.execution_options(no_parameters=True).exec_driver_sql(source.query)
        columns = list(result.keys()) if result.returns_rows else []
        rows = result.fetchall() if columns else []
    if not columns:
        raise DataError("source.query returned no rows that could be read; give a SELECT")
    if not rows:
        raise DataError(
            f"source.query returned no rows (columns {listed(columns)}); check its WHERE clause and the connection"
        )
    check_unique(columns, "the result of source.query")
    frame = pd.DataFrame.from_records([tuple(row) for row in rows], columns=columns)
    return RawTable("the query", frame)


def hash_query(source: Source, password: str | None) -> str:
    """Return the sha256 (hex) of the query's rows; their order does not matter."""
    frame = run_query(source, password).frame
    rows = np.sort(pd.util.hash_pandas_object(frame, index=False).to_numpy())
    return hashlib.sha256(repr(list(frame.columns)).encode() + rows.tobytes()).hexdigest()


def _read_parquet(filesystem: Any, file: str, name: str) -> RawTable:
    with open_parquet(filesystem, file, name) as stream:
        frame = pd.read_parquet(stream)
    return RawTable(name, frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index())


def _read_csv(filesystem: Any, file: str, name: str, source: Source) -> RawTable:
    with open_text(filesystem, file, name) as stream:
        head = stream.read(SAMPLE_BYTES)
    encoding = _detect_encoding(head)
    # A cut sample ends within a line (and perhaps within a character).
    text = head.decode(encoding, errors="ignore")
    if not text.strip():
        raise DataError(f"{name} is empty (0 bytes of text); expected a CSV file with column names in its first line")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(
            f"{name}, line {line}: a NUL byte, which no text has; save the file as CSV in UTF-8 (no UTF-16)"
        )
    lines = text.splitlines() if len(head) < SAMPLE_BYTES else text.splitlines()[:-1]
    if not lines:
        raise DataError(
            f"{name}: the first line is longer than {SAMPLE_BYTES:,} bytes; expected column names. Bring a table with "
            "so many columns in the long layout (series, time, value)"
        )
    separator = _detect_separator([line for line in lines[:100] if line.strip()])
    options: dict[str, Any] = {"sep": separator, "keep_default_na": False, "index_col": False}
    try:
        _check_width(lines, separator, name)
        sample = pd.read_csv(io.StringIO("\n".join(lines)), dtype=object, **options)
        columns = zip(sample.columns, sample.to_numpy().T.tolist(), strict=True)  # pandas is slow at 2,000 columns
        texts = {column: [text for text in values if isinstance(text, str)] for column, values in columns}
        names = [column for column in sample if is_name_column(column, source)]  # 1.10 and 1E5 stay what they are
        numeric = [c for c in sample if c not in names and kind_of_texts(texts[c]) in ("number", "empty")]
        decimal, reason = _detect_decimal(texts, numeric, source)
        with open_text(filesystem, file, name) as stream:
            frame = pd.read_csv(
                stream,
                encoding=encoding,
                decimal=decimal,
                dtype={column: str for column in sample.columns if column not in numeric},
                na_values={column: MISSING_TEXTS if column in numeric else [""] for column in sample.columns},
                low_memory=False,
                **options,
            )
    except csv.Error as error:
        raise DataError(
            f"{name} cannot be read as CSV: a line near the beginning has a {error} of characters"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError) as error:
        text = str(error).strip()
        raise DataError(f"{name} cannot be read as CSV with the separator {separator!r}: {text}") from error
    if all(re.fullmatch(f"{DATE}|{NUMBER}", str(column).strip()) for column in sample.columns):
        raise DataError(
            f"{name}: the first line ({listed(sample.columns)}) looks like data; expected column names there"
        )
    frame.columns = frame.columns.astype(str).str.strip()
    reasons = [("separator", f"{separator!r} splits every line of {name} alike")] if separator != "," else []
    reasons += [("decimal", reason)] if decimal != "." else []
    reasons += [("encoding", f"{name} is not UTF-8; read as Windows-1252")] if encoding == "cp1252" else []
    return RawTable(name, frame.dropna(how="all", ignore_index=True), decimal, tuple(reasons))


def _detect_encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        head[: SAMPLE_BYTES - 4].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return "cp1252"
    return "utf-8-sig"


def _detect_separator(lines: list[str]) -> str:
    """Return the mark that splits all lines alike into most fields, else the commonest in the first."""

    def rank(mark: str) -> tuple[bool, int, bool]:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=mark)]
        except csv.Error:  # a field too long: the line is divided by another mark
            return False, 0, False
        alike = sum(count == counts[0] for count in counts) >= 0.9 * len(counts)
        return alike and counts[0] > 1, counts[0], mark == ","

    return max(";\t|,", key=rank)


def _check_width(lines: list[str], separator: str, name: str) -> None:
    """Refuse repeated names of columns, and rows with more fields than columns.

    Pandas would rename the ones and drop the others, such as the 5 of an unquoted 1,5.
    """
    header, *rows = csv.reader(lines, delimiter=separator)
    check_unique([text.strip() for text in header if text.strip()], name)
    for number, row in enumerate(rows, start=2):
        if len(row) > len(header):
            raise DataError(
                f"{name}, line {number}: {len(row)} fields, but the first line names {len(header)} columns "
                f"(separator {separator!r}). Quote numbers with a decimal comma, and end no line with a separator"
            )


def _detect_decimal(sample: dict[Any, list[str]], columns: list[str], source: Source) -> tuple[str, str]:
    """Return the decimal mark, judged by the numbers with a comma in them, and the reason."""
    if source.decimal is not None:
        return source.decimal, "set"
    commas = [
        text.strip() for name in columns for text in sample[name] if "," in text and re.fullmatch(NUMBER, text.strip())
    ]
    if not commas or any(re.fullmatch(r"[^.]*,\d{3}(,\d{3})*\.\d*", text) for text in commas):
        return ".", "no decimal commas"
    sure = [text for text in commas if not re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+", text)]
    if not sure:
        raise DataError(
            f"numbers such as {commas[0]!r} are ambiguous: the comma may mark decimals or thousands. "
            "Set source.decimal to ',' or '.'"
        )
    return ",", f"{sure[0]!r} has a decimal comma"
