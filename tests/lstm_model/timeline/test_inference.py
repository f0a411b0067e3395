import numpy as np
import pandas as pd
import pytest
from pandas.tseries.holiday import USFederalHolidayCalendar

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.frequency import Frequency
from lstm_model.timeline.inference import infer_frequency


def infer(*series):
    """Infer the frequency of series of dates."""
    ds = [pd.DatetimeIndex(one).as_unit("us").to_numpy().astype(np.int64) for one in series]
    return infer_frequency(np.repeat(np.arange(len(ds)), list(map(len, ds))), np.concatenate(ds), integer=False)[0]


def walk(alias, start, count):
    frequency = Frequency(alias)
    first = frequency.advance(np.array([start], "datetime64[us]"), np.array([0]))
    return pd.DatetimeIndex(frequency.advance(np.repeat(first, count), np.arange(count)))


US_DAYS = pd.offsets.CustomBusinessDay(calendar=USFederalHolidayCalendar())
CALENDARS = [
    "D open mon-sat",
    "D open mon-thu sun",
    "D open mon thu",
    "D open mon wed fri",
    "B",
    "h open mon-fri 09:00-17:00",
    "h open mon-fri 09:00-17:00 sat 09:00-12:00",
    "30min open mon-fri 09:30-16:00",
    "15min open mon-fri 09:30-11:15 13:00-15:00",
    "h open mon-sun 06:00-22:00",
    "h open mon-fri 00:00-23:00",
    "h open mon-thu 00:00-23:00 fri 00:00-21:00 sun 22:00-23:00",
    "2h open mon-fri 08:00-16:00",
    "4-4-5 from 2000-01-29",
    "4-5-4 from 2000-01-30",
    "5-4-4 from 2000-01-01",
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alias", CALENDARS)
def test_closed_times_are_found_whatever_else_is_missing(alias, seed):
    rng = np.random.default_rng(seed)
    count = 40 if "from" in alias else 900
    start = np.datetime64("2021-01-01") + rng.integers(0, 400)
    ds = walk(alias, start, count)
    found = infer(ds)
    some = ds[np.sort(rng.permutation(count)[: int(count * 0.97)])]
    assert infer(some) == found
    moved = Frequency(found).advance(ds.to_numpy()[:1].repeat(count), np.arange(count))
    assert (moved == ds.to_numpy()).all()
    assert found == alias or "from" in alias  # retail months are named by any of their quarters


MONTHS = ["MS", "ME", "2MS", "4MS", "6MS", "6ME", "QS-FEB", "YS", "2YS", "10YS", "SMS", "SME", "SMS-10", "BMS", "BME"]
FIXED = ["28D", "30D", "90D", "91D", "364D", "365D", "10D", "14D"]


@pytest.mark.parametrize("alias", [*MONTHS, *FIXED, "BQE", "WOM-3FRI", "LWOM-FRI", "MS +14D", "ME +16h", "YS-APR +5D"])
@pytest.mark.parametrize("gap", [False, True])
def test_months_and_days_recur_by_their_own_calendar(alias, gap):
    base, _, shift = alias.partition(" +")
    ds = pd.date_range("1950-01-02", periods=30, freq=base, unit="us") + (
        pd.Timedelta(shift) if shift else pd.Timedelta(0)
    )
    kept = ds.delete([7, 8, 20]) if gap else ds
    assert infer(kept) == alias
    assert pd.DatetimeIndex(Frequency(alias).advance(ds.to_numpy()[:1].repeat(30), np.arange(30))).equals(ds)


def test_series_of_two_months_may_have_their_own_phase():
    assert (
        infer(pd.date_range("2020-01-01", periods=20, freq="2MS"), pd.date_range("2020-02-01", periods=20, freq="2MS"))
        == "2MS"
    )


def test_meter_readings_on_any_day_of_a_month_are_asked_about():
    ds = pd.date_range("2020-01-01", periods=24, freq="MS") + pd.to_timedelta(np.arange(24) * 5 % 7, "D")
    with pytest.raises(
        DataError, match=r"from 2020-01-01 to 2020-05-07.*Set frequency to MS to count a row for its month"
    ):
        infer(ds)


def test_holidays_that_recur_are_closed_in_years_to_come():
    days = pd.date_range("2015-01-01", "2023-12-31", freq=US_DAYS)
    alias = infer(days)
    later = pd.date_range("2024-01-02", "2029-12-31", freq=US_DAYS)
    moved = Frequency(alias).advance(days.to_numpy()[-1:].repeat(len(later)), np.arange(1, len(later) + 1))
    assert moved.tolist() == later.as_unit("us").to_numpy().tolist()


def test_easter_and_first_of_may_close_a_shop():
    days = walk(
        "D open mon-sat closed 01-01 05-01 12-25 12-26 easter-2 easter+1 easter+39 easter+50", "2021-01-02", 900
    )
    assert infer(days) == "D open mon-sat closed 01-01 05-01 12-25 12-26 easter+1 easter+39 easter+50 easter-2"


def test_a_day_without_rows_that_recurs_by_no_rule_is_missing_not_closed():
    days = pd.bdate_range("2021-01-01", "2023-12-31")
    outage = pd.to_datetime(["2021-03-08", "2022-06-14", "2023-10-24"])
    assert infer(days[~days.isin(outage)]) == "B"


def test_a_day_on_which_one_series_has_rows_is_open():
    days = pd.bdate_range("2021-01-01", "2023-12-31")
    assert infer(days[~((days.month == 12) & (days.day == 25))], days) == "B"


def test_an_outage_of_one_night_closes_no_hours():
    ds = pd.date_range("2024-01-01", periods=8 * 24, freq="h")
    assert infer(ds.delete(range(20, 30))) == "h"
    assert infer(pd.date_range("2024-01-01", periods=132, freq="h").delete([50])) == "h"


def test_scattered_rows_are_no_opening_hours():
    rng = np.random.default_rng(0)
    ds = pd.date_range("2024-01-01", periods=60 * 24, freq="h")
    some = ds[np.isin(ds.hour, range(9, 18)) & (rng.random(len(ds)) < 0.5)]
    assert infer(some) == "h"
