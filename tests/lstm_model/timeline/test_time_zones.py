"""Forecasts come back in the clock of the source, with UTC beside it."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError
from lstm_model.timeline.time_zones import add_source_clock, find_clock, to_regular_clock, to_wall_time

BERLIN = "Europe/Berlin"


def forecasts():
    """Three hours around the end of summer time, in UTC."""
    ds = pd.to_datetime(["2024-10-27 00:00", "2024-10-27 01:00", "2024-10-27 02:00"]).as_unit("us")
    cutoff = pd.Timestamp("2024-10-26 23:00")
    frame = pd.DataFrame({"unique_id": "a", "cutoff": cutoff, "ds": ds, "step": np.arange(1, 4), "mean": 1.0})
    return frame.astype({"cutoff": "datetime64[us]"})


def test_the_clock_is_known_where_the_series_are_kept_in_utc():
    hours = pd.Series(pd.date_range("2024-01-01", periods=3, freq="h"))
    days = pd.Series(pd.date_range("2024-01-01", periods=3, freq="D"))
    assert find_clock(hours, BERLIN) == Clock(zone=BERLIN, aware=False)
    assert find_clock(hours.dt.tz_localize("UTC"), BERLIN) == Clock(zone=BERLIN, aware=True)
    assert find_clock(hours.dt.tz_localize(BERLIN), None) == Clock(zone=BERLIN, aware=True)
    for ds, zone in ((hours, None), (days, BERLIN), (days.dt.tz_localize(BERLIN), None), (pd.Series([1, 2]), BERLIN)):
        assert find_clock(ds, zone) is None


@pytest.mark.parametrize("aware", [False, True])
def test_local_times_stand_beside_utc(aware):
    table = add_source_clock(forecasts(), Clock(zone=BERLIN, aware=aware))
    assert list(table.columns) == ["unique_id", "cutoff", "ds", "cutoff_utc", "ds_utc", "step", "mean"]
    assert table["ds_utc"].equals(forecasts()["ds"].rename("ds_utc"))
    assert table["ds"].dt.strftime("%H:%M").tolist() == ["02:00", "02:00", "03:00"]
    assert table["cutoff"].dt.strftime("%d %H:%M").unique().tolist() == ["27 01:00"]
    assert isinstance(table["ds"].dtype, pd.DatetimeTZDtype) == aware
    assert add_source_clock(forecasts(), None).equals(forecasts())


def test_plots_show_the_time_of_the_walls():
    table = to_wall_time(forecasts(), Clock(zone=BERLIN, aware=True))
    assert table["ds"].tolist() == [*[pd.Timestamp("2024-10-27 02:00")] * 2, pd.Timestamp("2024-10-27 03:00")]
    assert table["cutoff"].iloc[0] == pd.Timestamp("2024-10-27 01:00")
    assert to_wall_time(forecasts()[["ds"]], None).equals(forecasts()[["ds"]])


def test_rows_that_are_added_up_by_days_have_local_times():
    late = pd.Series(pd.to_datetime(["2024-03-30 22:30", "2024-03-31 22:30", "2024-04-01 10:00"])).dt.tz_localize("UTC")
    table = pd.DataFrame({"unique_id": "a", "ds": late, "y": 1.0})
    local, _, why = to_regular_clock(table, BERLIN, by_days=True)
    assert local["ds"].dt.strftime("%m-%d %H").tolist() == ["03-30 23", "04-01 00", "04-01 12"] and BERLIN in why
    named = table.assign(ds=late.dt.tz_convert(BERLIN))
    assert to_regular_clock(named, None, by_days=True)[0].equals(local)
    unnamed = table.assign(ds=local["ds"])
    assert to_regular_clock(unnamed, BERLIN, by_days=True)[0].equals(local)
    with pytest.raises(DataError, match=r"2024-03-30 22:30:00\+00:00 can lie on one of two.*--timezone"):
        to_regular_clock(table, None, by_days=True)
    assert to_regular_clock(table, "UTC", by_days=True)[0]["ds"].equals(late.dt.tz_localize(None))
