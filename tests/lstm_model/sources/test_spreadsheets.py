"""Sheets are read by their cells: numbers and dates keep their types, and a sheet or range can be named."""

import zipfile
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.sources.raw_series import read_source

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MONTHS = pd.date_range("2017-01-01", periods=90, freq="MS")
TABLE = [["Monat", "Absatz"], *([month, 1000.25 + i] for i, month in enumerate(MONTHS))]


def show_cell(value, place):
    if isinstance(value, pd.Timestamp):
        return f'<c r="{place}" s="1"><v>{(value - pd.Timestamp("1899-12-30")).days}</v></c>'
    if isinstance(value, (int, float)):
        return f'<c r="{place}"><v>{value!r}</v></c>'
    return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>' if value else ""


def write_xlsx(path, sheets):
    """Write sheets of rows as a workbook with as little as the format needs."""
    names = list(sheets)
    with zipfile.ZipFile(path, "w") as book:
        parts = "".join(
            f'<Override PartName="/xl/worksheets/sheet{i}.xml" '
            'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
            for i in range(len(names))
        )
        book.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Override PartName="/xl/workbook.xml" '
            'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
            f"{parts}</Types>",
        )
        book.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{RELATIONS}"><Relationship Id="r" Type="{OFFICE}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        listed = "".join(f'<sheet name="{n}" sheetId="{i + 1}" r:id="r{i}"/>' for i, n in enumerate(names))
        book.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        linked = "".join(
            f'<Relationship Id="r{i}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{i}.xml"/>'
            for i in range(len(names))
        )
        style = f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/>'
        book.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{RELATIONS}">{linked}{style}</Relationships>'
        )
        book.writestr(
            "xl/styles.xml",
            f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="17"/></cellXfs></styleSheet>',
        )
        for i, rows in enumerate(sheets.values()):
            cells = "".join(
                f'<row r="{r}">{"".join(show_cell(v, f"{chr(65 + k)}{r}") for k, v in enumerate(row))}</row>'
                for r, row in enumerate(rows, start=1)
            )
            book.writestr(
                f"xl/worksheets/sheet{i}.xml", f'<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData></worksheet>'
            )
    return path


def read(path, **settings):
    return read_source(Source(kind="files", path=str(path), **settings), covariates=Covariates())


def assert_months(raw):
    assert raw.table["ds"].tolist() == list(MONTHS)
    assert np.array_equal(raw.table["y"], 1000.25 + np.arange(90))


def test_the_only_filled_sheet_is_read_below_its_title_and_without_its_total(tmp_path):
    rows = [
        ["Absatz 2017 bis 2024"],
        [],
        ["", *TABLE[0]],
        *(["", *row] for row in TABLE[1:]),
        [],
        ["", "Summe", 94027.5],
    ]
    raw = read(write_xlsx(tmp_path / "sales.xlsx", {"Deckblatt": [["Bericht"]], "Daten": rows}))
    assert_months(raw)
    assert "'Daten'" in raw.reasons["sheet"]
    assert "line 95 ('Summe, 94027.5')" in raw.reasons["footer_lines"]


def test_two_filled_sheets_are_asked_about_and_a_sheet_or_range_can_be_named(tmp_path):
    path = write_xlsx(tmp_path / "sales.xlsx", {"A 1": TABLE, "B": [["x", "y", "z"], ["p", *TABLE[0]], *TABLE]})
    with pytest.raises(DataError, match=r"more than one sheet.*'A 1' \(91 rows\).*'B' \(93 rows\).*source\.sheet"):
        read(path)
    for sheet in ("A 1", "A 1!A1:B91", "'A 1'!$A$1:$B$91"):
        assert_months(read(path, sheet=sheet))
    short = read(path, sheet="A 1!A1:B11")
    assert len(short.table) == 10
    with pytest.raises(DataError, match=r"no sheet 'C'.*'A 1', 'B'"):
        read(path, sheet="C")
    with pytest.raises(DataError, match="are empty"):
        read(path, sheet="B!J1:K9")


def test_a_cell_that_is_no_number_is_named_by_its_row(tmp_path):
    rows = [["Title"], [], *TABLE[:20], [TABLE[20][0], "broken"], *TABLE[21:]]
    with pytest.raises(DataError, match=r"row 23 of d\.xlsx.*'broken'"):
        read(write_xlsx(tmp_path / "d.xlsx", {"S": rows}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no workbook", b"day,load\n"])
def test_a_damaged_workbook_is_named(tmp_path, content):
    path = tmp_path / "d.xlsx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"d\.xlsx cannot be read as a spreadsheet"):
        read(path)


def test_a_table_in_a_zip_archive_is_read_and_two_are_asked_about(tmp_path):
    text = "day,load\n" + "".join(f"{month.date()},{1000.25 + i}\n" for i, month in enumerate(MONTHS))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("deep/load.csv", text)
        archive.writestr("__MACOSX/deep/._load.csv", "x")
        archive.writestr("readme.md", "x")
    assert_months(read(tmp_path / "d.zip"))
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("a.csv", text)
        archive.writestr("b.csv", text)
    with pytest.raises(DataError, match=r"e\.zip holds 2 tables \(a\.csv, b\.csv\), expected one"):
        read(tmp_path / "e.zip")
    (tmp_path / "f.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"f\.zip is no zip archive"):
        read(tmp_path / "f.zip")
