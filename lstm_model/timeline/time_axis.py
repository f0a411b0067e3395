"""Move along a regular time axis, whether its steps are hours, months or plain integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

INTEGER = "1"
"""The frequency of a series whose `ds` counts steps."""

_SEASONS = {"min": 1440, "h": 24, "D": 7, "B": 5, "W": 52, "MS": 12, "ME": 12, "QS": 4, "QE": 4, "YS": 1, "YE": 1}


def default_season(frequency: str) -> int:
    """Steps in the cycle that data of this frequency usually have: 24 for h, 12 for MS, 96 for 15min, 1 if unknown."""
    if frequency == INTEGER:
        return 1
    offset = pd.tseries.frequencies.to_offset(frequency)
    unit, steps = offset.rule_code.split("-")[0], offset.n
    if unit == "D" and steps % 7 == 0:  # weeks that begin on different days
        unit, steps = "W", steps // 7
    season = _SEASONS.get(unit, 1)
    return max(1, season // steps) if season % steps == 0 else 1


def parse_ds(text: str, frequency: str) -> Any:
    """Return a `ds` that was written as text as a series table has it: int64 or datetime64[us]."""
    return np.int64(text) if frequency == INTEGER else np.datetime64(text, "us")


def advance(ds: NDArray[Any], steps: NDArray[np.int64], frequency: str) -> NDArray[Any]:
    """Move each timestamp by its own number of steps, forwards or backwards.

    Args:
        ds: (N,) datetime64 or int64, on the grid of `frequency`.
        steps: (N,) how far to move.
        frequency: a pandas offset alias, or "1" for integers.
    """
    if frequency == INTEGER:
        return np.asarray(ds + steps)
    offset = pd.tseries.frequencies.to_offset(frequency)
    fixed = _fixed_step(offset)
    if fixed is not None:
        return np.asarray(ds.astype("datetime64[us]") + steps * fixed)
    return _advance_calendar(ds.astype("datetime64[us]"), steps, offset)


def _fixed_step(offset: Any) -> Any:
    """The length of a step, where all are equal: hours, days and weeks are, months and business days are not."""
    if isinstance(offset, pd.offsets.Week):
        return np.timedelta64(7 * offset.n, "D").astype("timedelta64[us]")
    if isinstance(offset, (pd.offsets.Tick, pd.offsets.Day)):
        return np.timedelta64(pd.Timedelta(str(offset.n) + offset.rule_code), "us")
    return None


def _advance_calendar(ds: NDArray[Any], steps: NDArray[np.int64], offset: Any) -> NDArray[Any]:
    """By one range of dates from each distinct timestamp: series share few of them."""
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
