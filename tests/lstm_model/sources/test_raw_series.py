import os
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.settings import Columns, Covariates, Source
from lstm_model.sources.fingerprint import hash_source
from lstm_model.sources.raw_series import DataError, read_source

DATA = Path(os.environ.get("FORECAST_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
HOURS = pd.date_range("2024-01-01", periods=48, freq="h")


def read(path, *, covariates=None, **settings):
    columns = Columns(**settings.pop("columns", {}))
    source = Source(kind="files", path=str(path), columns=columns, **settings)
    return read_source(source, covariates=covariates or Covariates())


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def long_frame(**extra):
    frame = pd.DataFrame({"unique_id": "a", "ds": HOURS, "y": np.arange(48.0)})
    other = frame.assign(unique_id="b", y=frame["y"] * 2)
    return pd.concat([frame, other], ignore_index=True).assign(**extra)


# Formats, places and layouts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_csv_and_parquet_give_the_same_table(tmp_path, suffix):
    frame, path = long_frame(), tmp_path / f"data.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    raw = read(path)
    pd.testing.assert_frame_equal(raw.table, frame.astype({"ds": "datetime64[us]"}), check_dtype=True)
    assert "by its name" in raw.reasons["columns.y"]
    assert raw.source.columns == Columns(unique_id="unique_id", ds="ds", y="y")


def test_parquet_with_the_time_as_index(tmp_path):
    long_frame().query("unique_id == 'a'").set_index("ds")[["y"]].to_parquet(tmp_path / "one.parquet")
    table = read(tmp_path / "one.parquet").table
    assert table["ds"].tolist() == HOURS.tolist()
    assert set(table["unique_id"]) == {"one"}


def test_own_column_names_and_ignored_columns(tmp_path):
    frame = long_frame(note="x", level=1.0).rename(columns={"unique_id": "meter", "ds": "when", "y": "kwh"})
    frame.to_csv(tmp_path / "d.csv", index=False)
    raw = read(tmp_path / "d.csv", columns={"unique_id": "meter", "ds": "when", "y": "kwh"})
    assert list(raw.table) == ["unique_id", "ds", "y"]
    assert raw.reasons["ignored columns"].startswith("note, level")


def test_glob_reads_all_files_in_order_of_name(tmp_path):
    for name in ("b", "a"):
        long_frame().query(f"unique_id == '{name}'").to_csv(tmp_path / f"load-{name}.csv", index=False)
    write(tmp_path / "other.txt", "not for us")
    assert read(tmp_path / "load-*.csv").table["unique_id"].unique().tolist() == ["a", "b"]


def test_fsspec_urls(tmp_path):
    frame = long_frame()
    with fsspec.open("memory://evergreen/part-1.csv", "wt") as file:
        frame.to_csv(file, index=False)
    assert len(read("memory://evergreen/part-*.csv").table) == len(frame)
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert len(read(f"file://{tmp_path}/d.csv").table) == len(frame)


def test_without_an_id_column_each_file_is_a_series_named_after_it(tmp_path):
    for name in ("north", "south"):
        pd.DataFrame({"date": HOURS, "load": np.arange(48.0)}).to_csv(tmp_path / f"{name}.csv", index=False)
    raw = read(tmp_path / "*.csv")
    assert raw.table["unique_id"].unique().tolist() == ["north", "south"]
    assert "one series a file" in raw.reasons["columns.unique_id"]


def test_wide_columns_are_told_by_their_kind(tmp_path):
    wide = pd.DataFrame({"date": HOURS, "p": np.arange(48.0), "q": 0.0, "r": np.nan})
    wide.to_csv(tmp_path / "w.csv", index=False)
    raw = read(tmp_path / "w.csv")
    assert raw.source.layout == "wide_columns"
    assert "3 number columns" in raw.reasons["layout"]
    assert raw.table.groupby("unique_id", sort=False)["y"].first().index.tolist() == ["p", "q", "r"]
    assert raw.table.query("unique_id == 'p'")["y"].tolist() == list(range(48))


def test_wide_columns_share_their_covariates(tmp_path):
    wide = pd.DataFrame({"date": HOURS, "p": 1.0, "q": 2.0, "r": 3.0, "holiday": np.arange(48) % 2})
    wide.to_csv(tmp_path / "w.csv", index=False)
    table = read(tmp_path / "w.csv", covariates=Covariates(future=("holiday",))).table
    assert set(table["unique_id"]) == {"p", "q", "r"}
    assert table.query("unique_id == 'r'")["holiday"].tolist() == (np.arange(48) % 2).tolist()


def test_wide_rows_drop_the_padding_and_count_steps(tmp_path):
    write(tmp_path / "m.csv", 'V1,V2,V3,V4,V5\n"H1",1,2,,4\n"H2",5,6,,\n')
    raw = read(tmp_path / "m.csv")
    assert raw.source.layout == "wide_rows"
    assert raw.table["unique_id"].tolist() == ["H1"] * 4 + ["H2"] * 2
    assert raw.table["ds"].tolist() == [1, 2, 3, 4, 1, 2]
    np.testing.assert_array_equal(raw.table["y"], [1, 2, np.nan, 4, 5, 6])


def test_wide_rows_with_dates_as_column_names_and_a_static_covariate(tmp_path):
    write(tmp_path / "w.csv", "page,lang,2024-01-01,2024-01-02,2024-01-03\nx,de,1,2,3\ny,fr,4,5,\n")
    raw = read(tmp_path / "w.csv", covariates=Covariates(static=("lang",)))
    assert raw.table["ds"].max() == pd.Timestamp("2024-01-03")
    assert raw.table["lang"].tolist() == ["de"] * 3 + ["fr"] * 2


@pytest.mark.skipif(not DATA.exists(), reason=f"no real data in {DATA}; set FORECAST_DATA")
def test_real_files_are_read_as_they_are():
    etth1 = read(DATA / "ETTh1.csv")
    assert (etth1.source.layout, etth1.table["unique_id"].nunique(), len(etth1.table)) == (
        "wide_columns",
        7,
        7 * 17_420,
    )
    m4 = read(DATA / "M4-Hourly-train.csv")
    sizes = m4.table.groupby("unique_id").size()
    assert (m4.source.layout, len(sizes), set(sizes)) == ("wide_rows", 414, {700, 960})
    assert m4.table["ds"].dtype == np.int64
    one = read(DATA / "ETTh1.csv", columns={"y": "OT"})
    assert one.table["unique_id"].unique().tolist() == ["ETTh1"]


# Ways of writing ------------------------------------------------------------------------------------------------------


def test_semicolons_decimal_commas_and_points_for_thousands(tmp_path):
    write(tmp_path / "de.csv", "zeit;last\n31.12.2023;1.234,5\n01.01.2024;7\n02.01.2024;-0,25\n03.01.2024;\n")
    raw = read(tmp_path / "de.csv")
    np.testing.assert_array_equal(raw.table["y"], [1234.5, 7, -0.25, np.nan])
    assert raw.table["ds"].tolist() == pd.date_range("2023-12-31", periods=4).tolist()
    assert raw.source.decimal == ","
    assert "has no other reading" in raw.reasons["dayfirst"]
    assert raw.source.dayfirst is True


def test_a_point_among_decimal_commas_that_groups_no_thousands_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"row 3 of m\.csv.*received '2\.5', expected a number"):
        read(write(tmp_path / "m.csv", "ds;y\n2024-01-01;1,5\n2024-01-02;2.5\n"))


def test_a_comma_that_may_mark_decimals_or_thousands_is_an_error(tmp_path):
    path = write(tmp_path / "x.csv", "ds;y\n2024-01-01;1,234\n2024-01-02;5,678\n")
    with pytest.raises(DataError, match=r"'1,234' are ambiguous.*source\.decimal"):
        read(path)
    assert read(path, decimal=",").table["y"].tolist() == [1.234, 5.678]
    assert read(path, decimal=".").table["y"].tolist() == [1234, 5678]


def test_quoted_decimal_commas_and_tabs_and_old_encodings(tmp_path):
    assert read(write(tmp_path / "q.csv", 'ds,y\n2024-01-01,"1,5"\n2024-01-02,"2,5"\n')).table["y"].tolist() == [
        1.5,
        2.5,
    ]
    path = write(tmp_path / "t.tsv", "Zähler\tds\ty\nKöln\t2024-01-01\t1.5\nKöln\t2024-01-02\t2.5\n", encoding="cp1252")
    raw = read(path)
    assert set(raw.table["unique_id"]) == {"Köln"}
    assert "Windows-1252" in raw.reasons["encoding"]


@pytest.mark.parametrize("missing", [".", "..", ":", " . ", "NA"])
def test_marks_of_data_portals_for_a_missing_value(tmp_path: Path, missing: str) -> None:
    rows = f"2024-01-01,1.5\n2024-01-02,{missing}\n2024-01-03,2.5\n"
    assert read(write(tmp_path / "m.csv", "ds,y\n" + rows)).table["y"].isna().tolist() == [False, True, False]


def test_names_such_as_007_and_NA_stay_names(tmp_path):
    rows = "".join(f"{name},2024-01-0{day},{day}\n" for name in ("007", "NA") for day in range(1, 5))
    assert read(write(tmp_path / "n.csv", "id,ds,y\n" + rows)).table["unique_id"].unique().tolist() == ["007", "NA"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["20240131", "20240201"], "2024-01-31"),
        (["2024-01", "2024-02"], "2024-01-01"),
        (["2024Q1", "2024Q2"], "2024-01-01"),
        (["2024 Q2", "2024 Q3"], "2024-04-01"),
        (["Q4 2023", "Q1 2024"], "2023-10-01"),
        (["2024 W01", "2024 W02"], "2024-01-01"),
        (["2020-W53", "2021-W01"], "2020-12-28"),
        (["2021-W01-7", "2021-W02-7"], "2021-01-10"),
        (["2024M02", "2024M03"], "2024-02-01"),
        (["1939 Jan", "1939 Feb"], "1939-01-01"),
        (["Jan-1-1995", "Feb-1-1995"], "1995-01-01"),
        (["202311", "202312", "202401"], "2023-11-01"),
        (["1/31/24", "2/1/24"], "2024-01-31"),
        (["31-01-2024 14:30", "01-02-2024 14:30"], "2024-01-31 14:30"),
        (["3 Apr 2024", "4 Apr 2024"], "2024-04-03"),
        (["Apr 3, 2024", "Apr 4, 2024"], "2024-04-03"),
        (["1706659200", "1706662800"], "2024-01-31 00:00+00:00"),
        (["2024-01-31T00:00:00Z", "2024-01-31T01:00:00Z"], "2024-01-31 00:00+00:00"),
        (["2024-10-27T02:00+02:00", "2024-10-27T02:00+01:00", "2024-10-27T03:00+01:00"], "2024-10-27 00:00+00:00"),
        (["2024-10-26T00:00+02:00", "2024-10-28T00:00+01:00"], "2024-10-26"),
    ],
)
def test_dates_are_read_in_many_forms(tmp_path, texts, expected):
    path = write(tmp_path / "d.csv", "ds,y\n" + "".join(f'"{text}",1\n' for text in texts))
    assert read(path).table["ds"].iloc[0] == pd.Timestamp(expected)


