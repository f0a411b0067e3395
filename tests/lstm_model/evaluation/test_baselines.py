"""The baselines do what their names say, skip padding, and never see the future."""

import numpy as np
import pytest

from lstm_model.evaluation.baselines import BASELINES, forecast_baselines
from lstm_model.evaluation.evaluate import tabulate_forecasts
from lstm_model.windows.in_memory import Windows

NAN = np.nan


def _forecast(context: list[float], horizon: int, season: int) -> dict[str, list[float]]:
    forecasts = forecast_baselines(np.array([context], np.float32), horizon=horizon, season=season)
    return {name: values[0].tolist() for name, values in forecasts.items()}


def test_each_rule_by_hand() -> None:
    forecasts = _forecast([1, 2, 3, 5, 6, 7], horizon=5, season=3)
    assert tuple(forecasts) == BASELINES
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
    for name, values in _forecast([2.0], horizon=3, season=season).items():
        assert values == [2, 2, 2], name


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
