"""Lines that are no data are found, named with their line as an editor counts it, and never read as data."""

import gzip

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.sources.raw_series import read_source

DAYS = [f"2024-01-{day:02d}" for day in range(1, 31)]
ROWS = "".join(f"{day},{i}\n" for i, day in enumerate(DAYS, start=100))
COUNTED = list(enumerate(DAYS, start=100))


def read(path, text, **settings):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_source(Source(kind="files", path=str(path), **settings), covariates=Covariates())


def assert_rows(raw):
    assert raw.table["y"].tolist() == list(range(100, 130))
    assert raw.table["ds"].astype("str").tolist() == DAYS


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (
            "Load of site 12\n\nday,load\n" + ROWS,
            "header_line",
            "line 3 of d.csv.*line 1 ('Load of site",
        ),
        ("day,load\n,MW\n" + ROWS, "header_line", "line 1.*left out: line 2 ('MW')"),
        ("day,load\nTotal,3435\n" + ROWS, "header_line", "left out: line 2 ('Total, 3435')"),
        ("#day,load\n" + ROWS, None, ""),
        ("day,load\n" + ROWS + "Total,3435\n", "footer_lines", "line 32 ('Total, 3435')"),
        ("day,load\n" + ROWS + ",3435\n", "footer_lines", "line 32 ('3435')"),
        ("day,load\n" + ROWS + "\n\nSource: office, 2024, Berlin\n", "rows left out", "line 34 ('Source: office, 2024"),
        ("day,load\n" + ROWS + "* provisional\nSum,3435\n", "footer_lines", "2 rows.*line 32.*line 33"),
        ("day,load\n# check\n" + ROWS, "header_line", "line 2 ('# check')"),
        (
            "day,load\n" + ROWS.replace("2024-01-20", "# reset\nday,load\n2024-01-20"),
            "rows left out",
            "line 21.*line 22",
        ),
        (ROWS, "header_line", "no names of columns: line 1 is data"),
        ("load of day;day\n" + "".join(f"{i};{d}\n" for i, d in COUNTED), "separator", "';'"),
        (
            '"day","load"\n' + "".join(f'"{i}","{d}",{i + 99}\n' for i, d in enumerate(DAYS, 1)),
            "ignored columns",
            "numbers",
        ),
        ("day load\n" + ROWS.replace(",", "   "), "separator", "splits"),
    ],
)
def test_lines_that_are_no_data_are_left_out_and_named(tmp_path, text, key, said):
    raw = read(tmp_path / "d.csv", text)
    assert_rows(raw)
    if key:
        parts = said.split(".*")
        assert all(part in raw.reasons[key] for part in parts), raw.reasons


@pytest.mark.parametrize(
    ("text", "settings", "parts"),
    [
        ("day,load\n" + ROWS + "2O24-01-31,7\n", {}, ["row 32 of d.csv", "'2O24-01-31'"]),
        ("day,load\n" + ROWS + ",7\n", {}, ["row 32 of d.csv", "timestamp", "empty"]),
        ("day,load\n" + ROWS + "soon,7\n", {}, ["row 32 of d.csv", "'soon'"]),
        ("id,1,2,3,4\na,1,2,3,4\nb,1,2,3,4\nTotal,2,4,6,8\n", {}, ["line 4", "footer_lines to 1", "series of its own"]),
        ("id,1,2,3,4\na,1,2,3,4\nb,1,2,3,4\nc,2,4,6,8\n", {}, ["line 4", "footer_lines to 1", "to 0"]),
        ("one,two\nthree,four\n" + ROWS, {}, ["line 1 (one, two)", "line 2 (three, four)", "source.header_line"]),
        ("day,load\n2024-01-01,1,5\n2024-01-02,2,5\n", {}, ["line 2", "3 fields", "decimal comma"]),
        ("day,load\n" + ROWS.replace("2024-01-20", "2024-01-20,1"), {}, ["line 21", "3 fields", "2 columns"]),
    ],
)
def test_where_two_readings_remain_the_user_is_asked(tmp_path, text, settings, parts):
    with pytest.raises(DataError) as caught:
        read(tmp_path / "d.csv", text, **settings)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_settings_answer_what_is_asked(tmp_path):
    assert_rows(read(tmp_path / "d.csv", "one,two\nthree,four\n" + ROWS, header_line=2))
    wide = "id,1,2,3,4\na,1,2,3,4\nb,1,2,3,4\nTotal,2,4,6,8\n"
    assert set(read(tmp_path / "d.csv", wide, footer_lines=1).table["unique_id"]) == {"a", "b"}
    assert set(read(tmp_path / "d.csv", wide, footer_lines=0).table["unique_id"]) == {"a", "b", "Total"}
    assert_rows(read(tmp_path / "d.csv", "day;load\n" + ROWS.replace(",", ";"), separator=";"))
    with pytest.raises(DataError, match=r"timestamp"):
        read(tmp_path / "d.csv", "day,load\n" + ROWS + "Total,3435\n", footer_lines=0)


