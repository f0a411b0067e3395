"""Read a column of dates: every reading that fits all rows is found; one is taken, or the user is asked.

texts -> shapes -> readings that fit all rows -> the plausible ones -> one, or an error with both written out
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError, Where
from lstm_model.contracts.settings import Source, SourceKind
from lstm_model.sources.date_choice import AmbiguousDatesError, DateColumn
from lstm_model.sources.date_readings import (
    STEP,
    UNIX,
    Reading,
    are_plain_steps,
    find_iso_reading,
    find_number_readings,
    find_text_readings,
    is_whole,
    to_int64,
)
from lstm_model.timeline.timestamps import DAY_US, same_time_of_day

CALENDAR = (1, 9000)
"""Years of a timestamp: the calendar of Python ends in 9999, and a horizon lies after the last one."""
FUTURE_US = 3653 * DAY_US
NOTHING_SET = Source(kind=SourceKind.synthetic)
"""No setting says how timestamps are written."""
LARGEST_STEP = 2**53
"""Of numbered steps: floats hold every integer up to it, and no difference of two leaves int64."""


class Dates(NamedTuple):
    """Timestamps, why they were read so, and the settings of `source` that say it."""

    times: pd.Series
    """int64 steps, or datetime64[us], naive or with a zone."""
    reasons: dict[str, str]
    settled: dict[str, Any]


def read_dates(values: pd.Series, source: Source, where: Where, ids: pd.Series | None = None) -> Dates:
    """Read timestamps from any column that holds them; `ids` names the series of each row.

    Raises:
        DataError: empty, unreadable or ambiguous timestamps, or ones that lie beyond the calendar.
    """
    dates = _read_any(values, source, where, ids)
    if dates.times.dtype.kind != "i":
        _check_calendar(to_int64(dates.times), where)
        if source.date_format is None:
            _check_future(to_int64(dates.times), values, where)
    return dates


def read_header(names: Sequence[str], source: Source | None = None) -> pd.Series | None:
    """Return the dates that the names of columns are, None if they are not, or only numbers that count on.

    Raises:
        AmbiguousDatesError: they may be dates in two ways.
    """
    texts = pd.Series(names, dtype="str").str.strip()
    if not texts.str.contains(r"\d", regex=True).all():
        return None
    for column in ("date", "year"):  # a row of years, or of months, needs no name that says so
        try:
            dates = read_dates(
                _to_numbers(texts).rename(column), source or NOTHING_SET, lambda row: f"column {names[row]!r}"
            )
        except AmbiguousDatesError:
            raise
        except DataError:
            continue
        if dates.times.dtype.kind == "M":
            return dates.times
    return None


def _to_numbers(texts: pd.Series) -> pd.Series:
    return texts.astype("int64") if texts.str.fullmatch(r"[1-9]\d{3,16}").all() else texts


def _check_calendar(us_N: NDArray[np.int64], where: Where) -> None:
    first, last = (np.datetime64(f"{year:04}-01-01", "us") for year in CALENDAR)
    beyond = (us_N < first.astype(np.int64)) | (us_N >= last.astype(np.int64))
    if beyond.any():
        raise DataError(
            f"{where(int(beyond.argmax()))}: the timestamp lies outside the years {CALENDAR[0]} to {CALENDAR[1] - 1}. "
            "Correct the row, or remove it (some systems write the year 9999 where there is no end)"
        )


def _check_future(us_N: NDArray[np.int64], values: pd.Series, where: Where) -> None:
    """Refuse dates that lie further ahead than any plan, unless their form is set."""
    if len(us_N) and us_N.max() > np.datetime64(datetime.date.today(), "us").astype(np.int64) + FUTURE_US:
        row = int(us_N.argmax())
        raise DataError(
            f"{where(row)}: {str(values.iloc[row])!r} is read as {pd.Timestamp(us_N[row], unit='us'):%Y-%m-%d}, more "
            "than ten years ahead. Correct the date; if it is right, confirm it with source.date_format "
            "(--date-format), such as year-month-day, day-month-year or %d.%m.%Y"
        )


def _read_any(values: pd.Series, source: Source, where: Where, ids: pd.Series | None) -> Dates:
    missing = values.isna().to_numpy()
    if missing.any():
        raise DataError(
            f"{where(int(missing.argmax()))}: the timestamp (column {values.name!r}) is empty; give one or drop the row"
        )
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return Dates(_to_microseconds(values, where), {}, {})
    whole = values.dtype.kind in "iu" or is_whole(values)
    if whole and (huge := ~values.between(-LARGEST_STEP, LARGEST_STEP).to_numpy()).any():
        row = int(huge.argmax())
        raise DataError(
            f"{where(row)}: received {values.iloc[row]} as timestamp, expected a date, or a step of at most "
            f"{LARGEST_STEP:,}; correct the row"
        )
    if values.dtype == object and not all(isinstance(value, str) for value in values):
        if not any(isinstance(value, str) for value in values):
            return _from_objects(values, source, where)
        values = values.astype("str")
    if whole:
        values = values.astype("int64")
    elif values.dtype.kind not in "fb":
        values = values.astype("str").str.strip()
    codes_N, unique = pd.factorize(values)
    different = pd.Series(unique, name=values.name)
    if values.dtype.kind in "iufb":
        if values.dtype.kind == "i" and are_plain_steps(different, source):
            return Dates(values, {}, {})
        readings = find_number_readings(different, values.name)
    else:
        readings = find_iso_reading(different, source) or find_text_readings(different, values.name)
    column = DateColumn(different, codes_N, ids, where, source, values.dtype.kind in "iufb")
    return _build(column, *column.choose(readings))


def _build(column: DateColumn, reading: Reading, reasons: dict[str, str], settled: dict[str, Any]) -> Dates:
    """Return the timestamps of all rows under one reading."""
    if reading.name == STEP:
        return Dates(pd.Series(reading.us_K[column.codes_N]), reasons, settled)
    wall = pd.Series(reading.us_K[column.codes_N].astype("datetime64[us]"))
    if reading.zoned_K is None or not reading.zoned_K.any():
        return Dates(wall, reasons, settled)
    if not reading.zoned_K.all():
        zoned_N = reading.zoned_K[column.codes_N]
        _refuse_mixed_zones(column.different.take(column.codes_N), zoned_N, column.where)
    assert reading.shift_K is not None
    instants = pd.Series((reading.us_K - reading.shift_K)[column.codes_N].astype("datetime64[us]")).dt.tz_localize(
        "UTC"
    )
    if reading.name in UNIX:
        return Dates(instants, reasons, settled)
    dates = _to_instants_or_dates(instants, wall, column.source)
    return Dates(dates.times, reasons | dates.reasons, settled)


def _to_microseconds(values: pd.Series, where: Where) -> pd.Series:
    """Return times of any unit as microseconds, which leave int64 some 290,000 years from now."""
    try:
        times: pd.Series = values.dt.as_unit("us")
    except pd.errors.OutOfBoundsDatetime as error:
        years = values.to_numpy().astype("datetime64[Y]").astype(np.int64) + 1970
        raise DataError(
            f"{where(int(np.abs(years).argmax()))}: the timestamp lies beyond the calendar ({error})"
        ) from None
    return times


def _from_objects(values: pd.Series, source: Source, where: Where) -> Dates:
    """Read cells of datetime.date or datetime.datetime, as databases give them."""
    zoned = np.array([getattr(value, "tzinfo", None) is not None for value in values])
    if not zoned.any():
        return Dates(pd.to_datetime(values).dt.as_unit("us"), {}, {})
    if not zoned.all():
        _refuse_mixed_zones(values, zoned, where)
    instants = pd.to_datetime(values, utc=True).dt.as_unit("us")
    wall = pd.to_datetime(values.map(lambda value: value.replace(tzinfo=None))).dt.as_unit("us")
    return _to_instants_or_dates(instants, wall, source)


def _refuse_mixed_zones(values: pd.Series, zoned: NDArray[np.bool_], where: Where) -> None:
    row = int((zoned != zoned[0]).argmax())
    kind = "without" if zoned[0] else "with"
    raise DataError(
        f"{where(row)}: received {str(values.iloc[row])!r} as timestamp, expected one with a UTC offset in every row, "
        f"or in none: this one is {kind} it, and {str(values.iloc[0])!r} is not. Write all in one way"
    )


def _to_instants_or_dates(instants: pd.Series, wall: pd.Series, source: Source) -> Dates:
    """Return instants in UTC; local midnights with their offsets are dates, which a change of clocks must not shift."""
    if source.timezone is None and same_time_of_day(wall):
        reason = "offsets dropped: all timestamps lie at one local time of day, so they are dates"
        return Dates(wall, {"columns.ds format": reason}, {})
    return Dates(instants, {}, {})
