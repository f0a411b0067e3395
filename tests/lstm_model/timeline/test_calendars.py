import numpy as np
import pandas as pd
import pytest
from pandas.tseries.holiday import USFederalHolidayCalendar

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.frequency import Frequency
from lstm_model.timeline.grid import Grid

ALIASES = [
    "D open mon-sat",
    "D open mon thu",
    "D open sun-thu",
    "B closed 12-25/nearest 01-01/sunday easter-2 4thu11 -1mon05 06-19@2022 2024-06-07",
    "h open mon-fri 09:00-17:00 sat 09:00-12:00 closed 12-25 12-26",
    "30min open mon-fri 09:00-11:30 13:00-15:00",
    "h open mon-fri 00:00-06:00 22:00-23:00",
    "4-4-5 from 2000-01-29",
    "4-5-4 from 2000-01-30",
    "MS +14D",
    "ME +16h",
    "2MS",
    "SME",
    "WOM-3FRI",
]


def walk(alias, start, end):
    """Return all open moments of a span, found one after another."""
    ds = Frequency(alias).advance(np.array([start], "datetime64[us]"), np.array([0]))
    first = Frequency(alias).advance(np.repeat(ds, 5000), np.arange(5000))
    return first[first < np.datetime64(end)]


@pytest.mark.parametrize("alias", ALIASES[:7])
def test_a_calendar_counts_its_open_moments_both_ways(alias):
    rng = np.random.default_rng(0)
    axis = walk(alias, "2021-12-01", "2024-02-01")
    assert len(axis) > 100
    assert (np.diff(axis) > np.timedelta64(0)).all()
    at, to = rng.integers(0, len(axis), (2, 500))
    assert (Frequency(alias).advance(axis[at], to - at) == axis[to]).all()
    place, off = Frequency(alias).calendar.count(axis.astype(np.int64))
    assert not off.any()
    assert (np.diff(place) == 1).all()


@pytest.mark.parametrize("alias", ALIASES)
def test_rows_on_a_grid_keep_their_timestamps(alias):
    frequency = Frequency(alias)
    start = (
        "2020-02-29" if "from" in alias or alias == "SME" else "2020-02-03 10:00" if "open" in alias else "2020-02-03"
    )
    start = {"MS +14D": "2020-02-15", "ME +16h": "2020-02-29 16:00", "2MS": "2020-02-01", "WOM-3FRI": "2020-02-21"}.get(
        alias, start
    )
    first = frequency.advance(np.array([start], "datetime64[us]"), np.array([0]))
    axis = frequency.advance(np.repeat(first, 60), np.arange(60)).astype(np.int64)
    kept = np.delete(np.arange(60), [7, 8, 30])
    series = np.repeat([0, 1], [len(kept), 60])
    ds = np.concatenate([axis[kept], axis])
    grid = Grid.fit(alias, ds, np.array([0, len(kept)]))
    step, off = grid.steps(series, ds)
    assert not off.any()
    assert (step[: len(kept)] - step[0] == kept).all()
    assert (grid.timestamps(series, step) == ds).all()


def test_closed_moments_are_off_the_calendar():
    calendar = Frequency("h open mon-fri 09:00-17:00 closed 12-25").calendar
    times = ["2024-12-24 17:00", "2024-12-24 18:00", "2024-12-25 09:00", "2024-12-26 09:00", "2024-12-28 10:00"]
    place, off = calendar.count(np.array(times, "datetime64[us]").astype(np.int64))
    assert off.tolist() == [False, True, True, False, True]
    assert place[:4].tolist() == [place[0]] * 3 + [place[0] + 1]


def test_rules_are_those_of_the_federal_holidays():
    rules = "01-01/nearest 3mon01 3mon02 -1mon05 06-19/nearest@2021 07-04/nearest 1mon09 2mon10 11-11/nearest 4thu11"
    days = walk(f"B closed {rules} 12-25/nearest", "1990-01-02", "2005-01-01")
    expected = pd.offsets.CustomBusinessDay(calendar=USFederalHolidayCalendar())
    assert days.tolist() == pd.date_range("1990-01-02", "2004-12-31", freq=expected).to_pydatetime().tolist()


@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ("h open mon-fri 25:00-26:00", "'25:00-26:00' among the open times"),
        ("h open", "is not known"),
        ("D open monday", "'monday' among the open times"),
        ("D open mon 09:00-12:00", "'09:00-12:00' among the open times"),
        ("B closed christmas", "'christmas' among the closed dates"),
        ("B closed 13-40", "'13-40' among the closed dates"),
        ("7h open mon-fri 09:00-16:00", "divides a day"),
        ("1us open mon-fri", "whole minutes"),
        ("W-SUN open mon", "divides a day"),
        ("MS +31D", "less than 28 days"),
        ("h +3D", "less than 28 days"),
        ("4-4-4 from 2000-01-01", "13 weeks in all|is not known"),
    ],
)
def test_a_calendar_that_cannot_be_read_says_what_is_expected(alias, message):
    with pytest.raises(DataError, match=message):
        Frequency(alias).check()


@pytest.mark.parametrize(
    ("alias", "season"),
    [
        ("D open mon-sat", 6),
        ("B closed 12-25", 5),
        ("30min open mon-fri 09:30-16:00", 14),
        ("h open mon-fri 09:00-17:00 sat 09:00-12:00", 49),
        ("4-4-5 from 2000-01-29", 12),
        ("MS +14D", 12),
        ("SMS", 24),
        ("2MS", 6),
        ("10YS", 1),
    ],
)
def test_the_season_counts_open_moments(alias, season):
    assert Frequency(alias).default_season == season


def test_a_week_of_a_calendar_is_its_open_moments():
    weeks = {"B closed 12-25": 5, "D open mon-sat": 6, "h open mon-fri 09:00-17:00": 45, "4-4-5 from 2000-01-29": 0}
    assert {alias: Frequency(alias).count_week_steps(9) for alias in weeks} == weeks
