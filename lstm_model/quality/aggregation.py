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
from lstm_model.timeline.frequency import PERIODS, Frequency
from lstm_model.timeline.grid import ENDS
from lstm_model.timeline.timestamps import DAY_US


def aggregate_rows(rows: Rows, how: Aggregate, frequency: str | None) -> tuple[Rows, list[Finding]]:
    """Make one row of all rows of a series that fall into one step: of one timestamp, where no frequency is set.

    Args:
        rows: those of one timestamp in the order of the source.
        how: for the target; covariates become their mean, and one that is text must be the same in all rows of a step.
        frequency: timestamps become the beginning of their step, or the end of a week or month that is named by it.

    Raises:
        DataError: rows of one step have different texts.
    """
    if frequency is not None and not rows.integer:
        rows = replace(rows, ds_N=find_step_starts(rows.ds_N, frequency))
    again = (np.diff(rows.series_N) == 0) & (np.diff(rows.ds_N) == 0)
    if not again.any() and how != "count":
        return rows, []
    first_M = np.flatnonzero(np.append(True, ~again))
    _check_texts(rows, first_M)
    columns = {name: _reduce(values, first_M, "mean") for name, values in rows.covariates.items()}
    kept = replace(rows.take(first_M), y_N=_reduce(rows.y_N, first_M, how), covariates=columns)
    unique_id, touched, _ = find_worst(rows.count(np.append(False, again)), rows.ids)
    text = (
        f"{number(len(rows.ds_N), 'row')} became {number(len(first_M), 'row')}: {_EXPLAINED[how]} of each series and "
        f"{'timestamp' if frequency is None else 'step'}; several in {number(touched, 'series', 'series')}, most: "
        f"{unique_id!r}"
    )
    return kept, [Finding(code="aggregated", severity="info", message=text, unique_id=unique_id, count=len(first_M))]


def _check_texts(rows: Rows, first_M: np.ndarray) -> None:
    """Refuse texts that differ within a step: they have no mean."""
    for name, texts in rows.texts.items():
        least_M, most_M = (f.reduceat(rows.covariates[name], first_M) for f in (np.fmin, np.fmax))
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
    """Reduce the known values of each step; NaN where none is known, but a number of 0."""
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
