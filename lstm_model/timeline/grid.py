"""Infer the step between timestamps, and make it a grid on which every row has its place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.frequency import DAY_US, INTEGER, Frequency

MONTHLY = (pd.offsets.MonthBegin, pd.offsets.MonthEnd)
QUARTERLY = (pd.offsets.QuarterBegin, pd.offsets.QuarterEnd)
YEARLY = (pd.offsets.YearBegin, pd.offsets.YearEnd)
ENDS = (pd.offsets.MonthEnd, pd.offsets.QuarterEnd, pd.offsets.YearEnd)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


def infer_frequency(series_N: np.ndarray, ds_N: np.ndarray, *, integer: bool) -> tuple[str, str]:
    """The alias of the step that rows sorted by series and time take most, and the reason.

    Args:
        ds_N: microseconds since 1970, or integer steps.

    Raises:
        DataError: no series has two rows.
    """
    diffs = np.diff(ds_N)[np.diff(series_N) == 0]
    diffs, counts = np.unique(diffs[diffs > 0], return_counts=True)
    if not len(diffs):
        raise DataError(
            "the frequency cannot be inferred: no series has two rows with different timestamps; set frequency"
        )
    step = _step(diffs, counts)
    share = f"{counts[diffs == step].sum() / counts.sum():.0%} of neighbouring rows are"
    if integer:
        if step != 1:
            raise DataError(
                f"integer timestamps go up by {step}, expected 1: number the steps 1, 2, 3, ..., or give dates"
            )
        return INTEGER, f"{INTEGER}: {share} 1 apart"
    alias = _alias(step, ds_N)
    return alias, f"{alias}: {share} {pd.Timedelta(step, unit='us')} apart" + _calendar_note(alias)


def _step(diffs: np.ndarray, counts: np.ndarray) -> int:
    """The commonest step, unless a shorter one that fits all others is not rare."""
    common = int(np.gcd.reduce(diffs))
    is_common = counts[diffs == common].sum() >= 0.05 * counts.sum()
    return common if is_common else int(diffs[counts.argmax()])


def _calendar_note(alias: str) -> str:
    return ", and no row lies on a weekend" if alias == "B" else ""


def _alias(step: int, ds_N: np.ndarray) -> str:
    days = step / DAY_US
    times = pd.DatetimeIndex(np.unique(ds_N).astype("datetime64[us]"))
    if days == 1:
        weeks = (times[-1] - times[0]).days >= 9  # two weekends at least must have had their chance
        return "B" if weeks and bool((times.day_of_week < 5).all()) else "D"
    if days == 7:
        weekday = np.unique(times.day_of_week)
        return f"W-{WEEKDAYS[weekday[0]]}" if len(weekday) == 1 else "7D"
    edge = "E" if bool(times.is_month_end.all()) else "S"
    if 28 <= days <= 31:
        return f"M{edge}"
    if 89 <= days <= 92:
        return _anchored("Q", edge, int(times.month[0]) % 3 or 3)
    if 365 <= days <= 366:
        return _anchored("Y", edge, int(times.month[0]))
    return f"{step // DAY_US}D" if step % DAY_US == 0 else str(to_offset(pd.Timedelta(step, unit="us")).freqstr)


def _anchored(letter: str, edge: str, month: int) -> str:
    """QS and YS mean January, QE and YE December; other phases carry their month."""
    if edge == "S":
        return f"{letter}S" if month == 1 else f"{letter}S-{MONTHS[month - 1]}"
    last = month + 9 if letter == "Q" else month
    return f"{letter}E" if last == 12 else f"{letter}E-{MONTHS[last - 1]}"


@dataclass(frozen=True)
class Grid:
    """Timestamps as whole steps and back.

    Steps of fixed length count from each series' own first row, so series may have different phases; calendar steps
    (business days, weeks, months, ...) count along one index for all.
    """

    step: int | None
    anchor_K: np.ndarray
    index: np.ndarray
    inside: str | None
    """For months and longer: a row belongs to the period it lies in, named by the period's "start" or "end"."""

    @classmethod
    def fit(cls, frequency: str, ds_N: np.ndarray, first_K: np.ndarray) -> Grid:
        """The grid of a frequency over rows sorted by series; `first_K` is the first row of each series."""
        parsed = Frequency(frequency)
        if parsed.is_integer or isinstance(parsed.offset, (pd.offsets.Tick, pd.offsets.Day)):
            return cls(parsed.step, ds_N[first_K], np.empty(0, np.int64), None)
        offset = parsed.offset
        inside = (
            ("end" if isinstance(offset, ENDS) else "start")
            if isinstance(offset, MONTHLY + QUARTERLY + YEARLY)
            else None
        )
        ends = pd.DatetimeIndex(np.array([ds_N.min(), ds_N.max()]).astype("datetime64[us]"))
        ends = ends.normalize() if inside else ends
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            index = pd.date_range(offset.rollback(ends[0]), offset.rollforward(ends[1]), freq=offset)
        return cls(None, ds_N[first_K], index.as_unit("us").to_numpy().astype(np.int64), inside)

    def steps(self, series_N: np.ndarray, ds_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The step of each row, and whether the row lies off the grid."""
        if self.step is not None:
            distance = ds_N - self.anchor_K[series_N]
            step_N = distance // self.step
            return step_N, distance != step_N * self.step
        unique, inverse = np.unique(ds_N, return_inverse=True)
        if self.inside:
            days = unique // DAY_US * DAY_US
            side, back = ("right", 1) if self.inside == "start" else ("left", 0)
            place = np.searchsorted(self.index, days, side=side) - back  # type: ignore[call-overload]
            return place[inverse], np.zeros(len(ds_N), dtype=bool)
        place = np.minimum(np.searchsorted(self.index, unique), len(self.index) - 1)
        return place[inverse], (self.index[place] != unique)[inverse]

    def timestamps(self, series_N: np.ndarray, step_N: np.ndarray) -> np.ndarray:
        """The inverse of `steps`: int64."""
        if self.step is not None:
            return np.asarray(self.anchor_K[series_N] + step_N * self.step)
        return np.asarray(self.index[step_N])
