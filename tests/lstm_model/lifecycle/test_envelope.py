"""What errors normally look like, and that what is missing does not look like change."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.settings import WindowSpec
from lstm_model.lifecycle.envelope import (
    MAX_SERIES,
    envelope,
    period_steps,
    period_sums,
    period_values,
    steps_since,
    with_scale,
)
from lstm_model.timeline.frequency import Frequency

SPEC = WindowSpec(
    context=48, horizon=24, season=24, frequency="h", stride=1, evaluation_stride=1, test_steps=192,
    validation_steps=192, align="calendar", pad_short=True,
)  # fmt: skip
START = np.datetime64("2024-03-01T00:00:00", "us")


def forecasts(errors_KCH, *, every=1, scale=1.0):
    """A forecast table whose errors are given; the truth is zero, so that errors are the forecasts."""
    num_series, num_cutoffs, horizon = errors_KCH.shape
    at = np.arange(num_cutoffs) * every
    cutoff = Frequency("h").advance(np.repeat(START, num_cutoffs), at)
    steps = np.tile(np.arange(1, horizon + 1), num_cutoffs)
    rows = num_cutoffs * horizon
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{k}" for k in range(num_series)], rows),
            "cutoff": np.tile(np.repeat(cutoff, horizon), num_series),
            "ds": np.tile(Frequency("h").advance(np.repeat(cutoff, horizon), steps), num_series),
            "step": np.tile(steps, num_series).astype(np.int32),
            "y": 0.0,
            "lstm": errors_KCH.ravel() * scale,
            "lo_80": errors_KCH.ravel() * scale - 1.0,
            "hi_80": errors_KCH.ravel() * scale + 1.0,
            "lo_97_5": -99.0,
            "hi_97_5": 99.0,
        }
    )


def scales_of(table, scale=2.0):
    return pd.DataFrame({"unique_id": sorted(set(table["unique_id"])), "mase_scale": scale})


def test_an_envelope_holds_the_errors_by_step_series_and_period():
    rng = np.random.default_rng(0)
    profile = np.linspace(0.5, 1.5, 24)
    size = np.array([1.0, 2.0, 0.5])[:, None, None]
    # One error a target, whatever the cutoff: 169 overlapping forecasts over 192 steps.
    noise = rng.uniform(0.8, 1.2, (3, 192))
    windows = np.stack([noise[:, c : c + 24] for c in range(169)], axis=1)
    table = forecasts(windows * profile * size)
    found = envelope(table, scales=scales_of(table), spec=SPEC)
    assert found.num_periods == 8 and found.num_cutoffs == 169 and found.period_steps == 24
    assert found.by_series == pytest.approx({"s0": 0.5, "s1": 1.0, "s2": 0.25}, rel=0.02)
    assert found.error == pytest.approx(np.mean([0.5, 1.0, 0.25]), rel=0.02)
    np.testing.assert_allclose(found.by_step, profile, rtol=0.05)
    assert set(found.coverage) == {"80", "97_5"} and found.coverage["97_5"] == 1.0
    expected = np.mean(np.abs(windows * profile * size) <= 1.0)
    assert found.coverage["80"] == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(found.log_error, 0, atol=0.05)
    assert len(found.model_dump_json()) < 3000


def test_a_missing_series_and_a_missing_forecast_do_not_look_like_change():
    size = np.array([1.0, 8.0, 3.0, 1.0])[:, None, None]
    table = forecasts(np.ones((4, 8, 24)) * np.linspace(0.5, 1.5, 24) * size, every=24)
    scales = scales_of(table)
    found = envelope(table, scales=scales, spec=SPEC)
    points = table.rename(columns={"lstm": "median"})
    points = with_scale(points, scales).assign(period=lambda f: (f["ds"] > START + np.timedelta64(96, "h")).astype(int))
    late = points["period"] == 1
    for left in (
        points[~(late & (points["unique_id"] == "s1"))],
        points[~(late & (points["step"] > 12))],
        points[~(late & (points["cutoff"] > START + np.timedelta64(120, "h")))],
    ):
        values = period_values(period_sums(left, found))
        assert len(left) < len(points)
        np.testing.assert_allclose(values["error"], 1, rtol=0.05)


def test_one_broken_sensor_moves_a_panel_little():
    errors = np.ones((10, 8, 24))
    table = forecasts(errors, every=24)
    found = envelope(table, scales=scales_of(table), spec=SPEC)
    table.loc[table["unique_id"] == "s3", "lstm"] = 1e9
    points = with_scale(table.rename(columns={"lstm": "median"}).assign(period=0), scales_of(table))
    assert period_values(period_sums(points, found))["error"].item() == pytest.approx((9 + 10) / 10)


def test_short_tests_perfect_forecasts_and_large_panels_have_an_envelope():
    one = forecasts(np.ones((1, 1, 24)))
    found = envelope(one, scales=scales_of(one), spec=SPEC)
    assert (found.num_periods, found.spread, found.autocorrelation) == (1, None, None)
    half = envelope(one[one["step"] <= 9], scales=scales_of(one), spec=SPEC)
    assert half.num_periods == 1, "less than a period is one value all the same"
    perfect = forecasts(np.zeros((2, 8, 24)), every=24)
    assert np.isfinite(envelope(perfect, scales=scales_of(perfect), spec=SPEC).log_error).all()
    many = forecasts(np.ones((MAX_SERIES + 1, 1, 24)))
    assert envelope(many, scales=scales_of(many), spec=SPEC).by_series is None
    with pytest.raises(ValueError, match="no envelope"):
        envelope(one.assign(y=np.nan), scales=scales_of(one), spec=SPEC)


@pytest.mark.parametrize(
    ("horizon", "season", "frequency", "expected"),
    [
        (24, 24, "h", 24),
        (6, 24, "h", 24),
        (28, 7, "D", 7),
        (1, 7, "D", 7),
        (8, 52, "W-MON", 8),
        (3, 12, "MS", 3),
        (12, 1, "1", 12),
        (6, 24, "1", 6),
    ],
)
def test_a_period_is_a_season_where_one_is_within_reach(horizon, season, frequency, expected):
    spec = SPEC.model_copy(update={"horizon": horizon, "season": season, "frequency": frequency})
    assert period_steps(spec) == expected


@pytest.mark.parametrize("frequency", ["h", "MS", "B", "W-SUN", "15min"])
def test_steps_are_counted_both_ways(frequency):
    origin = pd.date_range("2023-01-01", periods=1, freq=frequency).to_numpy().astype("datetime64[us]")[0]
    steps = np.array([300, 0, -5, 1, 63, 64, -70])
    ds = Frequency(frequency).advance(np.repeat(origin, len(steps)), steps)
    assert steps_since(ds, origin, frequency).tolist() == steps.tolist()
    assert steps_since(np.array([5, 9]), 7, "1").tolist() == [-2, 2]
