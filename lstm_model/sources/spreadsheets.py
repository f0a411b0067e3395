"""Read a sheet, or a range of cells, of a spreadsheet file (.xlsx, .xlsm, .xlsb, .xls, .ods)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import Source
from lstm_model.sources.parquet import check_unique
from lstm_model.sources.raw_table import RawTable, drop_unnamed, name_columns
from lstm_model.sources.table_bounds import Record, find_footer, find_header, is_blank

RANGE = re.compile(
    r"(?:(?:'(?P<quoted>.+)'|(?P<plain>.+))!)?\$?(?P<left>[A-Za-z]{1,3})\$?(?P<top>\d+)"
    r":\$?(?P<right>[A-Za-z]{1,3})\$?(?P<bottom>\d+)"
)


def read_spreadsheet(filesystem: Any, file: str, name: str, source: Source) -> RawTable:
    """Read the table of a sheet as a frame; cells keep their types, so that no number or date is parsed again.

    Raises:
        DataError: which sheet, or which of its rows hold the table, is not clear.
    """
    sheet, rows, top = read_sheet(filesystem, file, name, source.sheet)
    place = f"{name}, sheet {sheet!r}"
    records = [Record(top + i, [_show_cell(cell) for cell in row]) for i, row in enumerate(rows)]
    filled = [i for i, record in enumerate(records) if not is_blank(record.cells)]
    if not filled:
        raise DataError(f"{place} is empty")
    left, right = _find_edges([records[i].cells for i in filled])
    records = [Record(line, cells[left:right]) for line, cells in records]
    header = find_header(records, place, header_line=source.header_line)
    check_unique([text for text in header.names if text], place)
    names = name_columns(header.names)
    kept = [i for i in filled if i >= header.first]
    columns = {text: _type_column([rows[i][left + k] for i in kept]) for k, text in enumerate(names)}
    frame = pd.DataFrame(columns)

    def locate(position: int) -> int:
        return top + kept[position]

    count, why = find_footer(frame, header.kinds, footer_lines=source.footer_lines, locate=locate, name=place)
    if count:
        kept = kept[: len(kept) - count]
        columns = {text: _type_column([rows[i][left + k] for i in kept]) for k, text in enumerate(names)}
        frame = pd.DataFrame(columns)
    frame, why_index = drop_unnamed(frame, header.given_names, place)
    reasons = [("sheet", f"{sheet!r} of {name}, its only sheet with a table")] if source.sheet is None else []
    return RawTable(name, frame, reasons=(*reasons, *header.reasons, *why, *why_index), locate=locate)


def _find_edges(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Return the first filled column, and the one after the last."""
    filled = [k for k in range(len(rows[0])) if any(row[k].strip() for row in rows)]
    return filled[0], filled[-1] + 1


def _show_cell(cell: Any) -> str:
    """Return a cell as a text that a CSV would hold."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell)


def _type_column(cells: list[Any]) -> pd.Series:
    """Return cells as numbers, timestamps or texts; texts where they are mixed."""
    filled = [cell for cell in cells if cell != ""]
    plain = [None if cell == "" else cell for cell in cells]
    if filled and all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in filled):
        numbers = pd.Series(plain, dtype="float64")
        whole = len(filled) == len(cells) and all(float(cell).is_integer() and abs(cell) < 2**53 for cell in filled)
        return numbers.astype("int64") if whole else numbers
    if filled and all(isinstance(cell, datetime.date) for cell in filled):
        return pd.to_datetime(pd.Series(plain, dtype="object")).dt.as_unit("us")
    return pd.Series([None if cell == "" else _show_cell(cell) for cell in cells], dtype="str")


def read_sheet(filesystem: Any, file: str, name: str, wanted: str | None) -> tuple[str, list[list[Any]], int]:
    """Return a sheet's name, its rows of cells ("" is empty), and the number of the first row as the program counts.

    Args:
        wanted: a sheet, a range of cells, or both, as the user has named them; None: the only sheet that is filled.

    Raises:
        DataError: the file is damaged or protected, more than one sheet is filled, or the sheet is not there.
    """
    try:
        import python_calamine as calamine
    except ImportError:
        raise DataError(
            f"{name} is a spreadsheet, which needs the package python-calamine: install the extra "
            "evergreen-forecast[sheets], or save the sheet as CSV"
        ) from None
    try:
        with filesystem.open(file, "rb") as stream:
            book = calamine.CalamineWorkbook.from_filelike(stream)
        names = [meta.name for meta in book.sheets_metadata if meta.typ is calamine.SheetTypeEnum.WorkSheet]
        sheet, box = _divide_name(wanted, names)
        if sheet is None:
            sheet = _find_filled(book, names, name)
        elif sheet not in names:
            raise DataError(f"{name} has no sheet {sheet!r} (source.sheet); its sheets are {listed(map(repr, names))}")
        rows = book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    except calamine.PasswordError:
        raise DataError(f"{name} is protected by a password; save it without, or as CSV") from None
    except calamine.CalamineError as error:
        raise DataError(f"{name} cannot be read as a spreadsheet: {error}; save it again, or as CSV") from None
    if box is None:
        return sheet, rows, 1
    left, top, right, bottom = box
    rows = [row[left - 1 : right] for row in rows[top - 1 : bottom]]
    if not any(cell != "" for row in rows for cell in row):
        raise DataError(f"{name}: the cells {wanted} (source.sheet) are empty")
    return sheet, rows, top


def _divide_name(wanted: str | None, names: Sequence[str]) -> tuple[str | None, tuple[int, int, int, int] | None]:
    """Return the sheet and the range (left, top, right, bottom, counted from 1) of such as Load!B4:D900."""
    if wanted is None or wanted in names or not (match := RANGE.fullmatch(wanted)):
        return wanted, None
    box = _count_column(match["left"]), int(match["top"]), _count_column(match["right"]), int(match["bottom"])
    return match["quoted"] or match["plain"], box


def _count_column(letters: str) -> int:
    count = 0
    for letter in letters.upper():
        count = count * 26 + ord(letter) - ord("A") + 1
    return count


def _find_filled(book: Any, names: Sequence[str], name: str) -> str:
    """Return the only sheet with a table: at least two rows and two columns."""
    sizes = {sheet: book.get_sheet_by_name(sheet).to_python() for sheet in names}
    tables = [sheet for sheet, rows in sizes.items() if len(rows) > 1 and len(rows[0]) > 1]
    if len(tables) == 1:
        return tables[0]
    shown = listed([f"{sheet!r} ({len(rows):,} rows)" for sheet, rows in sizes.items()])
    if not tables:
        raise DataError(f"{name} has no sheet with a table; its sheets are {shown}")
    raise DataError(
        f"{name} has more than one sheet with a table: {shown}. Name one with --sheet (source.sheet), with a range of "
        f"cells if need be, such as {tables[0]}!A1:C900"
    )
