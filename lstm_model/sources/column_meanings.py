"""Find columns that are no series of their own: parts of dates, flags, constants, coordinates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed
from lstm_model.sources.date_forms import MONTHS, WEEKDAY, fold_text
from lstm_model.sources.date_parts import find_calendar_part
from lstm_model.sources.numbers import read_numbers
from lstm_model.sources.table_bounds import TOTAL

MOST_MEANINGS = 20
"""Most columns whose values are looked at: one of a hundred alike series may well be constant."""
ENOUGH_ROWS = 20
"""Fewest values that show that a column is a flag or never changes."""
LEAST_ADDENDS = 3
SUM_TOLERANCE = 1e-4
_CLOCK = r"\d{1,2}[:.h]\d{2}(?::\d{2})?"
_PERIODS = (  # what the names are, what they look like, how many of them are no chance, what to bring instead
    ("hours", rf"{_CLOCK}(?:\s*(?:-|–|to|bis)\s*{_CLOCK})?|(?:0?\d|1\d|2[0-5])\s*(?:h|uhr|[ap]\.?m\.?)"
     r"|(?:[01]\d|2[0-4])\s*[-–]\s*(?:[01]\d|2[0-4])", 3),
    ("hours", r"(?:he|h|hr|hour|hour_?ending|stunde|std|heure|hora|ora|uur)[ _.-]?(?:0?\d|1\d|2[0-5])", 20),
    ("hours", r"(?:[01]\d|2[0-4])(?:00|15|30|45)", 20),
    ("quarters", r"q(?:tr|uarter|uartal)?[ _.-]?[1-4]|[1-4]\.?\s?(?:q|qtr|quarter|quartal)|t(?:rim)?[ _.-]?[1-4]", 4),
    ("months", "|".join(map(re.escape, MONTHS)), 4),
    ("months", r"(?:m|month|mon|monat|mois|mes|period|p)[ _.-]?(?:0?[1-9]|1[0-2])", 12),
    ("days", WEEKDAY, 5),
    ("days", r"(?:d|day|tag|jour|dia)[ _.-]?(?:0?[1-9]|[12]\d|3[01])", 28),
    ("weeks", r"(?:w|wk|kw|cw|week|woche)[ _.-]?(?:0?[1-9]|[1-4]\d|5[0-3])", 50),
    ("years", r"(?:19|20)\d{2}", 3),
)  # fmt: skip
_COUNTS = {"hours": (24, 25), "months": (12,), "days": (31,), "quarters of an hour": (96,), "half-hours": (48,),
           "weeks": (52, 53), "days of the year": (365, 366)}  # fmt: skip
"""How many numbers without a word stand for which parts."""
_EXAMPLES = {"quarters": "2024-Q1", "months": "2024-03", "weeks": "2024-W07", "years": "2024", "days": "2024-03-01"}
_COORDINATE = re.compile(r"(?:.*[\W_])?(?:lat|lon|lng|long|latitude|longitude|altitude|elevation)(?:[\W_].*)?")
_DESCRIBES = re.compile(
    r"(?:is|has)_\w+|open|promo\w*|(?:\w+_)?(?:holiday|feiertag|weekend|weekday)s?|dow|woy|wochentag|day_?of_?week"
    r"|week_?of_?year|price|preis|prix|discount|rabatt"
)


def find_date_parts(names: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the parts of dates that many names of columns (or of rows) are, such as hours, and these names."""
    texts = {str(name): fold_text(str(name).strip()) for name in names}
    for period, pattern, least in _PERIODS:
        found = [name for name, text in texts.items() if re.fullmatch(pattern, text)]
        if len({texts[name] for name in found}) >= least and len(found) >= len(texts) / 2:
            return period, found
    plain = {name: int(text) for name, text in texts.items() if re.fullmatch(r"\d{1,3}", text)}
    if len(plain) >= len(texts) / 2 and sorted(plain.values()) in (
        [*range(len(plain))], [*range(1, len(plain) + 1)]
    ):  # fmt: skip
        for period, counts in _COUNTS.items():
            if len(plain) in counts:
                return period, list(plain)
    return None


