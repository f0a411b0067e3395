"""Find the public holidays of a country, which the package `holidays` knows."""

from __future__ import annotations

from functools import lru_cache

from lstm_model.contracts.calendar_features import HolidayDates
from lstm_model.contracts.findings import DataError, listed

YEARS_BEFORE, YEARS_AHEAD = 60, 25
"""Years around the end of the data whose holidays a model keeps."""


@lru_cache(maxsize=256)
def find_holidays(code: str, end_year: int) -> HolidayDates:
    """Return the public holidays of a country around a year.

    Args:
        code: ISO code of a country, or with a part of it, such as DE-BY.
        end_year: of the last observation.

    Raises:
        DataError: the package does not know the country or the part.
    """
    import holidays  # takes 0.1 s, and only a calendar of a country needs it

    country, _, part = code.partition("-")
    known = holidays.utils.list_supported_countries(include_aliases=True)
    if country not in known:
        raise DataError(
            f"calendar names the country {country!r}, which the package holidays does not know; expected an ISO code "
            "such as DE or US. For other days, give calendar.days"
        )
    try:
        years = holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        raise DataError(
            f"calendar names {part!r} as a part of {country}, which the package holidays does not know; expected one "
            f"of {listed(known[country], limit=30) or 'none: this country has no parts'}"
        ) from None
    first, last = max(years.start_year, end_year - YEARS_BEFORE), min(years.end_year, end_year + YEARS_AHEAD)
    found = holidays.country_holidays(country, subdiv=part or None, years=range(first, last + 1))
    return HolidayDates(
        first_year=first, last_year=last, dates=tuple(day for day in sorted(found) if first <= day.year <= last)
    )
