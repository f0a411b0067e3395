"""Detect how a text file spells its table: the encoding, and the mark between fields.

A separator is judged by the table that it gives: how many rows it divides alike, and how many of their fields are times
or numbers. The first line alone decides nothing, since names of columns may hold any mark.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from lstm_model.contracts.findings import DataError
from lstm_model.sources.cell_kinds import find_kind
from lstm_model.sources.table_bounds import MOST_COLUMNS, Record, is_blank, measure_kinds

MARKS = (",", ";", "\t", "|")
SPACES = r"\s+"
SAMPLE_LINES, SAMPLE_CELLS = 400, 20_000
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ODD_CASE = re.compile(r"[a-zß-ÿ][A-ZÀ-ÖØ-ÞŠŒŽŸ][a-zß-ÿ]|[À-ÖØ-öø-ÿ]{3}")
SIGNS = "€‰™°±²³¹µ·–—‘’‚“”„•…§©®«»¼½¾×÷£¥¢ªº¿¡´¨¬¦\xa0\xad"


def detect_encoding(head: bytes) -> str:
    """Return the encoding that the first bytes show: UTF-16 or UTF-32, else UTF-8 (which the rest may contradict)."""
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    sample = head[: len(head) // 2 * 2][:10_000]
    if sample.count(0) > 0.3 * len(sample):
        even = sample[::2].count(0)
        return "utf-16-be" if even > sample.count(0) / 2 else "utf-16-le"
    return "utf-8-sig"


def explain_encoding(lines: Iterable[bytes], name: str) -> str:
    """Return why a file that is no UTF-8 is read as Windows-1252: a text of it.

    Raises:
        DataError: read so, its texts are no words; the user must name the encoding.
    """
    example = ""
    for line in lines:
        if line.isascii():
            continue
        text = line.decode("cp1252", errors="replace")
        odd = [c for c in text if not c.isascii() and not c.isalpha() and c not in SIGNS]
        words = re.findall(r"[^\W\d_]*[^\x00-\x7f][^\W\d_]*", text)
        example = example or (words[0].strip() if words else text.strip()[:40])
        if odd or ODD_CASE.search(text):
            others = ", ".join(f"{line.decode(code, errors='replace').strip()[:40]!r} in {code}" for code in OTHERS)
            raise DataError(
                f"{name} is not UTF-8, and its encoding is not sure: one line is {text.strip()[:40]!r} in cp1252, "
                f"{others}. Set source.encoding to the one that reads right (--set source.encoding=cp1252), or save "
                "the file in UTF-8"
            )
    return f"{name} is not UTF-8; read as Windows-1252, in which a text of it is {example!r}"


OTHERS = ("cp1250", "cp1251", "cp850", "mac-roman")


def detect_separator(lines: Sequence[str], name: str) -> str:
    """Return the mark that gives the best table.

    Raises:
        DataError: two marks give tables that are equally good, and different.
    """
    ranked = sorted(((_rate(lines, mark), mark) for mark in MARKS), key=lambda pair: pair[0], reverse=True)
    best, mark = ranked[0]
    if best[0] <= 0.3 and _rate(lines, SPACES)[0] > best[0]:
        return SPACES
    (other, second) = ranked[1]
    if best == other and best[0] > 0:
        shown = next((line for line in reversed(lines) if mark in line and second in line), lines[-1]).strip()
        raise DataError(
            f"{name}: {shown[:60]!r} may be divided at {mark!r} or at {second!r}; say which with source.separator"
        )
    return mark


def split_records(lines: Iterable[str], separator: str) -> Iterator[Record]:
    """Divide lines into records, with the line in which each begins; a quoted field may hold ends of lines."""
    if separator == SPACES:
        yield from (Record(line, re.split(SPACES, text.strip())) for line, text in enumerate(lines, start=1))
        return
    reader, line = csv.reader(lines, delimiter=separator), 1
    for cells in reader:
        yield Record(line, cells)
        line = reader.line_num + 1


def _rate(lines: Sequence[str], mark: str) -> tuple[float, bool, int]:
    """Return the share of rows alike times that of their fields that are times or numbers; more is better.

    Ties fall to the mark that divides a line above the table too, as the names of columns are, then to more fields.
    """
    try:
        records = [record.cells for record in split_records(lines, mark) if not is_blank(record.cells)]
    except csv.Error:  # a field too long: the lines are divided by another mark
        return 0.0, False, 0
    widths = Counter(len(cells) for cells in records)
    width = max(widths, key=lambda count: (count > 1, widths[count], count), default=1)
    if width < 2:
        return 0.0, False, 0
    body = [cells for cells in records if len(cells) == width][: max(5, SAMPLE_CELLS // min(width, MOST_COLUMNS))]
    kinds = measure_kinds(body)
    others = [other for other in MARKS[1:] if other != mark]
    later = body[len(body) // 2 :]
    cells = [(cell, kind) for row in later for cell, kind in zip(row, kinds, strict=False) if cell.strip()]
    clean = sum(_is_clean(cell, kind, others) for cell, kind in cells) / max(1, len(cells))
    return round((0.1 + clean) * len(body) / len(records), 3), len(records[0]) >= width, width


def _is_clean(cell: str, kind: str, others: Sequence[str]) -> bool:
    return kind in ("time", "number", "clock") and not any(other in cell for other in others) and _fits(cell)


def _fits(cell: str) -> bool:
    return find_kind(cell.strip()) != "text"
