"""Cut the series table into segments and write them as Parquet, one series in memory at a time.

Splits are by time, never at random. A training segment ends at the training cutoff; a validation or test segment
begins one context before its targets, so that its first window forecasts the first step after the earlier split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import MIN_CONTEXT, Covariates, WindowSpec
from lstm_model.contracts.shard import Frame
from lstm_model.contracts.windows_meta import (
    SPLITS,
    CovariateKind,
    Scaler,
    Split,
    WindowsMeta,
    add_moments,
    keep_learned,
    read_windows_meta,
    write_windows_meta,
)
from lstm_model.series.calendar_columns import CalendarColumns, find_countries, look_up_holidays
from lstm_model.series.one_hot import Categories, find_categories, name_columns
from lstm_model.series.series_table import EncodedStatic, SeriesRows, encode_static, find_last_observed, read_series
from lstm_model.timeline.frequency import WEEKS_BEFORE, Frequency
from lstm_model.windows.layout import Layout, Segment

SEGMENT_WINDOWS = 65_536
"""Most windows in a segment: long series spread over several rows, so that readers can share them."""
ROW_GROUP_STEPS = 1 << 20
"""Steps buffered before a row group is written, which bounds the memory."""


@dataclass(frozen=True)
class Cutoffs:
    """Last `ds` of each split; training ends at `train`, its targets included."""

    train: Any
    validation: Any
    test: Any


@dataclass
class Moments:
    """Running sums of one covariate over training steps, so that scaling never sees the future."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        known = values[np.isfinite(values)].astype(np.float64)
        self.count += len(known)
        self.total += float(known.sum())
        self.squares += float((known**2).sum())

    def to_list(self) -> list[float]:
        """Return [count, total, squares]; the lists of several moments add up."""
        return [self.count, self.total, self.squares]

    def to_scale(self) -> list[float]:
        """Return [mean, deviation]; a constant covariate has deviation 1."""
        if not self.count:
            return [0.0, 1.0]
        mean = self.total / self.count
        deviation = max(self.squares / self.count - mean**2, 0.0) ** 0.5
        return [mean, deviation if deviation > 1e-8 * max(1.0, abs(mean)) else 1.0]


def plan_cutoffs(end: Any, spec: WindowSpec, *, fold: int = 0) -> Cutoffs:
    """Return cutoffs counted back from `end`, the last observed `ds`; fold k is k test spans earlier.

    Args:
        end: datetime64 or int.
        spec: the resolved window settings.
        fold: 0 is the latest.
    """

    def step_back(steps: int) -> Any:
        return Frequency(spec.frequency).advance_one(end, -steps)

    test = fold * spec.test_steps
    return Cutoffs(
        train=step_back(test + spec.test_steps + spec.validation_steps),
        validation=step_back(test + spec.test_steps),
        test=step_back(test),
    )


def write_windows(
    table: Path, folder: Path, *, spec: WindowSpec, covariates: Covariates, fold: int = 0, frame: Frame | None = None
) -> int:
    """Cut a series table (Parquet, sorted by unique_id and ds) into a windows dataset.

    Args:
        table: the Parquet file that ingest wrote.
        folder: receives `split=train|validation|test/part-0.parquet` and `windows.json`.
        spec: the geometry and the sizes of the splits.
        covariates: the declared covariate columns of the table.
        fold: which cutoffs, see `plan_cutoffs`.
        frame: of the whole panel, if the table is a shard of it.

    Returns:
        The number of training windows, before those without any real target are left out.
    """
    static = encode_static(table, covariates.static, known=frame.categories if frame else None)
    end = Frequency(frame.frequency).parse_ds(frame.end) if frame else find_last_observed(table)
    common = plan_cutoffs(end, spec, fold=fold)
    names = (*covariates.past, *covariates.future)
    known = {n: c for n, c in frame.categories.items() if n in names} if frame else find_categories(table, names)
    calendar = spec.calendar and look_up_holidays(spec.calendar, _list_countries(spec, static), end)
    columns = _name_columns(covariates, known, calendar.columns if calendar else ())
    computed = calendar and CalendarColumns(
        calendar, spec.frequency, find_countries(calendar, static.columns, static.rows)
    )
    ahead = max(spec.test_steps, spec.validation_steps)
    moments = {name: Moments() for name in (*columns.past, *columns.future)}
    counts = dict.fromkeys(SPLITS, 0)
    with ExitStack() as stack:
        writers = {split: SplitWriter(folder, split, spec, columns) for split in SPLITS}
        for writer in writers.values():
            stack.enter_context(writer)
        for series in read_series(table, covariates):
            own = plan_cutoffs(series.ds[series.observed][-1], spec, fold=fold) if spec.align == "end" else common
            encoded = series.encode(covariates, known)
            whole = computed.add_to(encoded, ahead=ahead) if computed else encoded
            for split, segment in split_series(whole, spec, own):
                counts[split] += writers[split].add(segment)
                if split == "train":
                    _update_moments(moments, segment, columns)
    found = {"categories": known, "calendar": calendar}
    meta = _make_meta(spec, columns, common, moments, static, counts).model_copy(update=found)
    write_windows_meta(folder, meta if frame else keep_learned(meta))  # of a shard: another may have the category
    return counts["train"]