@pytest.mark.parametrize(
    ("column", "texts", "expected"),
    [
        ("YEAR", ["1700", "1701"], pd.Timestamp("1700-01-01")),
        ("year", ["1990.0", "1991.0"], pd.Timestamp("1990-01-01")),
        ("time", ["1990", "1990.083333", "1990.166667"], pd.Timestamp("1990-01-01")),
        ("time", ["1990.75", "1991.00", "1991.25"], pd.Timestamp("1990-10-01")),
        ("step", ["1990", "1991"], 1990),
        ("time", ["0.0", "1.0"], 0),
        ("year", ["1", "2"], 1),
    ],
)
def test_numbers_are_years_where_their_size_and_their_column_say_so(tmp_path, column, texts, expected):
    path = write(tmp_path / "d.csv", f"{column},y\n" + "".join(f"{text},1\n" for text in texts))
    raw = read(path)
    assert raw.table["ds"].iloc[0] == expected
    assert raw.source.columns.ds == column
    assert ("year" in raw.reasons.get("columns.ds format", "")) == isinstance(expected, pd.Timestamp)


def test_a_week_that_its_year_does_not_have_is_an_error(tmp_path):
    path = write(tmp_path / "d.csv", "ds,y\n2023-W52,1\n2023-W53,2\n")
    with pytest.raises(DataError, match=r"row 3 of d\.csv.*'2023-W53'"):
        read(path)