def check_columns_are_series(values: Sequence[str], ds: str) -> None:
    """Refuse number columns that are parts of the date in their row.

    Raises:
        DataError: it says what they look like, and what to bring.
    """
    if (parts := find_date_parts(values)) is None:
        return
    period, found = parts
    of = {"hours": "the day", "months": "the year", "quarters": "the year"}.get(period)
    example = _EXAMPLES.get(period, "2024-03-01 14:00")
    raise DataError(
        f"the columns {listed(found)} look like the {period} {f'of {of} ' if of else ''}in {ds!r}; bring one row for "
        f"each of them, with dates such as {example} in one column. If each is a series of its own, set source.layout "
        "to wide_columns (--layout wide_columns)"
    )


def check_rows_are_series(names: Sequence[str], unique_id: str) -> None:
    """Refuse rows whose names are parts of dates, beside columns that are the rest of these dates."""
    if (parts := find_date_parts(names)) is not None:
        raise DataError(
            f"the rows {listed(parts[1])} (column {unique_id!r}) look like {parts[0]}, and the columns like the rest "
            "of the dates; bring one row for each value, with its whole date in one column. If each row is a series of "
            "its own, set source.layout to wide_rows (--layout wide_rows)"
        )


def check_meanings(frame: pd.DataFrame, values: Sequence[str]) -> None:
    """Refuse number columns of which some describe the others, such as a month, a flag or a coordinate.

    Raises:
        DataError: it says which, and how to name the target.
    """
    odd = list_meanings(frame, values)
    rest = [name for name in values if name not in odd]
    if not odd or (not rest and len({*odd.values()}) == 1):
        return
    shown = listed([f"{name!r} looks like {meaning}" for name, meaning in odd.items()], limit=5)
    raise DataError(
        f"the number columns {listed(values)} do not look like one series each: {shown}. Name the column to forecast "
        f"with --target (source.columns.y){f', such as {rest[0]}' if rest else ''}; others may be covariates. If each "
        "is a series of its own, set source.layout to wide_columns (--layout wide_columns)"
    )


def list_meanings(frame: pd.DataFrame, values: Sequence[str]) -> dict[str, str]:
    """Return what number columns describe, by name, of those that are no series."""
    few = len(values) <= MOST_MEANINGS
    return {name: meaning for name in values if (meaning := _find_meaning(frame[name], few=few))}


def find_total_column(frame: pd.DataFrame, kinds: Mapping[str, str]) -> str | None:
    """Return the last column if its name and its numbers say that it is the total of columns before it, else None."""
    if len(kinds) <= LEAST_ADDENDS or not TOTAL.match(last := [*kinds][-1]):
        return None
    numbers = {name: _to_floats(frame[name]) for name in kinds if kinds[name] in ("number", "integer")}
    if last not in numbers or numbers[last].isna().all():
        return None
    added = pd.Series(0.0, frame.index)
    for place, name in enumerate([*kinds][-2::-1], 1):
        if name not in numbers:
            return None
        added += numbers[name].fillna(0.0)
        if place >= LEAST_ADDENDS and np.isclose(added, numbers[last], rtol=SUM_TOLERANCE).all():
            return last
    return None


def _to_floats(column: pd.Series) -> pd.Series:
    """Return numbers, whose texts may have marks: a decimal comma, or points for thousands."""
    if column.dtype.kind in "iuf":
        return column.astype("float64")
    try:
        return pd.Series(read_numbers(column, str).values, column.index)
    except DataError:
        return pd.Series(np.nan, column.index)


def _find_meaning(column: pd.Series, *, few: bool) -> str:
    """Return what a column of numbers describes; "" if it may be a series."""
    name = str(column.name).strip().lower()
    if _COORDINATE.fullmatch(name):
        return "a coordinate"
    if part := find_calendar_part(column):
        return f"a part of the date ({part})"
    if _DESCRIBES.fullmatch(name):
        return "a description of the day"
    known = column.dropna()
    if not few or known.dtype.kind not in "iufb" or len(known) < ENOUGH_ROWS:
        return ""
    different = known.unique()
    if len(different) == 1 and different[0] != 0:  # zeros may be a series that sold nothing, which is told later
        return "a constant"
    return "a flag (0 or 1)" if {*different} == {0, 1} else ""
