"""Every reading of a column of dates is found; the only plausible one is taken, else the user is asked."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, Source
from lstm_model.sources.dates import read_dates, read_header
from lstm_model.sources.raw_series import read_source

DAYS = pd.date_range("2023-11-20", periods=80)
MONTHS = pd.date_range("2021-03-01", periods=30, freq="MS")
QUARTERS = pd.date_range("2015-01-01", periods=22, freq="QS")
WEEKS = pd.date_range("2020-12-07", periods=70, freq="W-MON")
GERMAN = {1: "Januar", 2: "Februar", 11: "November", 12: "Dezember"}
HOURS = pd.date_range("2024-01-30 20:00", periods=60, freq="h")


def read(texts, name="date", **settings):
    return read_dates(
        pd.Series(texts, name=name), Source(kind="files", path="x.csv", **settings), lambda row: f"row {row}"
    )


def iso_week(stamp, form):
    return form.format(*stamp.isocalendar())


@pytest.mark.parametrize(
    ("truth", "write"),
    [
        (DAYS, lambda t: f"{t:%y/%m/%d}"),
        (DAYS, lambda t: f"{t:%y-%m-%d}"),
        (DAYS, lambda t: f"{t:%d.%m.%y}"),
        (DAYS, lambda t: f"{t:%d%b%Y}".upper()),
        (DAYS, lambda t: f"{t:%d/%b/%y}"),
        (DAYS, lambda t: f"{t:%a, %d %b %Y}"),
        (DAYS, lambda t: f"{t:%Y-%j}"),
        (DAYS, lambda t: f"{t.day}. {GERMAN[t.month]} {t.year}"),
        (MONTHS, lambda t: f"{t:%b-%y}"),
        (MONTHS, lambda t: f"{t:%y-%b}"),
        (MONTHS, lambda t: f"{t:%m/%y}"),
        (MONTHS, lambda t: f"{t:%m-%Y}"),
        (MONTHS, lambda t: f"{t:%Y.%m}"),
        (MONTHS, lambda t: f"{t:%B, %Y}"),
        (MONTHS, lambda t: f"{t.year} M{t.month}"),
        (QUARTERS, lambda t: f"Q{t.quarter}-{t:%y}"),
        (QUARTERS, lambda t: f"{t.quarter}Q{t:%y}"),
        (QUARTERS, lambda t: f"{t.year}:Q{t.quarter}"),
        (QUARTERS, lambda t: f"{t.quarter}. Quartal {t.year}"),
        (QUARTERS, lambda t: f"T{t.quarter} {t.year}"),
        (QUARTERS, lambda t: f"{t.year}.{t.quarter}"),
        (WEEKS, lambda t: iso_week(t, "{0}-W{1:02}")),
        (WEEKS, lambda t: iso_week(t, "W{1:02}_{0}")),
        (WEEKS, lambda t: iso_week(t, "KW {1}/{0}")),
        (WEEKS, lambda t: iso_week(t, "{1:02}/{0}")),
        (HOURS, lambda t: f"{t:%Y-%m-%d, %H:%M}"),
        (HOURS, lambda t: f"{t:%d.%m.%Y %H:%M Uhr}"),
        (HOURS, lambda t: f"{t:%d.%m.%Y %H.%M}"),
        (HOURS, lambda t: f"{t:%m/%d/%Y %I:%M:%S %p}"),
        (HOURS, lambda t: f"{t:%d/%b/%Y:%H:%M:%S}"),
        (HOURS, lambda t: f"{t:%Y%m%dT%H%M%S}"),
        (HOURS, lambda t: f"{t:%d.%m.%Y %H:%M} - {t + pd.Timedelta(hours=1):%d.%m.%Y %H:%M}"),
        (HOURS, lambda t: f"{t - pd.Timedelta(hours=1):%Y-%m-%d} {(t.hour - 1) % 24 + 1:02}:00"),
        (HOURS, lambda t: f"{t:%H:%M %d.%m.%Y}"),
    ],
)
def test_forms_of_dates_are_read(truth, write):
    assert read([write(stamp) for stamp in truth]).times.tolist() == list(truth)


@pytest.mark.parametrize(
    ("truth", "name", "write"),
    [
        (DAYS, "date", lambda t: int(f"{t:%Y%m%d}")),
        (DAYS, "date", lambda t: int(f"{t:%y%m%d}")),
        (DAYS, "date", lambda t: int(f"{t:%Y%j}")),
        (DAYS, "datum", lambda t: (t - pd.Timestamp("1899-12-30")).days),
        (MONTHS, "ds", lambda t: int(f"{t:%Y%m}")),
        (QUARTERS, "quarter", lambda t: int(f"{t.year}{t.quarter}")),
        (WEEKS, "yearweek", lambda t: int(iso_week(t, "{0}{1:02}"))),
        (WEEKS[:12], "week", lambda t: int(iso_week(t, "{0}{1:02}"))),
        (HOURS, "ds", lambda t: int(f"{t:%Y%m%d%H}")),
        (HOURS, "ds", lambda t: int(f"{t:%Y%m%d%H%M}")),
        (HOURS, "ds", lambda t: int(f"{t:%Y%m%d%H%M%S}")),
        (HOURS, "date", lambda t: round((t - pd.Timestamp("1899-12-30")) / pd.Timedelta(days=1), 6)),
    ],
)
def test_numbers_that_are_codes_of_dates_are_read(truth, name, write):
    read_back = read([write(stamp) for stamp in truth], name)
    assert read_back.times.tolist() == list(truth)
    assert read_back.reasons


@pytest.mark.parametrize(
    ("truth", "form"),
    [
        (pd.date_range("1998-11-01", periods=70), "%m/%d/%y"),
        (pd.date_range("1968-12-20", periods=40), "%d/%m/%y"),
        (pd.date_range("1999-11-20", periods=90), "%m/%d/%y"),
        (pd.date_range("1987-01-01", periods=90, freq="MS"), "%b-%y"),
    ],
)
def test_two_digit_years_lie_in_the_past_and_in_one_row(truth, form):
    assert read([f"{stamp:{form}}" for stamp in truth]).times.tolist() == list(truth)


@pytest.mark.parametrize(
    ("texts", "name", "readings", "truth"),
    [
        (["03/04/2024", "04/04/2024"], "ds", ("2024-04-03", "2024-03-04"), None),
        ([f"24/01/{day:02}" for day in range(1, 21)], "ds", ("2001-01-24", "2024-01-01"), "2024-01-01"),
        ([f"Jan-{year}" for year in range(30, 40)], "ds", ("1930-01-01", "2030-01-01"), None),
        (list(range(19723, 19783)), "date", ("1953-12-30", "2024-01-01"), "2024-01-01"),
        (list(range(202401, 202453)), "ds", ("2024-01-01", "step 202401"), "2024-01-01"),
    ],
)
def test_two_plausible_readings_are_asked_about_with_both_written_out(texts, name, readings, truth):
    with pytest.raises(DataError, match=r"ambiguous: row 0.*source\.date_format") as caught:
        read(texts, name)
    message = str(caught.value)
    assert all(reading in message for reading in readings)
    for setting in message.split("read as '")[1:]:  # each answer that is offered works
        dates = read(texts, name, date_format=setting.split("'")[0])
        assert len(dates.times) == len(texts)


def test_the_chosen_reading_is_kept_as_a_setting():
    assert read([f"{stamp:%y/%m/%d}" for stamp in DAYS]).settled == {"date_format": "year-month-day"}
    assert read([f"{stamp:%d/%m/%Y}" for stamp in DAYS]).settled == {"dayfirst": True}
    assert read([f"{stamp:%Y-%m-%d}" for stamp in DAYS]).settled == {}


@pytest.mark.parametrize("text", ["now", "today", "soon", "2023-02-30", "31/31/2024", "2024-01-01 25:00", "2023-W53"])
def test_what_is_no_date_names_its_row(text):
    with pytest.raises(DataError, match=rf"row 2: received '{text}' as timestamp"):
        read(["2024-01-01", "2024-01-02", text, "2024-01-04"])


@pytest.mark.parametrize("form", ["%b %d", "%d-%b", "%d.%m."])
def test_days_without_a_year_are_refused(form):
    with pytest.raises(DataError, match=r"row 0"):
        read([f"{stamp:{form}}" for stamp in DAYS])


def test_a_zone_in_some_rows_only_is_refused():
    with pytest.raises(DataError, match=r"row 1: received '2024-01-01 01:00 UTC'.*UTC offset in every row"):
        read(["2024-01-01 00:00", "2024-01-01 01:00 UTC"])


@pytest.mark.parametrize("zone", [" UTC", " GMT", "Z", "+00", " +0000"])
def test_names_of_universal_time_are_zones(zone):
    times = read([f"{stamp:%Y-%m-%d %H:%M:%S}{zone}" for stamp in HOURS]).times
    assert times.tolist() == list(HOURS.tz_localize("UTC"))


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ([str(year) for year in range(1960, 1990)], "1960-01-01"),
        ([str(year) for year in range(1990, 1960, -1)], "1990-01-01"),
        ([f"{year} [YR{year}]" for year in range(1990, 2000)], "1990-01-01"),
        ([f"{stamp:%Y%m}" for stamp in MONTHS], "2021-03-01"),
        ([f"{stamp:%b %Y}" for stamp in MONTHS[::-1]], "2023-08-01"),
        ([f"{stamp:%d.%m.%Y}" for stamp in DAYS], "2023-11-20"),
        ([f"d_{day}" for day in range(1, 30)], None),
        ([str(step) for step in range(1, 30)], None),
    ],
)
def test_names_of_columns_may_be_dates(names, first):
    dates = read_header(names)
    assert (dates is None) if first is None else dates.iloc[0] == pd.Timestamp(first)


def test_a_format_that_is_set_is_used():
    assert read(["24|31|01"], date_format="%y|%d|%m").times[0] == pd.Timestamp("2024-01-31")
    with pytest.raises(DataError, match=r"source\.date_format is 'year-week'.*can be read as 'day-month-year'"):
        read(["31/01/2024"], date_format="year-week")


def read_file(tmp_path, days, **settings):
    pd.DataFrame({"d": days, "y": range(len(days))}).to_csv(tmp_path / "d.csv", index=False)
    source = Source(kind="files", path=str(tmp_path / "d.csv"), **settings)
    return read_source(source, covariates=Covariates()).table


def test_dates_more_than_ten_years_ahead_need_a_set_form(tmp_path):
    days = pd.date_range("2092-01-01", periods=40).strftime("%d.%m.%Y")
    with pytest.raises(DataError, match=r"'09.02.2092' is read as 2092-02-09, more than ten years ahead.*date_format"):
        read_file(tmp_path, days)
    assert read_file(tmp_path, days, date_format="day-month-year")["ds"].dt.year.unique().tolist() == [2092]


def test_days_and_months_that_a_spreadsheet_swapped_are_told_by_the_order_of_rows(tmp_path):
    days = pd.date_range("2024-01-01", periods=120)
    swapped = [f"{t.month}/{t.day}/{t.year}" if t.day <= 12 else f"{t.day}/{t.month}/{t.year}" for t in days]
    with pytest.raises(DataError, match=r"row 3 of d.csv.*'1/2/2024' is 2024-02-01.*as 2024-01-02.*--dayfirst"):
        read_file(tmp_path, swapped)
    assert read_file(tmp_path, swapped, dayfirst=True)["ds"].nunique() == 120
    for order in (days, days[::-1], days[np.random.default_rng(0).permutation(120)]):
        plain = [f"{t.day}/{t.month}/{t.year}" for t in order]
        assert read_file(tmp_path, plain)["ds"].tolist() == order.tolist()


def test_fiscal_years_are_taken_as_calendar_years_and_named():
    texts = [f"FY{year}Q{quarter}" for year in range(15, 24) for quarter in range(1, 5)]
    found = read_dates(pd.Series(texts, name="quarter"), Source(kind="synthetic"), lambda row: f"row {row}")
    assert found.times.iloc[0] == pd.Timestamp("2015-01-01")
    assert found.reasons["columns.ds format"].endswith("; fiscal years are taken as calendar years")