def test_a_named_time_column_of_texts_is_no_column_of_names(tmp_path):
    path = write(tmp_path / "d.csv", "when,a,b,c\n2024 Q1,1,2,3\n2024 Q2,1,2,3\n")
    assert read(path, columns={"ds": "when"}).table["unique_id"].unique().tolist() == ["a", "b", "c"]


def test_ambiguous_dates_are_an_error_that_names_the_flag(tmp_path):
    path = write(tmp_path / "d.csv", "ds,y\n03/04/2024,1\n04/04/2024,2\n")
    with pytest.raises(DataError, match=r"'03/04/2024' are ambiguous.*source\.dayfirst.*--dayfirst"):
        read(path)
    assert read(path, dayfirst=True).table["ds"].iloc[0] == pd.Timestamp("2024-04-03")
    assert read(path, dayfirst=False).table["ds"].iloc[0] == pd.Timestamp("2024-03-04")


def test_the_part_that_never_changes_in_many_years_is_the_day(tmp_path):
    dates = [f"{month}/1/{year}" for year in (2020, 2021) for month in range(1, 13)]
    raw = read(write(tmp_path / "us.csv", "ds,y\n" + "".join(f"{date},1\n" for date in dates)))
    assert raw.table["ds"].iloc[1] == pd.Timestamp("2020-02-01") and raw.source.dayfirst is False
    british = ["/".join([date.split("/")[1], date.split("/")[0], date.split("/")[2]]) for date in dates]
    raw = read(write(tmp_path / "uk.csv", "ds,y\n" + "".join(f"{date},1\n" for date in british)))
    assert raw.table["ds"].iloc[1] == pd.Timestamp("2020-02-01") and raw.source.dayfirst is True


