"""Forecast a series without its season: smoothed levels, trends, half trends, damped trends.

Levels are exponentially smoothed and lines fitted by (discounted) least squares, over the values that are there.
A smoothed level with half of the trend is the Theta method (Assimakopoulos & Nikolopoulos, "The theta model: a
decomposition approach to forecasting", International Journal of Forecasting 2000); damped trends are those of Gardner
& McKenzie, "Forecasting trends in time series", Management Science 1985.

Shapes: B windows, L context, H horizon, K forecasts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lstm_model.networks.normalise import find_last_value

LEVELS = (0.2, 0.5, 1.0)
"""Smoothing of the flat forecasts; 1 is the last value."""
THETAS = (0.2, 0.4, 0.8)
"""Smoothing of the levels that half of the trend is added to."""
DAMPED = ((0.6, 0.7), (0.8, 0.9), (0.9, 0.8))
"""Local trends: discount of the past, and damping, a step each."""
LEAST_WEIGHT = 1e-20
"""Least total weight: below it, all values are so long ago that the last one serves."""
NUM_SMOOTHED = len(LEVELS) + len(THETAS) + 1 + len(DAMPED)


def smooth_forecasts(z_BL: Tensor, mask_BL: Tensor, *, horizon: int) -> Tensor:
    """Return (B, H, K) forecasts, K = `NUM_SMOOTHED`, each linear in the values for a given mask."""
    ahead_H = torch.arange(1, horizon + 1, device=z_BL.device, dtype=z_BL.dtype)
    _, slope_B1 = _fit_line(z_BL, mask_BL, 1.0)
    flat = [_smooth_level(z_BL, mask_BL, alpha).expand(-1, horizon) for alpha in LEVELS]
    theta = [_smooth_level(z_BL, mask_BL, alpha) + 0.5 * slope_B1 * ahead_H for alpha in THETAS]
    drift = find_last_value(z_BL, mask_BL > 0) + slope_B1 * ahead_H
    damped = []
    for discount, damping in DAMPED:
        level_B1, local_B1 = _fit_line(z_BL, mask_BL, discount)
        damped.append(level_B1 + local_B1 * torch.cumsum(damping**ahead_H, 0))
    return torch.stack([*flat, *theta, drift, *damped], dim=-1)


def _smooth_level(z_BL: Tensor, mask_BL: Tensor, alpha: float) -> Tensor:
    """Return the mean of the values, weighted by age. (B, 1)"""
    last_B1 = find_last_value(z_BL, mask_BL > 0)
    if alpha == 1:
        return last_B1
    weight_BL = mask_BL * (1 - alpha) ** _count_ages(z_BL)
    total_B1 = weight_BL.sum(1, keepdim=True)
    return torch.where(
        total_B1 > LEAST_WEIGHT, (z_BL * weight_BL).sum(1, keepdim=True) / total_B1.clamp(min=LEAST_WEIGHT), last_B1
    )


def _fit_line(z_BL: Tensor, mask_BL: Tensor, discount: float) -> tuple[Tensor, Tensor]:
    """Fit a straight line to the context: its level at the cutoff and its slope, (B, 1) each."""
    age_L = _count_ages(z_BL)
    weight_BL = mask_BL * discount**age_L
    total_B1 = weight_BL.sum(1, keepdim=True)
    weight_BL = weight_BL / total_B1.clamp(min=LEAST_WEIGHT)
    middle_B1 = (weight_BL * age_L).sum(1, keepdim=True)
    mean_B1 = (weight_BL * z_BL).sum(1, keepdim=True)
    apart_BL = middle_B1 - age_L
    spread_B1 = (weight_BL * apart_BL.square()).sum(1, keepdim=True).clamp(min=1e-6)
    slope_B1 = (weight_BL * apart_BL * (z_BL - mean_B1)).sum(1, keepdim=True) / spread_B1
    level_B1 = torch.where(total_B1 > LEAST_WEIGHT, mean_B1 + slope_B1 * middle_B1, find_last_value(z_BL, mask_BL > 0))
    return level_B1, slope_B1


def _count_ages(z_BL: Tensor) -> Tensor:
    return torch.arange(z_BL.shape[1] - 1, -1, -1, device=z_BL.device, dtype=z_BL.dtype)
