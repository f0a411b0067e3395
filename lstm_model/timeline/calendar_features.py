"""Compute what a calendar says of each moment: time of the day, week, month and year, holidays and special days.

Shapes: N moments, K features.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.contracts.calendar_features import COLUMNS, CalendarFeatures, FeatureGroup, HolidayDates
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError
from lstm_model.timeline.calendars import Calendar, list_dates
from lstm_model.timeline.frequency import Frequency, RetailMonths
from lstm_model.timeline.time_zones import to_local
from lstm_model.timeline.timestamps import DAY_US

LONGEST_MONTH = 32
"""Days in a step, beyond which the seasons of its context say all that its date does."""
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday."""
ENOUGH_DAYS: dict[FeatureGroup, float] = {"hour": 7, "weekday": 28, "month": 122, "year": 730, "holiday": 365}
"""Days of history from which a feature can be learned: of a cycle, two at least."""
Features = NDArray[np.float32]


def list_groups(frequency: str) -> list[FeatureGroup]:
    """Return the features that steps of a frequency can show.

    A step of several days, such as a week, shows no holidays: its date may be its first day or its last.
    """
    steps = Frequency(frequency)
    if steps.is_integer or isinstance(steps.calendar, RetailMonths) or steps.mean_step > LONGEST_MONTH * DAY_US:
        return []
    by_day = isinstance(steps.calendar, Calendar) or steps.offset == pd.offsets.BDay() or 0 < steps.tick <= DAY_US
    hours: list[FeatureGroup] = ["hour"] if 0 < steps.tick < DAY_US else []
    return [*hours, "weekday", "month", "year", "holiday"] if by_day else ["year"]


def compute_features(
    ds_N: NDArray[Any], calendar: CalendarFeatures, *, frequency: str, country: str | None = None
) -> Features:
    """Return (N, K) the features of moments; NaN where the holidays of a year are not known.

    Args:
        ds_N: moments on the grid of a series table.
        calendar: which features, with the holidays of the country.
        frequency: of the series, which says what the next day is: after a Friday of B it is Monday.
        country: the code of the series' country, see `CalendarFeatures.holidays`; None: it is not known.
    """
    local_N = to_clock(ds_N, calendar.clock)
    day_N = local_N.astype("datetime64[D]")
    before_7, after_7 = _count_closed_days(frequency)
    columns: list[NDArray[Any]] = []
    for group in calendar.groups:
        if group == "hour":
            columns += _wave((local_N - day_N) / np.timedelta64(1, "D"), 2)
        elif group == "weekday":
            columns += _wave(_find_weekday(day_N) / 7, 2)
        elif group == "month":
            columns += _describe_month(day_N, before_7, after_7)
        elif group == "year":
            columns += _wave(_find_part(local_N, "Y"), 2)
        else:
            columns += _mark_holidays(day_N, calendar.holidays.get(country or ""), before_7, after_7)
    columns += [np.isin(day_N, to_days(rules)) for rules in calendar.days.values()]
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.zeros((len(ds_N), 0), np.float32)


def to_clock(ds_N: NDArray[Any], clock: Clock | None) -> NDArray[np.datetime64]:
    """Return moments of a series table, which are in UTC where there is a clock, as that clock shows them."""
    if clock is None:
        return ds_N.astype("datetime64[us]")
    wall = clock.model_copy(update={"aware": False})
    return to_local(pd.Series(ds_N.astype("datetime64[us]")), wall).to_numpy().astype("datetime64[us]")


def to_days(rules: Iterable[str]) -> NDArray[np.datetime64]:
    """Return the dates of rules, ascending.

    Raises:
        DataError: one is no rule.
    """
    found: set[date] = set()
    for rule in rules:
        try:
            found |= list_dates(rule)
        except DataError:
            raise DataError(
                f"calendar.days has {rule!r}; expected a date such as 2024-11-29, or a rule such as 12-24, easter-2, "
                "4thu11 (the fourth Thursday of November) or -1mon05 (the last Monday of May)"
            ) from None
    return np.array(sorted(found), "datetime64[D]")


def _wave(phase_N: NDArray[Any], harmonics: int) -> list[NDArray[Any]]:
    """Return sine and cosine of each harmonic of a phase, 1 a cycle."""
    angles = [2 * np.pi * k * phase_N for k in range(1, harmonics + 1)]
    return [wave(angle_N) for angle_N in angles for wave in (np.sin, np.cos)]


def _find_weekday(day_N: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return 0 for a Monday to 6 for a Sunday."""
    return np.asarray((day_N.astype(np.int64) + EPOCH_WEEKDAY) % 7)


def _find_part(local_N: NDArray[np.datetime64], unit: str) -> NDArray[np.float64]:
    """Return the part of its own year or month that has passed at each moment, leap years by their own length."""
    start_N = local_N.astype(f"datetime64[{unit}]")
    length_N = (start_N + 1).astype("datetime64[us]") - start_N.astype("datetime64[us]")
    return np.asarray((local_N - start_N) / length_N)


def _describe_month(
    day_N: NDArray[np.datetime64], before_7: NDArray[np.int64], after_7: NDArray[np.int64]
) -> list[NDArray[Any]]:
    """Return the part of the month that has passed, and whether a day is its first and its last open one."""
    weekday_N, month_N = _find_weekday(day_N), day_N.astype("datetime64[M]")
    first_N = (day_N - before_7[weekday_N]).astype("datetime64[M]") != month_N
    last_N = (day_N + after_7[weekday_N]).astype("datetime64[M]") != month_N
    return [*_wave(_find_part(day_N, "M"), 1), first_N, last_N]


def _mark_holidays(
    day_N: NDArray[np.datetime64],
    known: HolidayDates | None,
    before_7: NDArray[np.int64],
    after_7: NDArray[np.int64],
) -> list[NDArray[np.float64]]:
    """Return whether a day is a holiday, and whether one is between it and the next and the last open day."""
    if known is None:
        return [np.full(len(day_N), np.nan) for _ in COLUMNS["holiday"]]
    dates = np.array(known.dates, "datetime64[D]")
    weekday_N, year_N = _find_weekday(day_N), day_N.astype("datetime64[Y]").astype(np.int64) + 1970
    is_known_N = (year_N >= known.first_year) & (year_N <= known.last_year)
    at_N, past_N = np.searchsorted(dates, day_N), np.searchsorted(dates, day_N, side="right")
    marks = (
        past_N > at_N,
        np.searchsorted(dates, day_N + after_7[weekday_N], side="right") > past_N,
        np.searchsorted(dates, day_N - before_7[weekday_N]) < at_N,
    )
    return [np.where(is_known_N, mark_N, np.nan) for mark_N in marks]


def _count_closed_days(frequency: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the days from each weekday back to the open one before, and on to the next; 1 where all are open."""
    steps = Frequency(frequency)
    open_days = {*range(7)}
    if isinstance(steps.calendar, Calendar):
        open_days = {moment // DAY_US for moment in steps.calendar.week}
    elif not steps.is_integer and steps.offset.rule_code == "B":
        open_days = {*range(5)}
    every = range(1, 8)
    before = [next(n for n in every if (day - n) % 7 in open_days) for day in range(7)]
    after = [next(n for n in every if (day + n) % 7 in open_days) for day in range(7)]
    return np.array(before), np.array(after)
