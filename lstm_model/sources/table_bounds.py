"""Find where a table begins and ends among rows of texts: its names, its first row of data, its totals and notes.

`find_header` looks at the first rows of a file or sheet, `find_footer` at the last rows of the frame that was read.
A row that is no data is left out only if nothing else is plausible, and every such row is named with its line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed, number
from lstm_model.sources.cell_kinds import DATE, NUMBER, fits_kind, is_missing
from lstm_model.sources.date_readings import YEARS
from lstm_model.sources.numbers import kind_of_texts
from lstm_model.sources.stacked_header import join_header_rows

MOST_COLUMNS = 64
"""The first columns show which rows are data; a table may have thousands more."""
MOST_ROWS = 400
"""The rows in which a table begins."""
MOST_FOOTER_ROWS = 30
TOTAL = re.compile(
    r"(?i)\W*(?:(?:grand|sub|year)[ -]?total|totals?|total[ei]s?|sums?|summen?|gesamt\w*|insgesamt|somme|suma|soma|"
    r"average|avg|means?|mittel\w*|durchschnitt\w*|moyenne|media|promedio|min|max|minimum|maximum|median)\b"
)
NOTE = re.compile(
    r"(?i)\W*(?:source|quelle|fuente|notes?|nota|anmerkung|hinweis|stand|data from|last updated|created|erstellt|"
    r"updated|generated|exported|copyright|©|\*)"
)
TIME_NAME = re.compile(
    r"(?i)(?:^|.*[\W_])(?:ds|date|datum|data|fecha|datetime|timestamp|time|zeit\w*|stunde|uhrzeit|day|tag|jour|month|monat|"
    r"mois|mes|year|jahr|week|woche|period|hour|step)(?:$|[\W_].*)"
)


class Record(NamedTuple):
    """One row of texts, and the line of the file (or row of the sheet) in which it begins, counted from 1."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True)
class Header:
    """The names of a table's columns and the place of its first row of data."""

    names: list[str]
    """Stripped; "" has no name."""
    first: int
    """Of the records."""
    line: int
    """Of the names; 0: the file has none."""
    kinds: list[str]
    """What the columns hold (`kind_of_texts`): those of the first `MOST_COLUMNS`."""
    reasons: tuple[tuple[str, str], ...] = ()

    @property
    def given_names(self) -> list[str]:
        """The names that the file gives; where it gives none, the first column may number the rows or one be empty."""
        if self.line:
            return self.names
        numbers = "time" in self.kinds[1:]
        kinds = [*self.kinds, *[""] * (len(self.names) - len(self.kinds))]
        return [
            "" if kind == "empty" or (numbers and not i) else text
            for i, (text, kind) in enumerate(zip(self.names, kinds, strict=True))
        ]


def find_header(records: Sequence[Record], name: str, *, header_line: int | None = None) -> Header:
    """Find the names of the columns: the row above the first one whose cells are of their columns' kinds.

    Args:
        records: the first rows; empty ones count for nothing.
        name: of the file, for messages.
        header_line: what the user has set.

    Raises:
        DataError: more than one row could hold the names.
    """
    filled = [i for i, record in enumerate(records[:MOST_ROWS]) if not is_blank(record.cells)]
    widths = Counter(len(records[i].cells) for i in filled)
    width = max(widths, key=lambda count: (count > 1, widths[count], count))
    body = [records[i].cells for i in filled if len(records[i].cells) == width]
    kinds = measure_kinds(body)
    first = next((i for i in filled if _is_sure(records[i].cells, kinds, width)), None)
    if header_line is not None:
        return _take_set_line(records, kinds, width, header_line, name)
    if first is not None and (stacked := _join_stacked(records, filled, first, kinds, width, name)):
        return stacked
    if first is None:  # nothing tells rows of data from names: the first full row names the columns
        at = next(i for i in filled if len(records[i].cells) == width)
    elif (found := _choose_names(records, filled, first, kinds, width, name)) is None:
        reason = f"{name} has no names of columns: line {records[first].line} is data already; the columns are numbered"
        skipped = [records[i] for i in filled if i < first]
        reasons = (("header_line", reason + _describe_skipped(skipped)),)
        return Header([f"column_{i + 1}" for i in range(width)], first, 0, kinds, reasons)
    else:
        at = found
    return _make_header(records, at, kinds, width, name)


