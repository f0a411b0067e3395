"""Forecast the next horizon from a bundle and a series table.

python -m lstm_model.forecast BUNDLE SERIES [--output forecasts.csv]

Every series is forecast from its own last observed timestamp, also one that the bundle has never seen. The same bundle
and the same history give the same bytes on one machine's CPU, whichever other series are in the table. Kernels round
differently for another number of threads, another size of the batch and another place in it, so all three are fixed
here: a series' name says which place of a batch it takes.

Shapes: W windows, H horizon, Q quantiles.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from lstm_model.compute.threads import restore_threads
from lstm_model.contracts.bundle_card import RECORD, WAY_OUT, BundleError, name_covariates, read_model_card
from lstm_model.contracts.calendar_features import CalendarFeatures
from lstm_model.contracts.findings import DataError, left_out_notes, listed, number
from lstm_model.contracts.forecast_columns import index_quantiles
from lstm_model.contracts.settings import Covariates
from lstm_model.contracts.shard import Frame
from lstm_model.forecast.bundle import load_bundle
from lstm_model.forecast.forecaster import Forecaster, raise_to_zero
from lstm_model.series.calendar_columns import CalendarColumns, check_dates_known, find_countries, note_past_days
from lstm_model.series.known_ahead import is_known_ahead, show_ds
from lstm_model.series.one_hot import Categories, name_columns
from lstm_model.series.series_table import EncodedStatic, SeriesRows, encode_static, find_last_observed, read_series
from lstm_model.timeline.aliases import drop_holidays
from lstm_model.timeline.frequency import Frequency
from lstm_model.windows.in_memory import Windows
from lstm_model.windows.layout import Layout, Segment
from lstm_model.windows.segments import cut_upcoming

BATCH = 64
"""Every batch has exactly this many windows; places that no series takes are filled with copies."""
SERIES_AT_ONCE = 8192
"""Bounds the memory; fewer would leave more places empty."""
MOST_UNREADABLE = 0.05
"""Share of a context without logarithms up to which a network of logarithms may take them as missing."""
NO_LOGARITHM = (
    "since their latest values are 0 or less, or more than 5% of their context is, and the model reads logarithms; run "
    "retrain with --refresh, or set advanced.model.transform to none"
)
UNSEEN = "which the model has never seen: it is taken as none of its categories"
SOME_UNREADABLE = "have values of 0 or less in their context, which the model, of logarithms, takes as missing"


@dataclass
class Forecasts:
    """The next horizon of every series, and which series were left out and why."""

    table: pd.DataFrame
    """unique_id, cutoff, ds, step (1..H, int32), mean, median, lo_80, hi_80, ..., by unique_id and step; float32, or
    float64 where float32 would round the steps of any series."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Series that were not forecast, by the reason."""
    remarks: list[str] = field(default_factory=list)
    """What a reader must know of those that were."""
    data: dict[str, str] = field(default_factory=dict)
    """By series, a hash of all that its forecast was computed from; another at the same cutoff is of revised data."""

    @property
    def notes(self) -> list[str]:
        """Return the series that were left out and the reasons, and the remarks, as sentences."""
        return [*left_out_notes([self.left_out]), *self.remarks]


@dataclass(frozen=True)
class _Task:
    """A bundle, and what it must know about a series table."""

    forecaster: Forecaster
    covariates: Covariates
    known: Categories
    """The categories that the network reads."""
    frequency: str
    static: dict[str, list[float]]
    end: Any
    integers: bool
    calendar: CalendarColumns | None = None
    remarks: dict[str, list[str]] = field(default_factory=dict)
    """Series whose forecasts a reader must know more of, by what."""

    @property
    def layout(self) -> Layout:
        shape = self.forecaster.shape
        return Layout(
            context=shape.context, horizon=shape.horizon, stride=1, frequency=self.frequency, lead=shape.context
        )


@dataclass(frozen=True)
class _Upcoming:
    """The segment to forecast from of one series, and its last observed `ds`."""

    segment: Segment
    cutoff: Any
    nonnegative: bool
    """Whether the series never had a negative value."""


