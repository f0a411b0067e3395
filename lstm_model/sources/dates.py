"""Read a column of dates: every reading that fits all rows is found; one is taken, or the user is asked.

texts -> shapes -> readings that fit all rows -> the plausible ones -> one, or an error with both written out
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError, Where
from lstm_model.contracts.settings import Source, SourceKind
from lstm_model.sources.date_forms import find_readings, read_fields
from lstm_model.timeline.timestamps import DAY_US, same_time_of_day

CALENDAR = (1, 9000)
"""Years of a timestamp: the calendar of Python ends in 9999, and a horizon lies after the last one."""
YEARS = (1500, 2200)
"""Years that digits without any mark may mean."""
NOTHING_SET = Source(kind=SourceKind.synthetic)
"""No setting says how timestamps are written."""
LARGEST_STEP = 2**53
"""Of numbered steps: floats hold every integer up to it, and no difference of two leaves int64."""
STEP = "step"
NO_YEAR = "(no year)"
ISO = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?(?:Z|[+-]\d{2}:?\d{2})?$"
DAYS_BETWEEN = {"excel-days": -25_569, "unix-days": 0, "matlab-days": -719_529, "python-days": -719_163}
"""What makes day counts of spreadsheets, R, MATLAB and Python days since 1970."""
UNIX = {"unix-seconds": 1, "unix-milliseconds": 1_000, "unix-microseconds": 1_000_000}
_DATE_NAME = re.compile(
    r"(?:.*[\W_])?(?:date|datum|fecha|datetime|year_?week|year_?month|year_?quarter|yyyy\w+|kw|periode?)(?:[\W_].*)?"
    r"|data|day|tag|dia|día|jour|giorno|dag|week|woche|semaine|semana|settimana|month|monat|mois|mes|mese|maand"
    r"|quarter|quartal|trimestre"
)
_STEP_NAME = re.compile(r"step|index|^t$|^n$|number|nummer|count|seq")
_UNIT_NAMES = (
    ("week", re.compile(r"week|woche|semaine|semana|settimana|(^|_)kw|(^|_)cw|^w[kk]|ww$")),
    ("month", re.compile(r"month|monat|mois|(^|_)mes(e|$)|maand|yyyymm$")),
    ("quarter", re.compile(r"quart|trimestr|qtr")),
    ("dayofyear", re.compile(r"doy|day_?of_?year|julian|yyyyddd")),
)
_YEAR_NAME = re.compile(r"year|jahr|annee|année|^ano$|^año$|anno|^date$|^time$|season|saison|fiscal")
FILLED = 0.5
"""The share of a regular series whose steps follow each other; business days fill 4 of 7."""
MOST_SHAPES = 300
"""Of the texts of a column whose kind is looked for: a column of dates has few."""


class Dates(NamedTuple):
    """Timestamps, why they were read so, and the settings of `source` that say it."""

    times: pd.Series
    """int64 steps, or datetime64[us], naive or with a zone."""
    reasons: dict[str, str]
    settled: dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """One way to read a column of K different texts or numbers."""

    name: str
    us_K: NDArray[np.int64]
    """Microseconds since 1970 of the clock that was written (of steps, the number itself)."""
    fits_K: NDArray[np.bool_]
    level: int = 2
    """How usual it is: 3 the column's name says so, 2 usual, 1 only if no other makes sense."""
    zoned_K: NDArray[np.bool_] | None = None
    shift_K: NDArray[np.int64] | None = None
    """Microseconds by which the written clock is ahead of UTC."""


def read_dates(values: pd.Series, source: Source, where: Where, ids: pd.Series | None = None) -> Dates:
    """Read timestamps from any column that holds them; `ids` names the series of each row.

    Raises:
        DataError: empty, unreadable or ambiguous timestamps, or ones that lie beyond the calendar.
    """
    dates = _read_any(values, source, where, ids)
    if dates.times.dtype.kind != "i":
        _check_calendar(_to_int64(dates.times), where)
    return dates


