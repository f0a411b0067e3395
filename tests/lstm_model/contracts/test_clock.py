"""The clock of a source shows moments as the source has them."""

from datetime import datetime

import pytest

from lstm_model.contracts.clock import Clock, show_moment


def test_moments_lose_the_digits_that_say_nothing():
    moments = ["2024-03-01T12:00:00.000000", "2024-03-01T00:00:00.000000", "2024-03-01T12:30:15.000000", "17"]
    assert [show_moment(ds) for ds in moments] == ["2024-03-01 12:00", "2024-03-01", "2024-03-01 12:30:15", "17"]


@pytest.mark.parametrize(
    ("zone", "hour"), [("Europe/Berlin", 14), ("UTC", 12), ("UTC+02:00", 14), ("UTC-03:30", 8), ("Etc/GMT-1", 13)]
)
def test_moments_are_shown_in_the_zone_or_at_the_offset_of_the_source(zone, hour):
    clock = Clock(zone=zone, aware=True)
    assert clock.convert(datetime(2024, 7, 1, 12)).hour == hour
    assert show_moment("2024-07-01T12:00:00.000000", clock).startswith(f"2024-07-01 {hour:02}")
