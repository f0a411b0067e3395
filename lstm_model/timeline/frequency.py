"""Handle the frequency of a time axis, whether its steps are hours, months or plain integers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError

INTEGER = "1"
"""The frequency of a series whose `ds` counts steps."""
DAY_US = 86_400_000_000
LONGEST_DAYS = 36_525
"""Most days, about a hundred years, in one step; beyond it timestamps soon leave the calendar."""
WEEKS_BEFORE = 4
"""Weeks before each test window that baselines may see."""
LONGEST_WEEK = 2016
"""Most steps of a week that windows reach back to: five minutes each."""
_DAYS = {"B": 1.4, "W": 7, "M": 30, "Q": 91, "Y": 365}
_SEASONS = {"min": 1440, "h": 24, "D": 7, "B": 5, "W": 52, "MS": 12, "ME": 12, "QS": 4, "QE": 4, "YS": 1, "YE": 1}


@dataclass(frozen=True)
class Frequency:
    """A pandas offset alias, or "1" for integers; specs and files hold the alias."""

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
    def offset(self) -> pd.offsets.BaseOffset:
        """Parse the alias, which is not that of integers.

        Raises:
            DataError: no such alias, or a step that is negative, too long, or too short.
        """
        try:
            offset = pd.tseries.frequencies.to_offset(self.alias)
            tick = pd.Timedelta(offset if isinstance(offset, pd.offsets.Tick) else 0)
        except (OverflowError, pd.errors.OutOfBoundsTimedelta):
            raise DataError(_say_too_long(self.alias)) from None
        except ValueError as error:
            hint = str(error).rpartition("Did you mean")[2].strip(" ?") if "Did you mean" in str(error) else ""
            raise DataError(
                f"frequency {self.alias!r} is not known{f'; write {hint}' if hint else ''}. Expected a pandas alias "
                "such as h, 15min, D, B, W-SUN, MS, QS, YS, or 1 for integer steps"
            ) from None
        if offset.n < 1:
            raise DataError(f"frequency {self.alias!r} runs backwards; expected a positive step such as h or D")
        days = tick.days if tick else offset.n * _DAYS.get(offset.rule_code[0], 1)
        if days > LONGEST_DAYS:
            raise DataError(_say_too_long(self.alias))
        if tick % pd.Timedelta(1, unit="us"):
            raise DataError(f"frequency {self.alias!r} is no whole number of microseconds, the finest that is kept")
        return offset

    def check(self) -> None:
        """Refuse an alias that is not known, or that runs backwards."""
        if not self.is_integer:
            _ = self.offset

    @property
    def step(self) -> int | None:
        """Return the length of a step in microseconds (1 for integers), or None if it varies, as with months."""
        if self.is_integer:
            return 1
        if isinstance(self.offset, (pd.offsets.Day, pd.offsets.Week)):
            return self.offset.n * DAY_US * (7 if isinstance(self.offset, pd.offsets.Week) else 1)
        if isinstance(self.offset, pd.offsets.Tick):
            return int(pd.Timedelta(self.offset).as_unit("ns").value) // 1000
        return None

    @property
    def mean_step(self) -> int:
        """Return about how long a step of the calendar is, in microseconds."""
        axis = pd.date_range("2001-01-01", periods=9, freq=self.offset, unit="us")
        return max(1, int((axis[-1] - axis[0]) / pd.Timedelta(8, unit="us")))

    @property
    def default_season(self) -> int:
        """Return the steps in the usual cycle of such data: 24 for h, 12 for MS, 96 for 15min, 1 if unknown."""
        if self.is_integer:
            return 1
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
        if self.step is None:
            return _advance_calendar(ds_N, steps_N, self.offset)
        return np.asarray(ds_N + steps_N * np.timedelta64(self.step, "us"))

    def advance_one(self, ds: Any, steps: int) -> Any:
        """Move one timestamp on the grid, forwards or backwards."""
        return self.advance(np.array([ds]), np.array([steps]))[0]


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
        before = pd.date_range(end=origin, periods=1 - low, freq=offset)
        after = pd.date_range(start=origin, periods=1 + high, freq=offset)
        axis = np.concatenate([before.to_numpy(), after.to_numpy()[1:]]).astype("datetime64[us]")
        moved[members] = axis[steps[members] - low]
    return moved