def test_a_date_that_contradicts_the_others_is_named(tmp_path):
    path = write(tmp_path / "d.csv", "ds,y\n31/01/2024,1\n01/31/2024,2\n")
    with pytest.raises(DataError, match=r"row 3 of d\.csv.*'01/31/2024' is no date.*day first.*dayfirst"):
        read(path)


# Errors that name what to do ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ds,load,temp\n2024-01-01,1,2\n2024-01-02,1,3\n", ["load, temp", "--target", "source.columns.y"]),
        ("ds,a,b,y\n2024-01-01,p,q,2\n2024-01-01,p,r,3\n", ["a, b", "--id-column", "source.columns.unique_id"]),
        ("start,end,y\n2024-01-01,2024-01-02,1\n2024-01-02,2024-01-03,1\n", ["start, end", "--time-column"]),
        ("name,y\nx,1\ny,2\n", ["no column of timestamps", "name (text), y (integer)", "--time-column"]),
        ("ds,name\n2024-01-01,x\n2024-01-02,x\n", ["no column of numbers", "--target"]),
        ("1,5.5\n2,6.5\n", ["line 1", "looks like data", "names of the columns", "source.header_line"]),
        ("ds,y\n2024-01-01,1,5\n2024-01-02,2,5\n", ["line 2", "3 fields", "2 columns", "decimal comma"]),
        ("start,end,time,y\n2024-01-01,2024-01-02,12:00,1\n2024-01-02,2024-01-03,12:00,2\n", ["times of day", "join"]),
        ("ds,y\n2024-01-01,yes\n2024-01-02,no\n", ["y (text)", "--target"]),
        ("ds,y\n", ["no rows", "ds, y"]),
        ("", ["is empty"]),
        ("ds,y\n2024-01-01,1\n,2\n", ["row 3 of d.csv", "timestamp", "empty"]),
        ("ds,y\n2024-01-01,1\nsoon,2\n2024-01-03,3\n", ["row 3 of d.csv", "'soon'", "timestamp"]),
        ("id,ds,y\na,2024-01-01,1\n,2024-01-02,2\na,2024-01-03,2\n", ["row 3 of d.csv", "name of the series", "empty"]),
        (
            "id,ds,y\na,2024-01-01,1\na,2024-01-02,err\na,2024-01-03,2\n",
            ["row 3 of d.csv", "'a'", "2024-01-02", "'y'", "'err'", "expected a number"],
        ),
        ("date,p,q,r\n2024-01-01,1,2,3\n2024-01-02,1,x,3\n2024-01-03,1,2,3\n", ["'q'", "2024-01-02", "'x'"]),
        ("ds,y\n2024-01-01T00:00Z,1\n2024-01-02 00:00:00,2\n", ["row 3 of d.csv", "UTC offset"]),
    ],
)
def test_bad_files_are_explained(tmp_path, text, parts):
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "d.csv", text))
    for part in parts:
        assert part in str(caught.value)


