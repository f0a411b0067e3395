"""Whether a retraining and the next forecast will work, foreseen from the data alone."""

from pathlib import Path

import numpy as np
import pandas as pd

from lstm_model.contracts.settings_file import make_config
from lstm_model.lifecycle.outlook import add_prospects, foresee_failure
from lstm_model.series.inspection import inspect_source

HORIZON = 7


def write_sales(folder: Path, *, rows: int = 120, ahead: int = HORIZON, ends: int = 0) -> Path:
    """Write two shops with a promotion calendar known `ahead` days; the second shop ends `ends` days earlier."""
    parts = []
    for shop, last in (("a", rows), ("b", rows - ends)):
        days = pd.date_range("2024-01-01", periods=last + (ahead if shop == "a" or not ends else 0))
        sold = np.where(np.arange(len(days)) < last, 50.0 + np.arange(len(days)) % 7, np.nan)
        parts.append(pd.DataFrame({"shop": shop, "day": days, "sold": sold, "promotion": np.arange(len(days)) % 3}))
    path = folder / "sales.csv"
    pd.concat(parts).to_csv(path, index=False)
    return path


def look(folder, path, **settings):
    covariates = {"future": ["promotion"]}
    columns = {"unique_id": "shop", "ds": "day", "y": "sold"}
    source = {"path": str(path), "columns": columns}
    config = make_config({"source": source, "covariates": covariates, "horizon": HORIZON, **settings})
    found = inspect_source(config, folder / "table.parquet")
    add_prospects(found, config, folder / "table.parquet")
    return found, {one.flow: one for one in found.prospects}


def test_a_calendar_through_the_horizon_is_enough(tmp_path):
    found, prospects = look(tmp_path, write_sales(tmp_path))
    assert prospects["retrain"].works and prospects["forecast"].works
    assert found.covariates[0].known.startswith("7 steps beyond")
    assert "windows of" in prospects["retrain"].reason


def test_a_calendar_that_is_too_short_is_said_before_the_forecast_fails(tmp_path):
    found, prospects = look(tmp_path, write_sales(tmp_path, ahead=3))
    assert prospects["retrain"].works and not prospects["forecast"].works
    reason = prospects["forecast"].reason
    assert "'promotion' of series 'a' is not known at 2024-05-03" in reason and "2 series in all" in reason
    assert found.readable, "the source itself can be read"


def test_a_series_that_ended_needs_no_calendar(tmp_path):
    _, prospects = look(tmp_path, write_sales(tmp_path, ends=30))
    assert prospects["forecast"].works


def test_a_history_too_short_for_the_horizon_will_not_train(tmp_path):
    _, prospects = look(tmp_path, write_sales(tmp_path, rows=12), advanced={"window": {"test_steps": 10}})
    assert not prospects["retrain"].works and "horizon + 2" in prospects["retrain"].reason
    assert not prospects["forecast"].works


def test_without_future_covariates_nothing_is_read(tmp_path):
    from lstm_model.contracts.settings import Covariates

    assert foresee_failure([tmp_path / "not there"], Covariates(), None) == ""


def test_a_calendar_is_told_with_its_features_and_reasons_or_with_what_is_wrong(tmp_path):
    path = write_sales(tmp_path, rows=900)
    found, prospects = look(tmp_path, path, calendar={"use": "auto", "days": {"sale": ["4thu11"]}})
    (told,) = [one for one in found.choices if one.setting == "calendar"]
    assert told.value == "weekday, month, year, sale" and "a training history of" in told.reason
    assert prospects["retrain"].works and prospects["forecast"].works
    _, prospects = look(tmp_path, path, calendar={"days": {"sale": ["29/11"]}})
    assert not prospects["retrain"].works and prospects["retrain"].reason.startswith("calendar.days has '29/11'")


def test_the_hours_of_a_calendar_are_those_of_the_source(tmp_path):
    hours = pd.date_range("2024-01-01", periods=24 * 60, freq="h", tz="Europe/Berlin")
    pd.DataFrame({"time": hours.astype(str), "load": np.sin(np.arange(len(hours)))}).to_csv(tmp_path / "a.csv")
    source = {"path": str(tmp_path / "a.csv"), "timezone": "Europe/Berlin", "columns": {"ds": "time", "y": "load"}}
    config = make_config({"source": source, "calendar": {"use": "auto"}})
    found = inspect_source(config, tmp_path / "table.parquet")
    assert found.clock and found.clock.zone == "Europe/Berlin"
    add_prospects(found, config, tmp_path / "table.parquet")
    assert [one.value for one in found.choices if one.setting == "calendar"] == ["hour, weekday"], found.prospects