def forecast(
    bundle: Path, table: Path, *, frame: Frame | None = None, frequency: str | None = None, integers: bool = False
) -> Forecasts:
    """Forecast the steps after each series' last observation.

    Args:
        bundle: the folder of a bundle, see `lstm_model.forecast.bundle`.
        table: a series table (Parquet, sorted by unique_id and ds), as ingest writes it.
        frame: of the whole panel, if the table is a shard of it.
        frequency: of the table; its closed dates count, where only they differ from the bundle's.
        integers: round to whole numbers, bounds outwards; the mean stays as it is, or totals would be wrong.

    Raises:
        ValueError: the bundle is damaged, or does not fit the table: another frequency, a covariate that is not
            there, a future covariate that is not known through the horizon, a forecast that is not a number.
    """
    card, forecaster = read_model_card(bundle), load_bundle(bundle)
    covariates = name_covariates(card.covariates)
    check_columns(table, covariates)
    known = card.covariates.static_categories
    encoded = encode_static(table, covariates.static, known=known)
    computed = card.covariates.calendar.columns if card.covariates.calendar else ()
    columns = {
        "static": (encoded.columns, card.covariates.static_columns),
        "past": ([*name_columns(covariates.past, card.covariates.categories)], card.covariates.past),
        "future": ([*name_columns(covariates.future, card.covariates.categories), *computed], card.covariates.future),
    }
    for role, (expected, received) in columns.items():
        if expected != received:
            raise BundleError(
                f"{bundle / RECORD} names the columns of {role} covariates in another order than their categories "
                f"give. {WAY_OUT}"
            )
    end = Frequency(frame.frequency).parse_ds(frame.end) if frame else find_last_observed(table)
    same = frequency is not None and drop_holidays(frequency) == drop_holidays(card.frequency)
    steps = frequency if same and frequency else card.frequency
    calendar = _prepare_calendar(card.covariates.calendar, steps, encoded)
    task = _Task(forecaster, covariates, card.covariates.categories, steps, encoded.rows, end, integers, calendar)
    for (name, text), ids in encoded.unseen.items():
        task.remarks[f"have {text!r} as static covariate {name!r}, {UNSEEN}"] = ids
    if isinstance(task.end, np.integer) != Frequency(task.frequency).is_integer:
        raise DataError(f"the bundle forecasts steps of frequency {task.frequency!r}; the series end at {task.end}")
    if calendar:
        check_dates_known(calendar.calendar, Frequency(steps).advance_one(end, forecaster.horizon))
    data, left_out = dict[str, str](), dict[str, list[str]]()
    with restore_threads():
        torch.set_num_threads(1)
        ready = _cut_upcoming(task, read_series(table, covariates), left_out)
        chunks = iter(lambda: list(islice(ready, SERIES_AT_ONCE)), [])
        found = [_forecast_chunk(task, chunk, data, left_out) for chunk in chunks]
    if not any(map(len, found)) and frame is None:
        raise DataError(f"no series can be forecast; {'; '.join(left_out_notes([left_out]))}")
    remarks = [f"{number(len(ids), 'series', 'series')} {what}: {listed(ids)}" for what, ids in task.remarks.items()]
    if forecaster.calibration is None and len(forecaster.quantiles) > 1:
        remarks.append("the intervals are not calibrated: too little history was left to check how much they cover")
    remarks += note_past_days(calendar.calendar, end) if calendar else []
    return Forecasts(pd.concat(found, ignore_index=True) if found else pd.DataFrame(), left_out, remarks, data)


def _prepare_calendar(
    calendar: CalendarFeatures | None, frequency: str, static: EncodedStatic
) -> CalendarColumns | None:
    if calendar is None:
        return None
    return CalendarColumns(calendar, frequency, find_countries(calendar, static.columns, static.rows))