def test_text_far_below_the_sample_is_found(tmp_path):
    frame = pd.DataFrame({"ds": pd.date_range("2000-01-01", periods=60_000, freq="h"), "y": "1.25"})
    frame.loc[59_000, "y"] = "broken"
    frame.to_csv(tmp_path / "long.csv", index=False)
    with pytest.raises(DataError, match=r"row 59002 of long\.csv.*'broken'"):
        read(tmp_path / "long.csv")


def test_places_that_hold_nothing_say_what_exists(tmp_path):
    write(tmp_path / "sales.csv", "ds,y\n2024-01-01,1\n")
    for path in (tmp_path / "sale.csv", tmp_path / "x-*.csv", tmp_path / "deep" / "er" / "a.csv"):
        with pytest.raises(DataError, match=r"sales\.csv"):
            read(path)
    for name, ending in (("", "csv"), ("sales.parquet/", "parquet")):
        (tmp_path / name).mkdir(exist_ok=True)
        for file in (f"part-0.{ending}", f".part-0.{ending}.crc", "._SUCCESS.crc"):
            write(tmp_path / name / file, "")
        with pytest.raises(DataError, match=rf"is a folder.*\*\.{ending}"):
            read(tmp_path / name)
    with pytest.raises(DataError, match=r"kind of file.*\.csv.*\.parquet"):
        read(write(tmp_path / "a.docx", "x"))
    with pytest.raises(DataError, match=r"cannot be read as Parquet"):
        read(write(tmp_path / "a.parquet", "no parquet"))
    with pytest.raises(DataError, match="cannot be opened"):
        read("nosuchprotocol://bucket/a.csv")


def test_unknown_columns_name_the_nearest(tmp_path):
    write(tmp_path / "d.csv", "meter,ds,consumption\na,2024-01-01,1\n")
    with pytest.raises(DataError, match=r"comsumption.*has: meter, ds, consumption.*Did you mean consumption"):
        read(tmp_path / "d.csv", columns={"y": "comsumption"})
    with pytest.raises(DataError, match=r"covariates names the column rain"):
        read(tmp_path / "d.csv", covariates=Covariates(past=("rain",)))


@pytest.mark.parametrize("column", ["meter", "ds", "consumption"])
def test_a_column_has_one_role(tmp_path, column):
    write(tmp_path / "d.csv", "meter,ds,consumption\na,2024-01-01,1\na,2024-01-02,1\n")
    roles = {"unique_id": "meter", "ds": "ds", "y": "consumption"}
    with pytest.raises(DataError, match=rf"the column {column} stands both in source.columns and in covariates"):
        read(tmp_path / "d.csv", columns=roles, covariates=Covariates(past=(column,)))


def test_files_of_one_glob_need_the_same_columns(tmp_path):
    write(tmp_path / "a.csv", "id,ds,y\na,2024-01-01,1\na,2024-01-02,1\n")
    write(tmp_path / "b.csv", "id,ds,value\na,2024-01-03,1\na,2024-01-04,1\n")
    with pytest.raises(DataError, match=r"b\.csv lacks the column 'y' that a\.csv has"):
        read(tmp_path / "*.csv")


def test_an_id_that_numbers_rows_is_no_series(tmp_path):
    raw = read(write(tmp_path / "rows.csv", "id,ds,y\n1,2024-01-01,1\n2,2024-01-02,2\n3,2024-01-03,3\n"))
    assert set(raw.table["unique_id"]) == {"rows"}


