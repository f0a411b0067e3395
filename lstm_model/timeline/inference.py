"""Infer the step between timestamps: a fixed one, one of the calendar, or that of a business which is closed at times.

Every step that fits all rows is looked for; a step that no row contradicts is taken and named, else the user is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from lstm_model.contracts.findings import DataError, listed, number
from lstm_model.timeline.calendars import (
    DAY_US,
    DAYS,
    KNOWN,
    MINUTE_US,
    MONDAY_US,
    OBSERVED,
    WEEK_US,
    Calendar,
    describe_week,
    find_easter,
    list_dates,
)
from lstm_model.timeline.frequency import INTEGER, RETAIL

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
FILLED = 0.8
"""Least share of its open moments at which a business that is closed at times has a row."""
RARE = 0.4
"""Below this share of the weeks a day or an hour is neither open nor closed."""
MOST_HOLIDAYS = 0.15
"""More absent days than this share of the open ones are no holidays."""
RULES = 500
"""About as many rules as are tried."""
QUIET = 0.01
"""Below this share of absent days beside known holidays, one date shows a known holiday."""
Integers = NDArray[np.int64]


def infer_frequency(series_N: np.ndarray, ds_N: np.ndarray, *, integer: bool) -> tuple[str, str]:
    """The alias of the step that rows sorted by series and time take most, and the reason.

    Args:
        ds_N: microseconds since 1970, or integer steps.

    Raises:
        DataError: no series has two rows, or the rows recur by no calendar.
    """
    diffs = np.diff(ds_N)[np.diff(series_N) == 0]
    diffs, counts = np.unique(diffs[diffs > 0], return_counts=True)
    if not len(diffs):
        raise DataError(
            "the frequency cannot be inferred: no series has two rows with different timestamps; set frequency"
        )
    step = _find_step(diffs, counts)
    share = f"{counts[diffs == step].sum() / counts.sum():.0%} of neighbouring rows are"
    if integer:
        if step != 1:
            raise DataError(
                f"integer timestamps go up by {step}, expected 1: number the steps 1, 2, 3, ..., or give dates"
            )
        return INTEGER, f"{INTEGER}: {share} 1 apart"
    times = np.unique(ds_N)
    if step < 7 * DAY_US:
        alias, note = _infer_open_times(times, step, is_regular=len(diffs) == 1)
    elif step == 7 * DAY_US:
        alias, note = _name_week(times), ""
    else:
        alias, note = _infer_long(series_N, ds_N, times, step)
    return alias, f"{alias}: {share} {pd.Timedelta(step, unit='us')} apart{note}"


def _find_step(diffs: np.ndarray, counts: np.ndarray) -> int:
    """The commonest step, unless a shorter one that fits all others is not rare."""
    common = int(np.gcd.reduce(diffs))
    is_common = counts[diffs == common].sum() >= 0.05 * counts.sum()
    return common if is_common else int(diffs[counts.argmax()])


def _name_week(times: Integers) -> str:
    weekday = np.unique(_to_dates(times).day_of_week)
    return f"W-{WEEKDAYS[weekday[0]]}" if len(weekday) == 1 else "7D"


def _to_dates(times: Integers) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times.astype("datetime64[us]"))


def _name_fixed(step: int) -> str:
    return f"{step // DAY_US}D" if step % DAY_US == 0 else str(to_offset(pd.Timedelta(step, unit="us")).freqstr)


# Open and closed times ------------------------------------------------------------------------------------------------


def _infer_open_times(times: Integers, step: int, *, is_regular: bool) -> tuple[str, str]:
    """Name steps of days and shorter, with the weekly times and the yearly dates that no row of any series has."""
    plain = "D" if step == DAY_US else _name_fixed(step)
    if is_regular and step != DAY_US:
        return plain, ""
    whole = step % DAY_US == 0
    unit = DAY_US if whole else step
    places = np.unique(times // DAY_US) if whole else times // step
    if DAY_US % unit or (not whole and (unit % MINUTE_US or len(np.unique(times % step)) > 1)):
        return plain, ""
    phase = 0 if whole else int(times[0] % step)
    places = places - MONDAY_US // unit
    week = _find_open_week(places, WEEK_US // unit, DAY_US // unit)
    if week is None or (not whole and len(week) == WEEK_US // unit):
        return plain, ""
    opened = tuple(int(slot) * unit + phase for slot in week)
    words = describe_week(opened, unit)
    calendar = Calendar(opened, (), whole)
    base = "D" if whole else plain
    if whole and words == "open mon-fri":
        base, words = "B", ""
    if whole and not words and plain != "D":
        return plain, ""
    closed = _find_holidays(calendar, times, certain=not words and base != "B")
    alias = " ".join([base, *([words] if words else []), *(["closed", *closed] if closed else [])])
    note = (
        ", and no row lies on a weekend" if base == "B" else f", and no row lies outside of {words[5:]}" * bool(words)
    )
    if closed:
        days = len(_list_absent_dates(calendar, times)) - len(
            _list_absent_dates(Calendar(opened, tuple(closed), whole), times)
        )
        note += f"; {number(days, 'day')} without any row recur each year by {listed(closed, limit=30)}: closed"
    return alias, note


def _find_open_week(places: Integers, per_week: int, per_day: int) -> list[int] | None:
    """Return the slots of a week that are open, all of them if none is closed; None if rows recur by no week.

    Args:
        places: of rows, ascending, counted in slots since a Monday.
        per_week: slots in a week.
        per_day: slots in a day.
    """
    first, last = int(places[0]), int(places[-1])
    rows_S = np.bincount(places % per_week, minlength=per_week)
    slots = np.arange(per_week)
    chances_S = (last - slots) // per_week - (first - 1 - slots) // per_week
    find = _find_open_days if per_day == 1 else _find_open_hours
    open_S = find(rows_S, chances_S, last - first)
    share = rows_S[open_S].sum() / max(1, chances_S[open_S].sum())
    return np.flatnonzero(open_S).tolist() if open_S.all() or share >= FILLED else None


def _find_open_days(rows_S: Integers, chances_S: Integers, span: int) -> NDArray[np.bool_]:
    """Return which days of the week are open; other days than a weekend need three absences to be closed."""
    open_S = (rows_S > 0) | (chances_S < 3)
    steady = (rows_S[open_S] >= RARE * chances_S[open_S]).all()
    if steady and not open_S.all():
        return np.asarray(open_S)
    weekend = span >= 9 and not rows_S[5:].any()
    return np.array([True] * 5 + [not weekend] * 2)


def _find_open_hours(rows_S: Integers, chances_S: Integers, _: int) -> NDArray[np.bool_]:
    """Return which moments of the week are open: within the first and last of each day, those of any day.

    A time of day is closed after five days without it, the end of one day of the week after four weeks, and a Saturday
    or Sunday after two; after none where the nights are closed too.
    """
    rows_DS, chances_DS = rows_S.reshape(7, -1), chances_S.reshape(7, -1)
    hours_S = rows_DS.any(axis=0) | (chances_DS.sum(axis=0) < 5)
    open_DS = np.tile(hours_S, (7, 1))
    for day in range(7):
        at = np.flatnonzero(rows_DS[day])
        if len(at):
            outside = (np.arange(len(hours_S)) < at[0]) | (np.arange(len(hours_S)) > at[-1])
            open_DS[day] &= ~(outside & (chances_DS[day] >= 4))
        elif chances_DS[day].min() >= (4 if day < 5 else 2 if hours_S.all() else 0):
            open_DS[day] = False
    return open_DS.ravel()


def _list_absent_dates(calendar: Calendar, times: Integers) -> list[date]:
    """Return the dates of a calendar between the first and the last row on which no series has a row."""
    place_N, _ = calendar.count(times[[0, -1]])
    open_days = np.unique(calendar.find(np.arange(place_N[0], place_N[1] + 1)) // DAY_US)
    absent = np.setdiff1d(open_days, np.unique(times // DAY_US))
    return [date(1970, 1, 1) + timedelta(int(day)) for day in absent]


def _find_holidays(calendar: Calendar, times: Integers, *, certain: bool) -> list[str]:
    """Return rules of the dates without any row, of which every date in the span of the data has none.

    Args:
        calendar: the week's.
        times: of all rows.
        certain: a single date shows no rule, not even one of a known holiday.
    """
    absent = set(_list_absent_dates(calendar, times))
    if not 0 < len(absent) <= MOST_HOLIDAYS * len(np.unique(times // DAY_US)):
        return []
    first, last = (date(1970, 1, 1) + timedelta(int(day)) for day in times[[0, -1]] // DAY_US)
    open_days = len(np.unique(calendar.find(np.arange(*calendar.count(times[[0, -1]])[0])) // DAY_US)) + 1
    fitting = _find_fitting_rules(calendar, absent, first, last)
    known = {rule: dates for rule, dates in fitting.items() if rule.split("@")[0] in KNOWN}
    left = absent.difference(*known.values()) if known else absent
    noise = len(left) / open_days
    least = 1 if noise < QUIET and not certain else _count_needed(noise)
    chosen = {
        rule: known[rule] for rule in known if len(known[rule]) >= (_count_needed(noise) if "@" in rule else least)
    }
    left, least = absent.difference(*chosen.values()), _count_needed(noise)
    on_workdays = [rule for rule in fitting if "/" in rule]
    of_known = [rule for rule in on_workdays if rule.partition("/")[0] in KNOWN]
    for rules in (of_known, [rule for rule in fitting if "/" not in rule], on_workdays):
        for rule in sorted(rules, key=lambda rule: (-len(fitting[rule] & left), rule)):
            base = rule.partition("/")[0]
            if len(fitting[rule] & left) >= (1 if "/" in rule and base in chosen else least):
                chosen.pop(base, None)
                chosen[rule] = fitting[rule]
                left = left - fitting[rule]
    return sorted(chosen)


def _find_fitting_rules(calendar: Calendar, absent: set[date], first: date, last: date) -> dict[str, set[date]]:
    """Return each rule of which no date is present, with its dates between the first and the last of the data."""
    open_weekdays = {moment // DAY_US for moment in calendar.week}
    fitting = {}
    for rule in sorted({rule for day in absent for rule in _list_rules(day)}):
        dates = {day for day in list_dates(rule) if first <= day <= last and day.weekday() in open_weekdays}
        if dates - absent:  # a holiday of the last years only
            since = max(dates - absent).year + 1
            rule, dates = f"{rule}@{since}", {day for day in dates if day.year >= since}
        if dates and dates <= absent and (len(dates) > 1 or "@" not in rule):
            fitting[rule] = dates
    return fitting


def _count_needed(noise: float) -> int:
    """Return how many dates show a rule where a share of all days is absent by chance: fewer would fit some rule."""
    return next(count for count in range(2, 99) if RULES * noise**count < 0.05 or count == 98)


def _list_rules(day: date) -> Iterator[str]:
    """Return the rules that may have made a day a holiday."""
    for before in range(-1, 3):
        real = day - timedelta(before)
        for observed, move in OBSERVED.items():
            if move(pd.Timestamp(real).to_pydatetime()).date() == day and (observed or not before):
                yield f"{real:%m-%d}{observed}"
    if abs(from_easter := (day - find_easter(day.year)).days) <= 60:
        yield f"easter{from_easter:+d}"
    nth = (day.day - 1) // 7 + 1
    yield f"{nth}{DAYS[day.weekday()]}{day:%m}"
    if (day + timedelta(7)).month != day.month:
        yield f"-1{DAYS[day.weekday()]}{day:%m}"


# Months and longer ----------------------------------------------------------------------------------------------------


def _infer_long(series_N: Integers, ds_N: Integers, times: Integers, step: int) -> tuple[str, str]:
    """Name steps of more than a week: the calendar's, then a fixed number of days, then retail months."""
    months, aligned = _infer_months(series_N, ds_N, times, step)
    if months and aligned:
        return months, ""
    if step < 20 * DAY_US and (halves := _infer_half_months(times)):
        return halves, ""
    diffs = np.diff(ds_N)[np.diff(series_N) == 0]
    if not (diffs % step).any():
        return _name_fixed(step), ""
    if retail := _infer_retail(series_N, ds_N):
        return retail, "; a year of 53 weeks is not foreseen"
    if months is None:
        return _name_fixed(step), ""
    for alias in _list_patterns(times):
        index = pd.date_range(_show(times[0]), _show(times[-1]), freq=alias)
        if np.isin(times, index.as_unit("us").to_numpy().astype(np.int64)).all():
            return alias, ""
    days = _to_dates(times).day
    first, other = int(days.argmin()), int(days.argmax())
    raise DataError(
        f"the timestamps lie about {number(round(step / DAY_US), 'day')} apart, on days of the month from "
        f"{_show(times[first])} to {_show(times[other])}, which is regular in no calendar. Set frequency to {months} "
        "to count a row for its month, quarter or year, or number the steps 1, 2, 3, ... where they are none"
    )