@pytest.mark.parametrize("compress", [lambda text: text, gzip.compress])
def test_rows_are_numbered_as_an_editor_counts_them(tmp_path, compress):
    path = tmp_path / ("d.csv" if compress(b"") == b"" else "d.csv.gz")
    rows = "".join(f'{day},{i},"two\nlines"\n\n' for i, day in enumerate(DAYS))
    text = "Title\n\nday,load,note\n" + rows.replace("2024-01-11,10", "2024-01-11,x")
    with pytest.raises(DataError, match=rf"row 34 of {path.name}.*'x'"):
        read(path, compress(text.encode()))


def test_an_odd_byte_late_in_the_file_is_read_in_another_encoding_and_told(tmp_path):
    days = pd.date_range("1870-01-01", periods=60_000, freq="D").strftime("%Y-%m-%d")
    text = (
        "day,load,note\n"
        + "".join(f"{day},1,plain text that is long\n" for day in days[:-1])
        + f"{days[-1]},1,Zürich\n"
    )
    raw = read(tmp_path / "d.csv", text.encode("cp1252"))
    assert len(raw.table) == 60_000
    assert "'Zürich'" in raw.reasons["encoding"]


@pytest.mark.parametrize(("name", "encoding"), [("Москва", "cp1251"), ("Zürich", "cp850"), ("Żółw", "cp1250")])
def test_names_of_series_in_an_unknown_encoding_are_asked_about(tmp_path, name, encoding):
    text = "day,load,id\n" + "".join(f"{day},1,{name}\n" for day in DAYS)
    with pytest.raises(DataError, match=r"not UTF-8.*source\.encoding"):
        read(tmp_path / "d.csv", text.encode(encoding))
    wide = f"day,{name},b,c\n" + "".join(f"{day},1,2,3\n" for day in DAYS)
    raw = read(tmp_path / "d.csv", wide.encode(encoding), encoding=encoding)
    assert name in set(raw.table["unique_id"])


def test_a_counter_without_a_name_is_no_series_and_names_without_a_counter_stay(tmp_path):
    columns = pd.DataFrame({"day": DAYS, "a": 1.5, "b": 2.5, "c": 3.5})
    raw = read(tmp_path / "d.csv", columns.to_csv())
    assert sorted(raw.table["unique_id"].unique()) == ["a", "b", "c"]
    assert "numbers the rows" in raw.reasons["ignored columns"]
    raw = read(tmp_path / "d.csv", columns.set_index("day").rename_axis(None).to_csv())
    assert np.unique(raw.table["ds"]).size == len(DAYS)


def test_a_named_column_that_no_row_reaches_is_empty(tmp_path):
    assert_rows(read(tmp_path / "d.csv", "day,load,note\n" + ROWS, columns={"y": "load"}))