def test_texts_that_describe_the_rows_of_one_series_name_no_series(tmp_path):
    days = pd.date_range("2024-01-01", periods=60, freq="D")
    frame = pd.DataFrame({"date": days, "births": 1.0, "wday": days.day_name()})
    frame.to_csv(tmp_path / "b.csv", index=False)
    raw = read(tmp_path / "b.csv", columns={"y": "births"})
    assert set(raw.table["unique_id"]) == {"b"}
    assert "wday" in raw.reasons["ignored columns"]
    frame["wday"] = np.random.default_rng(0).choice(["rain", "sun"], 60)
    frame.to_csv(tmp_path / "b.csv", index=False)
    assert set(read(tmp_path / "b.csv", columns={"y": "births"}).table["unique_id"]) == {"b"}


def test_series_whose_clocks_tick_apart_stay_series(tmp_path):
    parts = [
        pd.DataFrame({"ds": HOURS + pd.Timedelta(minutes=minutes), "meter": name, "y": 1.0})
        for name, minutes in (("a", 0), ("b", 7), ("c", 31))
    ]
    pd.concat(parts).sort_values("ds").to_csv(tmp_path / "m.csv", index=False)
    assert set(read(tmp_path / "m.csv").table["unique_id"]) == {"a", "b", "c"}


@pytest.mark.parametrize("date", ["date", "order_date"])
def test_a_year_beside_a_date_is_no_second_time(tmp_path, date):
    path = write(tmp_path / "d.csv", f"{date},year,y\n2024-01-01,2024,1\n2024-01-02,2024,2\n")
    assert read(path, columns={"y": "y"}).source.columns.ds == date


def test_a_year_beside_a_count_may_be_the_time(tmp_path):
    path = write(tmp_path / "d.csv", "year,step,y\n2024,0,1\n2024,1,2\n")
    with pytest.raises(DataError, match="more than one column could be the time: year, step"):
        read(path, columns={"y": "y"})


def test_a_column_a_month_is_an_error_that_says_so(tmp_path):
    months = "JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC"
    rows = "".join(f"{year}," + ",".join("5" * 12) + "\n" for year in range(1990, 2000))
    with pytest.raises(DataError, match=r"JAN, FEB.*look like the months of the year in 'YEAR'"):
        read(write(tmp_path / "m.csv", f"YEAR,{months}\n{rows}"))


HOURLY = pd.date_range("2023-12-30 01:00", periods=100, freq="h")
MONTHLY = pd.date_range("2021-11-01", periods=20, freq="MS")


def split_hours(stamp):
    before = stamp - pd.Timedelta(hours=1)
    return {"Date": f"{before:%Y-%m-%d}", "HE": before.hour + 1}


@pytest.mark.parametrize(
    ("truth", "split"),
    [
        (HOURLY, lambda t: {"Date": f"{t:%d/%m/%Y}", "Time": f"{t:%H:%M:%S}"}),
        (HOURLY, lambda t: {"Datum": f"{t:%d.%m.%Y}", "Uhrzeit": f"{t:%H:%M}"}),
        (HOURLY, lambda t: {"Tag": f"{t:%d.%m.%y}", "Uhrzeit": f"{t:%H:%M}"}),
        (HOURLY, lambda t: {"Datum": f"{t:%d.%m.%y}", "Zeit": f"{t:%H.%M.%S}"}),
        (HOURLY, lambda t: {"YEAR": t.year, "MO": t.month, "DY": t.day, "HR": t.hour}),
        (HOURLY, lambda t: {"date": f"{t:%Y-%m-%d}", "hour": t.hour}),
        (HOURLY, split_hours),
        (HOURLY, lambda t: split_hours(t) | {"HE": f"{split_hours(t)['HE']:02}00"}),
        (HOURLY, lambda t: {"Date": f"{t:%Y-%m-%d}", "Hour": f"{t.hour:02}-{t.hour + 1:02}"}),
        (HOURLY, lambda t: {"Date": f"{t:%Y-%m-%d}", "Hour": f"{t:%I %p}"}),
        (HOURLY, lambda t: {"Date": split_hours(t)["Date"], "Hour": f"H{split_hours(t)['HE']:02}"}),
        (MONTHLY, lambda t: {"Year": t.year, "Month": t.month}),
        (MONTHLY, lambda t: {"year": t.year, "month": f"{t:%b}"}),
        (MONTHLY, lambda t: {"year": t.year, "period": f"M{t.month:02}"}),
        (HOURLY[::24], lambda t: {"year": t.year, "doy": t.day_of_year}),
    ],
)
def test_parts_of_timestamps_in_columns_of_their_own_are_joined(tmp_path, truth, split):
    path = tmp_path / "d.csv"
    frame = pd.DataFrame([split(stamp) | {"y": float(row)} for row, stamp in enumerate(truth)])
    frame.to_csv(path, index=False)
    raw = read(path, columns={"y": "y"})
    expected = truth.normalize() if "doy" in frame else truth
    assert raw.table["ds"].tolist() == list(expected)
    assert "are parts of one timestamp" in raw.reasons["columns.ds"]
    again = read(path, columns=raw.source.columns.model_dump())
    assert again.table["ds"].tolist() == list(expected)