def _show(time: int) -> str:
    return str(pd.Timestamp(time, unit="us")).removesuffix(" 00:00:00")


def _infer_months(series_N: Integers, ds_N: Integers, times: Integers, step: int) -> tuple[str | None, bool]:
    """Return the alias of steps of whole months, None if they are shorter, and whether all rows lie at one place in
    them."""
    if step < 28 * DAY_US:
        return None, False
    dates = _to_dates(ds_N)
    month_N = (dates.year * 12 + dates.month - 1).to_numpy(dtype=np.int64)
    diffs, counts = np.unique(np.diff(month_N)[np.diff(series_N) == 0], return_counts=True)
    if not (diffs > 0).any():
        return None, False
    count = _find_step(diffs[diffs > 0], counts[diffs > 0])
    unique = _to_dates(times)
    edge = "E" if bool(unique.is_month_end.all()) else "S"
    phases = np.unique(month_N % count)
    shift = np.unique(times - _find_edges(times, edge))
    alias = _name_months(count, edge, int(phases[0]) if len(phases) == 1 else None)
    if len(shift) == 1 and 0 < shift[0] < 28 * DAY_US:
        alias += f" +{_name_fixed(int(shift[0]))}"
    return alias, len(shift) == 1 and shift[0] < 28 * DAY_US


