"""Find every reading of a column of dates that fits some of its rows, from numbers and from texts."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lstm_model.contracts.settings import Source
from lstm_model.sources.date_forms import find_readings, read_fields
from lstm_model.timeline.timestamps import DAY_US

YEARS = (1500, 2200)
"""Years that digits without any mark may mean."""
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
MOST_SHAPES = 300
"""Of the texts of a column whose kind is looked for: a column of dates has few."""


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


def count_dates(texts: Sequence[str], name: object = "") -> float:
    """Return the largest share of some texts that one reading makes dates; codes need a name that says so."""
    readings = find_text_readings(pd.Series(texts, dtype="str"), name, most_shapes=MOST_SHAPES)
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
    readings = find_number_readings(values.drop_duplicates(), name)
    return any(r.fits_K.all() for r in readings if r.name not in (STEP, "year") and r.level >= 2)


def is_whole(values: pd.Series) -> bool:
    """Return whether integers became floats on their way, as 1990.0."""
    return values.dtype.kind == "f" and bool((values % 1 == 0).all())


def is_decimal_year(values: pd.Series) -> bool:
    """Return whether floats are years with months as their fraction, as R writes the time of a series: 1990.083."""
    if values.dtype.kind != "f" or not values.between(*YEARS).all():
        return False
    months = values * 12
    return bool((months - months.round()).abs().max() < 0.02)


def are_plain_steps(different: pd.Series, source: Source) -> bool:
    """Return whether integers can be nothing but steps: too small, or of too many lengths, for any code of dates."""
    if source.date_format is not None:
        return source.date_format == STEP
    return different.empty or int(different.min()) < YEARS[0]


def find_number_readings(values: pd.Series, name: object) -> list[Reading]:
    """Return the readings of integers or floats: codes such as 20240131, counts of days or seconds, steps."""
    text = str(name).lower()
    dated, yearly = bool(_DATE_NAME.fullmatch(text)), bool(_YEAR_NAME.search(text))
    readings = []
    if values.dtype.kind == "f":
        if is_decimal_year(values):
            readings.append(_from_months("decimal-year", (values * 12).round().to_numpy().astype("int64"), 2))
    elif len(str(values.min())) == len(str(values.max())):
        for reading in find_text_readings(values.astype("str"), name):
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


def find_iso_reading(texts: pd.Series, source: Source) -> list[Reading]:
    """Return the one reading of 2024-01-31 14:00, the commonest form, in one pass; none if a text is written else."""
    if source.date_format not in (None, "year-month-day"):
        return []
    if not pc.all(pc.match_substring_regex(_to_arrow(texts), ISO)).as_py():
        return []
    ends = texts.str.slice(10).str.contains(r"[Z+-]", regex=True).to_numpy(dtype=bool)
    times = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=bool(ends.any())).dt.as_unit("us")
    if times.isna().any():
        return []
    us = to_int64(times)
    if not ends.any():
        return [Reading("year-month-day", us, np.ones(len(us), bool))]
    wall = pd.to_datetime(texts.str.replace(r"(?:Z|[+-]\d{2}:?\d{2})$", "", regex=True), format="ISO8601")
    wall_us = to_int64(wall.dt.as_unit("us"))
    return [Reading("year-month-day", wall_us, np.ones(len(us), bool), 3, ends, wall_us - us)]


def _to_arrow(texts: pd.Series) -> pa.Array:
    return pa.array(texts.to_numpy(dtype=object), pa.string())


def find_text_readings(texts: pd.Series, name: object, *, most_shapes: int | None = None) -> list[Reading]:
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


def to_int64(times: pd.Series) -> NDArray[np.int64]:
    return np.asarray(times.astype("int64"), np.int64)