def _name_columns(covariates: Covariates, known: Categories, computed: Sequence[str]) -> Covariates:
    """Return the columns that covariates become; two of one name are refused."""
    past, future = name_columns(covariates.past, known), name_columns(covariates.future, known)
    return Covariates(static=covariates.static, past=past, future=(*future, *computed))


def _list_countries(spec: WindowSpec, static: EncodedStatic) -> list[str]:
    """Return the codes in the static covariate that names the country of each series.

    Raises:
        DataError: it holds numbers.
    """
    name = spec.calendar and spec.calendar.country_column
    if name and name not in static.categories:
        raise DataError(f"calendar.country_column {name!r} holds numbers; expected ISO codes of countries such as DE")
    return static.categories[name] if name else []


def split_series(series: SeriesRows, spec: WindowSpec, cutoffs: Cutoffs) -> Iterator[tuple[Split, Segment]]:
    """Yield the part of one series that belongs to each split in which it has a step."""
    ends = {split: int(np.searchsorted(series.ds, getattr(cutoffs, split), side="right")) for split in SPLITS}
    train_end = ends["train"]
    if train_end:
        begin = max(0, train_end - spec.train_steps) if spec.train_steps else 0
        short = not begin and spec.pad_short and train_end < 2 * spec.context + spec.horizon
        yield "train", _cut_segment(series, MIN_CONTEXT - spec.context if short else begin, train_end)
    first = train_end
    for split in SPLITS[1:]:
        last = ends[split]
        if last > first:
            lead = _find_lead(spec, split)
            short_by = _count_steps_short(series.ds[last - 1], getattr(cutoffs, split), spec)
            yield split, _cut_segment(series, first - lead, last, unknown=short_by)
        first = last


def cut_upcoming(series: SeriesRows, *, context: int, horizon: int) -> Segment:
    """Cut the part of a series that holds one window, whose horizon follows the last real value."""
    cut = int(np.flatnonzero(series.observed)[-1]) + 1
    last = min(cut + horizon, len(series.ds))
    return _cut_segment(series, cut - context, last, unknown=cut + horizon - last).copy()


def _count_steps_short(last: Any, cutoff: Any, spec: WindowSpec) -> int:
    """Return how many steps a series ends before a split does, at most the steps of the split."""
    if last == cutoff:
        return 0
    most = max(spec.test_steps, spec.validation_steps)
    axis = Frequency(spec.frequency).advance(np.repeat(last, most), np.arange(1, most + 1))
    return int(np.searchsorted(axis, cutoff, side="right"))


def _cut_segment(series: SeriesRows, first: int, last: int, *, unknown: int = 0) -> Segment:
    """Cut steps [first, last) of a series; a negative first is padding, `unknown` steps follow its end.

    Of those, future covariates may be known: the calendar is.
    """
    padding, length = max(0, -first), last - first + unknown
    cut = slice(max(0, first), last + unknown)

    def pad(array: NDArray[Any], fill: Any) -> NDArray[Any]:
        if not padding and not unknown:
            return array[cut]
        # np.pad takes ten times as long, and there is a call for every series, split and column.
        known = array[cut]
        full = np.full((length, *array.shape[1:]), fill, array.dtype)
        full[padding : padding + len(known)] = known
        return full

    return Segment(
        unique_id=series.unique_id,
        start=series.ds[max(0, first)],
        padding=padding,
        values=pad(_hold_last(series.y, series.observed, last), np.nan),
        observed=pad(series.observed, False),
        past=pad(series.past, np.nan),
        future=pad(series.future, np.nan),
    )


