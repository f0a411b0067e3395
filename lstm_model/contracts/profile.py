"""Describe the facts about a series table that choices rest on; `series/profiling.py` finds them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Profile(BaseModel):
    """The facts about a series table that choices rest on."""

    model_config = ConfigDict(frozen=True)

    frequency: str
    num_series: int
    num_observed: int
    length_min: int
    length_median: int
    length_max: int
    start: str
    end: str
    median_lag: int
    """Steps by which the series in the middle ends before the panel does."""
    lowest: float
    """The least value as a share of its series' median; the least over all series, negative or 0 where a value is."""
    found_season: int | None
    """The cycle seen in the autocorrelation; looked for on integer axes alone, where no calendar names one."""