def measure_kinds(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the kinds of the first columns, judged by the later rows."""
    later = rows[len(rows) // 2 :] if len(rows) >= 20 else rows[1:] or rows
    later = later[:200]
    return [kind_of_texts([row[i] for row in later]) for i in range(min(len(rows[0]), MOST_COLUMNS))]


def is_blank(cells: Sequence[str]) -> bool:
    """Return whether no cell holds anything."""
    return not any(cell.strip() for cell in cells)


def is_data(cells: Sequence[str], kinds: Sequence[str]) -> bool:
    """Return whether a row looks like data: its time is one or, without a column of times, most of its numbers are."""
    times = [cell for cell, kind in zip(cells, kinds, strict=False) if kind == "time"]
    if "time" in kinds:
        return any(fits_kind(cell, "time") and not is_missing(cell) for cell in times)
    numbers = [
        fits_kind(cell, kind)
        for cell, kind in zip(cells, kinds, strict=False)
        if kind in ("number", "clock") and not is_missing(cell)
    ]
    return sum(numbers) > len(numbers) / 2 if numbers else not {"number", "clock"} & {*kinds}


def _is_sure(cells: Sequence[str], kinds: Sequence[str], width: int) -> bool:
    """Return whether all cells of a row are of their columns' kinds, one of them a time or number."""
    anchors = {"time"} if "time" in kinds else {"number", "clock"}
    filled = any(kind in anchors and not is_missing(cell) for cell, kind in zip(cells, kinds, strict=False))
    return len(cells) == width and filled and all(map(fits_kind, cells, kinds))


def _join_stacked(
    records: Sequence[Record], filled: list[int], first: int, kinds: list[str], width: int, name: str
) -> Header | None:
    """Return the header of the two rows above the data, if they name the columns only together.

    The first row that looks like data may be the upper one, whose years are numbers.
    """
    place = filled.index(first)
    for at in range(max(0, place - 2), place + 1):
        trio = filled[at : at + 3]
        if len(trio) < 3 or trio[1] > trio[0] + 1 or not _is_sure(records[trio[2]].cells, kinds, width):
            continue
        upper, lower = records[trio[0]], records[trio[1]]
        is_time = "time" in kinds and is_data(lower.cells, kinds)
        used = [k for k in range(width) if k >= len(kinds) or kinds[k] != "empty"]
        if is_time or (joined := join_header_rows(*(_pick(row.cells, used) for row in (upper, lower)))) is None:
            continue
        named = dict(zip(used, joined, strict=True))
        names = [named.get(k, "") for k in range(width)]
        reason = f"lines {upper.line} and {lower.line} of {name} name the columns together, such as {joined[1]!r}"
        skipped = _describe_skipped([records[i] for i in filled[:at]])
        return Header(names, trio[2], upper.line, kinds, (("header_line", reason + skipped),))
    return None


def _pick(cells: Sequence[str], places: Sequence[int]) -> list[str]:
    return [cells[k].strip() if k < len(cells) else "" for k in places]


def _choose_names(
    records: Sequence[Record], filled: list[int], first: int, kinds: list[str], width: int, name: str
) -> int | None:
    """Return the record that names the columns; None if there is none."""
    above = [i for i in filled if i < first and not ("time" in kinds and is_data(records[i].cells, kinds))]
    exact = [i for i in above if len(records[i].cells) == width or len(_trim(records[i].cells)) == width]
    if not exact:
        if "time" not in kinds and _are_steps(records[first].cells):
            return first
        if above and len(records[above[-1]].cells) > 1:
            return _check_only(records[above[-1]], above[-1], kinds, name)
        if "time" not in kinds:
            raise DataError(
                f"{name}, line {records[first].line} ({listed(records[first].cells, limit=4)}) looks like data, but "
                "could be the names of the columns; write names into the first line, or set source.header_line to "
                f"{records[first].line}, or to 0 if there are none (--set source.header_line=0)"
            )
        return None
    if len(exact) == 1:
        return _check_only(records[exact[0]], exact[0], kinds, name)
    full = [i for i in exact if _name_columns(records[i].cells, kinds)] or exact
    uncommented = [i for i in full if not str(records[i].cells[0]).lstrip().startswith("#")] or full
    at = [k for k, kind in enumerate(kinds) if kind == "time"]
    timed = [i for i in uncommented if any(TIME_NAME.match(records[i].cells[k]) for k in at)] or uncommented
    if len(timed) == 1:
        return timed[0]
    rows = " or ".join(f"line {records[i].line} ({listed(records[i].cells, limit=4)})" for i in timed[:3])
    raise DataError(f"{name}: the names of the columns could be {rows}; say which line it is with source.header_line")


def _check_only(record: Record, at: int, kinds: Sequence[str], name: str) -> int | None:
    """Return the place of the only row that may name the columns; None if it is a title, which names no columns."""
    cells = list(record.cells[: len(kinds)])
    blank = [
        k
        for k, (cell, kind) in enumerate(zip(cells, kinds, strict=False))
        if k and kind != "empty" and not cell.strip()
    ]
    timed = any(kind == "time" and TIME_NAME.match(cell) for cell, kind in zip(cells, kinds, strict=False))
    if not blank or timed:
        return at
    if sum(bool(cell.strip()) for cell in cells) < 2:
        return None
    raise DataError(
        f"{name}, line {record.line} ({_shorten(cells)}) names only some of the columns; name all of them, or set "
        f"source.header_line to {record.line}, or to 0 if there are no names"
    )


def _name_columns(cells: Sequence[str], kinds: Sequence[str]) -> bool:
    """Return whether cells are distinct names: only the first may be empty (an index), and none is a number or time.

    Columns that are empty need none.
    """
    kinds = [*kinds, *[""] * (len(cells) - len(kinds))]
    names = [cell.strip() for cell, kind in zip(_trim(cells), kinds, strict=False) if kind != "empty"]
    plain = not any(re.fullmatch(f"{NUMBER}|{DATE}", text) for text in names)
    return len(names) > 1 and all(names[1:]) and len({*names}) == len(names) and plain


def _are_steps(cells: Sequence[str]) -> bool:
    """Return whether the numbers among cells are steps or dates, as names of columns are: they rise or fall evenly."""
    steps = [int(cell) for cell in cells if re.fullmatch(r"\s*\d{1,8}\s*", cell)]
    if len(steps) < 3:
        return False
    differences = np.diff(steps)
    even = differences[0] != 0 and bool((differences == differences[0]).all())
    return even or (all(map(_is_date, steps)) and bool((differences > 0).all() or (differences < 0).all()))


def _is_date(step: int) -> bool:
    """Return whether an integer may be a year, a month (YYYYMM) or a day (YYYYMMDD)."""
    year, month = step, 1
    for size in (10_000, 100):
        if step >= YEARS[0] * size:
            year, month = step // size, step // (size // 100) % 100
            break
    return YEARS[0] <= year <= YEARS[1] and 1 <= month <= 12


def _trim(cells: Sequence[str]) -> Sequence[str]:
    """Return cells without the empty ones at the end."""
    end = len(cells)
    while end and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _take_set_line(records: Sequence[Record], kinds: list[str], width: int, line: int, name: str) -> Header:
    if line == 0:
        start = next((i for i, record in enumerate(records) if is_data(record.cells, kinds)), 0)
        return Header([f"column_{i + 1}" for i in range(width)], start, 0, kinds, (("header_line", "set"),))
    at = next((i for i, record in enumerate(records) if record.line == line), None)
    if at is None or is_blank(records[at].cells):
        raise DataError(f"{name}: source.header_line is {line}, but that line is empty or within another row")
    return _make_header(records, at, kinds, width, name)


def _make_header(records: Sequence[Record], at: int, kinds: list[str], width: int, name: str) -> Header:
    """Return the header of one record; rows after it that are no data, such as units, are left out."""
    later = range(at + 1, min(len(records), MOST_ROWS))
    rest = [i for i in later if not is_blank(records[i].cells)]
    start = next((i for i in rest if is_data(records[i].cells, kinds)), rest[0] if rest else len(records))
    names = [str(cell).strip() for cell in records[at].cells]
    names[0] = names[0].removeprefix("#").strip() if not names[0].strip("#").isdigit() else names[0]
    names = _align_names(names, [records[i] for i in rest if i >= start], kinds, width, name)
    before = [record for record in records[:at] if not is_blank(record.cells)]
    units = [records[i] for i in rest if i < start]
    reasons = []
    if before or units:
        text = f"line {records[at].line} of {name} has the names of the columns"
        reasons.append(("header_line", text + _describe_skipped([*before, *units])))
    return Header(names, start, records[at].line, kinds, tuple(reasons))


def _describe_skipped(skipped: Sequence[Record]) -> str:
    if not skipped:
        return ""
    shown = " ".join(listed([cell for cell in skipped[0].cells if cell.strip()], limit=3).split())[:60]
    lines = listed([record.line for record in skipped], limit=6)
    return f"; no data, left out: line{'s' * (len(skipped) > 1)} {lines} ({shown!r})"


def _align_names(names: list[str], rows: Sequence[Record], kinds: Sequence[str], width: int, name: str) -> list[str]:
    """Return as many names as rows have fields; a field more is an index without a name, or the mark that ends lines.

    Raises:
        DataError: rows have more fields than names, such as the 5 of an unquoted 1,5.
    """
    while len(names) > width and not names[-1]:
        names = names[:-1]
    missing = width - len(names)
    if missing <= 0:
        return names
    if all(is_blank(row.cells[len(names) :]) for row in rows[:MOST_ROWS]):
        return names + [""] * missing
    timed = [TIME_NAME.match(text) is not None for text in names]
    if missing == 1 and any(t and k == "time" for t, k in zip(timed, kinds[1:], strict=False)):
        return ["", *names]
    row = next(row for row in rows if len(row.cells) > len(names) and not is_blank(row.cells[len(names) :]))
    raise make_width_error(name, row.line, len(row.cells), len(names))


def make_width_error(name: str, line: int, fields: int, columns: int) -> DataError:
    """Return the error for a row with more fields than columns."""
    return DataError(
        f"{name}, line {line}: {fields} fields, but there are names for {columns} columns. Quote numbers with a "
        "decimal comma and texts with a separator in them, or remove the line if it is no data"
    )


def find_footer(
    frame: pd.DataFrame, kinds: Sequence[str], *, footer_lines: int | None, locate: Callable[[int], int], name: str
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Count the rows at the end of a frame that are totals or notes, and say why they are no data.

    Args:
        frame: all rows; texts, or what a sheet's cells hold.
        kinds: of its first columns.
        footer_lines: what the user has set.
        locate: gives the line of a row (from 0), for messages.
        name: of the file, for messages.

    Raises:
        DataError: the last row is either a total or a series of its own.
    """
    if footer_lines is not None:
        return min(footer_lines, len(frame)), (("footer_lines", "set"),) if footer_lines else ()
    tail = frame.iloc[-MOST_FOOTER_ROWS:, : len(kinds)]
    rows = [["" if pd.isna(value) else str(value) for value in row] for row in tail.itertuples(index=False)]
    if not kinds or not {"time", "number"} & {*kinds} or not rows:
        return 0, ()
    _check_total_series(frame, rows, kinds, locate, name)
    count = 0
    while count < len(rows) and not is_data(rows[-1 - count], kinds):
        count += 1
    # A row further up may be a mistyped observation: it and what stands above it stay, and are told later.
    sure = 0
    while sure < count and _is_foreign(rows[len(rows) - 1 - sure], frame.iloc[: len(frame) - count], kinds):
        sure += 1
    if not sure or count == len(frame):
        return 0, ()
    shown = [i for i in range(sure, 0, -1) if not is_blank(rows[len(rows) - i])]
    if not shown:
        return sure, ()
    lines = [f"line {locate(len(frame) - i)} ({_shorten(rows[len(rows) - i])})" for i in shown]
    text = f"{number(len(shown), 'row')} at the end of {name} left out, totals or notes: {listed(lines, limit=4)}"
    return sure, (("footer_lines", text + "; --set source.footer_lines=0 keeps all rows"),)


def _shorten(row: Sequence[str]) -> str:
    return repr(" ".join(listed([cell for cell in row if cell.strip()], limit=3).split())[:60])


def _is_foreign(row: Sequence[str], above: pd.DataFrame, kinds: Sequence[str]) -> bool:
    """Return whether a row is a note, or a total by its word or by its numbers."""
    filled = [(i, cell.strip()) for i, cell in enumerate(row) if not is_missing(cell)]
    numbers = [(i, cell) for i, cell in filled if re.fullmatch(NUMBER, cell) and kinds[i] == "number"]
    if not numbers:
        return True
    if NOTE.match(filled[0][1]) or any(TOTAL.match(cell) for _, cell in filled):
        return True
    return _adds_up(numbers, above)


def _adds_up(numbers: Sequence[tuple[int, str]], above: pd.DataFrame) -> bool:
    """Return whether numbers are the sums of the columns above them."""
    for i, cell in numbers:
        column = above.iloc[:, i]
        marks = "," in cell and "." not in cell
        texts = column.astype("str").str.replace(",", ".", regex=False) if marks else column
        total = pd.to_numeric(texts, errors="coerce").sum()
        value = pd.to_numeric(cell.replace(",", ".") if marks else cell, errors="coerce")
        if not np.isclose(value, total, rtol=1e-4) or len(above) < 2:
            return False
    return True


def _check_total_series(
    frame: pd.DataFrame, rows: Sequence[Sequence[str]], kinds: Sequence[str], locate: Callable[[int], int], name: str
) -> None:
    """Refuse a last row that is a total or a series: only in a table with one row a series may it be both."""
    if "time" in kinds or "text" not in kinds or kinds.count("number") < 3:
        return
    row, above = rows[-1], frame.iloc[:-1]
    numbers = [(i, cell) for i, cell in enumerate(row) if kinds[i] == "number" and re.fullmatch(NUMBER, cell)]
    words = any(TOTAL.match(cell) for cell, kind in zip(row, kinds, strict=False) if kind == "text")
    if numbers and (words or (len(above) > 1 and _adds_up(numbers, above))):
        raise DataError(
            f"{name}, line {locate(len(frame) - 1)} ({_shorten(row)}) may be the total of the rows above it, or a "
            "series of its own; set source.footer_lines to 1 to leave it out, or to 0 to forecast it too (--set "
            "source.footer_lines=1)"
        )
