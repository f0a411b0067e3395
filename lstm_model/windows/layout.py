"""Describe and read segments: the rows of a windows dataset on disk, and the windows in them.

A *segment* is a stretch of one series that holds every window fitting into it. Rows are self-contained: long series
are cut into segments that overlap by context + horizon - 1, and a training row physically contains no value after its
cutoff.
Nothing here needs torch, so that cutting costs a process neither its import nor its memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lstm_model.compute.prefetch import prefetch
from lstm_model.contracts.settings import MIN_CONTEXT
from lstm_model.contracts.windows_meta import Split, WindowsMeta, read_windows_meta
from lstm_model.series.series_table import make_empty_covariates
from lstm_model.timeline.frequency import Frequency


@dataclass(frozen=True)
class Layout:
    """The geometry of a windows dataset."""

    context: int
    horizon: int
    stride: int
    frequency: str
    lead: int
    min_context: int = MIN_CONTEXT
    """Fewest real values in the context of a window."""

    @classmethod
    def from_meta(cls, meta: WindowsMeta, split: Split, *, stride: int | None = None) -> Layout:
        """Return the geometry of a split of a dataset, at its own stride or another."""
        return cls(
            context=meta.context,
            horizon=meta.horizon,
            stride=stride or meta.stride[split],
            frequency=meta.frequency,
            lead=meta.lead[split],
            min_context=meta.min_context[split],
        )

    @property
    def width(self) -> int:
        """Return the number of steps of a segment that holds one window."""
        return self.lead + self.horizon


@dataclass(frozen=True)
class Segment:
    """A stretch of one series; `padding` NaN steps precede `start`, the `ds` of its first real step."""

    unique_id: str
    start: Any
    padding: int
    values: NDArray[np.float32] | NDArray[np.float64]
    """float64 where float32 would round the steps of the series."""
    observed: NDArray[np.bool_]
    past: NDArray[np.float32]
    future: NDArray[np.float32]

    def cut(self, first: int, last: int, frequency: str) -> Segment:
        """Return the steps [first, last), with the start moved along."""
        skipped = max(0, first - self.padding)
        start = self.start
        if skipped:
            start = Frequency(frequency).advance_one(start, skipped)
        cut = slice(first, last)
        return Segment(
            unique_id=self.unique_id,
            start=start,
            padding=max(0, self.padding - first),
            values=self.values[cut],
            observed=self.observed[cut],
            past=self.past[cut],
            future=self.future[cut],
        )

    def copy(self) -> Segment:
        """Return a copy with its own memory: a cut is a view, which would keep its whole series."""
        arrays = (self.values.copy(), self.observed.copy(), self.past.copy(), self.future.copy())
        return Segment(self.unique_id, self.start, self.padding, *arrays)


def read_segments(folder: Path, split: Split, meta: WindowsMeta | None = None) -> Iterator[Segment]:
    """Yield the segments of one split in the order of the files, with the covariates of `meta`, or else its own."""
    meta = meta or read_windows_meta(folder)
    for batch in prefetch(_read_batches(folder / f"split={split}")):
        yield from parse_segments(batch, meta)


def parse_segments(batch: pa.RecordBatch, meta: WindowsMeta) -> Iterator[Segment]:
    """Yield the segments of some rows of a windows dataset; a category that it does not have is 0 throughout."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    values, observed = _split_lists(columns["values"]), _split_lists(columns["observed"])
    if "exact" in columns:  # one of the two is empty
        values = [v if len(v) else e for v, e in zip(values, _split_lists(columns["exact"]), strict=True)]
    none = [np.zeros(len(row), np.float32) for row in values] if meta.categories else []
    absent = {f"{name}={category}" for name, found in meta.categories.items() for category in found}

    def split(column: str, name: str) -> list[NDArray[Any]]:
        return none if column not in columns and name in absent else _split_lists(columns[column])

    past = [split(f"past:{name}", name) for name in meta.past]
    future = [split(f"future:{name}", name) for name in meta.future]
    starts = columns["start"].to_numpy(zero_copy_only=False)
    for row, unique_id in enumerate(columns["unique_id"].to_pylist()):
        yield Segment(
            unique_id=unique_id,
            start=starts[row],
            padding=columns["padding"][row].as_py(),
            values=values[row],
            observed=observed[row],
            past=_stack_columns([c[row] for c in past], len(values[row])),
            future=_stack_columns([c[row] for c in future], len(values[row])),
        )


def _read_batches(folder: Path) -> Iterator[pa.RecordBatch]:
    for path in sorted(folder.glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group).to_batches()


def _split_lists(column: pa.Array) -> list[NDArray[Any]]:
    """Return a list column as one array a row."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    bounds = np.cumsum([0, *column.value_lengths().to_pylist()])
    return [flat[a:b] for a, b in pairwise(bounds)]


def _stack_columns(parts: list[NDArray[np.float32]], num_steps: int) -> NDArray[np.float32]:
    return np.stack(parts, axis=1) if parts else make_empty_covariates(num_steps)
