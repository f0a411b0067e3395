"""What a calendar says of each moment: leap years, changes of clocks, weeks across years, business days, holidays."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.calendar_features import CalendarFeatures, HolidayDates
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError
from lstm_model.timeline.calendar_features import compute_features, list_groups, to_days
from lstm_model.timeline.frequency import Frequency


def holidays(*dates, years=(1991, 2040)):
    days = tuple(sorted(date.fromisoformat(day) for day in dates))
    return {"XX": HolidayDates(first_year=years[0], last_year=years[1], dates=days)}


def compute(ds, *groups, frequency="D", country="XX", **calendar):
    """The features of moments as a table, by the names of the columns without their prefix."""
    features = CalendarFeatures(groups=groups, **calendar)
    found = compute_features(np.array(ds, "datetime64[us]"), features, frequency=frequency, country=country)
    assert found.dtype == np.float32 and found.shape == (len(ds), len(features.columns))
    return pd.DataFrame(found, columns=[name.removeprefix("calendar:") for name in features.columns])


def marked(table, column, ds):
    return [str(day)[:10] for day, mark in zip(ds, table[column], strict=True) if mark]


@pytest.mark.parametrize(
    ("frequency", "groups"),
    [
        ("15min", ["hour", "weekday", "month", "year", "holiday"]),
        ("h open mon-fri 09:00-17:00", ["hour", "weekday", "month", "year", "holiday"]),
        ("D", ["weekday", "month", "year", "holiday"]),
        ("D open mon-sat", ["weekday", "month", "year", "holiday"]),
        ("B closed 12-25", ["weekday", "month", "year", "holiday"]),
        ("2D", ["year"]),
        ("W-SUN", ["year"]),
        ("MS +14D", ["year"]),
        ("QS", []),
        ("YS", []),
        ("4-4-5 from 2000-01-29", []),
        ("1", []),
    ],
)
def test_a_frequency_shows_what_its_steps_can_tell_apart(frequency, groups):
    assert list_groups(frequency) == groups


def test_a_leap_year_is_one_turn_like_any_other():
    year = compute(pd.date_range("2023-01-01", "2025-12-31"), "year")
    phase = np.unwrap(np.arctan2(year["year sin 1"], year["year cos 1"])) / (2 * np.pi)
    assert np.allclose(phase[[0, 365, 365 + 366]], [0, 1, 2], atol=1e-5)
    assert np.allclose(np.diff(phase), np.repeat([1 / 365, 1 / 366, 1 / 365], [365, 366, 364]), atol=1e-5)


def test_weeks_run_on_across_years():
    """2020 has 53 weeks: the features of weekly data turn evenly through its last one and the first of 2021."""
    weeks = compute(pd.date_range("2020-12-06", periods=9, freq="W-SUN"), "year", frequency="W-SUN")
    phase = np.unwrap(np.arctan2(weeks["year sin 1"], weeks["year cos 1"])) / (2 * np.pi)
    assert np.allclose(np.diff(phase), 7 / 365.5, atol=1e-4)


def test_hours_are_those_of_the_source_through_a_change_of_clocks():
    """In Berlin, 2024-03-31 has 23 hours: midnight is 23:00 UTC before it, and 22:00 UTC after it."""
    utc = ["2024-03-29T23:00", "2024-03-30T23:00", "2024-03-31T01:00", "2024-03-31T22:00", "2024-04-01T22:00"]
    berlin = Clock(zone="Europe/Berlin", aware=False)
    found = compute(utc, "hour", "weekday", frequency="h", clock=berlin)
    midnight = [0, 1, 3, 4]
    assert np.allclose(found.loc[midnight, ["hour sin 1", "hour cos 1"]], [0, 1], atol=1e-6)
    assert np.allclose(found.loc[2, ["hour sin 1", "hour cos 1"]], [np.sin(np.pi / 4), np.cos(np.pi / 4)], atol=1e-6)
    weekday = np.arctan2(found["weekday sin 1"], found["weekday cos 1"]) * 7 / (2 * np.pi) % 7
    assert np.allclose(weekday, [5, 6, 6, 0, 1], atol=1e-5), "Saturday to Tuesday, by local dates"


def test_a_fixed_offset_and_an_aware_clock_are_the_same_local_time():
    utc = ["2023-12-31T23:00"]
    for zone in ("UTC+02:00", "Europe/Helsinki"):
        found = compute(utc, "year", "holiday", frequency="h", clock=Clock(zone=zone, aware=True),
                        holidays=holidays("2024-01-01"))  # fmt: skip
        assert found["holiday"][0] == 1 and abs(found["year sin 1"][0] - np.sin(2 * np.pi / 366 / 24)) < 1e-6


def test_easter_moves_and_so_do_the_days_around_it():
    """Good Friday and Easter Monday of 2024 and 2025, as the package finds them for Germany."""
    known = holidays("2024-03-29", "2024-04-01", "2025-04-18", "2025-04-21")
    ds = pd.date_range("2024-01-01", "2025-12-31")
    found = compute(ds, "holiday", holidays=known)
    assert marked(found, "holiday", ds) == ["2024-03-29", "2024-04-01", "2025-04-18", "2025-04-21"]
    assert marked(found, "day before holiday", ds) == ["2024-03-28", "2024-03-31", "2025-04-17", "2025-04-20"]
    assert marked(found, "day after holiday", ds) == ["2024-03-30", "2024-04-02", "2025-04-19", "2025-04-22"]


def test_between_business_days_a_holiday_on_a_closed_day_counts():
    known, frequency = holidays("2024-04-01", "2024-12-25", "2027-12-25"), "B closed easter+1 12-25"
    ds = Frequency(frequency).advance(np.repeat(np.datetime64("2024-03-26", "us"), 5), np.arange(5))
    found = compute(ds, "holiday", frequency=frequency, holidays=known)
    assert marked(found, "day before holiday", ds) == ["2024-03-29"], "the Friday before Easter Monday"
    assert marked(found, "day after holiday", ds) == ["2024-04-02"]
    ds = ["2027-12-24", "2027-12-27"]
    found = compute(ds, "holiday", frequency="B", holidays=known)
    assert found.to_numpy().tolist() == [[0, 1, 0], [0, 0, 1]], "Christmas of 2027 is a Saturday"


def test_hours_of_a_holiday_and_of_the_days_around_it_are_marked_to_midnight():
    ds = pd.date_range("2024-12-24 22:00", "2024-12-27 01:00", freq="h")
    found = compute(ds, "holiday", frequency="h", holidays=holidays("2024-12-25"))
    assert found["holiday"].tolist() == [0] * 2 + [1] * 24 + [0] * 26
    assert found["day before holiday"].tolist() == [1] * 2 + [0] * 50
    assert found["day after holiday"].tolist() == [0] * 26 + [1] * 24 + [0] * 2


def test_the_edges_of_a_month_are_its_open_days():
    ds = pd.date_range("2024-02-28", "2024-03-02")
    found = compute(ds, "month")
    assert marked(found, "month last", ds) == ["2024-02-29"] and marked(found, "month first", ds) == ["2024-03-01"]
    ds = pd.bdate_range("2024-08-28", "2024-09-03")  # August ends on a Saturday, September begins on a Sunday
    found = compute(ds, "month", frequency="B")
    assert marked(found, "month last", ds) == ["2024-08-30"] and marked(found, "month first", ds) == ["2024-09-02"]


def test_years_and_countries_whose_holidays_are_not_known_are_missing_rather_than_without_holidays():
    known = holidays("1991-01-01", years=(1991, 2000))
    found = compute(["1990-12-31", "1991-01-01", "2001-01-01"], "holiday", holidays=known)
    assert np.isnan(found.to_numpy()).all(axis=1).tolist() == [True, False, True]
    assert compute(["1995-01-01"], "holiday", holidays=known, country="YY").isna().all(axis=None)


def test_own_days_are_dates_or_rules_for_every_year():
    ds = pd.date_range("2023-01-01", "2024-12-31")
    found = compute(ds, days={"black friday": ("4thu11",), "sale": ("2024-06-07", "2023-06-09")})
    assert marked(found, "day black friday", ds) == ["2023-11-23", "2024-11-28"]
    assert marked(found, "day sale", ds) == ["2023-06-09", "2024-06-07"]
    with pytest.raises(DataError, match=r"calendar\.days has '29\.11\.2024'; expected a date such as 2024-11-29"):
        to_days(["29.11.2024"])


def test_the_same_moments_have_the_same_features_in_any_company():
    known = holidays("2024-12-25")
    ds = pd.date_range("2024-01-01", periods=400)
    whole = compute(ds, "weekday", "month", "year", "holiday", holidays=known, days={"eve": ("12-24",)})
    for part in (slice(0, 1), slice(357, 361), slice(399, 400)):
        alone = compute(ds[part], "weekday", "month", "year", "holiday", holidays=known, days={"eve": ("12-24",)})
        assert np.array_equal(alone, whole.iloc[part], equal_nan=True)
