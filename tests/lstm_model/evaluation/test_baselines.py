"""The baselines do what their names say, skip padding, and never see the future."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.evaluation.baselines import (
    BASELINES,
    fill_further_baselines,
    forecast_baselines,
    forecast_years_before,
)
from lstm_model.evaluation.evaluate import tabulate_forecasts
from lstm_model.windows.in_memory import Windows

NAN = np.nan


def _forecast(context: list[float], horizon: int, season: int) -> dict[str, list[float]]:
    forecasts = forecast_baselines(np.array([context], np.float32), horizon=horizon, season=season)
    return {name: values[0].tolist() for name, values in forecasts.items()}


def test_each_rule_by_hand() -> None:
    forecasts = _forecast([1, 2, 3, 5, 6, 7], horizon=5, season=3)
    assert tuple(forecasts) == (*BASELINES, "tsb") and np.isnan(forecasts["tsb"]).all()
    assert forecasts["naive"] == [7] * 5
    assert forecasts["seasonal_naive"] == [5, 6, 7, 5, 6]
    assert forecasts["drift"] == pytest.approx([7 + 1.2 * h for h in range(1, 6)])
    assert forecasts["window_average"] == [6] * 5


def test_without_season_the_average_is_of_the_whole_context() -> None:
    forecasts = _forecast([1, 2, 3, 6], horizon=2, season=1)
    assert forecasts["window_average"] == [3, 3]
    assert forecasts["seasonal_naive"] == [6, 6]


def test_padding_is_skipped() -> None:
    forecasts = _forecast([NAN, NAN, 4, 5, 8], horizon=4, season=4)
    assert forecasts["naive"] == [8] * 4
    # The phase that the context does not hold falls back to the last value.
    assert forecasts["seasonal_naive"] == [8, 4, 5, 8]
    assert forecasts["drift"] == [10, 12, 14, 16]
    assert forecasts["window_average"] == pytest.approx([17 / 3] * 4)


def test_missing_values_inside_a_context_are_skipped() -> None:
    forecasts = _forecast([1, 2, 3, 4, NAN, NAN], horizon=3, season=2)
    assert forecasts["naive"] == [4] * 3
    assert forecasts["seasonal_naive"] == [3, 4, 3]  # from the latest season that is known
    assert forecasts["drift"] == [5, 6, 7]
    assert forecasts["window_average"] == [2.5] * 3  # the last season is empty


@pytest.mark.parametrize("season", [1, 3, 7])
def test_context_shorter_than_a_season_or_a_single_value(season: int) -> None:
    forecasts = _forecast([2.0], horizon=3, season=season)
    for name in BASELINES:
        assert forecasts[name] == [2, 2, 2], name


def test_empty_context_gives_nan() -> None:
    for name, values in _forecast([NAN, NAN], horizon=2, season=2).items():
        assert np.isnan(values).all(), name


def test_windows_do_not_mix() -> None:
    contexts = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    together = forecast_baselines(contexts, horizon=4, season=3)
    for i, context in enumerate(contexts):
        alone = forecast_baselines(context[None], horizon=4, season=3)
        for name in BASELINES:
            np.testing.assert_allclose(together[name][i], alone[name][0], rtol=1e-6)


@pytest.mark.parametrize(("level", "rtol"), [(1e9, 1e-6), (1e-6, 1e-6)])
def test_any_magnitude(level: float, rtol: float) -> None:
    context = np.array([[1.0, 2.0, 1.5, 2.5]]) * level
    for name, values in forecast_baselines(context.astype(np.float32), horizon=3, season=2).items():
        expected = forecast_baselines(context / level, horizon=3, season=2)[name] * level
        np.testing.assert_allclose(values, expected, rtol=rtol)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="season=0"):
        forecast_baselines(np.ones((1, 3)), horizon=2, season=0)
    with pytest.raises(ValueError, match=r"\(3,\)"):
        forecast_baselines(np.ones(3), horizon=2, season=1)


class _Silent:
    quantiles = (0.5,)

    def predict(self, windows: Windows) -> np.ndarray:
        return np.zeros((len(windows), windows.horizon, 1), np.float32)

    def compute_mean(self, values_WHQ: np.ndarray) -> np.ndarray:
        return values_WHQ[..., 0]


def test_the_future_never_matters() -> None:
    values = np.random.default_rng(1).normal(size=40)
    other = values.copy()
    other[-4:] += 100
    tables = []
    for series in (values, other):
        windows = Windows.from_arrays([series], context=12, horizon=4, stride=4)
        tables.append(tabulate_forecasts(_Silent(), windows, season=5).groupby("cutoff").tail(4).tail(4))
    first, second = tables
    assert (first["y"].to_numpy() != second["y"].to_numpy()).all()
    for name in BASELINES:
        np.testing.assert_array_equal(first[name], second[name])


def test_last_week_and_the_mean_of_the_last_weeks() -> None:
    """Two days a season, three seasons a week: the week differs from the season."""
    weeks = np.array([[1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16]], np.float32)
    forecasts = forecast_baselines(weeks, horizon=7, season=2, week=6, context=4)
    assert forecasts["last_week"].tolist() == [[11, 12, 13, 14, 15, 16, 11]]
    assert forecasts["week_average"].tolist() == [[6, 7, 8, 9, 10, 11, 6]]
    assert forecasts["window_average"].tolist() == [[15.5] * 7], "the first four see a season or the context"
    assert "last_week" not in forecast_baselines(weeks, horizon=2, season=6, week=6)


def test_tsb_forecasts_the_rate_of_intermittent_demand() -> None:
    rng = np.random.default_rng(0)
    sales = (rng.random((400, 200)) < 0.3) * 5.0
    rate = forecast_baselines(sales, horizon=3, season=1)["tsb"]
    assert rate.mean() == pytest.approx(1.5, rel=0.05) and (rate == rate[:, :1]).all()
    steady = np.ones((1, 20))
    assert np.isnan(forecast_baselines(steady, horizon=1, season=1)["tsb"]).all(), "no zeros"
    assert np.isnan(forecast_baselines(-sales[:1], horizon=1, season=1)["tsb"]).all(), "below zero"


def _years(num_days: int, unique_id: str = "a", steps: int = 1) -> pd.DataFrame:
    """A yearly wave of days, or of parts of days that differ by their place in the day."""
    ds = pd.date_range("2020-01-01", periods=num_days * steps, freq=pd.Timedelta(24 // steps, unit="h"), unit="us")
    y = 10 * np.sin(2 * np.pi * ds.day_of_year / 365.25) + 100.0 * ds.hour
    return pd.DataFrame({"unique_id": unique_id, "ds": ds, "y": y})


@pytest.mark.parametrize(("steps", "frequency"), [(1, "D"), (4, "6h")])
def test_the_years_before_forecast_the_day_of_the_year_where_two_are_known(steps: int, frequency: str) -> None:
    known = pd.concat([_years(800, "old", steps), _years(500, "young", steps)])
    ahead = pd.concat([_years(860, name, steps).tail(60 * steps) for name in ("old", "young")], ignore_index=True)
    forecast = forecast_years_before(known, ahead, frequency=frequency)
    old = ahead["unique_id"].eq("old").to_numpy()
    np.testing.assert_allclose(forecast[old], ahead["y"][old], atol=0.3)
    assert np.isnan(forecast[~old]).all()
    filled = fill_further_baselines(ahead.assign(years_before=forecast, seasonal_naive=7.0, tsb=np.nan))
    assert (filled["years_before"][~old] == 7).all() and "tsb" not in filled


def test_months_and_plain_steps_have_no_days_of_the_year() -> None:
    for frequency in ("MS", "1"):
        assert np.isnan(forecast_years_before(_years(900), _years(900), frequency=frequency)).all()
