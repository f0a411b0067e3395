"""The public holidays of countries, as the package `holidays` knows them."""

from datetime import date

import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.holiday_dates import find_holidays


def test_a_part_of_a_country_has_holidays_of_its_own():
    germany, bavaria = find_holidays("DE", 2024), find_holidays("DE-BY", 2024)
    assert date(2024, 5, 30) in bavaria.dates and date(2024, 5, 30) not in germany.dates, "Corpus Christi"
    assert {*germany.dates} < {*bavaria.dates}
    easter_mondays = [date(2024, 4, 1), date(2025, 4, 21), date(2026, 4, 6)]
    assert all(day in germany.dates for day in easter_mondays)
    assert list(germany.dates) == sorted(germany.dates)


def test_the_years_are_those_that_the_package_knows_and_some_ahead():
    found = find_holidays("DE", 2024)
    assert (found.first_year, found.last_year) == (1991, 2049), "the package knows Germany from 1991 on"
    assert (found.dates[0].year, found.dates[-1].year) == (1991, 2049)
    assert find_holidays("US", 2024).first_year == 1964


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("XX", "calendar names the country 'XX', which the package holidays does not know; expected an ISO code"),
        ("DE-QQ", "calendar names 'QQ' as a part of DE, .* expected one of BB, BE, BW, BY"),
        ("SG-01", "calendar names '01' as a part of SG, .* none: this country has no parts"),
    ],
)
def test_an_unknown_place_is_refused_with_the_way_out(code, message):
    with pytest.raises(DataError, match=message):
        find_holidays(code, 2024)
