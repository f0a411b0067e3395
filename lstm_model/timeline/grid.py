"""Make the step between timestamps a grid on which every row has its place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lstm_model.timeline.calendars import DAY_US, Calendar
from lstm_model.timeline.frequency import PERIODS, Frequency

FIXED = (pd.offsets.Tick, pd.offsets.Day)
ENDS = (pd.offsets.MonthEnd, pd.offsets.QuarterEnd, pd.offsets.YearEnd)


@dataclass(frozen=True)
class Grid:
    """Timestamps as whole steps and back.

    Steps of fixed length, and of several months, count from each series' own first row, so series may have different
    phases; those of calendars (business days, opening hours, weeks, months, ...) count along one index for all.
    """

    frequency: Frequency
    anchor_K: np.ndarray
    """The first row of each series: a timestamp, or its place in the index where a step is several of its entries."""
    index: np.ndarray
    inside: str | None
    """For months and longer: a row belongs to the period it lies in, named by the period's "start" or "end"."""
    stride: int = 1
    """Entries of the index in a step."""

    @classmethod
    def fit(cls, alias: str, ds_N: np.ndarray, first_K: np.ndarray) -> Grid:
        """The grid of a frequency over rows sorted by series; `first_K` is the first row of each series."""
        frequency = Frequency(alias)
        if frequency.is_integer or frequency.calendar or isinstance(frequency.offset, FIXED):
            return cls(frequency, ds_N[first_K], np.empty(0, np.int64), None)
        offset = frequency.offset
        inside = ("end" if isinstance(offset, ENDS) else "start") if isinstance(offset, PERIODS) else None
        ends = pd.DatetimeIndex(np.array([ds_N.min(), ds_N.max()]).astype("datetime64[us]"))
        ends = ends - pd.Timedelta(frequency.shift, unit="us")
        ends = ends.normalize() if inside else ends
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            index = pd.date_range(offset.base.rollback(ends[0]), offset.base.rollforward(ends[1]), freq=offset.base)
        entries = index.as_unit("us").to_numpy().astype(np.int64)
        grid = cls(frequency, ds_N[first_K], entries, inside)
        if offset.n == 1:
            return grid
        return replace(grid, anchor_K=grid.steps(np.arange(len(first_K)), ds_N[first_K])[0], stride=offset.n)

    def select(self, keep_K: np.ndarray) -> Grid:
        """The same for some of the series."""
        return replace(self, anchor_K=self.anchor_K[keep_K])

    def steps(self, series_N: np.ndarray, ds_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The step of each row, and whether the row lies off the grid."""
        if self.frequency.step is not None and not len(self.index):
            distance = ds_N - self.anchor_K[series_N]
            step_N = distance // self.frequency.step
            return step_N, distance != step_N * self.frequency.step
        unique, inverse = np.unique(ds_N, return_inverse=True)
        if self.frequency.calendar:
            place, off = self.frequency.calendar.count(unique)
            return place[inverse], off[inverse] | (self._time_of_day(series_N) != self._time_of(ds_N))
        place, off = self._find_places(unique)
        step_N = place[inverse]
        if self.stride == 1:
            return step_N, off[inverse]
        step_N = step_N - self.anchor_K[series_N]
        return step_N // self.stride, off[inverse] | (step_N % self.stride != 0)

    def _find_places(self, unique: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The entry of the index for each timestamp, and whether the timestamp is none."""
        unique = unique - self.frequency.shift
        if self.inside:
            days = unique // DAY_US * DAY_US
            side, back = ("right", 1) if self.inside == "start" else ("left", 0)
            place = np.searchsorted(self.index, days, side=side) - back  # type: ignore[call-overload]
            return place, np.zeros(len(unique), dtype=bool)
        place = np.minimum(np.searchsorted(self.index, unique), len(self.index) - 1)
        return place, self.index[place] != unique

    def timestamps(self, series_N: np.ndarray, step_N: np.ndarray) -> np.ndarray:
        """The inverse of `steps`: int64."""
        if self.frequency.calendar:
            return np.asarray(self.frequency.calendar.find(step_N) + self._time_of_day(series_N))
        if not len(self.index):
            return np.asarray(self.anchor_K[series_N] + step_N * self.frequency.step)
        place_N = step_N if self.stride == 1 else self.anchor_K[series_N] + step_N * self.stride
        return np.asarray(self.index[place_N] + self.frequency.shift)

    def _time_of_day(self, series_N: np.ndarray) -> np.ndarray:
        """The time of day of the first row of each row's series, which all rows of the series share; 0 for hours."""
        return np.asarray(self._time_of(self.anchor_K)[series_N])

    def _time_of(self, ds_N: np.ndarray) -> np.ndarray:
        calendar = self.frequency.calendar
        return ds_N % DAY_US if isinstance(calendar, Calendar) and calendar.whole_days else np.zeros_like(ds_N)
