"""Compute the mean of a forecast from its quantiles, and how far it may be trusted beside the median.

The mean depends on the tails, which five quantiles hardly show, and which a network of logarithms stretches when it
goes back to the original units: taken at its word, it has larger squared errors than the median on most series. So it
is the median plus a share of the distance to the mean that the quantiles give. The share is the one at which forecasts
and actual values of the validation have the same sum, as far as the squared error gains by it, shrunk to 0, the median,
where the validation is short.

Shapes: W windows, H horizon, Q quantiles ascending, N targets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

NODES = 40
"""Equally likely values that stand for a distribution."""
GAIN_SHARE = 1.5
"""Most of the share with the least squared error that is taken: there, three quarters of its gain are left."""
LARGEST_SHARE = 2.0
PRIOR_HORIZONS = 4.0
"""Horizons of validation that weigh as much as the assumption that the median is the mean."""

TINY = 1e-45
"""The least positive number of float32: where an exponential came to 0."""


def compute_mean(
    values_WHQ: NDArray[Any], quantiles: tuple[float, ...], *, transform: str = "none", share: float
) -> NDArray[Any]:
    """Return (W, H) the median plus a share of the distance to the mean that the quantiles give, of their type.

    Between the quantiles the distribution is taken as normal, or log-normal where the network works on logarithms;
    beyond the outermost it is cut off. Of the median as the only quantile, the mean is the median.

    Args:
        values_WHQ: quantiles in original units.
        quantiles: which they are.
        transform: of the network.
        share: from `fit_mean_share`.
    """
    median_WH = values_WHQ[..., len(quantiles) // 2].astype(np.float64)
    if len(quantiles) == 1 or share == 0:
        return median_WH.astype(values_WHQ.dtype)
    inner_WHQ = values_WHQ.astype(np.float64)
    if transform == "log":
        inner_WHQ = np.log(inner_WHQ.clip(min=TINY))
    scores_Q = ndtri(np.array(quantiles))
    nodes = ndtri((np.arange(NODES) + 0.5) / NODES).clip(scores_Q[0], scores_Q[-1])
    total_WH = np.zeros_like(median_WH)
    for node in nodes:  # summed in this order, so that the rounding does not depend on how many rows there are
        right = int(np.searchsorted(scores_Q, node).clip(1, len(scores_Q) - 1))
        part = (node - scores_Q[right - 1]) / (scores_Q[right] - scores_Q[right - 1])
        value_WH = inner_WHQ[..., right - 1] * (1 - part) + inner_WHQ[..., right] * part
        total_WH += np.exp(value_WH) if transform == "log" else value_WH
    return np.asarray(median_WH + share * (total_WH / NODES - median_WH), values_WHQ.dtype)


def fit_mean_share(
    median_N: NDArray[np.float64], mean_N: NDArray[np.float64], y_N: NDArray[np.float64], series_N: NDArray[np.int64],
    *, horizons: float,
) -> float:  # fmt: skip
    """Return the share of the distance from median to mean that forecasts take; 0 where it does not help.

    It must lower the squared error both in the units of the data and with every series weighing the same.

    Args:
        median_N: of each observed target of the validation.
        mean_N: that the quantiles give, of the same targets.
        y_N: the targets.
        series_N: the number of the series of each.
        horizons: of distinct steps in the validation, of all series together.
    """
    step_N, error_N = mean_N - median_N, y_N - median_N
    total = float(step_N.sum())
    if not len(y_N) or not total:
        return 0.0
    size_K = np.bincount(series_N, np.abs(error_N)) / np.maximum(np.bincount(series_N), 1)
    scaled_N = 1 / np.maximum(size_K, 1e-6 * size_K.max())[series_N]
    least_squares = [_fit_share(step_N * weight, error_N * weight) for weight in (np.ones(len(y_N)), scaled_N)]
    share = float(error_N.sum()) / total
    most = min(LARGEST_SHARE, *(GAIN_SHARE * best for best in least_squares))
    return max(0.0, min(share, most)) * horizons / (horizons + PRIOR_HORIZONS)


def _fit_share(step_N: NDArray[np.float64], error_N: NDArray[np.float64]) -> float:
    """Return the multiple of the steps that leaves the least squared error."""
    return float(step_N @ error_N) / max(float(step_N @ step_N), 1e-300)