def check_columns(table: Path, covariates: Covariates) -> None:
    """Check that a table has the covariates that a bundle reads."""
    schema = pq.read_schema(table)
    for role in ("static", "past", "future"):
        for name in getattr(covariates, role):
            if name not in schema.names:
                raise DataError(
                    f"the bundle reads the {role} covariate {name!r}, which the series table does not have (it has "
                    f"{listed(schema.names)}). Declare it in covariates.{role}, or train a model without it"
                )


def _cut_upcoming(task: _Task, series: Iterable[SeriesRows], left_out: dict[str, list[str]]) -> Iterator[_Upcoming]:
    for one in series:
        if _is_readable(task, one, left_out) and _has_future(task, one, left_out):
            shape, real = task.forecaster.shape, one.observed
            coded = one.encode(task.covariates, task.known)
            if task.calendar:
                coded = task.calendar.add_to(coded, ahead=shape.horizon)
            _note_unseen(task, one)
            segment = cut_upcoming(coded, context=shape.context, horizon=shape.horizon)
            yield _Upcoming(segment, one.ds[real][-1], nonnegative=bool((one.y[real] >= 0).all()))


def _is_readable(task: _Task, series: SeriesRows, left_out: dict[str, list[str]]) -> bool:
    """Return whether a network of logarithms can forecast a series; one with values of 0 or less it would misread."""
    if task.forecaster.spec.transform != "log":
        return True
    end = int(np.flatnonzero(series.observed)[-1]) + 1
    context = slice(max(0, end - task.forecaster.context), end)
    y = series.y[context][series.observed[context]]
    without_L = y <= 0
    if without_L[-1] or without_L.mean() > MOST_UNREADABLE:
        left_out.setdefault(NO_LOGARITHM, []).append(series.unique_id)
        return False
    if without_L.any():
        task.remarks.setdefault(SOME_UNREADABLE, []).append(series.unique_id)
    return True


def _note_unseen(task: _Task, series: SeriesRows) -> None:
    """Remark the categories that a forecast reads and its network does not know."""
    if not series.texts:
        return
    cut = int(np.flatnonzero(series.observed)[-1]) + 1
    first, ends = max(0, cut - task.forecaster.context), {"past": cut, "future": cut + task.forecaster.horizon}
    for role, end in ends.items():
        columns = zip(getattr(task.covariates, role), getattr(series, role)[first:end].T, strict=True)
        for name, codes in columns:
            for code, text in enumerate(series.texts.get(name, ())):
                if text not in task.known[name] and (found := codes == code).any():
                    ds = show_ds(series.ds[first + int(found.argmax())])
                    what = f"have {text!r} as {role} covariate {name!r} (first at {ds}), {UNSEEN}"
                    task.remarks.setdefault(what, []).append(series.unique_id)


def _forecast_chunk(
    task: _Task, chunk: list[_Upcoming], data: dict[str, str], left_out: dict[str, list[str]]
) -> pd.DataFrame:
    _check_grid(task, chunk)
    windows = Windows.from_segments([one.segment for one in chunk], task.layout, task.static, scored=False)
    ids = [windows.unique_ids[k] for k in windows.series_W.tolist()]
    few = sorted({one.segment.unique_id for one in chunk} - set(ids))
    if few:
        left_out.setdefault("with fewer than 2 observed values in their context", []).extend(few)
    values_WHQ = _predict(task.forecaster, windows, ids)
    _check_finite(values_WHQ, ids)
    data |= {one.segment.unique_id: _hash_data(task, one) for one in chunk}
    nonnegative = {one.segment.unique_id: one.nonnegative for one in chunk}
    nonnegative_W = np.array([nonnegative[unique_id] for unique_id in ids], np.bool_)
    mean_WH = windows.match_precision(task.forecaster.compute_mean(values_WHQ))
    mean_WH = raise_to_zero(mean_WH, nonnegative_W)
    values_WHQ = raise_to_zero(values_WHQ, nonnegative_W)
    if task.integers:
        values_WHQ = _round_outwards(values_WHQ)
    return _make_table(windows, ids, mean_WH, values_WHQ, task.forecaster.quantiles)


