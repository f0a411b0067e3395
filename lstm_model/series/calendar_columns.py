"""Choose the calendar features of a problem, and add them to its series as columns of future covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstm_model.contracts.calendar_features import CalendarFeatures, FeatureGroup
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import PipelineConfig, WindowSpec
from lstm_model.series.series_table import SeriesRows
from lstm_model.timeline.calendar_features import ENOUGH_DAYS, Features, compute_features, list_groups, to_days
from lstm_model.timeline.frequency import Frequency
from lstm_model.timeline.holiday_dates import find_holidays
from lstm_model.timeline.timestamps import DAY_US

NO_HOLIDAYS = "holidays need country or country_column"


def choose_calendar(
    config: PipelineConfig, window: WindowSpec, *, length: int, end: str, clock: Clock | None
) -> tuple[CalendarFeatures | None, str]:
    """Return the calendar that a model of these windows reads, None for none, and why.

    Args:
        config: what the user set.
        window: the geometry and the sizes of the splits.
        length: steps in the history of the series in the middle.
        end: the last observed `ds`.
        clock: the source's own, if the series are in UTC instead.

    Raises:
        DataError: a country or a day is not known.
    """
    settings = config.calendar
    if config.advanced.model.kind == "tutorial":
        return None, "the tutorial's network reads no covariates"
    shown = list_groups(window.frequency)
    if not shown:
        return None, f"steps of {window.frequency} show no features of the calendar"
    days = (length - window.test_steps - window.validation_steps) * Frequency(window.frequency).mean_step / DAY_US
    reasons = {group: _find_obstacle(group, config, days) for group in shown}
    groups = tuple(group for group in shown if not reasons[group])
    named = settings.days if "holiday" in shown else {}
    if settings.code and "holiday" in groups:
        find_holidays(settings.code, int(end[:4]))
    for rules in named.values():
        to_days(rules)
    found = CalendarFeatures(
        groups=groups,
        clock=clock,
        country=settings.code if "holiday" in groups else None,
        country_column=settings.country_column if "holiday" in groups else None,
        days=named,
    )
    why = [f"a training history of {days:,.0f} days", *filter(None, reasons.values())]
    if settings.is_given and "holiday" not in shown:
        why.append(f"steps of {window.frequency} show no holidays or special days")
    return (found if found.columns else None), "; ".join(why)


def _find_obstacle(group: FeatureGroup, config: PipelineConfig, days: float) -> str:
    """Return why a feature is left out, "" if it is not."""
    settings = config.calendar
    if group == "holiday" and not (settings.country or settings.country_column):
        return NO_HOLIDAYS
    if settings.use != "all" and days < ENOUGH_DAYS[group]:
        return f"{group} needs {ENOUGH_DAYS[group]:,.0f}"
    return ""


def look_up_holidays(calendar: CalendarFeatures, countries: Sequence[str], end: Any) -> CalendarFeatures:
    """Return a calendar with the dates of its holidays; one that has them, as a bundle's does, stays as it is.

    Args:
        calendar: of a plan.
        countries: the codes in its `country_column`.
        end: the last observed `ds`.

    Raises:
        DataError: a country is not known.
    """
    if "holiday" not in calendar.groups or calendar.holidays:
        return calendar
    year = int(str(np.datetime64(end, "Y")))
    codes = [calendar.country] if calendar.country else countries
    return calendar.model_copy(update={"holidays": {code: find_holidays(code, year) for code in codes}})


def find_countries(
    calendar: CalendarFeatures, columns: Sequence[str], rows: Mapping[str, Sequence[float]]
) -> dict[str, str]:
    """Return the country of each series by its static covariates, encoded as `columns`; of others it is not known."""
    places = {f"{calendar.country_column}={code}": code for code in calendar.holidays}
    at = [(i, places[name]) for i, name in enumerate(columns) if name in places]
    return {unique_id: code for unique_id, row in rows.items() for i, code in at if row[i]}


class CalendarColumns:
    """What adds the features of a calendar to series; neighbours of one time axis share them."""

    def __init__(self, calendar: CalendarFeatures, frequency: str, countries: Mapping[str, str]) -> None:
        self.calendar, self.frequency, self.countries = calendar, frequency, countries
        self._compute = lru_cache(maxsize=16)(self._compute_span)

    def add_to(self, series: SeriesRows, *, ahead: int) -> SeriesRows:
        """Return a series whose future covariates have the features as last columns, `ahead` steps beyond its end."""
        country = self.countries.get(series.unique_id, self.calendar.country)
        given = np.pad(series.future, ((0, ahead), (0, 0)), constant_values=np.nan)
        columns = self._compute(series.ds[0], series.ds[-1], len(series.ds), ahead, country)
        return replace(series, future=np.concatenate([given, columns], axis=1))

    def _compute_span(self, first: Any, last: Any, length: int, ahead: int, country: str | None) -> Features:
        frequency = Frequency(self.frequency)

        def advance(start: Any, low: int, high: int) -> NDArray[Any]:
            return frequency.advance(np.repeat(start, high - low), np.arange(low, high))

        ds_N = np.concatenate([advance(first, 0, length), advance(last, 1, ahead + 1)])
        return compute_features(ds_N, self.calendar, frequency=self.frequency, country=country)


def check_dates_known(calendar: CalendarFeatures, last: Any) -> None:
    """Check that a calendar knows the holidays through a moment.

    Raises:
        DataError: it does not.
    """
    ends = [known.last_year for known in calendar.holidays.values()]
    if ends and int(str(np.datetime64(last, "Y"))) > min(ends):
        raise DataError(
            f"the model knows the holidays of {listed(calendar.holidays)} through {min(ends)}, and the forecast goes "
            f"on to {np.datetime64(last, 'D')}. Train again"
        )


def note_past_days(calendar: CalendarFeatures, end: Any) -> list[str]:
    """Return a remark for each special day of which no date is known after the last observation."""
    lasts = {name: to_days(rules)[-1] for name, rules in calendar.days.items() if rules}
    return [
        f"the model knows no {name!r} after {last}, and forecasts as if there were none; add later dates to "
        "calendar.days, and train again"
        for name, last in lasts.items()
        if last <= np.datetime64(end, "D")
    ]