@pytest.mark.parametrize("name", ["Tag", "Buchungstag", "ds", "Monat"])
@pytest.mark.parametrize("form", ["%d.%m.%y", "%y.%m.%d"])
def test_a_date_that_could_be_a_clock_too_is_not_joined_with_itself(tmp_path, name, form):
    days = pd.date_range("2023-01-01", periods=60)
    pd.DataFrame({name: days.strftime(form), "Menge": range(60)}).to_csv(tmp_path / "d.csv", index=False)
    raw = read(tmp_path / "d.csv")
    assert raw.table["ds"].tolist() == list(days)
    assert raw.source.columns.ds == name


def test_an_hour_that_cannot_be_read_is_no_name_of_a_series(tmp_path):
    frame = pd.DataFrame({"Date": HOURS.strftime("%Y-%m-%d"), "Hour": "t" + HOURS.strftime("%H"), "MW": range(48)})
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match="column 'Hour' holds texts such as 't00', expected hours"):
        read(tmp_path / "d.csv")
    assert read(tmp_path / "d.csv", columns={"unique_id": "Hour"}).table["unique_id"].nunique() == 24


def test_parts_beside_the_whole_timestamp_are_not_joined(tmp_path):
    frame = pd.DataFrame({"timestamp": HOURLY, "year": HOURLY.year, "month": HOURLY.month, "y": 1.0})
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert read(tmp_path / "d.csv", columns={"y": "y"}).source.columns.ds == "timestamp"


# Fingerprints ---------------------------------------------------------------------------------------------------------


def test_fingerprint_follows_bytes_and_names_not_the_folder(tmp_path):
    def of(folder):
        return hash_source(Source(kind="files", path=f"{folder}/*.csv"))

    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            write(tmp_path / folder / f"{name}.csv", f"ds,y\n2024-01-01,{name}\n")
    first = of(tmp_path / "one")
    assert of(tmp_path / "two") == first
    os.utime(tmp_path / "one" / "a.csv", (0, 0))
    assert of(tmp_path / "one") == first
    (tmp_path / "one" / "b.csv").rename(tmp_path / "one" / "c.csv")
    renamed = of(tmp_path / "one")
    write(tmp_path / "two" / "a.csv", "ds,y\n2024-01-01,b\n")
    assert len({first, renamed, of(tmp_path / "two")}) == 3


# Beyond the calendar --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["0000-01-01", "9000-01-01", "9999-12-31"])
def test_a_year_beyond_the_calendar_names_its_row(tmp_path, wrong):
    frame = pd.DataFrame({"ds": ["2024-01-01", "2024-01-02", wrong, "2024-01-04"], "y": 1.0})
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=rf"row 4 of d.csv.*{wrong}: the timestamp lies outside the years 1 to 8999"):
        read(tmp_path / "d.csv")


@pytest.mark.parametrize("ds", [np.array([1, 2, 2**64 - 1], "u8"), np.array([1, 2, 1e300]), np.array([1, 2, -(2**63)])])
def test_a_step_that_leaves_int64_is_not_wrapped_round(tmp_path, ds):
    pd.DataFrame({"ds": ds, "y": 1.0}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"row 4 of d.parquet.*a step of at most 9,007,199,254,740,992"):
        read(tmp_path / "d.parquet")


