"""The mean of a forecast has no bias where its quantiles are right, and is the median where it would do harm."""

import numpy as np
import pytest
from scipy.special import ndtri

from lstm_model.forecast.mean import compute_mean, fit_mean_share

QUANTILES = (0.025, 0.1, 0.5, 0.9, 0.975)
SERIES = np.repeat(np.arange(20), 4000)


def lognormal(spread, *, seed=0, claimed=None):
    """Return targets, and the quantiles that are forecast of them: the true ones, or those of another spread.

    The levels of the series depend on the seed.
    """
    rng = np.random.default_rng(seed)
    level = rng.normal(3, 1, 20)[SERIES]
    y = np.exp(level + spread * rng.normal(size=len(level)))
    quantiles = np.exp(level[:, None] + (claimed or spread) * ndtri(np.array(QUANTILES)))
    return y, quantiles[:, None, :].astype(np.float32)


def fit(y, values):
    median = values[:, 0, 2].astype(float)
    mean = compute_mean(values, QUANTILES, transform="log", share=1.0)[:, 0].astype(float)
    return fit_mean_share(median, mean, y, SERIES, horizons=500)


def rmse(forecast, y):
    return float(np.sqrt(np.mean((forecast - y) ** 2)))


@pytest.mark.parametrize("spread", [0.1, 0.4, 0.8])
def test_on_calibrated_forecasts_the_total_is_right_within_2_percent(spread):
    share = fit(*lognormal(spread))
    y, values = lognormal(spread, seed=1)
    median, mean = values[:, 0, 2], compute_mean(values, QUANTILES, transform="log", share=share)[:, 0]
    expected = float((median * np.exp(spread**2 / 2)).sum())
    assert abs(mean.sum() / expected - 1) < 0.02 and rmse(mean, y) <= 1.001 * rmse(median, y)
    if spread > 0.3:
        assert median.sum() / expected < 0.94, "the median misses volume"


def test_intervals_that_are_far_too_wide_do_not_inflate_the_mean():
    share = fit(*lognormal(0.2, claimed=1.5))
    y, values = lognormal(0.2, claimed=1.5, seed=1)
    mean = compute_mean(values, QUANTILES, transform="log", share=share)[:, 0]
    taken_at_its_word = compute_mean(values, QUANTILES, transform="log", share=1.0)[:, 0]
    assert abs(mean.sum() / y.sum() - 1) < 0.02 < 0.8 < taken_at_its_word.sum() / y.sum() - 1
    assert rmse(mean, y) <= rmse(values[:, 0, 2], y)


def test_where_the_mean_does_harm_or_nothing_is_known_it_is_the_median():
    y, values = lognormal(0.3)
    assert fit(y * 0.8, values) == 0, "actual values lie below the median: a step upwards is wrong"
    assert fit_mean_share(np.empty(0), np.empty(0), np.empty(0), np.empty(0, int), horizons=0) == 0
    np.testing.assert_array_equal(compute_mean(values, QUANTILES, transform="log", share=0.0), values[..., 2])
    np.testing.assert_array_equal(compute_mean(values[..., 2:3], (0.5,), share=1.0), values[..., 2])


def test_a_short_validation_keeps_the_mean_near_the_median():
    y, values = lognormal(0.8)
    median = values[:, 0, 2].astype(float)
    mean = compute_mean(values, QUANTILES, transform="log", share=1.0)[:, 0].astype(float)
    shares = [fit_mean_share(median, mean, y, SERIES, horizons=horizons) for horizons in (1, 4, 400)]
    assert shares[0] * 5 == pytest.approx(shares[1] * 2) and shares[1] * 2 == pytest.approx(shares[2] * 1.01)


def test_of_normal_quantiles_the_mean_is_their_middle():
    values = (5 + 2 * ndtri(np.array(QUANTILES)))[None, None].astype(np.float32)
    assert compute_mean(values, QUANTILES, share=1.0).item() == pytest.approx(5)