def count_dates(texts: Sequence[str], name: object = "") -> float:
    """Return the largest share of some texts that one reading makes dates; codes need a name that says so."""
    readings = _read_texts(pd.Series(texts, dtype="str"), name, most_shapes=MOST_SHAPES)
    coded = np.array([bool(re.fullmatch(r"\d+(?:\.\d+)?|\d{1,2}[-/.]\d{1,2}", text)) for text in texts], bool)
    if _DATE_NAME.fullmatch(str(name).lower()) or _YEAR_NAME.search(str(name).lower()):
        coded[:] = False
    dates = [reading for reading in readings if NO_YEAR not in reading.name]
    return max((float((reading.fits_K & ~coded).mean()) for reading in dates), default=0.0)


def is_date_number(values: pd.Series) -> bool:
    """Return whether the name of a column of numbers says dates, and all its values are codes or counts of such."""
    name = str(values.name).lower()
    if values.dtype.kind not in "iuf" or values.empty or values.isna().any():
        return False
    if name in ("time", "ds", "timestamp", "step", "year") and is_decimal_year(values):
        return True
    if not _DATE_NAME.fullmatch(name) or float(values.min()) < YEARS[0]:
        return False
    readings = _read_numbers(values.drop_duplicates(), name)
    return any(r.fits_K.all() for r in readings if r.name not in (STEP, "year") and r.level >= 2)


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


class AmbiguousDatesError(DataError):
    """Dates have two plausible readings."""


def _to_numbers(texts: pd.Series) -> pd.Series:
    return texts.astype("int64") if texts.str.fullmatch(r"[1-9]\d{3,16}").all() else texts


# From any type of column ----------------------------------------------------------------------------------------------


