"""Make one row of several: transactions of one step, by their sum, mean, last value, or number.

Shape suffixes: N rows of all series, M steps that have rows, K series.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, Finding, number
from lstm_model.contracts.settings import Aggregate
from lstm_model.quality.repair import Rows, find_worst
from lstm_model.timeline.calendars import MONDAY_US, Calendar
from lstm_model.timeline.events import is_jittered, measure_jitter
from lstm_model.timeline.frequency import PERIODS, Frequency
from lstm_model.timeline.grid import ENDS
from lstm_model.timeline.timestamps import DAY_US

LEAST_STEPS = 10
"""Fewer do not tell when a step usually begins and ends."""
PARTIAL, PARTIAL_LENGTH = 0.02, 0.15
"""A step is told as a part if fewer others begin as late, and if it does by so much of a step more than usual."""


def aggregate_rows(rows: Rows, how: Aggregate, frequency: str | None) -> tuple[Rows, list[Finding]]:
    """Make one row of all rows of a series that fall into one step: of one timestamp, where no frequency is set.

    Args:
        rows: those of one timestamp in the order of the source.
        how: for the target; covariates become their mean, and one that is text must be the same in all rows of a step.
        frequency: timestamps become the beginning of their step, or the end of a week or month that is named by it.

    Raises:
        DataError: rows of one step have different texts.
    """
    noticed: list[Finding] = []
    if frequency is not None and not rows.integer:
        rounded_N, noticed = _round_jitter(rows.ds_N, frequency)
        moments, rows = rows, replace(rows, ds_N=find_step_starts(rounded_N, frequency))
        noticed = noticed or _find_partial_steps(moments, rows.ds_N)
    again = (np.diff(rows.series_N) == 0) & (np.diff(rows.ds_N) == 0)
    if not again.any() and how != "count":
        return rows, noticed
    first_M = np.flatnonzero(np.append(True, ~again))
    _check_texts(rows, first_M)
    columns, averaged = _average_covariates(rows, first_M)
    y_M = _reduce(rows.y_N, first_M, how)
    if how == "count":
        y_M[_find_future_steps(y_M, rows.series_N[first_M])] = np.nan
    kept = replace(rows.take(first_M), y_N=y_M, covariates=columns)
    unique_id, touched, _ = find_worst(rows.count(np.append(False, again)), rows.ids)
    text = (
        f"{number(len(rows.ds_N), 'row')} became {number(len(first_M), 'row')}: {_EXPLAINED[how]} of each series and "
        f"{'timestamp' if frequency is None else 'step'}; several in {number(touched, 'series', 'series')}, most: "
        f"{unique_id!r}"
    )
    found = Finding(code="aggregated", severity="info", message=text, unique_id=unique_id, count=len(first_M))
    return kept, [found, *(averaged if how != "mean" else []), *noticed]


def _round_jitter(ds_N: np.ndarray, frequency: str) -> tuple[np.ndarray, list[Finding]]:
    """Round single readings whose clock is a little off: one just before its step would fall into the step before."""
    step = Frequency(frequency).step
    if step is None or step >= DAY_US or not is_jittered(ds_N, step):
        return ds_N, []
    off_N = measure_jitter(ds_N, step)
    count = int((off_N != 0).sum())
    most = np.abs(off_N).max() / 1e6
    text = f"{number(count, 'timestamp')} rounded to the nearest step of {frequency}: {most:g} seconds off at most"
    return ds_N - off_N, [Finding(code="rounded_times", severity="info", message=text, count=count)]


def _average_covariates(rows: Rows, first_M: np.ndarray) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """Return one value a step, M: the mean of those that differ, which is told; equal ones stay as they are."""
    columns, findings = {}, []
    for name, values_N in rows.covariates.items():
        least_M, most_M = _find_range(values_N, first_M)
        varies_M = least_M < most_M
        columns[name] = np.where(varies_M, _reduce(values_N, first_M, "mean"), least_M)
        if not varies_M.any():
            continue
        step, total = int(varies_M.argmax()), int(varies_M.sum())
        place = rows.describe(int(first_M[step]))
        text = (
            f"the covariate {name!r} differs within {number(total, 'step')}, first {place}: {least_M[step]:g} to "
            f"{most_M[step]:g}; the mean of its rows was taken. Where another value is right, such as the last, make "
            "one row a step in the source"
        )
        findings.append(Finding(code="averaged_covariate", severity="warning", message=text, count=total))
    return columns, findings


def _find_range(values_N: np.ndarray, first_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest known value of each step, M."""
    return np.fmin.reduceat(values_N, first_M), np.fmax.reduceat(values_N, first_M)


def _find_partial_steps(rows: Rows, step_N: np.ndarray) -> list[Finding]:
    """Warn of a first or last step of all series that begins late or ends early: its sum is that of a part of it."""
    known_N = ~np.isnan(rows.y_N)
    steps, at = np.unique(step_N[known_N], return_inverse=True)
    if len(steps) < LEAST_STEPS:
        return []
    moments = rows.ds_N[known_N]
    start_M, end_M = np.full(len(steps), np.iinfo(np.int64).max), np.full(len(steps), np.iinfo(np.int64).min)
    np.minimum.at(start_M, at, moments)
    np.maximum.at(end_M, at, moments)
    length = int(np.median(np.diff(steps)))
    late_M, early_M = start_M - steps, steps - end_M
    found = []
    row_of = np.flatnonzero(known_N)
    for offset_M, step, row, side in (
        (late_M, 0, row_of[moments.argmin()], "first step begins only"),
        (early_M, -1, row_of[moments.argmax()], "last step ends already"),
    ):
        inner = offset_M[1:-1]
        usual = float(np.median(inner))
        if (inner >= offset_M[step]).mean() < PARTIAL and offset_M[step] > usual + length * PARTIAL_LENGTH:
            text = (
                f"the {side} at {rows.show_timestamp(int(row))}, unlike others: it may be of a part of its time, and "
                "its value too small. If so, leave its rows out of the source"
            )
            found.append(Finding(code="partial_step", severity="warning", message=text))
    return found