def _find_edges(times: Integers, edge: str) -> Integers:
    """Return the first day of each timestamp's month, or the last."""
    months = times.astype("datetime64[us]").astype("datetime64[M]")
    days = months if edge == "S" else (months + 1).astype("datetime64[D]") - 1
    return np.asarray(days.astype("datetime64[us]").astype(np.int64))


def _name_months(count: int, edge: str, phase: int | None) -> str:
    """Return the alias of steps of some months; the phase is the first month of all, from 0, None if it differs."""
    if count == 3 and phase is not None:
        return _anchor("Q", edge, phase + 1)
    if count % 12 == 0 and phase is not None:
        years = "" if count == 12 else str(count // 12)
        return years + _anchor("Y", edge, phase % 12 + 1)
    return f"{count if count > 1 else ''}M{edge}"


def _anchor(letter: str, edge: str, month: int) -> str:
    """QS and YS mean January, QE and YE December; other phases carry their month."""
    if edge == "S":
        return f"{letter}S" if month == 1 else f"{letter}S-{MONTHS[month - 1]}"
    last = month + 9 if letter == "Q" else month
    return f"{letter}E" if last == 12 else f"{letter}E-{MONTHS[last - 1]}"


def _infer_half_months(times: Integers) -> str | None:
    """Return the alias of two fixed days a month: the 1st and another, or another and the last."""
    dates = _to_dates(times)
    for alias, at_edge in (("SMS", dates.day == 1), ("SME", dates.is_month_end)):
        others = np.unique(dates.day[~at_edge])
        if len(others) == 1 and 2 <= others[0] <= 27 and bool(at_edge.any()):
            return alias if others[0] == 15 else f"{alias}-{others[0]}"
    return None


def _infer_retail(series_N: Integers, ds_N: Integers) -> str | None:
    """Return the alias of months of four and five weeks; rows may be absent."""
    places = np.unique(ds_N // DAY_US % 91)
    if len(places) != 3 or (ds_N % DAY_US).any():
        return None
    for start in (0, 1, 2):
        weeks = np.diff([*np.roll(places, -start), places[start] + 91]) % 91 // 7
        starts = _first_after(2000, int(places[start]))
        alias = f"{'-'.join(map(str, weeks))} from {starts}"
        if sorted(weeks) == [4, 4, 5] and weeks[2] == 5 and RETAIL.fullmatch(alias):
            return alias
    return None


def _first_after(year: int, place: int) -> date:
    """Return the first day of a year, or after it, whose number leaves `place` when divided by 91."""
    first = date(year, 1, 1)
    return first + timedelta((place - (first - date(1970, 1, 1)).days) % 91)


def _list_patterns(times: Integers) -> Iterator[str]:
    """Return the calendars of months whose days differ: their first or last business day, or nth weekday."""
    dates = _to_dates(times)
    phases = np.unique((dates.month - 1) % 3)
    for edge in "SE":
        yield f"B{_anchor('Q', edge, int(phases[0]) + 1)}" if len(phases) == 1 else f"BM{edge}"
    if len(phases) == 3 and len(weekday := np.unique(dates.day_of_week)) == 1:
        name = WEEKDAYS[weekday[0]]
        yield from (f"WOM-{nth}{name}" for nth in (1, 2, 3, 4))
        yield f"LWOM-{name}"
