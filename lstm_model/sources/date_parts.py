"""Join columns that hold parts of a timestamp: date and time of day, or year, month, day and hour."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import listed
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.sources.date_readings import count_dates

JOIN = " + "
"""Stands between the names of joined columns, also in `source.columns.ds`."""
HEAD = 50
"""Rows that are looked at before a whole column is."""
_CLOCK = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:\.\d+)?)?(?:\s*[apAP][mM])?"
_NAMES = {
    "year": r"year|yr|yyyy|jahr|annee|année|ano|año|anno|jaar",
    "quarter": r"quarter|qtr|quartal|trimestre",
    "month": r"month|mon|mo|mm|monat|mois|mes|mês|mese|maand|period",
    "week": r"week|wk|isoweek|kw|woche|semaine|semana|settimana",
    "dayofyear": r"doy|day_?of_?year|yday|julian_?day",
    "day": r"day|dy|dd|dom|day_?of_?month|tag|jour|dia|día|giorno|dag",
    "hour": r"hour|hr|hh|he|hour_?ending|stunde|heure|hora|ora|uur",
    "minute": r"minute|min|mi",
    "date": r"date|datum|fecha|data",
}
_SPANS = {
    "quarter": (1, 4), "month": (1, 12), "week": (1, 53), "dayofyear": (1, 366), "day": (1, 31), "hour": (0, 24),
    "minute": (0, 59),
}  # fmt: skip
_HOUR = re.compile(
    r"(?:(?:he|h|hr|hour|stunde|std)[ _.-]?)?(\d{1,2})[:.h]?(\d{2})?\s*(?:(?:-|–|to|bis)\s*\d{1,2}[:.h]?(?:\d{2})?)?"
    r"\s*(?:(am|pm)|h|hrs|uhr)?"
)
"""An hour as 7, 0700, 7:00, H07, 07-08 (it begins at 7), 7 am or 7 Uhr."""
_WAYS = (("year", "month", "day"), ("year", "dayofyear"), ("year", "month"), ("year", "quarter"), ("year", "week"))


def join_date_parts(frame: pd.DataFrame, source: Source, covariates: Covariates) -> tuple[pd.DataFrame, str | None]:
    """Return the frame with its parts of timestamps joined into one column of texts, and the reason; as it is if none.

    A set `source.columns.ds` such as "Date + Time" says which columns to join.
    """
    wanted = source.columns.ds
    taken = {source.columns.y, source.columns.unique_id, *covariates.static, *covariates.past, *covariates.future}
    if wanted is not None and (JOIN not in wanted or wanted in frame.columns):
        return frame, None
    parts = _find_parts(frame, wanted.split(JOIN) if wanted else [n for n in frame.columns if n not in taken])
    if len(parts) < 2 or (wanted and set(parts.values()) != set(wanted.split(JOIN))):
        return frame, None
    texts = _write_texts(frame, parts)
    names = list(parts.values())
    joined = frame.drop(columns=names)
    joined.insert(0, JOIN.join(names), texts)
    return joined, f"{listed(names)} are parts of one timestamp, such as {texts.iloc[0]!r}"


def _find_parts(frame: pd.DataFrame, names: list[str]) -> dict[str, str]:
    """Return the columns that are parts of a timestamp, by the part, in the order in which they are joined."""
    found: dict[str, str] = {}
    for name in names:
        for part, pattern in _NAMES.items():
            if re.fullmatch(pattern, str(name).strip().lower()) and part not in found and _holds(frame[name], part):
                found[part] = name
    rest = [name for name in names if name not in found.values()]
    if "date" in found or "year" not in found:
        dates = [found["date"]] if "date" in found else [name for name in rest if _holds(frame[name], "date")]
        # 01.02.23 would be a clock too
        clocks = [name for name in rest if name not in dates and _holds_clock(frame[name])]
        if len(dates) == 1 and len(clocks) == 1:
            return {"date": dates[0], "clock": clocks[0]}
        # Hours that are no part of the time, such as those of opening, do not go round the clock.
        if len(dates) == 1 and not clocks and "hour" in found and frame[found["hour"]].nunique() >= 20:
            return {"date": dates[0]} | {part: found[part] for part in ("hour", "minute") if part in found}
        return {}
    if any(_holds_times(frame[name]) for name in rest):  # then the parts only repeat it
        return {}
    for way in _WAYS:
        if set(way) <= set(found):
            times = ("hour", "minute") if way[-1] in ("day", "dayofyear") else ()
            return {part: found[part] for part in (*way, *times) if part in found}
    return {}


def find_calendar_part(column: pd.Series) -> str:
    """Return the part of a date that the name and the values of a column say, such as month; "" if none."""
    name = str(column.name).strip().lower()
    found = (part for part, pattern in _NAMES.items() if part not in ("date", "minute") and re.fullmatch(pattern, name))
    return next((part for part in found if _holds(column, part)), "")


def is_hour_name(name: str) -> bool:
    """Return whether a column is called as hours are."""
    return re.fullmatch(_NAMES["hour"], name.strip().lower()) is not None


def _holds(column: pd.Series, part: str) -> bool:
    """Return whether the values of a column may be this part."""
    if len(column) > HEAD and not _holds(column.head(HEAD), part):
        return False
    if column.isna().any() or column.empty or isinstance(column.iloc[0], bytes):
        return False
    if part == "date":
        texts = column.head(HEAD).astype("str").str.strip()
        return bool(texts.str.fullmatch(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{8}").all())
    if part == "month":
        texts = column.astype("str").str.strip()
        if column.dtype.kind not in "iuf":
            return bool(texts.str.fullmatch(r"M?(?:0?[1-9]|1[0-2])|[A-Za-zÀ-ÿ]{3,10}\.?").all())
    if part == "hour":
        return _read_hours(column) is not None
    if column.dtype.kind not in "iuf":
        numbers = pd.to_numeric(column.astype("str").str.strip(), errors="coerce")
    else:
        numbers = column
    low, high = (1500, 2200) if part == "year" else _SPANS[part]
    return bool(((numbers >= low) & (numbers <= high) & (numbers % 1 == 0)).all())


def _read_hours(column: pd.Series) -> pd.Series | None:
    """Return a column of hours as texts such as 07:00; None if a value is no hour of the day."""
    whole = column.astype("int64") if column.dtype.kind == "f" and (column % 1 == 0).all() else column
    texts = whole.astype("str").str.strip()
    written = {}
    for text in texts.unique():
        match = _HOUR.fullmatch(text.lower())
        hour, minute = (int(match[1]), int(match[2] or 0)) if match else (99, 0)
        if match and match[3]:
            hour = hour % 12 + 12 * (match[3] == "pm") if 1 <= hour <= 12 else 99
        if hour * 60 + minute > 24 * 60 or minute > 59:
            return None
        written[text] = f"{hour:02}:{minute:02}"
    if len({*written.values()}) < len({text.lstrip("0") for text in written}):
        return None  # two marks of one hour: the second one of 02A and 02B, or another thing
    return texts.map(written)


def _holds_times(column: pd.Series) -> bool:
    if column.dtype.kind in "iufb" or column.empty:
        return False
    if column.dtype.kind == "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        return True
    return count_dates([str(value) for value in column.head(HEAD).dropna()], column.name) >= 0.5


def _holds_clock(column: pd.Series) -> bool:
    if column.dtype.kind in "iufbmM" or (len(column) > HEAD and not _holds_clock(column.head(HEAD))):
        return False
    if column.empty or not all(isinstance(value, str) for value in column):
        return False
    return bool(column.astype("str").str.strip().str.fullmatch(_CLOCK).all())


def _write_texts(frame: pd.DataFrame, parts: dict[str, str]) -> pd.Series:
    def write(part: str, width: int = 2) -> pd.Series:
        column = frame[parts[part]]
        whole = column.astype("int64") if column.dtype.kind in "iuf" else column
        return whole.astype("str").str.strip().str.zfill(width)

    if "date" in parts:
        texts = write("date", 0)
    elif "month" in parts and frame[parts["month"]].dtype.kind not in "iuf" and not _is_number(frame[parts["month"]]):
        month = write("month", 0)
        texts = write("year", 4) + " " + month + (" " + write("day") if "day" in parts else "")
    else:
        mark = {"quarter": "-Q", "week": "-W", "dayofyear": "-"}
        texts = write("year", 4)
        for part in ("month", "quarter", "week", "dayofyear", "day"):
            if part in parts:
                width = {"quarter": 1, "dayofyear": 3}.get(part, 2)
                texts = texts + mark.get(part, "-") + write(part, width)
    if "clock" in parts:
        return texts + " " + write("clock", 0)
    if "hour" in parts:
        hours = _read_hours(frame[parts["hour"]])
        assert hours is not None
        texts = texts + " " + (hours.str[:3] + write("minute") if "minute" in parts else hours)
    return texts


def _is_number(column: pd.Series) -> bool:
    return bool(np.isfinite(pd.to_numeric(column, errors="coerce")).all())
