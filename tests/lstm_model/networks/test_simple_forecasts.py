"""What the network mixes: seasonal shapes, smoothed levels, trends; against pandas and numpy where they know them."""

import numpy as np
import pandas as pd
import pytest
import torch

from lstm_model.networks.repeated_seasons import count_repeated_seasons, repeat_seasons
from lstm_model.networks.seasonality import find_seasonality
from lstm_model.networks.smoothing import DAMPED, LEVELS, NUM_SMOOTHED, THETAS, smooth_forecasts

RNG = np.random.default_rng(0)


def row(values) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)[None]


def ones(z) -> torch.Tensor:
    return torch.ones_like(z)


@pytest.mark.parametrize("season", [3, 4, 12])
def test_a_season_on_a_trend_is_found_whole(season):
    shape = RNG.normal(size=season)
    shape -= shape.mean()
    steps = np.arange(6 * season + 1)
    z = row(0.5 * steps + shape[steps % season])
    found = find_seasonality(z, ones(z), season=season, horizon=2 * season)
    torch.testing.assert_close(found.context_BL, row(shape[steps % season]))
    ahead = np.arange(len(steps), len(steps) + 2 * season)
    torch.testing.assert_close(found.horizon_BH, row(shape[ahead % season]))
    assert found.share_B1.item() == pytest.approx(1)


def test_a_season_in_noise_is_shrunk_and_a_short_context_has_none():
    noise = torch.tensor(RNG.normal(size=(200, 60)))
    shares = find_seasonality(noise, ones(noise), season=12, horizon=12).share_B1
    assert shares.mean() < 0.3
    clear = noise + 5 * torch.sin(torch.arange(60) * 2 * torch.pi / 12)
    assert find_seasonality(clear, ones(clear), season=12, horizon=12).share_B1.min() > 0.9
    for season, length in ((12, 23), (1, 60)):
        short = noise[:, :length]
        found = find_seasonality(short, ones(short), season=season, horizon=5)
        assert not any(part.any() for part in found)


def test_padding_and_gaps_do_not_change_a_clear_season():
    shape = np.array([1.0, -2.0, 0.5, 0.5])
    z = row(np.r_[np.zeros(7), np.tile(shape, 8)])
    mask = row(np.r_[np.zeros(7), np.ones(32)])
    mask[0, 20] = z[0, 20] = 0
    found = find_seasonality(z, mask, season=4, horizon=4)
    torch.testing.assert_close(found.horizon_BH, row(shape))
    assert not found.context_BL[mask == 0].any(), "no season where there is no value"


def test_levels_are_pandas_exponentially_weighted_means():
    y = RNG.normal(size=30).cumsum()
    y[[4, 11]] = np.nan
    mask = row(np.isfinite(y))
    forecasts = smooth_forecasts(row(np.nan_to_num(y)), mask, horizon=3)[0]
    assert forecasts.shape == (3, NUM_SMOOTHED)
    for k, alpha in enumerate(LEVELS):
        expected = pd.Series(y).ewm(alpha=alpha).mean().iloc[-1] if alpha < 1 else y[-1]
        torch.testing.assert_close(forecasts[:, k], torch.full((3,), expected, dtype=torch.float64))


def test_trends_are_numpys_least_squares():
    y = RNG.normal(size=30).cumsum() + np.arange(30)
    age, ahead = np.arange(29, -1, -1), np.arange(1, 5)
    forecasts = smooth_forecasts(row(y), ones(row(y)), horizon=4)[0].numpy()
    slope = np.polyfit(np.arange(30), y, 1)[0]
    theta = pd.Series(y).ewm(alpha=THETAS[0]).mean().iloc[-1] + slope / 2 * ahead
    np.testing.assert_allclose(forecasts[:, len(LEVELS)], theta)
    np.testing.assert_allclose(forecasts[:, len(LEVELS) + len(THETAS)], y[-1] + slope * ahead)
    for k, (discount, damping) in enumerate(DAMPED):
        local, level = np.polyfit(-age, y, 1, w=np.sqrt(discount**age))
        np.testing.assert_allclose(
            forecasts[:, len(LEVELS) + len(THETAS) + 1 + k], level + local * np.cumsum(damping**ahead), rtol=1e-6
        )


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 5.0]])
def test_few_values_long_ago_give_finite_forecasts(values):
    """In single precision the weight of a value 400 steps ago is zero: the last value serves."""
    z, mask = torch.zeros(1, 410), torch.zeros(1, 410)
    z[0, : len(values)], mask[0, : len(values)] = torch.tensor(values), 1.0
    forecasts = smooth_forecasts(z, mask, horizon=6)
    assert torch.isfinite(forecasts).all()
    assert (forecasts[0, :, 1] == (values[-1] if values else 0.0)).all()


@pytest.mark.parametrize(("season", "context", "count"), [(1, 9, 0), (3, 9, 2), (3, 21, 3), (3, 42, 4), (10, 9, 0)])
def test_repeated_seasons_fit_the_context(season, context, count):
    z = torch.randn(2, context)
    assert repeat_seasons(z, ones(z), season=season, horizon=5).shape == (2, 5, count)
    assert count_repeated_seasons(season=season, context=context) == count
    nothing = torch.zeros(1, context)
    assert not repeat_seasons(nothing, nothing, season=season, horizon=5).any()
