"""Read files and query results as frames, before their columns have roles."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import Source
from lstm_model.contracts.shard import IdRange
from lstm_model.sources.compression import open_archive
from lstm_model.sources.files import CSV_SUFFIXES, PARQUET_SUFFIXES, SHEET_SUFFIXES, TABLE_SUFFIXES, locate_files
from lstm_model.sources.parquet import check_unique, open_parquet, read_series_range
from lstm_model.sources.partitions import add_partition_keys
from lstm_model.sources.raw_table import RawTable, count_below_names
from lstm_model.sources.spreadsheets import read_spreadsheet
from lstm_model.sources.text_files import read_text


def read_files(source: Source, *, only: IdRange | None = None) -> list[RawTable]:
    """Read every file of `source.path` as a frame; CSV texts that are not numbers stay texts.

    With `only`, the rows of some series of Parquet files whose column of names `source.columns` says.

    Raises:
        DataError: no such file, an unknown kind of file, an empty or damaged one.
    """
    assert source.path is not None
    located = locate_files(source.path)
    loaded, empty = [], []
    for file, name in zip(located.files, located.names, strict=True):
        if only is not None:
            frame = read_series_range(located.filesystem, file, name, source=source, only=only)
            loaded.append(RawTable(name, frame))
            continue
        if len(located.files) > 1 and located.filesystem.size(file) == 0:
            empty.append(name)
            continue
        table = _read_file(located.filesystem, file, name, source)
        if table.frame.empty:
            empty.append(name)
            continue
        loaded.append(add_partition_keys(table))
    if not loaded:
        raise DataError(f"{listed(empty)}: column names, but no rows")
    why = [("empty files", f"{listed(empty)}: no rows, left out")] if empty else []
    why += [("other files", f"{listed(located.others)}: no tables, left out")] if located.others else []
    return [replace(loaded[0], reasons=(*loaded[0].reasons, *why)), *loaded[1:]]


def _read_file(filesystem: Any, file: str, name: str, source: Source) -> RawTable:
    lower = file.lower()
    if lower.endswith(PARQUET_SUFFIXES):
        return _read_parquet(filesystem, file, name)
    if lower.endswith(CSV_SUFFIXES):
        return read_text(filesystem, file, name, source)
    if lower.endswith(SHEET_SUFFIXES):
        return read_spreadsheet(filesystem, file, name, source)
    if lower.endswith(".zip"):
        with open_archive(filesystem, file, name) as (archive, inside):
            return _read_file(archive, inside, f"{name}/{inside}", source)
    raise DataError(
        f"{name}: cannot tell the kind of file; expected a name that ends in {listed(TABLE_SUFFIXES, limit=99)}"
    )


def run_query(source: Source, password: str | None) -> RawTable:
    """Run `source.query`; the password goes to the driver only and is removed from every message.

    Raises:
        ConnectionError: the server cannot be reached or went away, which time may heal.
        DataError: no access, a failing query, or one without rows.
    """
    from lstm_model.storage.database import connected  # SQLAlchemy takes a while to load, which files need not wait for

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
    frame = frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
    if isinstance(frame.columns, pd.MultiIndex):  # ("load", "mean") is load_mean
        frame.columns = pd.Index(["_".join(str(part) for part in parts if part != "") for parts in frame.columns])
        check_unique(list(frame.columns), name)
    return RawTable(name, frame, locate=count_below_names)
