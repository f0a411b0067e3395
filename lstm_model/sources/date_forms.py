"""Find every way in which a text may write a date: its fields by their place in the text.

    "31.01.2024 14:30"  ->  day-month-year: D 0-2, M 3-5, Y 6-10, hour 11-13, minute 14-16

Texts whose digits stand in the same places (one *shape*) share their fields, so a column is analysed once a shape,
and its numbers are read by numpy. Letters of fields: Y year, M month, D day, J day of the year, W ISO week,
U weekday of it, Q quarter, H half-year, N the next year of a fiscal one; h, i, s, f hour, minute, second, fraction.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MONTH_WORDS = """
jan january januar jaenner jänner janvier janv ene enero gen gennaio janeiro januari
feb february februar fev fevrier fevr febrero febbraio fevereiro februari
mar march marz maerz mrz mär mars marzo marco mrt maart
apr april avr avril abr abril aprile
may mai mayo mag maggio maio mei
jun june juni juin junio giu giugno junho
jul july juli juil juillet julio lug luglio julho
aug august aout ago agosto augustus
sep sept september septembre septiembre set settembre setembro
oct october okt oktober octobre octubre ott ottobre out outubro
nov november novembre noviembre novembro
dec december dez dezember decembre dic diciembre dicembre dezembro
"""
"""A line a month, in English, German, French, Spanish, Italian, Portuguese and Dutch, without accents."""
WEEKDAY = (
    r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|tue|wed|thu|thur|thurs|fri|sat|sun|mon"
    r"|(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch|sonnabend|mo|di|mi|do|fr|sa|so"
    r"|(?:lun|mar|mercre|jeu|vendre|same)di|dimanche|lun|mer|jeu|ven|sam|dim"
    r"|lunes|martes|miercoles|jueves|viernes|sabado|domingo|mie|jue|vie|sab|dom"
    r"|lunedi|martedi|mercoledi|giovedi|venerdi|domenica|gio"
    r"|(?:segunda|terca|quarta|quinta|sexta)(?:-feira)?|seg|ter|qua|qui|sex"
    r"|maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag|zondag|ma|wo|vr|za|zo|mar)"
)
SEP = r"[-/._:,\s'’年月]*"
S = r"[-/._\s:年月]"
QUARTER, WEEK = r"(?:quartal|quarter|trimestre|trim|qtr|q|t)", r"(?:calendar week|week|woche|semaine|wk|kw|cw|sem|w)"
TIME = (
    r"(?P<h>\d{1,2})(?:(?P<t>[:.h-])(?P<i>\d{2})(?:(?:(?P=t)|m)(?P<s>\d{2})(?:[.,:](?P<f>\d{1,9}))?)?s?)?"
    r"|(?P<h_>\d{2})(?P<i_>\d{2})(?P<s_>\d{2})?(?:[.,](?P<f_>\d{1,9}))?"
)
CLOCK = rf"[\s,:_t-]*(?:{TIME})\s*(?P<half>[ap]\.?m\.?)?\s*(?:uhr|h|hrs|o'clock)?"
ZONE = r"\s*(?P<zone>(?:z|utc|gmt|zulu)?(?:(?P<sign>[+-])(?P<zh>\d{2})(?::?(?P<zm>\d{2}))?)?)\s*"
FORMS: tuple[tuple[str, dict[str, tuple[str, int]]], ...] = (
    (rf"(\d{{4}})(?P<m>{S}) ?(\d{{1,2}})(?:(?P=m)|月) ?(\d{{1,2}})日?",
     {"year-month-day": ("YMD", 2), "year-day-month": ("YDM", 1)}),
    (rf"(\d{{1,2}})(?P<m>{S}) ?(\d{{1,2}})(?P=m) ?(\d{{4}})",
     {"day-month-year": ("DMY", 2), "month-day-year": ("MDY", 2)}),
    (rf"(\d{{1,2}})(?P<m>{S}) ?(\d{{1,2}})(?P=m) ?['’]?(\d{{2}})",
     {"day-month-year": ("DMY", 2), "month-day-year": ("MDY", 2), "year-month-day": ("YMD", 2)}),
    (rf"(\d{{1,2}}){SEP}(?P<M>[^\W\d_]+)\.?{SEP}(\d{{4}})", {"day-month-year": ("DY", 2)}),
    (rf"(\d{{1,2}}){SEP}(?P<M>[^\W\d_]+)\.?{SEP}(\d{{2}})",
     {"day-month-year": ("DY", 2), "year-month-day": ("YD", 2)}),
    (rf"(?P<M>[^\W\d_]+)\.?{SEP}(\d{{1,2}}){SEP}(?<!\d)(\d{{4}}|\d{{2}})", {"month-day-year": ("DY", 2)}),
    (rf"(\d{{4}}){SEP}(?P<M>[^\W\d_]+)\.?{SEP}(\d{{1,2}})", {"year-month-day": ("YD", 2)}),
    (r"(\d{4})(\d{2})(\d{2})", {"year-month-day": ("YMD", 2)}),
    (r"(\d{2})(\d{2})(\d{4})", {"day-month-year": ("DMY", 2), "month-day-year": ("MDY", 2)}),
    (r"(\d{2})(\d{2})(\d{2})",
     {"year-month-day": ("YMD", 2), "day-month-year": ("DMY", 2), "month-day-year": ("MDY", 2)}),
    (r"(\d{4})(\d{2})(\d{2})(\d{2})", {"year-month-day-hour": ("YMDh", 2)}),
    (r"(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})", {"year-month-day-hour-minute": ("YMDhi", 2)}),
    (r"(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})", {"year-month-day-hour-minute-second": ("YMDhis", 1)}),
    (r"(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{3})?", {"year-month-day-hour-minute-second": ("YMDhisf", 2)}),
    (r"(\d{4})[-/. ]?(\d{3})", {"year-dayofyear": ("YJ", 2)}),
    (r"(\d{2})[-/.](\d{3})", {"year-dayofyear": ("YJ", 1)}),
    (r"(\d{4})(\d{2})", {"year-month": ("YM", 2), "year-week": ("YW", 1)}),
    (rf"(\d{{4}}) ?{S} ?(\d{{2}})月?",
     {"year-month": ("YM", 2), "year-week": ("YW", 1), "fiscal-year": ("YN", 2)}),
    (rf"(\d{{4}}) ?{S} ?(\d)月?", {"year-month": ("YM", 2), "year-week": ("YW", 1), "year-quarter": ("YQ", 1)}),
    (rf"(\d{{4}}) ?{S} ?(\d{{4}})", {"fiscal-year": ("YN", 2)}),
    (rf"(\d{{1,2}}) ?{S} ?(\d{{4}})", {"month-year": ("MY", 2), "week-year": ("WY", 1)}),
    (r"(\d{2})(\d{4})", {"month-year": ("MY", 2), "week-year": ("WY", 1)}),
    (rf"(\d{{2}}){S}(\d{{2}})",
     {"month-year": ("MY", 2), "year-month": ("YM", 2), "week-year": ("WY", 1), "year-week": ("YW", 1),
      "day-month (no year)": ("DM", 1), "month-day (no year)": ("MD", 1)}),
    (rf"(\d){S}(\d{{2}})",
     {"month-year": ("MY", 2), "month-day (no year)": ("MD", 1), "day-month (no year)": ("DM", 1)}),
    (r"(\d{4})(\d)", {"year-quarter": ("YQ", 2)}),
    (r"(\d{4})年?", {"year": ("Y", 2)}),
    (r"(\d{2})(\d{2})", {"year-month": ("YM", 1), "month-year": ("MY", 1)}),
    (rf"(?P<M>[^\W\d_]+)\.?{SEP}(\d{{4}})", {"month-year": ("Y", 2)}),
    (rf"(\d{{4}}){SEP}(?P<M>[^\W\d_]+)\.?", {"year-month": ("Y", 2)}),
    (rf"(?P<M>[^\W\d_]+)\.?{SEP}(\d{{1,2}})", {"month-year": ("Y", 2), "month-day (no year)": ("D", 1)}),
    (rf"(\d{{1,2}}){SEP}(?P<M>[^\W\d_]+)\.?", {"year-month": ("Y", 2), "day-month (no year)": ("D", 1)}),
    (rf"(\d{{4}}|\d{{2}}){SEP}{QUARTER}[-.\s]?([1-4])", {"year-quarter": ("YQ", 2)}),
    (rf"{QUARTER}[-.\s]?([1-4]){SEP}(\d{{4}}|\d{{2}})", {"quarter-year": ("QY", 2)}),
    (rf"([1-4])\.?\s?{QUARTER}{SEP}(\d{{4}}|\d{{2}})", {"quarter-year": ("QY", 2)}),
    (rf"(\d{{4}}){SEP}[hs][-.\s]?([12])", {"year-half": ("YH", 2)}),
    (rf"[hs]([12]){SEP}(\d{{4}})", {"half-year": ("HY", 2)}),
    (rf"(\d{{4}}){SEP}m(\d{{1,2}})", {"year-month": ("YM", 2)}),
    (rf"m(\d{{1,2}}){SEP}(\d{{4}})", {"month-year": ("MY", 2)}),
    (rf"(\d{{4}}){SEP}{WEEK}[-._\s]?(\d{{1,2}})(?:-?([1-7]))?", {"year-week": ("YWU", 2)}),
    (rf"{WEEK}[-._\s]?(\d{{1,2}}){SEP}(\d{{4}}|\d{{2}})", {"week-year": ("WY", 2)}),
    (rf"(\d{{1,2}})\.?\s?{WEEK}{SEP}(\d{{4}})", {"week-year": ("WY", 2)}),
)  # fmt: skip
"""Patterns of dates, and their readings: the fields of their groups, and how usual it is (1: only if no other)."""
_COMPILED = tuple((re.compile(pattern), readings) for pattern, readings in FORMS)
_END = re.compile(rf"(?:{CLOCK})?{ZONE}")
_ZONE = re.compile(ZONE)
_CLOCK_FIRST = re.compile(r"\d{1,2}:\d{2}(?::\d{2})?(?=[\s,]+\d)")
_RANGE = re.compile(r"\s+(?:-|–|—|to|bis|until|au|hasta|tot)\s+|(?<=\d)/(?=\d{4}-\d{2}-\d{2}t)")


def _fold(text: str) -> str:
    """Return a text of the same length in lower case, without accents and rare spaces."""
    plain = (unicodedata.normalize("NFD", char)[0].lower()[:1] if not char.isspace() else " " for char in text)
    return "".join(plain)


MONTHS = {_fold(word): 1 + n for n, line in enumerate(MONTH_WORDS.strip().splitlines()) for word in line.split()}


@dataclass(frozen=True)
class Fields:
    """One reading of a shape: the place of each field in the text, or its value if it is a word."""

    places: dict[str, tuple[int, int]]
    month: int | None
    level: int
    half: str | None
    """a or p: before or after noon."""
    zone: tuple[int, tuple[int, int] | None, tuple[int, int] | None] | None
    """The sign, the hours and the minutes of the distance from UTC; None without a zone."""


def find_readings(text: str) -> dict[str, Fields]:
    """Return the readings of a text as a date, by their names; none if it is no date."""
    plain = _blank_words(_fold(text))
    found: dict[str, Fields] = {}
    for date, begin, clock in _split_clock(plain):
        for pattern, readings in _COMPILED:
            match = pattern.match(plain, begin, date)
            if match is None or (match.end() < len(plain) and plain[match.end()].isdigit()):
                continue
            for name, fields in _join_fields(plain, match, readings, clock):
                if name not in found or fields.level > found[name].level:
                    found[name] = fields
    return found


def _join_fields(
    plain: str, match: re.Match[str], readings: dict[str, tuple[str, int]], clock: re.Match[str] | None
) -> Iterator[tuple[str, Fields]]:
    word = match.groupdict().get("M")
    month = MONTHS.get(word) if word else None
    if word and month is None:
        return
    groups = [n for n in range(1, match.re.groups + 1) if n not in match.re.groupindex.values()]
    for name, (letters, level) in readings.items():
        places = {letter: match.span(n) for letter, n in zip(letters, groups, strict=True) if match[n] is not None}
        zone_only = _ZONE.fullmatch(plain, match.end())
        timed = "Y" in places and {"D", "J"} & {*places} and "h" not in places
        end = zone_only or (_END.fullmatch(plain, match.end()) if timed else None)
        if end is None or (clock and end is not zone_only) or (end["zone"] and not {"D", "J"} & {*places}):
            continue
        if name == "month-day-year" and "m" in match.groupdict() and match["m"] == ".":
            level = 1  # dates with points are written with the day first
        if name == "year-month-day" and len(letters) == 3 and places["Y"][1] - places["Y"][0] == 1:
            continue
        time = clock or end
        parts = time.groupdict()
        for letter in "hisf":
            for group in (letter, letter + "_"):
                if parts.get(group):
                    places[letter] = time.span(group)
        zone = None
        if end["zone"]:
            sign = -1 if end["sign"] == "-" else 1
            zone = (sign, end.span("zh") if end["zh"] else None, end.span("zm") if end["zm"] else None)
        half = (parts.get("half") or " ")[0]
        yield name, Fields(places, month, level, half if half in "ap" else None, zone)


def _split_clock(plain: str) -> Iterator[tuple[int, int, re.Match[str] | None]]:
    """Yield the place of the date, and the time of day if it stands before it."""
    begin = len(plain) - len(plain.lstrip())
    yield len(plain), begin, None
    if first := _CLOCK_FIRST.match(plain, begin):
        clock = re.compile(CLOCK).fullmatch(plain, begin, first.end())
        rest = first.end() + len(plain[first.end() :]) - len(plain[first.end() :].lstrip(" ,"))
        yield len(plain), rest, clock


def _blank_words(plain: str) -> str:
    """Replace by spaces what tells nothing about the date: remarks, weekdays, small words, the end of an interval."""

    def blank(match: re.Match[str]) -> str:
        return " " * len(match[0])

    plain = re.sub(r"\(.*?\)|\[.*?\]", blank, plain)
    if first := _RANGE.search(plain):
        second = plain[first.end() :]
        same = re.sub(r"\d+", "0", second).strip() == re.sub(r"\d+", "0", plain[: first.start()]).strip()
        if same or (re.fullmatch(r"\d{1,2}:\d{2}\s*", second) and ":" in plain[: first.start()]):
            plain = plain[: first.start()] + " " * (len(plain) - first.start())
    first_word, *others = re.findall(r"[^\W\d_]+", plain) or [""]
    if re.fullmatch(WEEKDAY, first_word) and (first_word not in MONTHS or any(word in MONTHS for word in others)):
        plain = re.sub(rf"^\s*{first_word}\b\.?,?(?=.*\d)", blank, plain)
    plain = re.sub(r"(?<=\d)(?:st|nd|rd|th|er|º|ª)\b|\b(?:de|of|di|del|fy|gj)(?=\W|\d)", blank, plain)
    gmt = re.compile(r"(?<=\d) (gmt|utc)(?=[+-]\d)")
    return gmt.sub("    ", plain)


def read_fields(texts: NDArray[np.str_], fields: Fields) -> dict[str, NDArray[np.int64]]:
    """Return the numbers of all fields from texts of one shape; `zone` in minutes, `f` in microseconds."""
    width = texts.dtype.itemsize // 4
    digits = texts.view(np.uint32).reshape(len(texts), width).astype(np.int64) - ord("0")

    def read(place: tuple[int, int]) -> NDArray[np.int64]:
        return np.asarray(digits[:, slice(*place)] @ 10 ** np.arange(place[1] - place[0])[::-1])

    numbers = {letter: read(place) for letter, place in fields.places.items()}
    if "f" in numbers:
        size = fields.places["f"][1] - fields.places["f"][0]
        numbers["f"] = numbers["f"] * 10 ** max(0, 6 - size) // 10 ** max(0, size - 6)
    if fields.month is not None:
        numbers["M"] = np.full(len(texts), fields.month)
    if fields.half:
        hour, noon = numbers["h"], 12 * (fields.half == "p")
        numbers["h"] = np.where((hour >= 1) & (hour <= 12), hour % 12 + noon, 99)
    if fields.zone:
        sign, hours, minutes = fields.zone
        shift = (read(hours) * 60 if hours else 0) + (read(minutes) if minutes else 0)
        numbers["zone"] = np.zeros(len(texts), np.int64) + sign * shift
    return numbers
