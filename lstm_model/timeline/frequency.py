"""Handle the frequency of a time axis, whether its steps are hours, months, opening hours or plain integers.

"h", "D", "MS", "15min"                  aliases of pandas
"1"                                      integers
"MS +14D", "ME +16h"                     months whose timestamps lie after their start or end: here on the 15th
"4-4-5 from 2000-01-29"                  retail months of so many weeks; one of the four weeks begins on that day
"B closed 12-25", "h open mon-fri 09:00-17:00"   see `calendars.py`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.calendars import DAY_US, WEEK_US, Calendar, parse_calendar

INTEGER = "1"
"""The frequency of a series whose `ds` counts steps."""
LONGEST_DAYS = 36_525
"""Most days, about a hundred years, in one step; beyond it timestamps soon leave the calendar."""
WEEKS_BEFORE = 4
"""Weeks before each test window that baselines may see."""
LONGEST_WEEK = 2016
"""Most steps of a week that windows reach back to: five minutes each."""
_DAYS = {"B": 1.4, "W": 7, "S": 15, "M": 30, "Q": 91, "Y": 365}
_SEASONS = {"min": 1440, "h": 24, "D": 7, "B": 5, "W": 52, "SMS": 24, "SME": 24, "MS": 12, "ME": 12, "BMS": 12}
_SEASONS |= {"BME": 12, "WOM": 12, "LWOM": 12, "QS": 4, "QE": 4, "BQS": 4, "BQE": 4, "YS": 1, "YE": 1}
MONTHLY = (pd.offsets.MonthBegin, pd.offsets.MonthEnd)
QUARTERLY = (pd.offsets.QuarterBegin, pd.offsets.QuarterEnd)
YEARLY = (pd.offsets.YearBegin, pd.offsets.YearEnd)
PERIODS = MONTHLY + QUARTERLY + YEARLY
RETAIL = re.compile(r"([45])-([45])-([45]) from (\d{4}-\d\d-\d\d)")
"""Months of four and five weeks, thirteen weeks in all."""


@dataclass(frozen=True)
class RetailMonths:
    """Months of whole weeks that recur every thirteen weeks, as dates of their first (or last) days."""

    starts: tuple[int, int, int]
    """Microseconds since 1970 of three that follow each other."""

    def count(self, us_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the place of each timestamp, and whether it is none; then that of the one before."""
        quarter_N, rest_N = np.divmod(us_N - self.starts[0], 91 * DAY_US)
        starts = np.array(self.starts) - self.starts[0]
        at_N = np.searchsorted(starts, rest_N, side="right") - 1
        return quarter_N * 3 + at_N, starts[at_N] != rest_N

    def find(self, place_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the timestamp at each place."""
        quarter_N, at_N = np.divmod(place_N, 3)
        return np.asarray(quarter_N * 91 * DAY_US + np.array(self.starts)[at_N])

    def advance(self, us_N: NDArray[np.int64], steps_N: NDArray[np.int64]) -> NDArray[np.int64]:
        """Move timestamps by months, forwards or backwards."""
        return self.find(self.count(us_N)[0] + steps_N)


@dataclass(frozen=True)
class Frequency:
    """A pandas offset alias with its calendar, or "1" for integers; specs and files hold the alias."""

    alias: str

    @property
    def is_integer(self) -> bool:
        """Tell whether `ds` counts steps."""
        return self.alias == INTEGER

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of `ds`: int64 or datetime64[us]."""
        return np.dtype(np.int64 if self.is_integer else "datetime64[us]")

    @cached_property
    def base(self) -> str:
        """Return the alias of the step alone, without its calendar: h of "h open mon-fri 09:00-17:00"."""
        return self.alias.split()[0] if self.alias.strip() else self.alias

    @cached_property
    def offset(self) -> pd.offsets.BaseOffset:
        """Parse the alias of the step, which is not that of integers or retail months.

        Raises:
            DataError: no such alias, or a step that is negative, too long, or too short.
        """
        return _parse_offset(self.base)

    @cached_property
    def calendar(self) -> Calendar | RetailMonths | None:
        """Return what says which moments are steps, if that is not the offset alone.

        Raises:
            DataError: what follows the step is no calendar.
        """
        if match := RETAIL.fullmatch(self.alias):
            return _parse_retail(match)
        rest = self.alias.removeprefix(self.base)
        if self.is_integer or not rest or self.shift:
            return None
        offset = self.offset
        whole = isinstance(offset, (pd.offsets.Day, pd.offsets.BusinessDay)) and offset.n == 1
        is_tick = isinstance(offset, pd.offsets.Tick)
        return parse_calendar(self.base, rest, DAY_US if whole else self.tick if is_tick else 2 * DAY_US)

    @cached_property
    def shift(self) -> int:
        """Return the microseconds from the start or end of a month (quarter, year) to its timestamp, mostly 0."""
        match = re.fullmatch(r"\S+ \+(\S+)", self.alias)
        if not match:
            return 0
        try:
            shift = pd.Timedelta(match[1])
        except ValueError:
            shift = pd.Timedelta(0)
        if not isinstance(self.offset, PERIODS) or not pd.Timedelta(0) < shift < pd.Timedelta(days=28):
            raise DataError(
                f"frequency {self.alias!r} is not known; after months, quarters or years expected a time of less than "
                "28 days, such as MS +14D"
            )
        return int(shift // pd.Timedelta(1, unit="us"))

    def check(self) -> None:
        """Refuse an alias that is not known, or that runs backwards."""
        if not self.is_integer and self.calendar is None:
            _ = self.offset, self.shift

    @property
    def step(self) -> int | None:
        """Return the length of a step in microseconds (1 for integers), or None if it varies, as with months."""
        if self.is_integer:
            return 1
        return None if self.calendar else self._fixed

    @property
    def tick(self) -> int:
        """Return the microseconds from one open moment to the next; 0 if they vary."""
        return self._fixed or 0

    @property
    def _fixed(self) -> int | None:
        if isinstance(self.offset, (pd.offsets.Day, pd.offsets.Week)):
            return self.offset.n * DAY_US * (7 if isinstance(self.offset, pd.offsets.Week) else 1)
        if isinstance(self.offset, pd.offsets.Tick):
            return int(pd.Timedelta(self.offset).as_unit("ns").value) // 1000
        return None

    @property
    def mean_step(self) -> int:
        """Return about how long a step of the calendar is, in microseconds."""
        if self.calendar:
            return WEEK_US // len(self.calendar.week) if isinstance(self.calendar, Calendar) else 91 * DAY_US // 3
        axis = pd.date_range("2001-01-01", periods=9, freq=self.offset, unit="us")
        return max(1, int((axis[-1] - axis[0]) / pd.Timedelta(8, unit="us")))

    @property
    def default_season(self) -> int:
        """Return the steps in the usual cycle of such data: 24 for h, 12 for MS, 96 for 15min, 1 if unknown."""
        if self.is_integer:
            return 1
        if isinstance(self.calendar, RetailMonths):
            return 12
        if self.calendar:
            return self.calendar.season
        unit, steps = self.offset.rule_code.split("-")[0], self.offset.n
        if unit == "D" and steps % 7 == 0:  # weeks that begin on different days
            unit, steps = "W", steps // 7
        season = _SEASONS.get(unit, 1)
        return max(1, season // steps) if season % steps == 0 else 1

    def count_week_steps(self, season: int) -> int:
        """Return the steps in a week; 0 if there are fewer than 2, no whole number, or more than `LONGEST_WEEK`.

        Args:
            season: of steps without a calendar, which are hours or their parts where it is a day of them.
        """
        if isinstance(self.calendar, RetailMonths):
            return 0
        if self.calendar:
            return count if 1 < (count := len(self.calendar.week)) <= LONGEST_WEEK else 0
        if self.is_integer:
            return 7 * season if season in (24, 48, 96) else season * (season == 7)
        if self.offset.rule_code == "B":
            return 5 // self.offset.n if 5 % self.offset.n == 0 and self.offset.n < 5 else 0
        steps, rest = divmod(7 * DAY_US, self.step or 8 * DAY_US)
        return steps if 1 < steps <= LONGEST_WEEK and not rest else 0

    def parse_ds(self, text: str) -> Any:
        """Return a `ds` that was written as text as a series table has it."""
        return np.int64(text) if self.is_integer else np.datetime64(text, "us")

    def advance(self, ds_N: NDArray[Any], steps_N: NDArray[np.int64]) -> NDArray[Any]:
        """Move each timestamp on the grid by its own number of steps, forwards or backwards."""
        if self.is_integer:
            return np.asarray(ds_N + steps_N)
        ds_N = ds_N.astype("datetime64[us]")
        if self.calendar:
            return self.calendar.advance(ds_N.astype(np.int64), steps_N).astype("datetime64[us]")
        if self.step is None:
            shift = np.timedelta64(self.shift, "us")
            return _advance_calendar(ds_N - shift, steps_N, self.offset) + shift
        return np.asarray(ds_N + steps_N * np.timedelta64(self.step, "us"))

    def advance_one(self, ds: Any, steps: int) -> Any:
        """Move one timestamp on the grid, forwards or backwards."""
        return self.advance(np.array([ds]), np.array([steps]))[0]


def drop_holidays(alias: str) -> str:
    """Return the frequency without its closed dates, which more data may add to or correct; the steps are the same."""
    return alias.partition(" closed ")[0]


def _parse_offset(alias: str) -> pd.offsets.BaseOffset:
    try:
        offset = pd.tseries.frequencies.to_offset(alias)
        tick = pd.Timedelta(offset if isinstance(offset, pd.offsets.Tick) else 0)
    except (OverflowError, pd.errors.OutOfBoundsTimedelta):
        raise DataError(_say_too_long(alias)) from None
    except ValueError as error:
        hint = str(error).rpartition("Did you mean")[2].strip(" ?") if "Did you mean" in str(error) else ""
        raise DataError(
            f"frequency {alias!r} is not known{f'; write {hint}' if hint else ''}. Expected a pandas alias "
            "such as h, 15min, D, B, W-SUN, MS, QS, YS, or 1 for integer steps"
        ) from None
    if offset.n < 1:
        raise DataError(f"frequency {alias!r} runs backwards; expected a positive step such as h or D")
    days = tick.days if tick else offset.n * _DAYS.get(offset.rule_code[0], 1)
    if days > LONGEST_DAYS:
        raise DataError(_say_too_long(alias))
    if tick % pd.Timedelta(1, unit="us"):
        raise DataError(f"frequency {alias!r} is no whole number of microseconds, the finest that is kept")
    return offset


def _parse_retail(match: re.Match[str]) -> RetailMonths:
    weeks = [int(match[i]) for i in (1, 2, 3)]
    try:
        start = int(np.datetime64(match[4], "us").astype(np.int64))
    except ValueError:
        start = 0
    if sum(weeks) != 13 or not start:
        raise DataError(f"frequency {match[0]!r} is not known; expected such as 4-4-5 from 2000-01-29, 13 weeks in all")
    return RetailMonths((start, start + weeks[0] * 7 * DAY_US, start + (weeks[0] + weeks[1]) * 7 * DAY_US))


def _say_too_long(alias: str) -> str:
    return f"a step of frequency {alias!r} is longer than a hundred years; expected one such as h, D or MS"


def _advance_calendar(ds: NDArray[Any], steps: NDArray[np.int64], offset: pd.offsets.BaseOffset) -> NDArray[Any]:
    """Move timestamps along one range of dates from each distinct timestamp: series share few of them."""
    moved = np.empty(len(ds), dtype="datetime64[us]")
    origins, which = np.unique(ds, return_inverse=True)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(origins) + 1))
    for i, origin in enumerate(origins):
        members = order[bounds[i] : bounds[i + 1]]
        low, high = min(0, int(steps[members].min())), max(0, int(steps[members].max()))
        before = pd.date_range(end=origin, periods=1 - low, freq=offset, unit="us")
        after = pd.date_range(start=origin, periods=1 + high, freq=offset, unit="us")
        axis = np.concatenate([before.to_numpy(), after.to_numpy()[1:]])
        moved[members] = axis[steps[members] - low]
    return moved
