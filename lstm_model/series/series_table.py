"""Read the series table that ingest wrote, one series at a time.

Targets are read as float32, which halves what windows take. A series whose steps are so small beside its level that
float32 would round them keeps float64, see `choose_precision`; wherever its values go, the type says so.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lstm_model.compute.prefetch import prefetch
from lstm_model.contracts.settings import MOST_CATEGORIES, Covariates
from lstm_model.contracts.shard import IdRange
from lstm_model.series.one_hot import Categories, encode_categories, find_categories

BLOCK_ROWS = 1 << 20
"""Most rows read at once."""
FINE = 1000 * 2.0**-24
"""A series whose mean step is a smaller share of its level is *fine*: float32, with 24 bits, would round a thousandth
of its step, or more."""


@dataclass(frozen=True)
class SeriesRows:
    """One series of the table, still whole."""

    unique_id: str
    ds: NDArray[Any]
    y: NDArray[np.float32] | NDArray[np.float64]
    """float64 where float32 would round the steps."""
    observed: NDArray[np.bool_]
    past: NDArray[np.float32]
    future: NDArray[np.float32]
    """May go on beyond the last step."""
    texts: Categories = field(default_factory=dict)
    """What the codes stand for in those covariates that are text."""

    def encode(self, covariates: Covariates, known: Categories) -> SeriesRows:
        """Return the series with a column for each known category, see `one_hot.encode_categories`."""
        past = encode_categories(self.past, covariates.past, texts=self.texts, known=known)
        future = encode_categories(self.future, covariates.future, texts=self.texts, known=known)
        return replace(self, past=past, future=future)


@dataclass(frozen=True)
class EncodedStatic:
    """Static covariates as numbers."""

    columns: list[str]
    categories: dict[str, list[str]]
    """Of each covariate that is text."""
    rows: dict[str, list[float]]
    """The values of the columns, by series."""
    unseen: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """The series of each covariate and category that is not known."""


def read_series(table: Path, covariates: Covariates) -> Iterator[SeriesRows]:
    """Yield the series of a table one after another; one series and two blocks of rows are in memory.

    Texts of past and future covariates become codes, see `SeriesRows.texts`.
    """
    names = ["unique_id", "ds", "y", "observed", *covariates.past, *covariates.future]
    texts = find_categories(table, names[4:])
    held: list[pa.RecordBatch] = []
    for batch in prefetch(_read_batches(table, names)):
        for first, last in pairwise([*_find_starts(batch), batch.num_rows]):
            piece = batch.slice(first, last - first)
            if held and held[0].column("unique_id")[0].as_py() != piece.column("unique_id")[0].as_py():
                yield _join_rows(held, covariates, texts)
                held = []
            held.append(piece)
    if held:
        yield _join_rows(held, covariates, texts)


def count_rows(table: Path) -> dict[str, int]:
    """Return the number of rows of each series."""
    counts = pq.read_table(table, columns=["unique_id"], read_dictionary=["unique_id"]).column(0).value_counts()
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def write_range(table: Path, target: Path, only: IdRange) -> int:
    """Write the rows of the series of a range as a table of their own; return their number."""
    bounds = [pads.field("unique_id") >= only.first] if only.first is not None else []
    bounds += [pads.field("unique_id") < only.before] if only.before is not None else []
    condition = functools.reduce(operator.and_, bounds) if bounds else None
    rows = pads.dataset(table, format="parquet").to_table(filter=condition)
    write_table(rows, target)
    return int(rows.num_rows)


def write_table(rows: pa.Table, target: Path) -> None:
    """Write a series table, with the compression and row groups that all have."""
    pq.write_table(rows, target, compression="zstd", compression_level=1, row_group_size=BLOCK_ROWS)


def encode_static(table: Path, names: tuple[str, ...], *, known: dict[str, list[str]] | None = None) -> EncodedStatic:
    """Encode static covariates as numbers: numeric ones as they are, text as one column a category.

    Args:
        table: the Parquet file that ingest wrote.
        names: of the covariates.
        known: the categories that a model knows, by text covariate; any other category is 0 in all its columns.

    Raises:
        ValueError: a text covariate has more than 64 categories, or is one that the model knows as numbers.
    """
    if not names:
        return EncodedStatic([], {}, {})
    batches = (batch.take(_find_starts(batch)) for batch in _read_batches(table, ["unique_id", *names]))
    found = pd.concat([batch.to_pandas().astype({"unique_id": "str"}) for batch in batches], ignore_index=True)
    frame = found.drop_duplicates("unique_id")
    parts, categories, unseen = [], {}, dict[tuple[str, str], list[str]]()
    for name in names:
        if name not in (known or {}) and pd.api.types.is_numeric_dtype(frame[name]):
            parts.append(frame[[name]].astype(float))
            continue
        if known is not None and name not in known:
            raise ValueError(
                f"static covariate {name!r} has text in it (series {frame['unique_id'].iloc[0]!r}: "
                f"{frame[name].iloc[0]!r}); the model was trained on numbers. Mend the source, or train again"
            )
        categories[name] = known[name] if known else sorted(frame[name].astype(str).unique())
        if len(categories[name]) > MOST_CATEGORIES:
            raise ValueError(
                f"static covariate {name!r} has {len(categories[name])} categories; at most {MOST_CATEGORIES} are "
                "supported. Group the rare ones, or leave it out (it may be an identifier)"
            )
        texts = frame[name].astype(str)
        for text in sorted({*texts} - {*categories[name]}):
            unseen[name, text] = frame.loc[texts.eq(text), "unique_id"].tolist()
        parts.append(pd.DataFrame({f"{name}={c}": texts.eq(c).astype(float) for c in categories[name]}))
    encoded = pd.concat(parts, axis=1)
    rows = dict(zip(frame["unique_id"], encoded.to_numpy().tolist(), strict=True))
    return EncodedStatic(list(encoded.columns), categories, rows, unseen)


def read_first_id(table: Path) -> str:
    """Return the name of the first series: the table is sorted by name."""
    with pq.ParquetFile(table) as file:
        name: str = file.read_row_group(0, columns=["unique_id"]).column(0)[0].as_py()
    return name


def find_last_observed(table: Path) -> Any:
    """Return the latest observed `ds` of the panel; read only the statistics of blocks that cannot hold it."""
    file = pq.ParquetFile(table)
    ends = [_read_last_ds(file, group) for group in range(file.num_row_groups)]
    latest: Any = None
    for group in sorted(range(len(ends)), key=lambda group: ends[group], reverse=True):
        if latest is not None and ends[group] <= latest:
            break
        rows = file.read_row_group(group, columns=["ds", "observed"])
        observed = rows.column("ds").to_numpy()[rows.column("observed").to_numpy()]
        if len(observed) and (latest is None or observed.max() > latest):
            latest = observed.max()
    assert latest is not None, "ingest lets no table without observations pass"
    return latest


def _read_last_ds(file: pq.ParquetFile, group: int) -> Any:
    """Return the latest `ds` of a row group, from its statistics."""
    column = file.metadata.row_group(group).column(file.schema_arrow.get_field_index("ds"))
    if column.statistics is None or not column.statistics.has_min_max:
        return file.read_row_group(group, columns=["ds"]).column("ds").to_numpy().max()
    last = column.statistics.max
    return last if isinstance(last, int) else np.datetime64(last, "us")


def _read_batches(table: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield rows, one row group at a time, with names of series as numbers to save their repetition.

    `iter_batches` over the whole file would hold on to memory as it goes.
    """
    file = pq.ParquetFile(table, read_dictionary=["unique_id"])
    for group in range(file.num_row_groups):
        yield from file.read_row_group(group, columns=columns).to_batches(max_chunksize=BLOCK_ROWS)


