"""Parse texts and cells to timestamps and numbers; what could be read in two ways is an error."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, Where
from lstm_model.contracts.settings import Source

DATE = (
    r"(?:\d{4}-\d{2}(?:-\d{2})?(?:[T ].*)?|\d{8}T\d+.*|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:\D.*)?"
    r"|\d{4}[-/]\d{1,2}|\d{4}[- ]?Q[1-4]|Q[1-4][-/ ]?\d{4}|\d{4}[- ]?W\d{1,2}|\d{4}-?W\d{2}-?[1-7]|\d{4}[- ]?M\d{1,2})"
)
MONTH_NAME = (
    "(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?)"
)
MONTH = (
    rf"\d{{1,4}}[ .-]*{MONTH_NAME}[ .,-]*\d{{2,4}}(?:\D.*)?|{MONTH_NAME}[ .-]+(?:\d{{1,2}}[ ,-]+)?\d{{2,4}}(?:\D.*)?"
    rf"|\d{{4}}[ .-]*{MONTH_NAME}"
)
_QUARTER = r"^(?:(?P<year>\d{4})[- ]?Q(?P<part>[1-4])|Q(?P<part_before>[1-4])[-/ ]?(?P<year_after>\d{4}))$"
_MONTH = r"^(?P<year>\d{4})[- ]?M(?P<part>0?[1-9]|1[0-2])$"
_WEEK = r"^(?P<year>\d{4})[- ]?W(?P<part>\d{1,2})(?:-?(?P<day>[1-7]))?$"
NUMBER = r"[+-]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:inf(?:inity)?|nan)"
LOCAL_ORDER = r"(\d{1,2})([/.\-])(\d{1,2})\2(\d{4}|\d{2})(?!\d)(.*)"
OFFSET = r".*\d{1,2}:\d{2}.*(?:Z|[+-]\d{2}(?::?\d{2})?)"
YEARS = (1500, 2200)
"""Integers between them are years, in a column whose name allows it."""
CALENDAR = (1, 9000)
"""Years of a timestamp: the calendar of Python ends in 9999, and a horizon lies after the last one."""
LARGEST_STEP = 2**53
"""Of numbered steps: floats hold every integer up to it, and no difference of two leaves int64."""
_YEARS_NAMES = ("date", "time")
_TIME, _NUMBER = re.compile(f"(?:{DATE})|(?:{MONTH})"), re.compile(NUMBER)
DAY_US = 86_400_000_000
MISSING_TEXTS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "<NA>", ".", "..", ":")
"""The last three are those of FRED, the World Bank and Eurostat."""
Reasons = dict[str, str]


def parse_timestamps(values: pd.Series, source: Source, where: Where) -> tuple[pd.Series, Reasons]:
    """Timestamps from any column that holds them.

    Returns:
        int64 steps, or datetime64[us] naive, or datetime64[us] with a zone; and why it was read so.

    Raises:
        DataError: empty, unreadable or ambiguous timestamps, or ones that lie beyond the calendar.
    """
    times, reasons = _parse_any(values, source, where)
    if times.dtype.kind != "i":
        _check_calendar(times.astype("int64").to_numpy(), where)
    return times, reasons


def _check_calendar(us_N: np.ndarray, where: Where) -> None:
    first, last = (np.datetime64(f"{year:04}-01-01", "us") for year in CALENDAR)
    beyond = (us_N < first.astype(np.int64)) | (us_N >= last.astype(np.int64))
    if beyond.any():
        raise DataError(
            f"{where(int(beyond.argmax()))}: the timestamp lies outside the years {CALENDAR[0]} to {CALENDAR[1] - 1}. "
            "Correct the row, or remove it (some systems write the year 9999 where there is no end)"
        )


def _parse_any(values: pd.Series, source: Source, where: Where) -> tuple[pd.Series, Reasons]:
    missing = values.isna().to_numpy()
    if missing.any():
        raise DataError(
            f"{where(int(missing.argmax()))}: the timestamp (column {values.name!r}) is empty; give one or drop the row"
        )
    if isinstance(values.dtype, pd.DatetimeTZDtype) or values.dtype.kind == "M":
        return _to_microseconds(values, where), {}
    if values.dtype.kind in "iu" or is_whole(values):
        if (huge := ~values.between(-LARGEST_STEP, LARGEST_STEP).to_numpy()).any():
            row = int(huge.argmax())
            raise DataError(
                f"{where(row)}: received {values.iloc[row]} as timestamp, expected a date, or a step of at most "
                f"{LARGEST_STEP:,}; correct the row"
            )
        return _from_integers(values.astype("int64"))
    if is_decimal_year(values):
        return _from_decimal_years(values)
    if values.dtype.kind in "fb":
        raise DataError(
            f"{where(0)}: the timestamp (column {values.name!r}) is {values.iloc[0]}; expected a date, an integer "
            "step, or a year with its months or quarters as a fraction, such as 1990.25"
        )
    if values.dtype == object and not isinstance(values.iloc[0], str):
        return _from_objects(values, source)
    return _from_text(values.astype("str").str.strip(), source, where)


def parse_numbers(values: pd.Series, where: Where, *, decimal: str = ".") -> np.ndarray:
    """Float64 from a column of numbers, texts or decimals; empty is NaN.

    Raises:
        DataError: naming the first value that is no number, and its place.
    """
    if values.dtype.kind in "iufb":
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    if values.dtype.kind in "mM" or isinstance(values.dtype, pd.DatetimeTZDtype):
        raise DataError(f"column {values.name!r} holds times ({values.dtype}), expected numbers; name another column")
    plain = values
    if not pd.api.types.is_numeric_dtype(values.dtype):
        text = values.astype("str").str.strip()
        plain = text.where(~text.isin(MISSING_TEXTS))
        plain = _without_groups(plain, decimal)
    numbers = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.isnan(numbers) & plain.notna().to_numpy()
    bad[bad] = plain[bad].astype("str").str.lower().ne("nan").to_numpy()
    if bad.any():
        first = int(bad.argmax())
        count = f" ({int(bad.sum()):,} such values)" if bad.sum() > 1 else ""
        raise DataError(
            f"{where(first)}, column {values.name!r}: received {values.iloc[first]!r}, expected a number{count}. "
            "Correct it, or leave the field empty where the value is missing"
        )
    return numbers


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


def kind_of_texts(texts: Sequence[str]) -> str:
    """What most of some texts are: time, clock (a time of day), number, text, or empty.

    One such as 007 makes numbers names: its zeros count.
    """
    filled = [text.strip() for text in texts if text.strip() not in MISSING_TEXTS]
    if not filled:
        return "empty"
    times = sum(bool(_TIME.fullmatch(text)) for text in filled)
    numbers = sum(bool(_NUMBER.fullmatch(text) and not _TIME.fullmatch(text)) for text in filled)
    if times > len(filled) / 2:
        return "time"
    if all(re.fullmatch(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?", text) for text in filled):
        return "clock"
    zeros_lead = any(text[0] == "0" and text.isdigit() and len(text) > 1 for text in filled)
    return "number" if numbers > len(filled) / 2 and not zeros_lead else "text"


def is_whole(values: pd.Series) -> bool:
    """Whether integers became floats on their way, as 1990.0."""
    return values.dtype.kind == "f" and bool((values.to_numpy(np.float64, na_value=np.nan) % 1 == 0).all())


def is_decimal_year(values: pd.Series) -> bool:
    """Whether floats are years with months as their fraction, as R writes the time of a series: 1990.083 or 1990.25."""
    if values.dtype.kind != "f" or not values.between(*YEARS).all():
        return False
    months = values * 12
    return bool((months - months.round()).abs().max() < 0.02)


def same_time_of_day(times: pd.Series) -> bool:
    """Whether all timestamps of a naive datetime64[us] column lie at one time of day: daily data, or longer."""
    unique = np.unique(times.to_numpy().astype("datetime64[us]").astype(np.int64) % DAY_US)
    return len(unique) <= 1


def _without_groups(text: pd.Series, decimal: str) -> pd.Series:
    """1.234,5 or 1,234.5 as 1234.5; a mark in any other place stays, and fails later."""
    group = "." if decimal == "," else ","
    grouped = text.str.fullmatch(rf"[+-]?\d{{1,3}}(?:\{group}\d{{3}})+(?:\{decimal}\d*)?", na=False)
    text = text.where(~grouped, text.str.replace(group, "", regex=False))
    if decimal == ".":
        return text
    return text.str.replace(".", "?", regex=False).str.replace(",", ".", regex=False)


def _from_integers(values: pd.Series) -> tuple[pd.Series, Reasons]:
    low, high = int(values.min()), int(values.max())
    if low >= 19_000_101 and high <= 21_001_231:
        dates = pd.to_datetime(values.astype("str"), format="%Y%m%d", errors="coerce")
        if dates.notna().all():
            return dates.dt.as_unit("us"), {"columns.ds format": "integers of eight digits are dates, YYYYMMDD"}
    if low >= YEARS[0] and high <= YEARS[1] and _names_years(values.name):
        return _months(values * 12), {"columns.ds format": "integers of this size are years"}
    if low >= YEARS[0] * 100 and high <= YEARS[1] * 100 and (values % 100).between(1, 12).all():
        return _months(values // 100 * 12 + values % 100 - 1), {
            "columns.ds format": "integers of six digits are months, YYYYMM"
        }
    for unit, factor in (("s", 1), ("ms", 1000), ("us", 1_000_000)):
        if 600_000_000 * factor <= low and high < 5_000_000_000 * factor:
            times = pd.to_datetime(values, unit=unit, utc=True).dt.as_unit("us")  # type: ignore[call-overload]
            return times, {"columns.ds format": f"integers of this size are Unix time in {unit}, which is UTC"}
    return values, {}


def _names_years(name: object) -> bool:
    return "year" in str(name).lower() or str(name).lower() in _YEARS_NAMES


def _from_decimal_years(values: pd.Series) -> tuple[pd.Series, Reasons]:
    return _months((values * 12).round()), {"columns.ds format": "years with their months as a fraction"}


def _months(since_year_0: pd.Series) -> pd.Series:
    """The first day of months that are counted from the year 0."""
    months = since_year_0.to_numpy().astype("int64") - 1970 * 12
    return pd.Series(months.astype("datetime64[M]").astype("datetime64[us]"))


def _from_objects(values: pd.Series, source: Source) -> tuple[pd.Series, Reasons]:
    """Cells of datetime.date or datetime.datetime, as databases give them."""
    if getattr(values.iloc[0], "tzinfo", None) is None:
        return pd.to_datetime(values).dt.as_unit("us"), {}
    instants = pd.to_datetime(values, utc=True).dt.as_unit("us")
    wall = pd.to_datetime(values.map(lambda value: value.replace(tzinfo=None))).dt.as_unit("us")
    return _instants_or_dates(instants, wall, source)


def _from_text(text: pd.Series, source: Source, where: Where) -> tuple[pd.Series, Reasons]:
    codes, unique = pd.factorize(text)
    texts = _periods_as_dates(pd.Series(unique, dtype="str"))
    order = texts.str.extract(f"^{LOCAL_ORDER}$")
    reasons: Reasons = {}
    if order[0].notna().any():
        iso, reasons = _to_iso(texts, order, source, lambda index: where(int((codes == index).argmax())))
    else:
        iso = texts
    offset = iso.str.fullmatch(OFFSET, na=False)
    parsed = _parse(iso, utc=bool(offset.any()))
    bad = parsed.isna().to_numpy() | (offset.to_numpy() != bool(offset.any()))
    if bad.any():
        index = int(bad.argmax())
        kind = (
            "a timestamp with a UTC offset, as others have"
            if parsed.notna().iloc[index]
            else "a timestamp such as 2024-03-31 14:00 or 2024-03-31T14:00+02:00"
        )
        raise DataError(
            f"{where(int((codes == index).argmax()))}: received {texts.iloc[index]!r} as timestamp, expected {kind}"
        )
    if not offset.any():
        return parsed.take(codes).reset_index(drop=True), reasons
    wall = _parse(iso.str.replace(r"\s*(?:Z|[+-]\d{2}(?::?\d{2})?)$", "", regex=True), utc=False)
    result, more = _instants_or_dates(parsed, wall, source)
    return result.take(codes).reset_index(drop=True), reasons | more


def _periods_as_dates(texts: pd.Series) -> pd.Series:
    """The first day of quarters (1990 Q2, Q2 1990), months (1990M05) and ISO weeks (1990-W07); others stay."""
    quarter = texts.str.extract(_QUARTER)
    year = quarter["year"].fillna(quarter["year_after"])
    month = (quarter["part"].fillna(quarter["part_before"]).astype("float") * 3 - 2).astype("Int64").astype("str")
    texts = texts.where(year.isna(), year + "-" + month.str.zfill(2) + "-01")
    months = texts.str.extract(_MONTH)
    texts = texts.where(months["year"].isna(), months["year"] + "-" + months["part"].str.zfill(2) + "-01")
    week = texts.str.extract(_WEEK)
    if week["year"].isna().all():
        return texts
    dates = week["year"] + "-W" + week["part"].str.zfill(2) + "-" + week["day"].fillna("1")
    first = pd.to_datetime(dates, format="%G-W%V-%u", errors="coerce").dt.strftime("%Y-%m-%d")
    return texts.where(first.isna(), first)


def _parse(texts: pd.Series, *, utc: bool) -> pd.Series:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mixed forms and quarters warn; every result is checked for NaT instead
        parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=utc)
        rest = parsed.isna()
        if rest.any():
            parsed = parsed.where(~rest, pd.to_datetime(texts.where(rest), format="mixed", errors="coerce", utc=utc))
    return parsed.dt.as_unit("us")


def _to_iso(texts: pd.Series, order: pd.DataFrame, source: Source, where: Where) -> tuple[pd.Series, Reasons]:
    """Dates such as 31.03.2024 or 3/31/24 rewritten with the year first, once it is sure which part is the day."""
    odd = order[0].isna().to_numpy()
    if odd.any():
        index = int(odd.argmax())
        raise DataError(
            f"{where(index)}: received {texts.iloc[index]!r} as timestamp, but others look like {texts[~odd].iloc[0]!r}"
        )
    first, second = order[0].astype(int), order[2].astype(int)
    dayfirst, reason = _day_first(texts, first, second, order[1], source)
    day, month = (first, second) if dayfirst else (second, first)
    wrong = ((month > 12) | (day > 31)).to_numpy()
    if wrong.any():
        index = int(wrong.argmax())
        raise DataError(
            f"{where(index)}: {texts.iloc[index]!r} is no date when read with the {'day' if dayfirst else 'month'} "
            "first "
            f"({reason}); set source.dayfirst (--dayfirst) to match the data, or write dates as 2024-12-31"
        )
    year = order[3].where(order[3].str.len() == 4, "20" + order[3])
    iso = year + "-" + month.astype("str").str.zfill(2) + "-" + day.astype("str").str.zfill(2) + order[4].fillna("")
    return iso, {"dayfirst": reason}


def _day_first(
    texts: pd.Series, first: pd.Series, second: pd.Series, mark: pd.Series, source: Source
) -> tuple[bool, str]:
    if source.dayfirst is not None:
        return source.dayfirst, "set"
    if (first > 12).any():
        return True, f"the day comes first: {texts[first > 12].iloc[0]!r} has no other reading"
    if (second > 12).any():
        return False, f"the month comes first: {texts[second > 12].iloc[0]!r} has no other reading"
    if (mark == ".").all():
        return True, "the day comes first: dates with points are written so"
    for day, month, dayfirst in ((first, second, True), (second, first, False)):
        # Data of one month in each year, but of no other, are rarer than data of the first of each month.
        if day.nunique() == 1 and month.nunique() > 2 and _many_years(texts):
            return dayfirst, f"the {'day' if dayfirst else 'month'} comes first: the day is {day.iloc[0]} in all dates"
    example = texts.iloc[0]
    raise DataError(
        f"dates such as {example!r} are ambiguous: every one can be read with the day or the month first. "
        "Set source.dayfirst to true or false (--dayfirst true or false), or write dates as 2024-12-31"
    )


def _many_years(texts: pd.Series) -> bool:
    """Whether dates that end with their year lie in more than one."""
    return bool(texts.str.extract(f"^{LOCAL_ORDER}$")[3].nunique() > 1)


def _instants_or_dates(instants: pd.Series, wall: pd.Series, source: Source) -> tuple[pd.Series, Reasons]:
    """Instants in UTC; but local midnights with their offsets are dates, which a change of clocks must not shift."""
    if source.timezone is None and same_time_of_day(wall):
        return wall, {
            "columns.ds format": "offsets dropped: all timestamps lie at one local time of day, so they are dates"
        }
    return instants, {}