def _hash_data(task: _Task, one: _Upcoming) -> str:
    """Return 16 hex digits of a hash of the values and covariates that a series is forecast from."""
    segment, rules = one.segment, np.array([one.nonnegative, task.integers])
    static = np.array(task.static.get(segment.unique_id, []), np.float64)
    arrays = segment.values, segment.observed, segment.past, segment.future, static, rules
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _predict(forecaster: Forecaster, windows: Windows, ids: list[str]) -> NDArray[Any]:
    """Predict like `Forecaster.predict`, every series at the place in a batch that its name gives it."""
    if not len(windows):
        return np.empty((0, forecaster.horizon, len(forecaster.quantiles)), np.float32)
    size = forecaster.limit_batch_size(BATCH)
    place_W = np.array([zlib.crc32(unique_id.encode()) % size for unique_id in ids])
    batch_W = pd.Series(place_W).groupby(place_W).cumcount().to_numpy()
    row_W = batch_W * size + place_W
    filled = torch.zeros((int(batch_W.max()) + 1) * size, dtype=torch.int64)
    filled[torch.from_numpy(row_W)] = torch.arange(len(ids))
    values: NDArray[Any] = forecaster.predict(windows.take(filled), batch_size=size, device="cpu")[row_W]
    return values


def _make_table(
    windows: Windows,
    ids: list[str],
    mean_WH: NDArray[Any],
    values_WHQ: NDArray[Any],
    quantiles: tuple[float, ...],
) -> pd.DataFrame:
    horizon = windows.horizon
    columns: dict[str, Any] = {
        "unique_id": pd.array(ids, dtype="str").repeat(horizon),
        "cutoff": np.repeat(windows.cutoff_W, horizon),
        "ds": windows.compute_ds_WH().reshape(-1),
        "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), len(windows)),
        "mean": mean_WH.reshape(-1),
    }
    names = index_quantiles(quantiles, median="median")
    return pd.DataFrame(columns | {name: values_WHQ[..., q].reshape(-1) for name, q in names.items()})


def _round_outwards(values_WHQ: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers: the median rounded, bounds to the next outside, so that intervals cover no less."""
    middle = values_WHQ.shape[-1] // 2
    low, median, high = np.split(values_WHQ, [middle, middle + 1], axis=-1)
    return np.concatenate([np.floor(low), np.rint(median), np.ceil(high)], axis=-1)


def _has_future(task: _Task, series: SeriesRows, left_out: dict[str, list[str]]) -> bool:
    """Return whether future covariates are known through the horizon; a series that has ended needs no forecast.

    Raises:
        DataError: they are not, and the series goes on.
    """
    horizon, names = task.layout.horizon, task.covariates.future
    if is_known_ahead(series, names, horizon=horizon, frequency=task.frequency, end=task.end):
        return True
    left_out.setdefault("having ended a horizon or more before the others", []).append(series.unique_id)
    return False


def _check_grid(task: _Task, chunk: list[_Upcoming]) -> None:
    """Check that the rows of a context are steps of the bundle's frequency."""
    starts = np.array([one.segment.start for one in chunk])
    steps = np.array([task.layout.context - 1 - one.segment.padding for one in chunk])
    for one, expected, count in zip(chunk, Frequency(task.frequency).advance(starts, steps), steps, strict=True):
        if one.cutoff != expected:
            raise DataError(
                f"the bundle forecasts steps of frequency {task.frequency!r}; series {one.segment.unique_id!r} has "
                f"{count:,} other steps from {show_ds(one.segment.start)} to {show_ds(one.cutoff)}. Use a bundle "
                "that was trained on such data"
            )


def _check_finite(values_WHQ: NDArray[Any], ids: list[str]) -> None:
    broken_W = ~np.isfinite(values_WHQ).all(axis=(1, 2))
    if broken_W.any():
        raise ValueError(
            f"the bundle forecasts NaN or infinity for {broken_W.sum()} of {len(ids)} series, first for "
            f"{ids[int(broken_W.argmax())]!r}; look for extreme values at its end, or train again"
        )
