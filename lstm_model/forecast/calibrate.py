"""Calibrate prediction intervals on windows that the network was not trained on.

First each series gets its own width: intervals are stretched about the median by how far off its forecasts were beside
those of the other series, shrunk towards 1 if there is little of it. Then follow conformal offsets, for all series
together: Romano, Patterson & Candès, "Conformalized Quantile Regression", NeurIPS 2019. The score of an observation is
how far it is outside its interval (negative inside), and the interval is widened, or narrowed, by the
ceil((n + 1) * level)-th smallest score. Scores are on the normalised scale of each window, by level and step.

The guarantee of the method assumes exchangeable windows, which overlapping windows of a drifting series are not, and
scores that the same windows did not already set the widths by. So coverage is reported by the evaluation rather than
promised here.

Shapes: K series, W windows, H horizon, Q quantiles ascending, J levels from the widest to the narrowest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NOT_CALIBRATED = "intervals are not calibrated"
"""Stands in the notes of such a training."""

PRIOR_HORIZONS = 4.0
"""How many horizons of a series' own errors weigh as much as the errors of all."""
WIDEST = 10.0
"""Most that a series' errors count, beside the typical ones: one that left its level within the validation is not that
uncertain for ever."""


@dataclass(frozen=True)
class Calibration:
    """The corrections of a forecaster's intervals, on the normalised scale."""

    offsets_JH: Floats
    """Conformal offsets, one row a level from the widest."""
    widths: dict[str, float] = field(default_factory=dict)
    """By `unique_id`: how wide the intervals of a series are beside those of one that is not here."""

    def apply(self, forecast_WHQ: Floats, unique_ids: list[str], series_W: NDArray[np.int64]) -> Floats:
        """Return the calibrated quantiles; `series_W` has the place of each window's series in `unique_ids`."""
        moved_WHQ = apply_offsets(forecast_WHQ, self.offsets_JH)
        if not self.widths:
            return moved_WHQ
        width_K = np.array([self.widths.get(unique_id, 1.0) for unique_id in unique_ids], np.float32)
        median_WH1 = _take_median(forecast_WHQ)[..., None]
        return median_WH1 + (moved_WHQ - median_WH1) * width_K[series_W, None, None]


@dataclass(frozen=True)
class CalibrationWindows:
    """The series of the windows of a calibration."""

    unique_ids: list[str]
    series_W: NDArray[np.int64]
    """The place of each window's series in `unique_ids`."""
    horizons_K: Floats
    """How many horizons of distinct steps the windows of each series forecast; overlapping windows tell no more."""


def calibrate(
    forecast_WHQ: Floats,
    y_WH: Floats,
    observed_WH: NDArray[np.bool_],
    quantiles: tuple[float, ...],
    windows: CalibrationWindows,
) -> tuple[Calibration | None, str]:
    """Find widths, then offsets; None if there is too little to calibrate on. Return them with a note.

    Args:
        forecast_WHQ: on the normalised scale.
        y_WH: the truth, on the same scale; anything where not observed.
        observed_WH: the targets that may be used.
        quantiles: of the forecast.
        windows: whose windows they are.
    """
    width_K = measure_relative_widths(forecast_WHQ, y_WH, observed_WH, windows)
    median_WH = _take_median(forecast_WHQ)
    shared_WH = median_WH + (y_WH - median_WH) / width_K[windows.series_W, None]  # as if all widths were 1
    offsets_JH, note = find_conformal_offsets(forecast_WHQ, shared_WH, observed_WH, quantiles)
    if offsets_JH is None:
        return None, note
    widths = {name: float(width) for name, width in zip(windows.unique_ids, width_K, strict=True) if width != 1}
    if widths:
        note += f"; by its own errors a series has {width_K.min():.2f} to {width_K.max():.2f} times the usual width"
    return Calibration(offsets_JH, widths), note


