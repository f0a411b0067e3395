"""Read a column of numbers as people write them: the decimal mark is decided by the whole column, or asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, Finding, Where, number
from lstm_model.sources.date_readings import count_dates

MISSING_TEXTS = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "<NA>", ".", "..", ":")
"""The last three are those of FRED, the World Bank and Eurostat."""
MARKS = (
    r"^(?:[?*/-]|[–—]|-{2,}|\.{3}|…|[nk]\.? ?[aAdDvV]\.?|(?i:missing|unknown|none|no data|nil|#[A-Z]+(?:/[0A])?[!?]?))$"
)
"""Texts that stand for a missing value, too; they are told with their count."""
BOUND = r"^[<>≤≥~≈]\s*[\d.,]+$"
"""Values that a device could not measure, such as <1."""
CURRENCY = r"(?:[$€£¥₹₽₩₺]|US\$|R\$|[A-Z]{3}|kr\.?|Fr\.?|zł|Kč|Ft)"
_DRESSED = re.compile(
    rf"^(?P<a>[(+-]*)\s*(?P<c>{CURRENCY})?\s*(?P<b>[(+-]*)\s*(?P<n>[\d.,][\d.,' ]*(?:[eE][+-]?\d+)?)"
    rf"\s*(?P<d>{CURRENCY}|%)?\s*(?P<e>[)-]*)\s*(?P<f>{CURRENCY}|%)?(?:\s?(?P<flag>[bcdefinprsuz]))?$"
)
PLAIN = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
_PLAIN = re.compile(PLAIN)
_MISSING = frozenset(MISSING_TEXTS)
_INFINITE = re.compile(r"^[+-]?(?i:inf(?:inity)?|nan)$")
_BODIES = {
    mark: re.compile(
        rf"^[+-]?(?:\d+|[1-9]\d{{0,2}}(?:{group}\d{{3}})+|[1-9]\d?(?:{group}\d\d)+{group}\d{{3}})?"
        rf"(?:{re.escape(mark)}\d*)?(?:[eE][+-]?\d+)?$"
    )
    for mark, group in ((".", ","), (",", r"\."))
}
"""Numbers by their decimal mark, with or without marks of thousands (of lakhs too: 12,34,567)."""
SENTINELS = (
    *(sign * (10**size - 1) / scale for sign in (-1, 1) for size in range(2, 7) for scale in (1, 10)),
    *(-9.0, -32768.0, 32767.0, -2147483648.0, 2147483647.0, 9.96921e36, 1e20, 1e30, -1e20, -1e30),
)
"""Numbers that systems write for a missing value: -999, 99.9, the ends of integers, the filling of NetCDF."""
_SPACES = re.compile(r"[\u00a0\u2000-\u200a\u202f\u205f]")
_QUOTES = re.compile("[’ʼ´`′]")


class Numbers(NamedTuple):
    """Numbers, the decimal mark if one had to be found, why, and what was noticed."""

    values: np.ndarray
    """float64; NaN is missing."""
    decimal: str | None
    reason: str
    notes: tuple[str, ...]


def read_numbers(values: pd.Series, where: Where, *, decimal: str | None = None, hint: str | None = None) -> Numbers:
    """Read a column of numbers, texts or decimals; empty is NaN.

    Args:
        decimal: the mark that is set.
        hint: the mark of other columns, which decides where this column leaves two readings.

    Raises:
        DataError: naming the first value that is no number, and its place, or asking for the decimal mark.
    """
    if values.dtype.kind in "iufb":
        return Numbers(values.to_numpy(dtype=np.float64, na_value=np.nan), None, "", ())
    if values.dtype.kind in "mM" or isinstance(values.dtype, pd.DatetimeTZDtype):
        raise DataError(f"column {values.name!r} holds times ({values.dtype}), expected numbers; name another column")
    if pd.api.types.is_numeric_dtype(values.dtype):
        return Numbers(values.to_numpy(dtype=np.float64, na_value=np.nan), None, "", ())
    result = np.full(len(values), np.nan)
    cells = values.to_numpy(dtype=object)
    is_text = (
        np.array([isinstance(cell, str) for cell in cells], bool)
        if values.dtype == object
        else values.notna().to_numpy()
    )
    other = ~is_text & values.notna().to_numpy(dtype=bool)
    if other.any():
        result[other] = pd.to_numeric(values[other], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    rows = np.flatnonzero(is_text)
    if not len(rows):
        return _check_read(values, result, other, where, Numbers(result, None, "", ()))
    codes, unique = pd.factorize(cells[rows])
    column = _Texts([str(text) for text in unique])
    mark, reason = column.find_decimal(decimal, hint, lambda i: where(int(rows[(codes == i).argmax()])), values.name)
    result[rows] = column.convert(mark)[codes]
    bad = other.copy()
    bad[rows] = column.expected[codes]
    notes = column.describe(codes)
    return _check_read(values, result, bad, where, Numbers(result, mark if column.marked else None, reason, notes))


def _check_read(values: pd.Series, result: np.ndarray, filled: np.ndarray, where: Where, numbers: Numbers) -> Numbers:
    bad = np.isnan(result) & filled
    bad[bad] = values[bad].astype("str").str.strip().str.lower().str.lstrip("+-").ne("nan").to_numpy(dtype=bool)
    if bad.any():
        first = int(bad.argmax())
        count = f" ({int(bad.sum()):,} such values)" if bad.sum() > 1 else ""
        raise DataError(
            f"{where(first)}, column {values.name!r}: received {values.iloc[first]!r}, expected a number{count}. "
            "Correct it, or leave the field empty where the value is missing"
        )
    return numbers


def count_numbers(counts: Mapping[str, int]) -> float:
    """Return the share of texts that may be numbers; one such as 007 makes all of them names: its zeros count."""
    if any(text[0] == "0" and text.isdigit() and len(text) > 1 for text in counts):
        return 0.0
    column = _Texts(list(counts))
    empty = column.marks | column.bounds
    weights = np.array(list(counts.values()))[~empty]
    numbers = np.array([_is_number(body) for body in column.bodies], bool)[~empty]
    return float(np.average(numbers, weights=weights)) if len(weights) else 0.0


def kind_of_texts(texts: Sequence[str], name: object = "") -> str:
    """Return what most of some texts are: time, clock (a time of day), number, text, or empty."""
    filled = [text.strip() for text in texts if text.strip() not in MISSING_TEXTS]
    if not filled:
        return "empty"
    counts = Counter(filled)
    different = list(counts)
    if all(re.fullmatch(r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?", text) for text in different):
        return "clock"
    numbers = count_numbers(counts)
    if (numbers < 1 or _may_be_dates(different)) and count_dates(different, name) >= 0.5:
        return "time"
    return "number" if numbers > 0.5 else "text"


def _may_be_dates(texts: Sequence[str]) -> bool:
    """Return whether numbers may write months or days as well: 2022.01, or 31.12."""
    return all(re.fullmatch(r"\d{4}\.\d{1,2}|\d{1,2}\.\d{1,4}", text) for text in texts)


@dataclass(frozen=True)
class Decimals:
    """How the columns of numbers of a text file are read, by a sample of it."""

    plain: tuple[str, ...]
    """Columns whose numbers have one reading only: the fast reader makes them floats."""
    dressed: tuple[str, ...]
    """Columns of numbers that are read as texts first."""
    whole: tuple[str, ...]
    """Those of `plain` without any mark in the sample: a mark that follows later may be of thousands."""
    mark: str
    """The decimal mark of the plain columns."""
    hint: str | None
    """The mark that columns agree on, for columns that leave two readings."""
    reason: str

    def find_surprises(self, frame: pd.DataFrame) -> list[str]:
        """Return columns whose marks, which the sample did not have, may be of thousands: 950, ..., 1.001."""

        def may_group(column: pd.Series) -> bool:
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            marked = values[np.isfinite(values) & (values % 1 != 0)]
            return (
                bool(len(marked)) and bool((np.abs(marked) >= 1).all()) and bool((np.round(marked, 3) == marked).all())
            )

        return [name for name in self.whole if frame[name].dtype.kind == "f" and may_group(frame[name])]


def find_decimals(sample: pd.DataFrame, decimal: str | None) -> Decimals:
    """Return which columns of a sample of texts hold numbers, and which decimal mark they agree on."""
    columns, unsure, marks, reason = {}, [], {}, ""
    for name in sample.columns:
        counts = Counter(text for text in sample[name].dropna().str.strip() if text not in _MISSING)
        texts = list(counts)
        if texts and (count_numbers(counts) <= 0.5 or (_may_be_dates(texts) and count_dates(texts, name) >= 0.5)):
            continue
        columns[name] = column = _Texts(texts)
        if not column.marked:
            continue
        try:
            marks[name], why = column.find_decimal(decimal, None, str, name)
            reason = why if marks[name] == "," else reason
        except DataError:
            unsure.append(name)
    found = set(marks.values())
    hint = decimal or (found.pop() if len(found) == 1 else None)
    if hint is not None:
        marks |= dict.fromkeys(unsure, hint)
    mark = hint or "."
    plain = [
        name
        for name, column in columns.items()
        if marks.get(name, mark) == mark and name not in set(unsure) - set(marks) and column.is_plain(mark)
    ]
    return Decimals(
        plain=tuple(plain),
        dressed=tuple(name for name in columns if name not in plain),
        whole=tuple(name for name in plain if not columns[name].marked and decimal is None and hint is None),
        mark=mark,
        hint=hint,
        reason=reason,
    )


def convert_columns(
    frame: pd.DataFrame, decimals: Decimals, decimal: str | None
) -> tuple[pd.DataFrame, tuple[tuple[str, str], ...]]:
    """Return a frame whose columns of numbers are floats, and notes; a column that cannot be read stays as it is."""
    notes: list[tuple[str, str]] = []
    changed = {}
    for name in (*decimals.plain, *decimals.dressed):
        if name not in frame.columns or frame[name].dtype.kind in "iufb":
            continue
        try:
            read = read_numbers(frame[name], str, decimal=decimal, hint=decimals.hint)
        except DataError:  # it is raised again, with the right place, if the column is used
            continue
        changed[name] = read.values
        notes += [(str(name).strip(), note) for note in read.notes]
    return frame.assign(**changed) if changed else frame, tuple(notes)


class _Texts:
    """Different texts of one column, undressed: without currency, percent, and marks of a negative number."""

    def __init__(self, texts: list[str]) -> None:
        bare = [bool(_PLAIN.match(text)) for text in texts]  # nothing more is to be found in most
        self.texts = [text if plain else _tidy(text) for text, plain in zip(texts, bare, strict=True)]
        self.bodies: list[str | None] = []
        self.units: list[str] = []
        self.flags: list[bool] = []
        for text in self.texts:
            body, unit, flag = _undress(text)
            self.bodies.append(body)
            self.units.append(unit)
            self.flags.append(flag)
        self.missing = np.array([text in _MISSING for text in self.texts], bool)
        self.marks = _mark_matches(MARKS, self.texts, bare) & ~self.missing
        self.bounds = _mark_matches(BOUND, self.texts, bare)
        self.expected = ~(self.missing | self.marks | self.bounds)
        self.marked = any(body and ("." in body or "," in body) for body in self.bodies)

    def find_decimal(self, decimal: str | None, hint: str | None, where: Where, name: object) -> tuple[str, str]:
        """Return the decimal mark and the reason.

        Raises:
            DataError: the mark may mark thousands as well, or the texts have two units.
        """
        self._check_units(where, name)
        if decimal is not None:
            return decimal, "set"
        bodies = [body for body in self.bodies if body and ("." in body or "," in body)]
        if not bodies:
            return hint or ".", ""
        fits = {mark: [body for body in bodies if _fits(body, mark)] for mark in ".,"}
        complete = [mark for mark in ".," if len(fits[mark]) == len(bodies)]
        if len(complete) == 1:
            proof = next(body for body in bodies if not _fits(body, ".,"[complete[0] == "."]))
            return complete[0], f"{proof!r} has a decimal {'comma' if complete[0] == ',' else 'point'}"
        if not complete:
            best = max(".,", key=lambda mark: (len(fits[mark]), _fits(bodies[0], mark)))
            return best, f"{bodies[0]!r}"
        if hint is not None:
            return hint, "as in the other columns"
        used = "." if "." in bodies[0] else ","
        group = ".,"[used == "."]  # if the mark used groups thousands, decimals have the other one
        plain = [abs(float(body)) for body in self.bodies if body and re.fullmatch(r"[+-]?\d+", body)]
        if len(bodies) >= 3 and plain and 100 <= max(plain) < 1000:
            return group, f"{bodies[0]!r} is in the thousands: all numbers below a thousand lack the mark {used!r}"
        example = next(i for i, body in enumerate(self.bodies) if body == bodies[0])
        readings = " or ".join(f"{_to_float(bodies[0], mark):,.10g} (decimal mark {mark!r})" for mark in ",.")
        raise DataError(
            f"numbers such as {bodies[0]!r} are ambiguous: {where(example)}, column {name!r}: it may be {readings}. "
            "Set source.decimal (--decimal) to ',' or '.'"
        )

    def is_plain(self, mark: str) -> bool:
        """Return whether all texts are bare numbers without marks of thousands."""
        pattern = PLAIN.replace(r"\.", re.escape(mark))
        return not self.marks.any() and not self.bounds.any() and all(re.match(pattern, text) for text in self.texts)

    def convert(self, mark: str) -> np.ndarray:
        """Return the numbers under a decimal mark; NaN where there is none."""
        values = [
            _to_float(body, mark) if body is not None and expected else np.nan
            for body, expected in zip(self.bodies, self.expected, strict=True)
        ]
        return np.array(values, np.float64)

    def describe(self, codes: np.ndarray) -> tuple[str, ...]:
        """Return what was noticed about the rows whose texts have these codes."""
        counts = np.bincount(codes, minlength=len(self.texts))
        notes = []
        flags = np.array(self.flags, bool)
        for mask, what in (
            (self.marks, "taken as missing"),
            (self.bounds, "taken as missing: limits, no values"),
            (flags, "read without the letter after the number"),
        ):
            if mask.any():
                shown = sorted({self.texts[i] for i in np.flatnonzero(mask)}, key=len)[:4]
                notes.append(f"{number(int(counts[mask].sum()), 'value')} such as {', '.join(map(repr, shown))} {what}")
        if units := sorted({unit for unit in self.units if unit}):
            example = next(text for text, unit in zip(self.texts, self.units, strict=True) if unit)
            notes.append(f"{units[0]!r} left out: {example!r} is the number before or after it")
        return tuple(notes)

    def _check_units(self, where: Where, name: object) -> None:
        """Refuse two currencies in one column, and percents beside numbers without the sign."""
        used = [i for i, body in enumerate(self.bodies) if body is not None and self.expected[i]]
        kinds = {self.units[i] for i in used}
        money = kinds - {"", "%"}
        odd = (
            "%" in kinds and len(kinds) > 1 and any(self.units[i] != "%" and _is_not_zero(self.bodies[i]) for i in used)
        )
        if len(money) > 1 or odd:
            first = self.units[used[0]]
            other = next(i for i in used if self.units[i] != first)
            raise DataError(
                f"{where(other)}, column {name!r}: received {self.texts[other]!r}, but others look like "
                f"{self.texts[used[0]]!r}; expected one unit in the whole column. Convert the values in the source"
            )


def _tidy(text: str) -> str:
    return _QUOTES.sub("'", _SPACES.sub(" ", text)).strip().replace("−", "-")


def _mark_matches(pattern: str, texts: list[str], bare: list[bool]) -> np.ndarray:
    compiled = re.compile(pattern)
    return np.array([not plain and bool(compiled.match(t)) for t, plain in zip(texts, bare, strict=True)], bool)


def _is_not_zero(body: str | None) -> bool:
    return body is not None and bool(re.search("[1-9]", body))


def _undress(text: str) -> tuple[str | None, str, bool]:
    """Return the digits and marks of a number with its sign, its unit, and whether a letter followed it."""
    if _PLAIN.match(text):
        return text, "", False
    match = _DRESSED.match(text)
    if not match:
        return (text, "", False) if _INFINITE.match(text) else (None, "", False)
    front, end = match["a"] + match["b"], match["e"]
    units = {unit for unit in (match["c"], match["d"], match["f"]) if unit}
    signs = front + end
    if len(units) > 1 or signs not in ("", "+", "-", "()"):
        return None, "", False
    digits = match["n"].strip()
    if re.search("[ ']", digits):
        if not re.fullmatch(r"\d{1,3}(?:([ '])\d{3})(?:\1\d{3})*(?:[.,]\d*)?", digits):
            return None, "", False
        digits = re.sub(r"([.,])", r"\1", re.sub("[ ']", "", digits))
        if re.fullmatch(r"\d+[.,]\d{3}", digits):  # its thousands have a mark of their own: this one is of decimals
            digits = "0" + digits
    negative = signs in ("-", "()")
    return ("-" if negative else "") + digits, units.pop() if units else "", bool(match["flag"])


def _is_number(body: str | None) -> bool:
    return body is not None and any(_fits(body, mark) or bool(_INFINITE.match(body)) for mark in ".,")


def _fits(body: str, mark: str) -> bool:
    return bool(_BODIES[mark].match(body))


def _to_float(body: str, mark: str) -> float:
    if not (_INFINITE.match(body) or _fits(body, mark)):
        return float("nan")
    group = "." if mark == "," else ","
    try:
        return float(body.replace(group, "").replace(mark, "."))
    except ValueError:
        return float("nan")


def find_sentinels(values: np.ndarray, ids: pd.Series, covariate: str | None = None) -> Finding | None:
    """Return a finding if the lowest or highest value looks like a mark for missing values, such as -999.

    Args:
        values: (N,) of the target, or of the covariate that is named.
        ids: (N,) the series of each.
    """
    filled = values[np.isfinite(values)]
    if not len(filled):
        return None
    for value in (float(filled.min()), float(filled.max())):
        if value != -1 and not any(np.isclose(value, sentinel, rtol=1e-6) for sentinel in SENTINELS):
            continue
        mask = values == value
        rest = filled[filled != value]
        if not len(rest) or (mask.sum() < 2 and abs(value) < 1e19):
            continue
        low, high = float(rest.min()), float(rest.max())
        gap = low - value if value < low else value - high
        far = gap > 2 * (high - low) and gap > abs(high) / 2
        if far or (value < 0 <= low and high > 10 * abs(value)):
            worst = ids[mask].value_counts().index[0]
            where = f"far from all others ({low:g} to {high:g})" if far else "the only negative one"
            place = f" in the covariate {covariate!r}" if covariate else ""
            text = (
                f"the value {value:g} occurs {number(int(mask.sum()), 'time')}{place}, {where}; it looks like a "
                "mark for missing values, yet is used as a value. If it is one, leave such fields empty"
            )
            return Finding(
                code="sentinel", severity="warning", message=text, unique_id=str(worst), count=int(mask.sum())
            )
    return None
