"""Split-conformal calibration of prediction intervals, on windows that the network was not trained on.

Romano, Patterson & Candès, "Conformalized Quantile Regression", NeurIPS 2019: the score of an observation is how far
it lies outside its interval (negative inside), and the interval is widened, or narrowed, by the
ceil((n + 1) * level)-th smallest score. Scores are on the normalised scale of each window, by level and step.
The guarantee assumes exchangeable windows; overlapping windows of a drifting series are not quite that, so coverage is
reported by the evaluation rather than promised here.

Shapes: W windows, H horizon, Q quantiles ascending, J levels from the widest to the narrowest.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def conformal_offsets(
    forecast_WHQ: Floats, y_WH: Floats, observed_WH: NDArray[np.bool_], quantiles: tuple[float, ...]
) -> tuple[Floats | None, str]:
    """Offsets (J, H) for `apply_offsets`, None where there is too little to calibrate on, and a note on what was done.

    All inputs are on the normalised scale. A step with too few windows for a level takes the scores of all steps.
    """
    levels = [1 - 2 * tail for tail in quantiles[: len(quantiles) // 2]]
    if not levels:
        return None, "no intervals to calibrate"
    if observed_WH.sum() < _needed(max(levels)):
        return None, f"intervals are not calibrated: {int(observed_WH.sum())} validation points are too few"
    offsets_JH = np.empty((len(levels), y_WH.shape[1]), np.float32)
    pooled = 0
    for j, level in enumerate(levels):
        scores_WH = np.maximum(forecast_WHQ[..., j] - y_WH, y_WH - forecast_WHQ[..., -1 - j])
        for h in range(y_WH.shape[1]):
            own = scores_WH[observed_WH[:, h], h]
            enough = len(own) >= _needed(level)
            pooled += not enough
            offsets_JH[j, h] = _conformal_quantile(own if enough else scores_WH[observed_WH], level)
    note = f"intervals calibrated on {len(y_WH)} validation windows"
    if pooled:
        note += f"; too few for {pooled} of {offsets_JH.size} steps and levels, which take all steps together"
    return offsets_JH, note


def apply_offsets(forecast_WHQ: Floats, offsets_JH: Floats) -> Floats:
    """Intervals moved outwards by their offsets; never past the median, nor past a wider interval."""
    moved = forecast_WHQ.copy()
    middle = forecast_WHQ.shape[-1] // 2
    median_WH = forecast_WHQ[..., middle]
    for j, offset_H in enumerate(offsets_JH):
        moved[..., j] = np.minimum(forecast_WHQ[..., j] - offset_H, median_WH)
        moved[..., -1 - j] = np.maximum(forecast_WHQ[..., -1 - j] + offset_H, median_WH)
    moved.sort(axis=-1)
    return moved


def _needed(level: float) -> int:
    """Fewest scores for which the conformal quantile is finite."""
    return math.ceil(level / (1 - level) - 1e-9)


def _conformal_quantile(scores: Floats, level: float) -> float:
    rank = min(math.ceil((len(scores) + 1) * level - 1e-9), len(scores))
    return float(np.partition(scores, rank - 1)[rank - 1])
