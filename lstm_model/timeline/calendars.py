"""Know when a business is open: days and hours of the week, and the holidays that recur by a rule.

    "D open mon-sat"                          six-day weeks
    "30min open mon-fri 09:30-15:30"          trading hours, from the first timestamp of a day to the last
    "B closed 01-01 12-25/nearest easter-2"   business days but holidays: dates, days from Easter, weekdays of a month

Closed times are no steps: they are neither missing nor forecast. Timestamps are int64, microseconds since 1970.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import groupby, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.holiday import nearest_workday, next_monday, next_monday_or_tuesday, sunday_to_monday

from lstm_model.contracts.findings import DataError

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
WEEK_US = 7 * DAY_US
MONDAY_US = 4 * DAY_US
"""The first Monday after 1970-01-01, from which weeks are counted."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
YEARS = range(1900, 2101)
"""Holidays are known in these years."""
Observance = Callable[[datetime], datetime]
OBSERVED: dict[str, Observance] = {
    "": lambda day: day,
    "/nearest": nearest_workday,
    "/sunday": sunday_to_monday,
    "/monday": next_monday,
    "/tuesday": next_monday_or_tuesday,
}
"""The day on which a holiday is kept that falls on a weekend: as it is; the nearest of Friday and Monday; Monday for a
Sunday; Monday for both; the same where the day before is a holiday too."""
FIXED = re.compile(r"(\d\d)-(\d\d)(/[a-z]+)?")
EASTER = re.compile(r"easter([+-]\d{1,2})")
WEEKDAY = re.compile(rf"(-?[1-5])({'|'.join(DAYS)})(\d\d)")
KNOWN = {
    *("01-01", "01-06", "04-25", "05-01", "05-08", "06-02", "06-19", "07-04", "07-14", "08-15", "10-03", "10-12"),
    *("11-01", "11-11", "12-06", "12-08", "12-24", "12-25", "12-26", "12-31"),
    *("easter-48", "easter-47", "easter-3", "easter-2", "easter+1", "easter+39", "easter+50", "easter+60"),
    *("3mon01", "3mon02", "1mon05", "-1mon05", "-1mon08", "1mon09", "2mon10", "4thu11"),
}
"""Holidays of many countries, which a single absence shows; others need more."""
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Calendar:
    """The open moments of a week, and the dates that are closed."""

    week: tuple[int, ...]
    """Microseconds since Monday 00:00, ascending; days where `whole_days`."""
    closed: tuple[str, ...] = ()
    whole_days: bool = True
    """A step is a day, whatever its time."""

    def count(self, us_N: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the place of each timestamp among all open moments, and whether it is closed: then the one before."""
        week_N, rest_N = np.divmod(us_N - MONDAY_US, WEEK_US)
        rest_N = rest_N // DAY_US * DAY_US if self.whole_days else rest_N
        week = np.array(self.week)
        at_N = np.searchsorted(week, rest_N)
        off_N = (at_N == len(week)) | (week[np.minimum(at_N, len(week) - 1)] != rest_N)
        raw_N = week_N * len(week) + at_N
        before_N = np.searchsorted(self._holidays, raw_N)
        off_N |= np.append(self._holidays, np.iinfo(np.int64).min)[before_N] == raw_N
        return raw_N - before_N - off_N, off_N

    def find(self, place_N: Integers) -> Integers:
        """Return the timestamp at each place: the inverse of `count`, at 00:00 where a step is a day."""
        skipped_N = np.searchsorted(self._holidays - np.arange(len(self._holidays)), place_N, side="right")
        week_N, at_N = np.divmod(place_N + skipped_N, len(self.week))
        return np.asarray(MONDAY_US + week_N * WEEK_US + np.array(self.week)[at_N])

    def advance(self, us_N: Integers, steps_N: Integers) -> Integers:
        """Move timestamps by open moments, forwards or backwards; one in closed time counts from the one before."""
        moved_N = self.find(self.count(us_N)[0] + steps_N)
        return moved_N + us_N % DAY_US if self.whole_days else moved_N

    @property
    def season(self) -> int:
        """Return the open moments of a day if all days have equally many, else those of a week."""
        if self.whole_days:
            return len(self.week)
        a_day = set(Counter(moment // DAY_US for moment in self.week).values())
        return a_day.pop() if len(a_day) == 1 else len(self.week)

    @cached_property
    def _holidays(self) -> Integers:
        """Return the places in the week's pattern, ascending, that fall on closed dates."""
        if not self.closed:
            return np.empty(0, np.int64)
        dates = np.array(sorted({day for rule in self.closed for day in list_dates(rule)}), "datetime64[us]")
        week_D, rest_D = np.divmod(dates.astype(np.int64) - MONDAY_US, WEEK_US)
        week = np.array(self.week)
        first_D, end_D = np.searchsorted(week, rest_D), np.searchsorted(week, rest_D + DAY_US)
        size_D = end_D - first_D
        start_D = np.repeat(week_D * len(week) + first_D - (np.cumsum(size_D) - size_D), size_D)
        return np.asarray(start_D + np.arange(len(start_D)))


@lru_cache(maxsize=4096)
def list_dates(rule: str) -> frozenset[date]:
    """Return the dates of a rule in all known years.

    Raises:
        DataError: it is no rule.
    """
    name, _, since = rule.partition("@")
    try:
        return frozenset(day for day in _apply(name) if day.year >= int(since or 0))
    except (ValueError, KeyError):
        raise DataError(
            f"frequency has {rule!r} among the closed dates; expected such as 12-25, 07-04/nearest (kept on the "
            "nearest workday), easter-2, 4thu11 (the fourth Thursday of November), -1mon05 (the last Monday of May), "
            "06-19@2022 (from that year on) or 2024-06-07"
        ) from None


def _apply(rule: str) -> Iterator[date]:
    if match := FIXED.fullmatch(rule):
        move = OBSERVED[match[3] or ""]
        datetime(2024, int(match[1]), int(match[2]))
        for year in YEARS:
            if not (rule.startswith("02-29") and not _is_leap(year)):
                yield move(datetime(year, int(match[1]), int(match[2]))).date()
    elif match := EASTER.fullmatch(rule):
        yield from (find_easter(year) + timedelta(int(match[1])) for year in YEARS)
    elif match := WEEKDAY.fullmatch(rule):
        yield from (_find_weekday(year, int(match[3]), DAYS.index(match[2]), int(match[1])) for year in YEARS)
    else:
        yield date.fromisoformat(rule)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


@lru_cache(maxsize=len(YEARS))
def find_easter(year: int) -> date:
    return (pd.Timestamp(year, 1, 1) + pd.offsets.Easter()).date()


def _find_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """Return the nth weekday of a month; -1 is the last, and a fifth that is none the fourth."""
    first = date(year, month, 1)
    day = first + timedelta((weekday - first.weekday()) % 7)
    days = [day + timedelta(7 * i) for i in range(5) if (day + timedelta(7 * i)).month == month]
    return days[-1] if nth == -1 or nth > len(days) else days[nth - 1]


# Texts ----------------------------------------------------------------------------------------------------------------


def parse_calendar(base: str, text: str, step_us: int) -> Calendar:
    """Read the words after the step of a frequency.

    Args:
        base: the step: B, D, or one that divides a day.
        text: such as "open mon-fri 09:00-17:00 sat 09:00-12:00 closed 12-25".
        step_us: its length.

    Raises:
        DataError: it cannot be read so.
    """
    opened, _, closed = text.partition("closed")
    spans = opened.split()
    if DAY_US % step_us or step_us % MINUTE_US or (spans and (spans.pop(0) != "open" or not spans)):
        raise DataError(
            f"frequency {base!r} {text.strip()!r} is not known; expected a step of whole minutes that divides a day, "
            "then open with days and hours, then closed with dates, such as 'h open mon-fri 09:00-17:00 closed 12-25'"
        )
    rules = tuple(closed.split())
    for rule in rules:
        list_dates(rule)
    whole_days = step_us == DAY_US
    if base == "B" or not spans:
        spans = ["mon-fri"] if base == "B" else ["mon-sun"]
    return Calendar(tuple(sorted(_parse_week(spans, step_us, whole_days))), rules, whole_days)


def _parse_week(spans: Sequence[str], step_us: int, whole_days: bool) -> set[int]:
    """Return the open moments of a week; hours belong to the days before them, all of a day where there are none."""
    groups: list[tuple[set[int], set[int]]] = [(set(), set())]
    for span in spans:
        days, moments = groups[-1]
        if match := re.fullmatch(rf"({'|'.join(DAYS)})(?:-({'|'.join(DAYS)}))?", span):
            if moments:
                groups.append((days := set(), set()))
            first, last = DAYS.index(match[1]), DAYS.index(match[2] or match[1])
            days |= {(first + n) % 7 for n in range((last - first) % 7 + 1)}
        elif (match := re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)", span)) and not whole_days:
            hour, minute, last_hour, last_minute = map(int, match.groups())
            first_us = (hour * 60 + minute) * MINUTE_US
            last_us = (last_hour * 60 + last_minute) * MINUTE_US
            if last_us < first_us:
                raise DataError(
                    f"frequency has {span!r} among the open times, which ends before it begins; write a night as two, "
                    "such as 22:00-23:00 00:00-06:00"
                )
            moments |= {*range(first_us, last_us + 1, step_us)}
        else:
            raise DataError(
                f"frequency has {span!r} among the open times; expected days such as mon-fri or sat, and after them "
                "hours such as 09:00-17:00, from the first timestamp of a day to the last"
            )
    every = {*range(0, DAY_US, step_us)}
    return {day * DAY_US + moment for days, moments in groups for day in days for moment in moments or every}


def describe_week(week: Sequence[int], step_us: int) -> str:
    """Return the words that `parse_calendar` reads: "open mon-fri 09:00-17:00"; nothing where every day is open."""
    hours = [_describe_hours([m % DAY_US for m in week if m // DAY_US == day], step_us) for day in range(7)]
    words = ["open"]
    for span, group in groupby(range(7), key=lambda day: hours[day]):
        days = [DAYS[day] for day in group]
        if span is not None:
            words += [days[0] if len(days) == 1 else f"{days[0]}-{days[-1]}", *([span] if span else [])]
    return "" if len(week) == WEEK_US // step_us else " ".join(words)


def _describe_hours(moments: Sequence[int], step_us: int) -> str | None:
    """Return the spans of one day; None where it is closed, and nothing where a step is a day."""
    if not moments or step_us == DAY_US:
        return "" if moments else None
    edges = [0, *(np.flatnonzero(np.diff(moments) != step_us) + 1).tolist(), len(moments)]
    spans = [(moments[a], moments[b - 1]) for a, b in pairwise(edges)]
    return " ".join(f"{_write_time(first)}-{_write_time(last)}" for first, last in spans)


def _write_time(us: int) -> str:
    return f"{us // MINUTE_US // 60:02}:{us // MINUTE_US % 60:02}"