def _check_calendar(us_N: NDArray[np.int64], where: Where) -> None:
    first, last = (np.datetime64(f"{year:04}-01-01", "us") for year in CALENDAR)
    beyond = (us_N < first.astype(np.int64)) | (us_N >= last.astype(np.int64))
    if beyond.any():
        raise DataError(
            f"{where(int(beyond.argmax()))}: the timestamp lies outside the years {CALENDAR[0]} to {CALENDAR[1] - 1}. "
            "Correct the row, or remove it (some systems write the year 9999 where there is no end)"
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
        if values.dtype.kind == "i" and _are_plain_steps(different, source):
            return Dates(values, {}, {})
        readings = _read_numbers(different, values.name)
    else:
        readings = _read_plain_iso(different, source) or _read_texts(different, values.name)
    column = _Column(different, codes_N, ids, where, source, values.dtype.kind in "iufb")
    reading, reasons, settled = column.choose(readings)
    return column.build(reading, reasons, settled)


def _to_int64(times: pd.Series) -> NDArray[np.int64]:
    return np.asarray(times.astype("int64"), np.int64)


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


def is_whole(values: pd.Series) -> bool:
    """Return whether integers became floats on their way, as 1990.0."""
    return values.dtype.kind == "f" and bool((values % 1 == 0).all())


def is_decimal_year(values: pd.Series) -> bool:
    """Return whether floats are years with months as their fraction, as R writes the time of a series: 1990.083."""
    if values.dtype.kind != "f" or not values.between(*YEARS).all():
        return False
    months = values * 12
    return bool((months - months.round()).abs().max() < 0.02)


# Readings of numbers --------------------------------------------------------------------------------------------------


def _are_plain_steps(different: pd.Series, source: Source) -> bool:
    """Return whether integers can be nothing but steps: too small, or of too many lengths, for any code of dates."""
    if source.date_format is not None:
        return source.date_format == STEP
    return different.empty or int(different.min()) < YEARS[0]


def _read_numbers(values: pd.Series, name: object) -> list[Reading]:
    """Return the readings of integers or floats: codes such as 20240131, counts of days or seconds, steps."""
    text = str(name).lower()
    dated, yearly = bool(_DATE_NAME.fullmatch(text)), bool(_YEAR_NAME.search(text))
    readings = []
    if values.dtype.kind == "f":
        if is_decimal_year(values):
            readings.append(_from_months("decimal-year", (values * 12).round().to_numpy().astype("int64"), 2))
    elif len(str(values.min())) == len(str(values.max())):
        for reading in _read_texts(values.astype("str"), name):
            known = reading.name in ("year-month-day", "year-month", "year") or reading.level == 3
            level = (
                reading.level if known or "hour" in reading.name or "week" in reading.name else 1 + (dated or yearly)
            )
            if reading.name == "year" and not (dated or yearly):
                level = 1
            digits = len(str(values.iloc[0]))
            if digits == 8 and reading.name == "year-month-day":
                level = 3
            if NO_YEAR not in reading.name and (digits != 6 or level > 1 or "year-" in reading.name):
                readings.append(replace(reading, level=level))
    last = np.datetime64(datetime.date.today(), "us").astype(np.int64) + 366 * DAY_US
    numbers = values.to_numpy()
    low, high = float(values.min()), float(values.max())
    for unit, factor in UNIX.items():
        first = 600_000_000 if not dated and text not in ("time", "timestamp") else 30_000_000
        if first * factor <= low and high < 5_000_000_000 * factor:
            exact = values.dtype.kind == "i"
            us = (numbers * (1_000_000 // factor) if exact else np.round(numbers * 1e6 / factor)).astype(np.int64)
            zone = np.ones(len(us), bool)
            readings.append(Reading(unit, us, us <= last, 2, zone, np.zeros(len(us), np.int64)))
    if (dated or text in ("time", "timestamp", "datetime")) and low >= 10_000:
        for unit, days in DAYS_BETWEEN.items():
            us = np.round((numbers + float(days)) * 86_400).astype(np.int64) * 1_000_000
            plausible = (us >= -20 * 365 * DAY_US) & (us <= last)
            readings.append(Reading(unit, us, plausible, 2 if dated else 1))
    readings = [reading for reading in readings if reading.fits_K.any()]
    if values.dtype.kind == "i":
        alone = not any(reading.fits_K.all() for reading in readings)
        level = 3 if _STEP_NAME.search(text) else 2 if alone else 0 if dated else 1
        readings.append(Reading(STEP, values.to_numpy(), np.ones(len(values), bool), level))
    return readings


def _from_months(name: str, months_K: NDArray[np.int64], level: int) -> Reading:
    """Return the first days of months that are counted from the year 0."""
    us_K = (months_K - 1970 * 12).astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    return Reading(name, us_K, np.ones(len(us_K), bool), level)


# Readings of texts ----------------------------------------------------------------------------------------------------


def _read_plain_iso(texts: pd.Series, source: Source) -> list[Reading]:
    """Return the one reading of 2024-01-31 14:00, the commonest form, in one pass; none if a text is written else."""
    if source.date_format not in (None, "year-month-day"):
        return []
    if not pc.all(pc.match_substring_regex(_to_arrow(texts), ISO)).as_py():
        return []
    ends = texts.str.slice(10).str.contains(r"[Z+-]", regex=True).to_numpy(dtype=bool)
    times = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=bool(ends.any())).dt.as_unit("us")
    if times.isna().any():
        return []
    us = _to_int64(times)
    if not ends.any():
        return [Reading("year-month-day", us, np.ones(len(us), bool))]
    wall = pd.to_datetime(texts.str.replace(r"(?:Z|[+-]\d{2}:?\d{2})$", "", regex=True), format="ISO8601")
    wall_us = _to_int64(wall.dt.as_unit("us"))
    return [Reading("year-month-day", wall_us, np.ones(len(us), bool), 3, ends, wall_us - us)]


def _to_arrow(texts: pd.Series) -> pa.Array:
    return pa.array(texts.to_numpy(dtype=object), pa.string())


def _read_texts(texts: pd.Series, name: object, *, most_shapes: int | None = None) -> list[Reading]:
    """Return all readings of different texts, the readings of whose shapes are looked for once."""
    shapes = pc.replace_substring_regex(_to_arrow(texts), r"\d", "0").dictionary_encode()
    code_K = shapes.indices.to_numpy(zero_copy_only=False)
    order = np.argsort(code_K, kind="stable")
    starts = np.searchsorted(code_K[order], np.arange(len(shapes.dictionary) + 1))
    fields: dict[str, dict[str, NDArray[np.int64]]] = {}
    levels: dict[str, int] = {}
    values = texts.to_numpy(dtype=object)
    for number, shape in enumerate(shapes.dictionary.to_pylist()[:most_shapes]):
        if "0" not in shape or len(shape) > 80:
            continue
        rows = order[starts[number] : starts[number + 1]]
        for reading, places in find_readings(str(values[rows[0]])).items():
            found = fields.setdefault(reading, {"covered": np.zeros(len(values), np.int64)})
            levels[reading] = max(levels.get(reading, 0), places.level)
            found["covered"][rows] = 1
            if places.places.get("Y", (0, 4))[1] - places.places.get("Y", (0, 4))[0] == 2:
                found.setdefault("short", np.zeros(len(values), np.int64))[rows] = 1
            if places.zone:
                found.setdefault("zoned", np.zeros(len(values), np.int64))[rows] = 1
            for letter, numbers in read_fields(np.array(values[rows], dtype=np.str_), places).items():
                default = int(letter in "MDJWUQH")
                found.setdefault(letter, np.full(len(values), default))[rows] = numbers
    digits = bool(texts.str.fullmatch(r"\d+").all())
    units = [unit for unit, pattern in _UNIT_NAMES if pattern.search(str(name).lower())]
    readings = []
    for reading, found in fields.items():
        if digits and "Y" in found and "short" not in found:
            found["covered"] &= (found["Y"] >= YEARS[0]) & (found["Y"] <= YEARS[1])
        level = 3 if any(unit in reading for unit in units) else levels[reading]
        readings += _compute(reading, found, level)
    return readings


def _compute(name: str, fields: dict[str, NDArray[np.int64]], level: int) -> list[Reading]:
    """Return the reading of some fields; two of them if two-digit years may lie in either of two centuries."""
    covered = fields["covered"].astype(bool)
    if "Y" not in fields:  # a leap year, so that all days have a date
        return [_compute_dates(name, fields | {"Y": np.full(len(covered), 2000)}, level)]
    if "short" not in fields:
        return [_compute_dates(name, fields, level)]
    short = fields["short"].astype(bool)
    centuries = _find_centuries(fields["Y"], short)
    level = level if len(centuries) == 1 else 1
    return [_compute_dates(name + century, fields | {"Y": years}, level) for century, years in centuries]


def _find_centuries(years: NDArray[np.int64], short: NDArray[np.bool_]) -> list[tuple[str, NDArray[np.int64]]]:
    """Return two-digit years in full: the latest that are not in the future, and those a century later if soon."""
    present = np.unique(years[short])
    gaps = np.diff(np.append(present, present[0] + 100))
    first = int(present[(int(gaps.argmax()) + 1) % len(present)])
    span = 100 - int(gaps.max())
    this_year = datetime.date.today().year
    begin = 2000 + first
    while begin + span > this_year + 1:
        begin -= 100
    found = []
    for number, start in enumerate((begin, begin + 100)):
        if number and start > this_year + 30:
            break
        full = np.where(short, start + (years - first) % 100, years)
        found.append((f" {start // 100}00s", full))
    return [("", found[0][1])] if len(found) == 1 else found


def _compute_dates(name: str, fields: dict[str, NDArray[np.int64]], level: int) -> Reading:
    """Return the moments that fields make, and where they exist: no 30 February, no week 53 of 2023."""
    ones = np.ones(len(fields["covered"]), np.int64)
    year = fields["Y"]
    fits = fields["covered"].astype(bool) & (year <= 9999)
    month = fields.get("M", ones)
    if "Q" in fields:
        fits &= (fields["Q"] >= 1) & (fields["Q"] <= 4)
        month = fields["Q"] * 3 - 2
    if "H" in fields:
        fits &= (fields["H"] >= 1) & (fields["H"] <= 2)
        month = fields["H"] * 6 - 5
    if "N" in fields:
        fits &= fields["N"] % 100 == (year + 1) % 100
    fits &= (month >= 1) & (month <= 12)
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first, after = (m.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) for m in (months, months + 1))
    day = first + fields.get("D", ones) - 1
    fits &= (day >= first) & (day < after)
    if "J" in fields:
        day = first + fields["J"] - 1
        ends = ((year - 1969) * 12).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        fits &= (day >= first) & (day < ends)
    if "W" in fields:
        day, exists = _find_weeks(year, fields["W"], fields.get("U", ones))
        fits &= exists
    zero = np.zeros(len(ones), np.int64)
    hour, minute, second = (fields.get(letter, zero) for letter in "his")
    fraction = fields.get("f", zero)
    fits &= (hour < 24) | ((hour == 24) & (minute + second + fraction == 0))
    fits &= (minute < 60) & (second < 60)
    us = day * DAY_US + ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction
    shift = fields.get("zone", zero) * 60_000_000
    zoned = fields["zoned"].astype(bool) if "zoned" in fields else None
    return Reading(name, us, fits, level, zoned, shift if zoned is not None else None)


def _find_weeks(
    year: NDArray[np.int64], week: NDArray[np.int64], weekday: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return days since 1970 of ISO weeks, and whether the years have them."""

    def find_first(years: NDArray[np.int64]) -> NDArray[np.int64]:
        fourth = ((years - 1970) * 12).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + 3
        return np.asarray(fourth - (fourth + 3) % 7)

    first = find_first(year)
    day = first + (week - 1) * 7 + weekday - 1
    return day, (week >= 1) & (day < find_first(year + 1))


# The choice -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """How a reading looks as a series: `filled` is the share of the steps of its grid that have a row."""

    ordered: bool
    repeats: bool
    filled: float

    def excludes(self, other: Shape) -> bool:
        """Return whether this one is so much more regular that the other is no plausible reading."""
        if self.repeats or (other.ordered and not self.ordered):
            return False
        if self.filled >= FILLED and (other.repeats or other.filled <= self.filled - 0.2):
            return True
        return self.ordered and not other.ordered and self.filled >= other.filled - 0.2


@dataclass(frozen=True)
class _Column:
    """A column of K different values in N rows."""

    different: pd.Series
    codes_N: NDArray[np.int64]
    ids: pd.Series | None
    where: Where
    source: Source
    numeric: bool

    def choose(self, readings: list[Reading]) -> tuple[Reading, dict[str, str], dict[str, Any]]:
        """Return the one plausible reading that fits all rows, why, and the settings that say it."""
        readings = self._keep_set(readings)
        fitting = [reading for reading in readings if reading.fits_K.all()]
        if not fitting:
            self._refuse_unreadable(readings)
        fitting = _drop_equal(fitting)
        rivals, shapes = fitting, {}
        if len(fitting) > 1:
            shapes = {reading.name: self._measure(reading) for reading in fitting}
            top = max(reading.level for reading in fitting)
            usual = [
                r for r in fitting if r.level == top and shapes[r.name].filled >= FILLED and not shapes[r.name].repeats
            ]
            rivals = usual or [r for r in fitting if r.level == top or shapes[r.name].ordered]
            rivals = [
                r for r in rivals if not any(shapes[o.name].excludes(shapes[r.name]) for o in rivals if o is not r)
            ]
        if len(rivals) != 1:
            self._ask(rivals or fitting)
        if NO_YEAR in rivals[0].name:
            self._refuse_without_year(rivals[0])
        if rivals[0].name.endswith("00s") and self.source.date_format is None and len(fitting) == 1:
            self._ask(fitting)
        return self._explain(rivals[0], [r for r in fitting if r is not rivals[0]])

    def build(self, reading: Reading, reasons: dict[str, str], settled: dict[str, Any]) -> Dates:
        """Return the timestamps of all rows under one reading."""
        if reading.name == STEP:
            return Dates(pd.Series(reading.us_K[self.codes_N]), reasons, settled)
        wall = pd.Series(reading.us_K[self.codes_N].astype("datetime64[us]"))
        if reading.zoned_K is None or not reading.zoned_K.any():
            return Dates(wall, reasons, settled)
        if not reading.zoned_K.all():
            zoned_N = reading.zoned_K[self.codes_N]
            _refuse_mixed_zones(self.different.take(self.codes_N), zoned_N, self.where)
        assert reading.shift_K is not None
        instants = pd.Series((reading.us_K - reading.shift_K)[self.codes_N].astype("datetime64[us]")).dt.tz_localize(
            "UTC"
        )
        if reading.name in UNIX:
            return Dates(instants, reasons, settled)
        dates = _to_instants_or_dates(instants, wall, self.source)
        return Dates(dates.times, reasons | dates.reasons, settled)

    def _keep_set(self, readings: list[Reading]) -> list[Reading]:
        """Return the readings that `source.date_format` and `source.dayfirst` allow."""
        wanted, dayfirst = self.source.date_format, self.source.dayfirst
        if wanted is not None and "%" in wanted:
            times = pd.to_datetime(self.different.astype("str"), format=wanted, errors="coerce")
            us_K = _to_int64(times.dt.tz_localize(None).dt.as_unit("us"))
            return [Reading(wanted, us_K, times.notna().to_numpy())]
        if wanted is not None:
            kept = [r for r in readings if wanted in (r.name, re.sub(r" \d\d00s$", "", r.name))]
            if not kept:
                names = ", ".join(repr(reading.name) for reading in readings) or "none that is known"
                raise DataError(
                    f"source.date_format is {wanted!r}, but {self.different.iloc[0]!r} can be read as {names}. Set one "
                    "of these, or a format such as '%d.%m.%Y %H:%M'"
                )
            return kept
        if dayfirst is not None:
            unwanted = "month-day-year" if dayfirst else "day-month-year"
            kept = [r for r in readings if not r.name.startswith(unwanted)]
            return kept or readings
        return readings

    def _measure(self, reading: Reading) -> Shape:
        """Return how regular the rows are under a reading."""
        us_N = reading.us_K[self.codes_N]
        series_N = np.zeros(len(us_N), np.int64) if self.ids is None else pd.factorize(self.ids)[0]
        by_series = np.argsort(series_N, kind="stable")
        steps = np.diff(us_N[by_series])[np.diff(series_N[by_series]) == 0]
        ordered = bool((steps >= 0).all() or (steps <= 0).all())
        by_time = np.lexsort((us_N, series_N))
        steps = np.diff(us_N[by_time])[np.diff(series_N[by_time]) == 0]
        return Shape(ordered, bool((steps == 0).any()), _measure_grid(np.unique(us_N), reading.name == STEP))

    def _find_row(self, index: int) -> int:
        return int((self.codes_N == index).argmax())

    def _refuse_unreadable(self, readings: list[Reading]) -> None:
        best = max(readings, key=lambda reading: int(reading.fits_K.sum()), default=None)
        bad = int((~best.fits_K).argmax()) if best else 0
        text, place = self.different.iloc[bad], self.where(self._find_row(bad))
        if best is None or not best.fits_K.any():
            raise DataError(
                f"{place}: received {text!r} as timestamp (column {self.different.name!r}), expected a timestamp "
                "such as 2024-03-31 14:00 or 2024-03-31T14:00+02:00"
            )
        good = self.different[best.fits_K].iloc[0]
        if not any(reading.fits_K[bad] for reading in readings):
            raise DataError(
                f"{place}: received {text!r} as timestamp, expected a timestamp such as {good!r}, as in other rows. "
                "Correct or remove the row"
            )
        first = {"day-month-year": "day first", "month-day-year": "month first"}.get(best.name, best.name)
        raise DataError(
            f"{place}: {text!r} is no date when read with the {first}, as {good!r} must be; set source.date_format "
            "(--date-format) or source.dayfirst (--dayfirst) to match the data, or write dates as 2024-12-31"
        )

    def _ask(self, rivals: list[Reading]) -> None:
        """Ask for the reading, with each written out on the first row that tells them apart."""
        rivals = sorted(rivals, key=lambda reading: -reading.level)[:4]
        told = [r.us_K for r in rivals]
        apart = int((told[0] != told[-1]).argmax()) if len(told) > 1 else 0
        text = str(self.different.iloc[apart])
        options = ", or ".join(f"{_show(r, apart)} (read as {r.name!r})" for r in rivals)
        dayfirst = {"day-month-year", "month-day-year"} <= {r.name for r in rivals}
        hint = ", or source.dayfirst (--dayfirst) to true or false" if dayfirst else ""
        raise AmbiguousDatesError(
            f"dates such as {text!r} are ambiguous: {self.where(self._find_row(apart))}: it may be {options}. Set "
            f"source.date_format (--date-format) to the right one{hint}, or write dates as 2024-12-31"
        )

    def _refuse_without_year(self, reading: Reading) -> None:
        raise DataError(
            f"{self.where(0)}: {self.different.iloc[0]!r} is a day without a year; write dates as 2024-12-31"
        )

    def _explain(self, reading: Reading, others: list[Reading]) -> tuple[Reading, dict[str, str], dict[str, Any]]:
        """Return the reading, the reason for it and the settings that fix it."""
        first = {"day-month-year": "the day comes first", "month-day-year": "the month comes first"}.get(reading.name)
        example = self._find_proof(reading, others)
        if first and not self.numeric and not self.different.iloc[example][:3].isdigit():
            swapped = {"day-month-year": "month-day-year", "month-day-year": "day-month-year"}[reading.name]
            if self.source.dayfirst is not None or self.source.date_format is not None:
                why = "set"
            elif any(other.name == swapped for other in others):
                why = f"{first}: read otherwise, dates such as {self.different.iloc[0]!r} would be irregular"
            else:
                why = f"{first}: {self.different.iloc[example]!r} has no other reading"
            return reading, {"dayfirst": why}, {"dayfirst": reading.name == "day-month-year"}
        in_full = not self.numeric and str(self.different.iloc[0])[:4].isdigit()
        usual = in_full and reading.name in ("year-month-day", "year-month")
        if reading.name == STEP or (usual and all(other.level < reading.level for other in others)):
            return reading, {}, {"date_format": STEP} if others and reading.name == STEP else {}
        why = f"{reading.name}: {str(self.different.iloc[0])!r} is {_show(reading, 0)}"
        if others:
            why += f"; as {others[0].name} it would be {_show(others[0], 0)}, which is less regular"
        if self.source.date_format is not None:
            why = "set"
        return reading, {"columns.ds format": why}, {"date_format": reading.name} if others else {}

    def _find_proof(self, reading: Reading, others: Iterable[Reading]) -> int:
        """Return a value that the swapped order of day and month does not fit: one whose day is above 12."""
        days = (
            reading.us_K.astype("datetime64[us]").astype("datetime64[D]")
            - reading.us_K.astype("datetime64[us]").astype("datetime64[M]").astype("datetime64[D]")
        ).astype(np.int64)
        return int(days.argmax())


def _show(reading: Reading, index: int) -> str:
    if reading.name == STEP:
        return f"step {reading.us_K[index]}"
    stamp = pd.Timestamp(reading.us_K[index], unit="us")
    if NO_YEAR in reading.name:
        return f"{stamp:%d %B} of an unknown year"
    return f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else f"{stamp:%Y-%m-%d %H:%M}"


def _drop_equal(readings: list[Reading]) -> list[Reading]:
    """Drop readings that give the same dates as a more usual one."""
    kept: list[Reading] = []
    for reading in sorted(readings, key=lambda reading: -reading.level):
        if reading.name == STEP or not any(np.array_equal(reading.us_K, other.us_K) for other in kept):
            kept.append(reading)
    return kept


def _measure_grid(times: NDArray[np.int64], integer: bool) -> float:
    """Return the share of the steps of a grid that ascending, different times fill; months are steps of their own."""
    if len(times) < 3:
        return 1.0
    if integer or (times % DAY_US).any():
        return _fill(times)
    days = times.astype("datetime64[us]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    into, left = days - months.astype("datetime64[D]"), (months + 1).astype("datetime64[D]") - days
    if (into != into[0]).any() and (left != left[0]).any():
        return _fill(times)
    numbers = months.astype(np.int64)
    step = int(np.gcd.reduce(np.diff(numbers)))
    return _fill(numbers) if step in (1, 2, 3, 4, 6) or step % 12 == 0 else 0.0


def _fill(times: NDArray[np.int64]) -> float:
    """Return the share of a span that lies in steps of the commonest length."""
    steps, counts = np.unique(np.diff(times), return_counts=True)
    common = int(counts.argmax())
    return float(counts[common] * steps[common] / (times[-1] - times[0]))