def _hold_last(y: NDArray[Any], observed: NDArray[np.bool_], last: int) -> NDArray[Any]:
    """Repeat the last real value over a gap that reaches step `last`: its repair knew the value after the gap."""
    if observed[last - 1]:
        return y
    real = np.flatnonzero(observed[:last])
    if not len(real):
        return y
    held = y.copy()
    held[real[-1] + 1 : last] = y[real[-1]]
    return held


@dataclass
class SplitWriter:
    """A writer that buffers segments of one split and writes them as row groups.

    The values of a segment stand in the column `values` (float32), or in `exact` (float64) where it has such; the other
    list is empty. So a panel with one such series does not double in size.
    """

    folder: Path
    split: Split
    spec: WindowSpec
    covariates: Covariates
    _rows: list[Segment] = field(default_factory=list)
    _steps: int = 0

    def __enter__(self) -> SplitWriter:
        self._layout = make_layout(self.spec, self.split)
        path = self.folder / f"split={self.split}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        ds_type = pa.from_numpy_dtype(Frequency(self.spec.frequency).dtype)
        self._schema = _make_schema(self.covariates, ds_type)
        # Neighbouring steps share exponents: splitting the bytes into streams lets zstd find that.
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=["unique_id"],
            # Nobody asks a row group for its least value; finding it would cost a pass over all of them.
            write_statistics=["unique_id", "start"],
            use_byte_stream_split=[f"{n}.list.element" for n in _name_list_columns(self.covariates) if n != "observed"],
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, segment: Segment) -> int:
        """Write a part of a series in segments of bounded size; return the number of its windows."""
        layout = self._layout
        count = max(0, len(segment.values) - layout.width + 1)
        most = max(1, SEGMENT_WINDOWS // layout.stride) * layout.stride
        # Cut from the end: windows are counted back from there, and every piece keeps that phase.
        for stop in range(count, 0, -most):
            piece = (
                segment
                if count <= most
                else segment.cut(max(0, stop - most), stop + layout.width - 1, layout.frequency)
            )
            self._rows.append(piece.copy())
            self._steps += len(piece.values)
            if self._steps >= ROW_GROUP_STEPS:
                self._flush()
        return -(-count // layout.stride)

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = self._rows
        columns: dict[str, pa.Array] = {
            "unique_id": pa.array([s.unique_id for s in rows], pa.string()),
            "start": pa.array([s.start for s in rows], self._schema.field("start").type),
            "padding": pa.array([s.padding for s in rows], pa.int32()),
            "observed": _make_lists([s.observed for s in rows], pa.bool_()),
        }
        for name, dtype in (("values", np.float32), ("exact", np.float64)):
            parts = [s.values if s.values.dtype == dtype else np.empty(0, dtype) for s in rows]
            columns[name] = _make_lists(parts, pa.from_numpy_dtype(dtype))
        for kind, names in (("past", self.covariates.past), ("future", self.covariates.future)):
            for i, name in enumerate(names):
                columns[f"{kind}:{name}"] = _make_lists([getattr(s, kind)[:, i] for s in rows], pa.float32())
        self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=len(rows))
        self._rows, self._steps = [], 0


def make_layout(spec: WindowSpec, split: Split) -> Layout:
    """Return the geometry of one split: evaluation has its own stride."""
    stride = spec.stride if split == "train" else spec.evaluation_stride
    return Layout(
        context=spec.context,
        horizon=spec.horizon,
        stride=stride,
        frequency=spec.frequency,
        lead=_find_lead(spec, split),
        min_context=spec.min_context if split == "train" else MIN_CONTEXT,
    )


def _find_lead(spec: WindowSpec, split: Split) -> int:
    """Return the steps before the first target: in an evaluation, enough for the baselines too."""
    if split != "test":
        return spec.context if split == "train" else max(spec.context, spec.season)
    return max(spec.context, spec.season, WEEKS_BEFORE * Frequency(spec.frequency).count_week_steps(spec.season))


def select_before_test(table: pd.DataFrame, spec: WindowSpec, *, frame: Frame | None = None) -> pd.DataFrame:
    """Return the rows of a series table before the test, on which error scales may be measured.

    Rows without a real value stay: without them, values that stand one season apart would no longer be. `frame` is
    that of the whole panel, if the table is a shard of it.
    """
    real = table[table["observed"]]
    if spec.align == "calendar":
        last = Frequency(frame.frequency).parse_ds(frame.end) if frame else real["ds"].to_numpy().max()
        end = plan_cutoffs(last, spec).validation
    else:
        own = table["unique_id"].map(real.groupby("unique_id")["ds"].max()).to_numpy()
        end = Frequency(spec.frequency).advance(own, np.full(len(own), -spec.test_steps))
    before: pd.DataFrame = table[table["ds"].to_numpy() <= end]
    return before


def _update_moments(moments: dict[str, Moments], segment: Segment, covariates: Covariates) -> None:
    for names, values in ((covariates.past, segment.past), (covariates.future, segment.future)):
        for i, name in enumerate(names):
            moments[name].add(values[:, i])


def _make_meta(
    spec: WindowSpec,
    covariates: Covariates,
    cutoffs: Cutoffs,
    moments: dict[str, Moments],
    static: EncodedStatic,
    counts: dict[Split, int],
) -> WindowsMeta:
    """Return all that a reader needs beside the rows."""
    layouts = {split: make_layout(spec, split) for split in SPLITS}
    states: dict[CovariateKind, list[list[float]]] = {
        "past": [moments[name].to_list() for name in covariates.past],
        "future": [moments[name].to_list() for name in covariates.future],
        "static": [moment.to_list() for moment in _measure_static(static)],
    }
    return WindowsMeta(
        context=spec.context,
        horizon=spec.horizon,
        frequency=spec.frequency,
        season=spec.season,
        align=spec.align,
        stride={split: layout.stride for split, layout in layouts.items()},
        lead={split: layout.lead for split, layout in layouts.items()},
        min_context={split: layout.min_context for split, layout in layouts.items()},
        windows=counts,
        cutoffs={split: str(getattr(cutoffs, split)) for split in SPLITS},
        past=list(covariates.past),
        future=list(covariates.future),
        static_columns=static.columns,
        static_categories=static.categories,
        static=static.rows,
        moments=states,
        scaler=_make_scaler(states),
    )


def _measure_static(static: EncodedStatic) -> list[Moments]:
    rows = np.array(list(static.rows.values()), dtype=np.float64).reshape(len(static.rows), len(static.columns))
    moments = [Moments() for _ in static.columns]
    for i, moment in enumerate(moments):
        moment.add(rows[:, i].astype(np.float32))
    return moments


def merge_windows(shards: Sequence[Path], folder: Path) -> int:
    """Write to `folder` the `windows.json` of all shards of a panel; the rows stay in their own folders.

    Returns:
        The number of training windows, as `write_windows`.
    """
    metas = [read_windows_meta(shard) for shard in shards]
    windows = {split: sum(meta.windows[split] for meta in metas) for split in SPLITS}
    moments = add_moments(metas)
    changes = {"static": {}, "windows": windows, "moments": moments, "scaler": _make_scaler(moments)}
    write_windows_meta(folder, keep_learned(metas[0].model_copy(update=changes)))
    return windows["train"]


def _make_scaler(moments: dict[CovariateKind, list[list[float]]]) -> Scaler:
    return {kind: [Moments(*state).to_scale() for state in states] for kind, states in moments.items()}


def _name_list_columns(covariates: Covariates) -> list[str]:
    past = [f"past:{name}" for name in covariates.past]
    return ["values", "exact", "observed", *past, *(f"future:{name}" for name in covariates.future)]


def _make_schema(covariates: Covariates, ds_type: pa.DataType) -> pa.Schema:
    fixed = [pa.field("unique_id", pa.string()), pa.field("start", ds_type), pa.field("padding", pa.int32())]
    types = {"exact": pa.float64(), "observed": pa.bool_()}
    lists = [pa.field(name, pa.list_(types.get(name, pa.float32()))) for name in _name_list_columns(covariates)]
    return pa.schema([*fixed, *lists])


def _make_lists(parts: list[NDArray[Any]], item: pa.DataType) -> pa.Array:
    offsets = np.cumsum([0, *(len(p) for p in parts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(parts), item))
