"""Number columns that are parts of dates, flags or coordinates are asked about, never made series in silence."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Columns, Covariates, FileLayout, Source
from lstm_model.sources.column_meanings import find_total_column
from lstm_model.sources.raw_series import read_source

DAYS = pd.date_range("2024-01-01", periods=40)
SALES = np.arange(40) * 7 % 31 + 5


def read(path, **settings):
    columns = Columns(**settings.pop("columns", {}))
    return read_source(Source(kind="files", path=str(path), columns=columns, **settings), covariates=Covariates())


def write_columns(path, first, texts, names):
    values = {name: SALES[: len(texts)] + i for i, name in enumerate(names)}
    pd.DataFrame({first: texts, **values}).to_csv(path, index=False)
    return path


DATES, YEARS = [f"{day:%Y-%m-%d}" for day in DAYS], [*range(1980, 2020)]
WEEKS = [f"{day:%G-W%V}" for day in pd.date_range("2022-01-03", periods=40, freq="7D")]


@pytest.mark.parametrize(
    ("first", "texts", "names", "period"),
    [
        ("Date", DATES, [f"HE{hour}" for hour in range(1, 25)], "hours of the day"),
        ("Date", DATES, [*(f"HE{hour:02}" for hour in range(1, 26)), "Total"], "hours of the day"),
        ("Date", DATES, [f"{hour:02}:00" for hour in range(24)], "hours of the day"),
        ("Date", DATES, [f"{hour}" for hour in range(24)], "hours of the day"),
        ("Date", DATES, [f"{hour:02}00" for hour in range(1, 25)], "hours of the day"),
        ("Date", DATES, [f"{hour:02}-{hour + 1:02}" for hour in range(24)], "hours of the day"),
        ("Date", DATES, [f"{step // 4:02}:{step % 4 * 15:02}" for step in range(96)], "hours of the day"),
        ("Date", DATES, [f"{step}" for step in range(1, 97)], "quarters of an hour"),
        ("Year", YEARS, ["Q1", "Q2", "Q3", "Q4"], "quarters of the year"),
        ("Jahr", YEARS, ["Jan", "Feb", "März", "Apr", "Mai", "Juni"], "months of the year"),
        ("Year", YEARS, [f"{month}" for month in range(1, 13)], "months of the year"),
        ("week", WEEKS, ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], "days in 'week'"),
        ("year", YEARS, [f"KW{week}" for week in range(1, 53)], "weeks"),
    ],
)
def test_columns_that_are_parts_of_their_rows_date_are_no_series(tmp_path, first, texts, names, period):
    path = write_columns(tmp_path / "d.csv", first, texts, names)
    columns = {"ds": first}
    with pytest.raises(DataError, match=f"look like the {period}.*set source.layout to wide_columns"):
        read(path, columns=columns)
    raw = read(path, layout=FileLayout.wide_columns, columns=columns)
    assert raw.table["unique_id"].nunique() == len(names)


def test_rows_that_are_months_beside_years_are_no_series(tmp_path):
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    path = write_columns(tmp_path / "d.csv", "Month", months, ["2019", "2020", "2021", "2022"])
    with pytest.raises(DataError, match=r"rows Jan, Feb.*look like months"):
        read(path)
    assert read(path, columns={"unique_id": "Month"}).table["unique_id"].nunique() == 12


@pytest.mark.parametrize(
    ("extra", "shown"),
    [
        ({"year": DAYS.year, "month": DAYS.month, "dow": DAYS.day_of_week}, "'month' looks like a part of the date"),
        ({"customers": SALES * 3, "open": 1, "aktion": SALES % 2}, "'aktion' looks like a flag"),
        ({"customers": SALES * 3, "version": 3}, "'version' looks like a constant"),
        ({"lat": 48.1, "lon": 11.5}, "'lat' looks like a coordinate"),
    ],
)
def test_number_columns_that_describe_others_are_no_series(tmp_path, extra, shown):
    path = tmp_path / "d.csv"
    pd.DataFrame({"date": DAYS, **extra, "sales": SALES}).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"{shown}.*--target"):
        read(path)
    assert read(path, columns={"y": "sales"}).table["y"].tolist() == SALES.tolist()
    assert read(path, layout=FileLayout.wide_columns).table["unique_id"].nunique() == len(extra) + 1


@pytest.mark.parametrize("names", [["shop1", "shop2", "shop3"], ["1", "2", "3", "4", "5"], ["h1", "h2", "h3"]])
def test_alike_columns_stay_series(tmp_path, names):
    path = write_columns(tmp_path / "d.csv", "date", DATES, names)
    assert sorted(read(path).table["unique_id"].unique()) == names


def test_flags_alone_are_series(tmp_path):
    frame = pd.DataFrame({"date": DAYS, **{f"part{i}": (SALES + i) % 2 for i in range(4)}})
    frame.to_csv(tmp_path / "d.csv", index=False)
    assert read(tmp_path / "d.csv").table["unique_id"].nunique() == 4


def test_texts_of_single_events_may_be_series_though_no_two_rows_share_a_time(tmp_path):
    rng = np.random.default_rng(0)
    times = np.sort(rng.choice(40 * 43_200, 300, replace=False))  # 7 or 8 a day, in its first half
    when = DAYS[times // 43_200] + pd.to_timedelta(times % 43_200, "s")
    texts = rng.choice(["00107", "00114"], 300)
    pd.DataFrame({"time": when, "article": texts, "sales": 1 + times % 3}).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=r"--id-column article; .*--id-column ''.*--frequency D --aggregate sum"):
        read(tmp_path / "d.csv")
    assert read(tmp_path / "d.csv", columns={"unique_id": ""}).table["unique_id"].nunique() == 1
    assert set(read(tmp_path / "d.csv", columns={"unique_id": "article"}).table["unique_id"]) == {"00107", "00114"}


@pytest.mark.parametrize("settings", [{}, {"layout": "wide_rows"}])
@pytest.mark.parametrize("total", ["Total", "Summe"])
def test_a_column_of_totals_is_no_step(tmp_path, settings, total):
    rows = [[name, *values, sum(values)] for name, values in (("a", range(10, 18)), ("b", range(30, 38)))]
    names = ["item", *(f"2024-{month:02}" for month in range(1, 9)), total]
    (tmp_path / "a.csv").write_text("".join(";".join(map(str, row)) + "\n" for row in (names, *rows)))
    raw = read_source(Source(kind="files", path=str(tmp_path / "a.csv"), **settings), covariates=Covariates())
    assert len(raw.table) == 16 and raw.table["ds"].max() == pd.Timestamp("2024-08-01")
    assert f"{total!r} is their total and left out" in raw.reasons["layout"]


def test_only_a_last_column_that_says_so_and_adds_up_is_a_total():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0], "total": [9.0, 13.0]})
    kinds = dict.fromkeys(frame, "number")
    assert find_total_column(frame, kinds) is None
    assert find_total_column(frame.assign(total=[9.0, 12.0]), kinds) == "total"
    renamed = frame.assign(total=[9.0, 12.0]).rename(columns={"total": "d"})
    assert find_total_column(renamed, dict.fromkeys(renamed, "number")) is None


def test_hours_beside_a_column_of_names_are_named(tmp_path):
    hours = ["date", "zone", *(f"HE{hour:02}" for hour in range(1, 25))]
    rows = [[f"2024-01-{day:02}", zone, *range(day, day + 24)] for day in range(1, 20) for zone in "ab"]
    (tmp_path / "a.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in (hours, *rows)))
    with pytest.raises(DataError, match="look like the hours of the day in 'date'"):
        read_source(Source(kind="files", path=str(tmp_path / "a.csv")), covariates=Covariates())


def test_flags_beside_a_value_are_not_offered_as_series(tmp_path):
    rows = [f"2024-01-{day:02},{day * 7 % 30},{day % 2}\n" for day in range(1, 29)]
    (tmp_path / "a.csv").write_text("date,no2,flag\n" + "".join(rows))
    with pytest.raises(DataError, match="could be the target: no2, flag") as refused:
        read_source(Source(kind="files", path=str(tmp_path / "a.csv")), covariates=Covariates())
    assert "wide_columns" not in str(refused.value)


def test_a_file_of_covariates_only_is_refused_in_words(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match="no column of timestamps found among: "):
        read_source(Source(kind="files", path=str(tmp_path / "a.csv")), covariates=Covariates(past=("a", "b")))
