"""Find the seasonal shape of a context. Shapes: B windows, L context, H horizon, S season, C seasons."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Seasonality(NamedTuple):
    """An additive season; all zero if the context is shorter than two seasons or the season is 1."""

    context_BL: Tensor
    horizon_BH: Tensor
    share_B1: Tensor
    """Share of the shape's spread that noise does not explain, 0 to 1."""


def find_seasonality(z_BL: Tensor, mask_BL: Tensor, *, season: int, horizon: int) -> Seasonality:
    """Estimate the mean deviation of each phase from a centred moving average, shrunk by its noise.

    Shrinkage as in Miller & Williams, "Shrinkage estimators of time series seasonal factors and their effect on
    forecasting accuracy", International Journal of Forecasting 2003, after James & Stein (1961).
    """
    if season < 2 or z_BL.shape[1] < 2 * season:
        return Seasonality(torch.zeros_like(z_BL), z_BL.new_zeros(len(z_BL), horizon), torch.zeros_like(z_BL[:, :1]))
    deviation_BL, valid_BL = _subtract_moving_average(z_BL, mask_BL, season)
    deviation_BCS, valid_BCS = split_seasons(deviation_BL, season), split_seasons(valid_BL, season)
    count_BS = valid_BCS.sum(1)
    shape_BS = deviation_BCS.sum(1) / count_BS.clamp(min=1)
    shape_BS = shape_BS - shape_BS.mean(1, keepdim=True)
    noise_BCS = (deviation_BCS - shape_BS[:, None]) * valid_BCS
    share_B1 = _measure_explained_share(shape_BS, noise_BCS, count_BS.sum(1, keepdim=True))
    shape_BS = shape_BS * share_B1
    context_BL = repeat_season(shape_BS.flip(1), z_BL.shape[1]).flip(1) * mask_BL
    return Seasonality(context_BL, repeat_season(shape_BS, horizon), share_B1)


def split_seasons(values_BL: Tensor, season: int) -> Tensor:
    """Return all of the context as seasons, the first one filled up with zeros: (B, C, S)."""
    return functional.pad(values_BL, (-values_BL.shape[1] % season, 0)).reshape(len(values_BL), -1, season)


def repeat_season(season_BS: Tensor, steps: int) -> Tensor:
    """Return (B, steps) repetitions of the season."""
    return season_BS.repeat(1, -(-steps // season_BS.shape[1]))[:, :steps]


def _subtract_moving_average(z_BL: Tensor, mask_BL: Tensor, season: int) -> tuple[Tensor, Tensor]:
    """Return deviations from the moving average, and a mask of those with a whole season of values around."""

    def average(values_BL: Tensor) -> Tensor:
        pooled_BN = functional.avg_pool1d(values_BL, season, stride=1)
        return pooled_BN if season % 2 else functional.avg_pool1d(pooled_BN, 2, stride=1)

    half = season // 2
    inner = slice(half, z_BL.shape[1] - half)
    valid_BN = (average(mask_BL) > 1 - 0.25 / season).to(z_BL.dtype)
    deviation_BN = (z_BL[:, inner] - average(z_BL)) * valid_BN
    return functional.pad(deviation_BN, (half, half)), functional.pad(valid_BN, (half, half))


def _measure_explained_share(shape_BS: Tensor, noise_BCS: Tensor, count_B1: Tensor) -> Tensor:
    """Return 1 - (squared error of the phases) / (their variance), 0 without a phase to compare with."""
    season = shape_BS.shape[1]
    error_B1 = (
        noise_BCS.square().sum((1, 2))[:, None] / (count_B1 - season).clamp(min=1) * season / count_B1.clamp(min=1)
    )
    spread_B1 = shape_BS.square().sum(1, keepdim=True) / (season - 1)
    share_B1 = (1 - error_B1 / spread_B1.clamp(min=1e-12)).clamp(0, 1)
    return torch.where(count_B1 > season + 1, share_B1, 0.0)