def _find_future_steps(count_M: np.ndarray, series_M: np.ndarray) -> np.ndarray:
    """Return whether a step comes after the last value of its series: its rows bring known covariates only."""
    last_K = np.full(series_M[-1] + 1, -1)
    counted = np.flatnonzero(count_M)
    last_K[series_M[counted]] = counted  # ascending: the last one stays
    return np.asarray(np.arange(len(count_M)) > last_K[series_M])


def _check_texts(rows: Rows, first_M: np.ndarray) -> None:
    """Refuse texts that differ within a step: they have no mean."""
    for name, texts in rows.texts.items():
        least_M, most_M = _find_range(rows.covariates[name], first_M)
        if (differs_M := least_M < most_M).any():
            step = int(differs_M.argmax())
            both = " and ".join(repr(texts[int(code)]) for code in (least_M[step], most_M[step]))
            raise DataError(
                f"{rows.describe(int(first_M[step]))}: rows of one step have {both} for the covariate {name!r} "
                f"({number(int(differs_M.sum()), 'such step')} in all), expected one text. Aggregate them in the "
                "source, or leave the covariate out"
            )


_EXPLAINED = {"sum": "the sum", "mean": "the mean", "last": "the last value", "first": "the first value"}
_EXPLAINED |= {"max": "the largest value", "min": "the smallest value", "count": "the number of values"}


def _reduce(values_N: np.ndarray, first_M: np.ndarray, how: Aggregate) -> np.ndarray:
    """Reduce the known values of each step; NaN where none is known, but for their number, which is 0."""
    known_N = ~np.isnan(values_N)
    count_M = np.add.reduceat(known_N, first_M, dtype=np.int64)
    if how == "count":
        return count_M.astype(np.float64)
    if how in ("first", "last"):
        step_N = np.repeat(np.arange(len(first_M)), np.diff([*first_M, len(values_N)]))[known_N]
        side = {"first": "left", "last": "right"}[how]
        at_M = np.searchsorted(step_N, np.arange(len(first_M)), side=side) - (how == "last")  # type: ignore[call-overload]
        padded = np.append(values_N[known_N], np.nan)
        return np.asarray(np.where(count_M > 0, padded[np.minimum(at_M, len(padded) - 1)], np.nan))
    if how in ("max", "min"):
        return np.asarray({"max": np.fmax, "min": np.fmin}[how].reduceat(values_N, first_M))
    total_M = np.add.reduceat(np.where(known_N, values_N, 0.0), first_M)
    divisor_M = np.where(count_M > 0, count_M if how == "mean" else 1, np.nan)
    return np.asarray(total_M / divisor_M)


def is_by_days(frequency: str | None) -> bool:
    """Return whether steps are made of whole days, so that it matters by whose clock a day begins."""
    if frequency is None:
        return False
    steps = Frequency(frequency)
    if isinstance(steps.calendar, Calendar):
        return steps.calendar.whole_days
    return not steps.is_integer and steps.mean_step >= DAY_US


def find_step_starts(ds_N: np.ndarray, alias: str) -> np.ndarray:
    """Return the timestamp of the step that each moment falls into; weeks and days of a number begin on Monday.

    Raises:
        DataError: steps of this frequency have no beginning that all series share.
    """
    frequency = Frequency(alias)
    calendar = frequency.calendar
    if isinstance(calendar, Calendar):
        length = DAY_US if calendar.whole_days else frequency.tick
        phase = MONDAY_US + (0 if calendar.whole_days else calendar.week[0])
        return np.asarray((ds_N - phase) // length * length + phase)
    if calendar is not None:
        return np.asarray(calendar.find(calendar.count(ds_N)[0]))
    if alias == "B":
        return np.asarray(ds_N // DAY_US * DAY_US)
    if frequency.step is not None and not isinstance(frequency.offset, pd.offsets.Week):
        return np.asarray((ds_N - MONDAY_US) // frequency.step * frequency.step + MONDAY_US)
    offset = frequency.offset
    if offset.n > 1 or frequency.shift or not isinstance(offset, (pd.offsets.Week, *PERIODS)):
        raise DataError(
            f"rows cannot be aggregated to steps of {alias}; set frequency to such as h, D, W-SUN, MS or QS, or "
            "aggregate them in the source"
        )
    days_N = ds_N // DAY_US * DAY_US
    ends = pd.DatetimeIndex(np.array([days_N.min(), days_N.max()]).astype("datetime64[us]"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dates = pd.date_range(offset.rollback(ends[0]), offset.rollforward(ends[1]), freq=offset)
    index = dates.as_unit("us").to_numpy().astype(np.int64)
    by_end = isinstance(offset, (pd.offsets.Week, *ENDS))
    at_N = np.searchsorted(index, days_N, side="left") if by_end else np.searchsorted(index, days_N, side="right") - 1
    return np.asarray(index[at_N])