@pytest.mark.parametrize(("unit", "year"), [("s", 29_999), ("ms", 1_000_000), ("s", -5000)])
def test_times_of_any_unit_stay_within_the_calendar(tmp_path, unit, year):
    ds = np.array(["2024-01-01", "2024-01-02", f"{year}-01-01"], f"datetime64[{unit}]")
    pd.DataFrame({"ds": ds, "y": 1.0}).to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"row 4 of d.parquet.*the timestamp lies"):
        read(tmp_path / "d.parquet")


def test_times_with_an_offset_beside_a_column_of_one_name(tmp_path):
    frame = pd.DataFrame({"unique_id": "a", "ds": HOURS.tz_localize("UTC").astype(str), "y": 1.0})
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert read(tmp_path / "d.csv").table["unique_id"].unique().tolist() == ["a"]


@pytest.mark.parametrize("ids", [[1, 2, np.nan], ["a", "b", None]])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_without_the_name_of_a_series_is_told_by_its_place(tmp_path, kind, ids):
    long = pd.DataFrame({"unique_id": ids, "ds": pd.to_datetime(["2024-01-01"] * 3), "y": 1.0})
    wide = pd.DataFrame({"unique_id": ids, "V1": 1.0, "V2": 2.0, "V3": 3.0})
    for table, layout in ((long, "long"), (wide, "wide_rows")):
        path = tmp_path / f"a.{kind}"
        table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
        with pytest.raises(DataError, match=r"^row 4 of a\.\w+.*: the name of the series .* is empty") as caught:
            columns = Columns(unique_id="unique_id")
            read_source(Source(kind="files", path=str(path), layout=layout, columns=columns), covariates=Covariates())
        assert "nan" not in str(caught.value) and "None" not in str(caught.value)


def test_a_name_that_is_a_number_is_told_as_one(tmp_path):
    table = pd.DataFrame({"unique_id": [1, 2], "ds": pd.to_datetime(["2024-01-01"] * 2), "y": ["1", "x"]})
    table.to_parquet(tmp_path / "a.parquet")
    columns = Columns(unique_id="unique_id", ds="ds", y="y")
    with pytest.raises(DataError, match=r"row 3 of a\.parquet, series 2, timestamp"):
        read_source(Source(kind="files", path=str(tmp_path / "a.parquet"), columns=columns), covariates=Covariates())


def test_names_of_series_may_be_a_dictionary_of_texts(tmp_path):
    days = pd.date_range("2024-01-01", periods=30)
    frame = pd.DataFrame({"shop": ["north"] * 30 + ["south"] * 30, "day": [*days, *days], "sold": np.arange(60.0)})
    frame.astype({"shop": "category"}).to_parquet(tmp_path / "a.parquet")
    read = read_source(Source(path=str(tmp_path / "a.parquet")), covariates=Covariates())
    assert read.table["unique_id"].unique().tolist() == ["north", "south"] and len(read.table) == 60


@pytest.mark.parametrize("role", ["past", "future"])
def test_a_mark_for_missing_values_in_a_covariate_is_told(tmp_path, role):
    temperature = [9999 if k in (7, 19, 31) else k % 9 for k in range(40)]
    rows = "".join(f"2024-{1 + k // 28:02}-{1 + k % 28:02},{k % 5},{temperature[k]}\n" for k in range(40))
    write(tmp_path / "a.csv", "date,sales,temperature\n" + rows)
    found = read(tmp_path / "a.csv", covariates=Covariates(**{role: ("temperature",)})).findings
    (told,) = [one.message for one in found if one.code == "sentinel"]
    assert told.startswith("the value 9999 occurs 3 times in the covariate 'temperature', far from all others")


def test_a_word_for_nothing_in_a_covariate_of_numbers_is_told_with_what_becomes_of_it(tmp_path):
    rows = "".join(f"2024-01-{k:02},{k},{'none' if k % 9 == 4 else k % 3 * 10}\n" for k in range(1, 29))
    write(tmp_path / "a.csv", "date,sales,discount\n" + rows)
    found = read(tmp_path / "a.csv", covariates=Covariates(past=("discount",))).findings
    (told,) = [one for one in found if one.code == "number_marks"]
    assert told.severity == "warning" and "'none' taken as missing" in told.message and "write 0" in told.message