def measure_relative_widths(
    forecast_WHQ: Floats, y_WH: Floats, observed_WH: NDArray[np.bool_], windows: CalibrationWindows
) -> Floats:
    """Return each series' mean absolute error in units of its intervals, relative to the median, shrunk to 1. (K,)"""
    half_WH = np.maximum(forecast_WHQ[..., -1] - forecast_WHQ[..., 0], 1e-6) / 2
    error_WH = np.where(observed_WH, np.abs(y_WH - _take_median(forecast_WHQ)) / half_WH, 0.0)
    error_K, count_K, windows_K = (
        np.bincount(windows.series_W, weights=part, minlength=len(windows.unique_ids))
        for part in (error_WH.sum(1), observed_WH.sum(1), np.ones(len(y_WH)))
    )
    if (count_K > 0).sum() < 2:
        return np.ones(len(count_K), np.float32)
    error_K = np.divide(error_K, count_K, out=np.full(len(count_K), np.nan), where=count_K > 0)
    own_K = np.nan_to_num(error_K / max(float(np.nanmedian(error_K)), 1e-6), nan=1.0).clip(max=WIDEST)
    # Overlapping windows repeat each other's steps: distinct horizons, less the missing share, are the evidence.
    horizons_K = windows.horizons_K * count_K / np.maximum(windows_K * y_WH.shape[1], 1)
    return np.asarray((PRIOR_HORIZONS + horizons_K * own_K) / (PRIOR_HORIZONS + horizons_K), np.float32)


def find_conformal_offsets(
    forecast_WHQ: Floats, y_WH: Floats, observed_WH: NDArray[np.bool_], quantiles: tuple[float, ...]
) -> tuple[Floats | None, str]:
    """Return offsets (J, H) for `apply_offsets`, None if there is too little to calibrate on, and a note.

    All inputs are on the normalised scale. A step with too few windows for a level takes the scores of all steps.
    """
    levels = [1 - 2 * tail for tail in quantiles[: len(quantiles) // 2]]
    if not levels:
        return None, "no intervals to calibrate"
    if observed_WH.sum() < _count_needed(max(levels)):
        return None, f"{NOT_CALIBRATED}: {int(observed_WH.sum())} validation points are too few"
    offsets_JH = np.empty((len(levels), y_WH.shape[1]), np.float32)
    pooled = 0
    for j, level in enumerate(levels):
        scores_WH = np.maximum(forecast_WHQ[..., j] - y_WH, y_WH - forecast_WHQ[..., -1 - j])
        for h in range(y_WH.shape[1]):
            own = scores_WH[observed_WH[:, h], h]
            enough = len(own) >= _count_needed(level)
            pooled += not enough
            offsets_JH[j, h] = _find_conformal_quantile(own if enough else scores_WH[observed_WH], level)
    note = f"intervals calibrated on {len(y_WH)} validation windows"
    if pooled:
        note += f"; too few for {pooled} of {offsets_JH.size} steps and levels, which take all steps together"
    return offsets_JH, note


def apply_offsets(forecast_WHQ: Floats, offsets_JH: Floats) -> Floats:
    """Move intervals outwards by their offsets; never past the median, nor past a wider interval."""
    moved = forecast_WHQ.copy()
    median_WH = _take_median(forecast_WHQ)
    for j, offset_H in enumerate(offsets_JH):
        moved[..., j] = np.minimum(forecast_WHQ[..., j] - offset_H, median_WH)
        moved[..., -1 - j] = np.maximum(forecast_WHQ[..., -1 - j] + offset_H, median_WH)
    moved.sort(axis=-1)
    return moved


def _take_median(forecast_WHQ: Floats) -> Floats:
    return forecast_WHQ[..., forecast_WHQ.shape[-1] // 2]


def _count_needed(level: float) -> int:
    """Return the fewest scores for which the conformal quantile is finite."""
    return math.ceil(level / (1 - level) - 1e-9)


def _find_conformal_quantile(scores: Floats, level: float) -> float:
    rank = min(math.ceil((len(scores) + 1) * level - 1e-9), len(scores))
    return float(np.partition(scores, rank - 1)[rank - 1])