def _find_starts(batch: pa.RecordBatch) -> list[int]:
    """Return the rows of a batch at which another series begins."""
    codes = batch.column("unique_id").indices.to_numpy()
    return [0, *(np.flatnonzero(codes[1:] != codes[:-1]) + 1).tolist()]


def _join_rows(batches: list[pa.RecordBatch], covariates: Covariates, texts: Categories) -> SeriesRows:
    rows = pa.Table.from_batches(batches)

    def read_numbers(name: str) -> NDArray[np.float32]:
        column = rows.column(name)
        if name in texts:
            column = pc.index_in(column, pa.array(texts[name], column.type), skip_nulls=True)
        return np.asarray(column.to_numpy(), np.float32)

    def stack(names: tuple[str, ...]) -> NDArray[np.float32]:
        return np.stack([read_numbers(n) for n in names], axis=1) if names else make_empty_covariates(rows.num_rows)

    return SeriesRows(
        unique_id=rows.column("unique_id")[0].as_py(),
        ds=rows.column("ds").to_numpy(),
        y=choose_precision(rows.column("y").to_numpy()),
        observed=rows.column("observed").to_numpy(),
        past=stack(covariates.past),
        future=stack(covariates.future),
        texts=texts,
    )


def choose_precision(y: NDArray[Any]) -> NDArray[np.float32] | NDArray[np.float64]:
    """Return the values of one series as float32, or as float64 where float32 would round their steps."""
    if _is_fine(y):
        return np.asarray(y, np.float64)
    return np.asarray(y, np.float32)


def _is_fine(y: NDArray[Any]) -> bool:
    """Return whether the mean step of a series is a smaller share of its level than `FINE`."""
    if len(y) < 2:
        return False
    least = FINE * max(np.fmax.reduce(y), -np.fmin.reduce(y)) * (len(y) - 1)
    total = 0.0
    for first in range(0, len(y), 4096):  # of usual series, the first block is enough
        block = y[first : first + 4097]
        step = np.abs(block[1:] - block[:-1])
        found = step.sum()
        total += found if found == found else np.nansum(step)  # which takes four times as long
        if total >= least:
            return False
    return total > 0


def make_empty_covariates(num_steps: int) -> NDArray[np.float32]:
    """Return a table of no columns, one row for each step."""
    return np.zeros((num_steps, 0), np.float32)
