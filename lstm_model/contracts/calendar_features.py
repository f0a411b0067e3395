"""Describe the calendar that a model reads: its features, its holidays, and the clock by which days begin.

The features are future covariates that are computed, not read: no series table has their columns.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lstm_model.contracts.clock import Clock

FeatureGroup = Literal["hour", "weekday", "month", "year", "holiday"]
COLUMNS: dict[FeatureGroup, tuple[str, ...]] = {
    "hour": ("hour sin 1", "hour cos 1", "hour sin 2", "hour cos 2"),
    "weekday": ("weekday sin 1", "weekday cos 1", "weekday sin 2", "weekday cos 2"),
    "month": ("month sin 1", "month cos 1", "month first", "month last"),
    "year": ("year sin 1", "year cos 1", "year sin 2", "year cos 2"),
    "holiday": ("holiday", "day before holiday", "day after holiday"),
}
"""Each is a float32 for every step, in the windows too: few columns say much."""
PREFIX = "calendar:"
MOST_DAYS = 64
"""Most special days that a user names: each is a column."""
Year = Annotated[int, Field(ge=1, le=9999)]


class HolidayDates(BaseModel):
    """The holidays of one country or a part of it, and the years in which they are known."""

    model_config = ConfigDict(frozen=True)

    first_year: Year
    last_year: Year
    dates: Annotated[tuple[date, ...], Field(max_length=100_000)]
    """Ascending."""


class CalendarFeatures(BaseModel):
    """The calendar that a model reads."""

    model_config = ConfigDict(frozen=True)

    groups: tuple[FeatureGroup, ...]
    clock: Clock | None = None
    """The source's own, if the series are in UTC instead."""
    country: str | None = None
    """Of all series: an ISO code, or with its part: DE-BY."""
    country_column: str | None = None
    """The static covariate that holds the code of each series."""
    days: Annotated[dict[str, tuple[str, ...]], Field(max_length=MOST_DAYS)] = {}
    """The user's own, by name; the rules are those of `timeline.calendars.list_dates`."""
    holidays: Annotated[dict[str, HolidayDates], Field(max_length=1000)] = {}
    """By code. Empty until windows are cut, so that each training has those that are known by then; a bundle keeps
    them, and needs no package to forecast."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the features, in the order of their columns."""
        named = [column for group in self.groups for column in COLUMNS[group]]
        return tuple(PREFIX + name for name in (*named, *(f"day {name}" for name in self.days)))
