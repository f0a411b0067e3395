"""Compute the training loss. Shapes: B windows, L context, H horizon, Q quantiles."""

from __future__ import annotations

import torch
from torch import Tensor

from lstm_model.networks.normalise import apply_transform
from lstm_model.networks.segmented import NormalisedForecast
from lstm_model.windows.in_memory import Batch

FAR_TARGET = 10.0
"""A target this many units from its context cannot be forecast from it; its window counts for less, so that a
level shift after a flat stretch does not drown all other windows."""
LEAST_ERROR_SCALE = 0.05
"""Least error scale, as a share of the window's own scale: a window that repeats itself exactly has none."""


RELATIVE_WEIGHT = 10.0
"""Weight of the relative error beside the scaled one, for a network of logarithms: about as large there."""
MEDIAN_SHARE = 0.5
"""Share of the median in the loss; the mean over all quantiles has the rest."""


def sum_pinball(
    forecast: NormalisedForecast, batch: Batch, quantiles_Q: Tensor, *, season: int, transform: str = "none"
) -> Tensor:
    """Return the scaled pinball loss, summed over windows and observed steps, weighted over quantiles.

    Twice the pinball loss, so that the median gives the absolute error, in units of the error of repeating the season
    within the context: easy and hard series count alike, as in MASE. Of logarithms, the loss of the relative
    error is added, 2 tanh(difference / 2), which for the median is the symmetric percentage error of sMAPE.
    """
    horizon = forecast.values_BHQ.shape[1]
    target_BW = apply_transform(batch.target_BW, transform, batch.level_B1)
    observed_BH = batch.observed_BW[:, -horizon:] & ~target_BW[:, -horizon:].isnan()
    y_BH = torch.nan_to_num(target_BW[:, -horizon:])
    z_BH = torch.where(observed_BH, (y_BH - forecast.loc_B1) / forecast.scale_B1, 0.0)
    error_BHQ = z_BH[..., None] - forecast.values_BHQ
    unit_B1 = measure_error_scale(target_BW[:, :-horizon], season=season) / forecast.scale_B1
    unit_B1 = torch.nan_to_num(unit_B1, nan=1.0).clamp(min=LEAST_ERROR_SCALE)
    weight_B1 = FAR_TARGET / (z_BH.abs() / unit_B1).amax(1, keepdim=True).clamp(min=FAR_TARGET)
    loss_BH = _compute_pinball(error_BHQ, quantiles_Q) * weight_B1 / unit_B1
    if transform == "log":
        relative_BHQ = 2 * torch.tanh(error_BHQ * forecast.scale_B1[..., None] / 2)
        loss_BH = loss_BH + RELATIVE_WEIGHT * _compute_pinball(relative_BHQ, quantiles_Q)
    return (loss_BH * observed_BH).sum()


def _compute_pinball(error_BHQ: Tensor, quantiles_Q: Tensor) -> Tensor:
    loss_BHQ = 2 * torch.maximum(quantiles_Q * error_BHQ, (quantiles_Q - 1) * error_BHQ)
    middle = loss_BHQ.shape[-1] // 2
    return MEDIAN_SHARE * loss_BHQ[..., middle] + (1 - MEDIAN_SHARE) * loss_BHQ.mean(-1)


def measure_error_scale(context_BL: Tensor, *, season: int) -> Tensor:
    """Return the mean absolute seasonal difference of each context, NaN if there is none. (B, 1)"""
    lag = season if season < context_BL.shape[1] else 1
    return (context_BL[:, lag:] - context_BL[:, :-lag]).abs().nanmean(1, keepdim=True)


def count_targets(batch: Batch, horizon: int, *, transform: str = "none") -> Tensor:
    """Count the observed targets that `sum_pinball` adds up; of logarithms, the positive ones."""
    observed_BH = batch.observed_BW[:, -horizon:]
    if transform == "log":
        observed_BH = observed_BH & (batch.target_BW[:, -horizon:] > -batch.level_B1)
    return observed_BH.sum()
