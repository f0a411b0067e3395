"""Single events are recognised, and the days in which they can be added up are named."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.timeline.events import name_open_days, offer_days


def to_us(times):
    return pd.DatetimeIndex(times).as_unit("us").to_numpy().astype(np.int64)


def receipts(*, seconds=1, closed=(6,), days=200, a_day=40):
    rng = np.random.default_rng(0)
    opened = [day for day in pd.date_range("2024-01-01", periods=days) if day.day_of_week not in closed]
    moments = rng.integers(8 * 3600, 20 * 3600, len(opened) * a_day) // seconds * seconds
    return to_us(pd.DatetimeIndex(np.repeat(opened, a_day)) + pd.to_timedelta(moments, "s"))


@pytest.mark.parametrize("seconds", [1, 60])
def test_receipts_are_offered_all_that_they_need_at_once(seconds):
    offer = offer_days(receipts(seconds=seconds))
    assert "40 a day" in offer
    assert "--frequency 'D open mon-sat' --aggregate sum --missing zero" in offer
    assert "--frequency D --aggregate sum" in offer_days(receipts(seconds=seconds, closed=()))
    assert "--frequency B --aggregate sum" in offer_days(receipts(seconds=seconds, closed=(5, 6)))


@pytest.mark.parametrize("freq", ["5min", "h", "D", "W", "7h"])
def test_regular_rows_are_no_events_even_with_many_gaps(freq):
    times = to_us(pd.date_range("2024-01-01", periods=2000, freq=freq))
    assert offer_days(times) == ""
    assert offer_days(np.sort(np.random.default_rng(0).choice(times, 1200, replace=False))) == ""
    assert offer_days(receipts(days=10)) == ""


def test_days_without_a_row_that_recur_are_closed():
    assert name_open_days(receipts()) == "D open mon-sat"
    assert name_open_days(receipts()[:1]) == "D"


@pytest.mark.parametrize(("freq", "late"), [("10min", 60), ("h", 20), ("D", 7200)])
def test_readings_a_little_late_are_offered_their_mean_not_their_sum(freq, late):
    seconds = np.random.default_rng(0).integers(0, late, 300)
    offer = offer_days(to_us(pd.date_range("2024-01-01", periods=300, freq=freq) + pd.to_timedelta(seconds, "s")))
    assert f"about every {freq}" in offer and f"(--frequency {freq} --aggregate mean)" in offer and "sum" not in offer
