"""Read Parquet sources in part: which series there are, and the rows of some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import Covariates, FileLayout, Source, SourceKind
from lstm_model.contracts.shard import IdRange
from lstm_model.sources.columns import infer_roles
from lstm_model.sources.date_parts import join_date_parts
from lstm_model.sources.files import PARQUET_SUFFIXES, locate_files
from lstm_model.sources.series_names import convert_ids as convert_ids

UNREADABLE = (OSError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError, pa.ArrowException)
"""What Arrow and pandas raise at damaged bytes, by the place of the damage."""
SAMPLE_GROUPS, SAMPLE_ROWS = 16, 5_000
"""Roles are inferred from the first and last rows of this many row groups, evenly spread."""


def survey_parquet(source: Source, covariates: Covariates) -> tuple[Source, Counter[str]] | None:
    """Find the series of long Parquet files and count their rows, reading no more than the column of names.

    Returns:
        The source with its columns named, and the rows of each series; None if the files are of another kind or
        layout, or no column tells series apart: such a source is read as a whole.

    Raises:
        DataError: no such file, a damaged one, or columns whose roles are not clear.
    """
    if source.kind is not SourceKind.files or source.layout not in (FileLayout.auto, FileLayout.long):
        return None
    assert source.path is not None
    located = locate_files(source.path)
    if not all(PurePosixPath(file.lower()).suffix in PARQUET_SUFFIXES for file in located.files):
        return None
    if any("=" in folder for name in located.names for folder in PurePosixPath(name).parts[:-1]):
        return None  # the names of the folders of a partitioned dataset are columns too
    files = list(zip(located.files, located.names, strict=True))
    sample, _ = join_date_parts(_read_sample(located.filesystem, files), source, covariates)
    roles = infer_roles(sample, source, covariates)
    if roles.layout is not FileLayout.long or roles.unique_id is None or "," in roles.unique_id:
        return None
    columns = source.columns.model_copy(update={"unique_id": roles.unique_id, "ds": roles.ds, "y": roles.y})
    settled = source.model_copy(update={"layout": roles.layout, "columns": columns})
    rows: Counter[str] = Counter()
    for file, name in files:
        with open_parquet(located.filesystem, file, name) as stream:
            for names in _read_names(pq.ParquetFile(stream), roles.unique_id, name):
                counts = pc.value_counts(names)
                texts = convert_ids(counts.field("values").to_pandas())
                for text, count in zip(texts, counts.field("counts").to_pylist(), strict=True):
                    rows[text] += count
    return settled, rows


def read_series_range(filesystem: Any, file: str, name: str, *, source: Source, only: IdRange) -> pd.DataFrame:
    """Read the rows of one file that belong to the series of a range; skip row groups that hold none."""
    column = source.columns.unique_id
    assert column is not None
    parts = []
    with open_parquet(filesystem, file, name) as stream:
        parquet = pq.ParquetFile(stream)
        for group in range(parquet.num_row_groups):
            if _may_hold(parquet, group, column, only):
                rows = parquet.read_row_group(group)
                parts.append(rows.filter(_mark_rows(rows.column(column), only)))
        table = pa.concat_tables(parts) if parts else parquet.schema_arrow.empty_table()
    return _to_frame(table, name)


def check_unique(names: Sequence[str], where: str) -> None:
    """Refuse two columns of one name: which of them is meant cannot be known."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise DataError(f"{where} has more than one column named {listed(map(repr, twice))}; give each its own name")


@contextmanager
def open_parquet(filesystem: Any, file: str, name: str) -> Iterator[Any]:
    """Open a Parquet file; an error in its content becomes one that names the file.

    Raises:
        DataError: it cannot be read as Parquet.
    """
    try:
        with filesystem.open(file, "rb") as stream:
            check_unique(pq.ParquetFile(stream).schema_arrow.names, name)
            stream.seek(0)
            yield stream
    except (ConnectionError, TimeoutError, DataError):
        raise
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read as Parquet: {' '.join(str(error).split())}") from error


def _read_sample(filesystem: Any, files: list[tuple[str, str]]) -> pd.DataFrame:
    """Read rows from all parts of the files: the first rows of a sorted file are of a single series."""
    parts = []
    for file, name in [files[i] for i in np.unique(np.linspace(0, len(files) - 1, SAMPLE_GROUPS).astype(int))]:
        with open_parquet(filesystem, file, name) as stream:
            parquet = pq.ParquetFile(stream)
            groups = np.linspace(0, parquet.num_row_groups - 1, max(1, SAMPLE_GROUPS // len(files))).astype(int)
            for group in np.unique(groups) if parquet.num_row_groups else ():
                rows = parquet.read_row_group(int(group))
                parts += [rows.slice(0, SAMPLE_ROWS), rows.slice(max(SAMPLE_ROWS, rows.num_rows - SAMPLE_ROWS))]
    if not parts:
        raise DataError(f"{files[0][1]} has no rows; expected at least horizon + 2 observations of one series")
    return pd.concat([_to_frame(part, files[0][1]) for part in parts], ignore_index=True)  # types may differ


def _to_frame(table: pa.Table, name: str) -> pd.DataFrame:
    """Return a table as a frame; what pandas has noted about it in the file may be damaged too."""
    try:
        frame: pd.DataFrame = table.to_pandas()
    except UNREADABLE as error:
        raise DataError(f"{name} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()


def _read_names(parquet: pq.ParquetFile, column: str, name: str) -> Iterator[pa.Array]:
    if column not in parquet.schema_arrow.names:
        raise DataError(f"{name} lacks the column {column!r}; all files of one source need the same columns")
    for group in range(parquet.num_row_groups):
        names = parquet.read_row_group(group, columns=[column]).column(0)
        if names.null_count:
            raise DataError(f"{name}: the name of the series (column {column!r}) is empty in {names.null_count:,} rows")
        yield from names.chunks


def _may_hold(parquet: pq.ParquetFile, group: int, column: str, only: IdRange) -> bool:
    """Return whether a row group may have rows of the series, by its statistics or else by its names."""
    at = parquet.schema_arrow.get_field_index(column)
    found = parquet.metadata.row_group(group).column(at).statistics
    if found is not None and found.has_min_max and isinstance(found.min, str) and _is_plain(found.min, found.max):
        return only.may_hold(found.min, found.max)
    names = parquet.read_row_group(group, columns=[column]).column(0).unique()
    return any(map(only.holds, convert_ids(names.to_pandas())))


def _is_plain(first: str, last: str) -> bool:
    """Return whether no name between the two begins with a space: names are compared without it."""
    return first.lstrip() == first and last[:1].isascii()


def _mark_rows(names: pa.ChunkedArray, only: IdRange) -> pa.Array:
    """Return a mask of the rows that belong to the series."""
    coded = names.combine_chunks()
    coded = coded if pa.types.is_dictionary(coded.type) else coded.dictionary_encode()
    wanted = np.array([only.holds(text) for text in convert_ids(coded.dictionary.to_pandas())], bool)
    return pa.array(wanted[coded.indices.to_numpy(zero_copy_only=False)])
