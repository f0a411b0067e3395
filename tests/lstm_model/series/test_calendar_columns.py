"""Which features of the calendar a problem gets, and why; off where nothing asks for one."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.calendar_features import CalendarFeatures, HolidayDates
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.settings_file import SettingsError, dump_config, make_config, parse_config, parse_yaml
from lstm_model.series.calendar_columns import look_up_holidays, note_past_days
from lstm_model.series.infer import infer_plan
from tests.factories import problem
from tests.lstm_model.series.test_infer import facts

BLACK_FRIDAY = {"black friday": ["4thu11"]}


def choose(calendar, clock=None, covariates=(), model=(), **changes):
    """The calendar of a plan, and its value and reason as they are printed; None for one that is not printed."""
    lengths = {"length_min": changes.get("length_median", 2000), "length_max": changes.get("length_median", 2000)}
    config = problem(calendar=calendar, covariates=dict(covariates), advanced={"model": dict(model)})
    _, plan, reasons = infer_plan(config, facts(**{**lengths, **changes}), clock=clock)
    return plan.window.calendar, next(((value, why) for name, value, why in reasons if name == "calendar"), None)


@pytest.mark.parametrize(
    ("frequency", "length", "groups"),
    [
        ("D", 3 * 365, ("weekday", "month", "year")),
        ("D", 700, ("weekday", "month")),
        ("D", 90, ("weekday",)),
        ("D open mon-sat", 3 * 313, ("weekday", "month", "year")),
        ("h", 3 * 24 * 365, ("hour", "weekday", "month", "year")),
        ("h", 24 * 30, ("hour",)),
        ("W-SUN", 156, ("year",)),
        ("MS", 72, ("year",)),
    ],
)
def test_a_feature_needs_a_history_from_which_it_can_be_learned(frequency, length, groups):
    found, (value, why) = choose({"use": "auto"}, frequency=frequency, length_median=length)
    assert found.groups == groups and value == ", ".join(groups)
    assert "a training history of" in why and ("year needs 730" in why) == ("year" not in groups)
    assert found.columns and len(set(found.columns)) == len(found.columns)


def test_all_takes_what_the_frequency_shows_whatever_the_history():
    assert choose({"use": "all"}, frequency="D", length_median=90)[0].groups == ("weekday", "month", "year")
    for frequency, length in (("W-SUN", 60), ("QS", 60), ("1", 500)):
        found, (value, why) = choose({"use": "auto"}, frequency=frequency, length_median=length)
        assert (found, value) == (None, "none") and why


def test_nothing_is_computed_where_nothing_asks_for_it():
    assert choose({}, frequency="D") == (None, None) == choose({"use": "none"}, frequency="D")
    plain = problem()
    assert "calendar" not in plain.model_dump(mode="json"), "choices that were kept, and keys, stay as they were"
    filled, plan, _ = infer_plan(plain, facts(frequency="D"))
    assert "calendar" not in plan.model_dump(mode="json")["window"] and "\ncalendar:" not in dump_config(filled)


def test_the_network_of_the_tutorial_gets_none():
    found, (_, why) = choose({"use": "all"}, frequency="D", model={"kind": "tutorial"})
    assert found is None and why == "the tutorial's network reads no covariates"


def test_own_days_need_no_country():
    found, (value, why) = choose({"days": BLACK_FRIDAY}, frequency="D", length_median=1200)
    assert found.days == {"black friday": ("4thu11",)} and found.columns[-1] == "calendar:day black friday"
    assert value == "weekday, month, year, black friday" and "holidays need country" in why
    with pytest.raises(DataError, match=r"calendar\.days has 'easter'; expected a date such as 2024-11-29"):
        choose({"days": {"a": ["easter"]}}, frequency="D")
    weekly, (_, why) = choose({"days": BLACK_FRIDAY}, frequency="W-SUN", length_median=200)
    assert not weekly.days and "show no holidays or special days" in why


def test_a_country_brings_its_holidays_and_the_clock_of_the_source():
    berlin = Clock(zone="Europe/Berlin", aware=True)
    found, (value, _) = choose({"country": "DE", "subdivision": "BY"}, berlin, frequency="h", length_median=20_000)
    assert (found.country, found.clock, found.holidays) == ("DE-BY", berlin, {}) and "holiday" in value
    dated = look_up_holidays(found, [], np.datetime64("2024-03-24", "us"))
    assert [*dated.holidays] == ["DE-BY"] and look_up_holidays(dated, [], np.datetime64("2030-01-01")) is dated
    with pytest.raises(DataError, match="names the country 'XX', which the package holidays does not know"):
        choose({"country": "XX"}, frequency="D")


def test_several_countries_come_from_a_static_covariate():
    found, _ = choose({"country_column": "land"}, covariates={"static": ["land"]}, frequency="D")
    dated = look_up_holidays(found, ["AT", "US-CA"], np.datetime64("2024-03-24", "us"))
    assert [*dated.holidays] == ["AT", "US-CA"]
    with pytest.raises(DataError, match="country 'nowhere'"):
        look_up_holidays(found, ["nowhere"], np.datetime64("2024-03-24", "us"))


@pytest.mark.parametrize(
    ("calendar", "message"),
    [
        ({"subdivision": "BY"}, "subdivision needs the country"),
        ({"country": "DE", "country_column": "land"}, "both country and country_column"),
        ({"use": "none", "country": "DE"}, "use is none, which leaves out the holidays and days below it"),
        ({"country_column": "land"}, "country_column 'land' is no static covariate; add it to covariates.static"),
        ({"use": "on"}, "Input should be 'auto', 'all' or 'none'"),
        ({"country": "Germany"}, "String should match pattern"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(calendar, message):
    with pytest.raises(SettingsError, match=message):
        make_config({"source": {"kind": "synthetic"}, "calendar": calendar})


def test_settings_are_read_from_yaml_and_written_back(tmp_path):
    text = "source: {kind: synthetic}\ncalendar: {country: DE, subdivision: BY, days: {sale: [2024-11-29, 12-24]}}\n"
    config = parse_config(text.encode(), "a.yaml", tmp_path)
    assert config.calendar.code == "DE-BY" and config.calendar.days == {"sale": ("2024-11-29", "12-24")}
    assert PipelineConfig.model_validate(parse_yaml(dump_config(config))).calendar == config.calendar
    assert config.select_data_settings() == problem(name="any").select_data_settings(), "ingest does not read it"
    assert config.select_modelling_settings().calendar == config.calendar


def test_special_days_of_which_none_is_known_to_come_are_told():
    calendar = CalendarFeatures(groups=(), days={"sale": ("2024-06-07",), "eve": ("12-24",)})
    assert note_past_days(calendar, np.datetime64("2024-06-01")) == []
    (text,) = note_past_days(calendar, np.datetime64("2024-06-07"))
    assert text.startswith("the model knows no 'sale' after 2024-06-07") and "add later dates to calendar.days" in text


def test_a_feature_is_a_number_that_a_stranger_cannot_inflate():
    with pytest.raises(ValueError, match="at most 100000"):
        HolidayDates(first_year=1, last_year=9999, dates=["2024-01-01"] * 100_001)
    with pytest.raises(ValueError, match="at most 64"):
        CalendarFeatures(groups=(), days={str(i): () for i in range(65)})
    assert pd.Series(CalendarFeatures(groups=("year", "holiday")).columns).is_unique
