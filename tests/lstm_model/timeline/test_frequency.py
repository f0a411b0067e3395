import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.frequency import Frequency


@pytest.mark.parametrize("alias", ["1", "15min", "h", "7D", "W-SUN", "B", "ME", "QS"])
def test_timestamps_move_both_ways_along_the_axis(alias):
    dates = pd.date_range("2024-03-29", periods=6, freq=alias if alias != "1" else "h").as_unit("us").to_numpy()
    axis = np.arange(6) if alias == "1" else dates
    moved = Frequency(alias).advance(axis[[0, 5, 2]], np.array([5, -4, 0]))
    assert moved.dtype == Frequency(alias).dtype
    assert (moved == axis[[5, 1, 2]]).all()
    assert Frequency(alias).advance_one(axis[4], -3) == axis[1]


@pytest.mark.parametrize(
    ("alias", "season"), [("1", 1), ("h", 24), ("15min", 96), ("W-SUN", 52), ("7D", 52), ("MS", 12), ("YE", 1)]
)
def test_a_frequency_has_a_usual_season(alias, season):
    assert Frequency(alias).default_season == season


@pytest.mark.parametrize(("alias", "message"), [("hourly", "is not known"), ("-1D", "runs backwards")])
def test_an_alias_that_makes_no_axis_is_refused(alias, message):
    with pytest.raises(DataError, match=message):
        Frequency(alias).check()


@pytest.mark.parametrize("alias", ["999999999D", "1000000000h", "99999999999999999999D", "1000YS", "10000W", "40000B"])
def test_a_step_of_more_than_a_hundred_years_is_refused(alias):
    with pytest.raises(DataError, match=rf"{alias}.*longer than a hundred years"):
        Frequency(alias).check()


def test_a_step_is_a_whole_number_of_microseconds():
    Frequency("40000s").check()
    with pytest.raises(DataError, match=r"1500ns.*whole number of microseconds"):
        Frequency("1500ns").check()
