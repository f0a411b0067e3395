"""The training loss. Shapes: B windows, L context, H horizon, Q quantiles."""

from __future__ import annotations

import torch
from torch import Tensor

from lstm_model.models import NormalisedForecast
from lstm_model.windows import Batch

FAR = 10.0
"""A target this many units from its context is beyond what the context can tell; its window counts for less, so that a
level shift after a flat stretch does not drown all other windows."""
EASIEST = 0.05
"""Least error scale, as a share of the window's own scale: a window that repeats itself exactly has none."""


def pinball_sum(forecast: NormalisedForecast, batch: Batch, quantiles_Q: Tensor, *, season: int) -> Tensor:
    """Scaled pinball loss, summed over windows and observed steps, averaged over quantiles.

    Twice the pinball loss, so that the median alone gives the absolute error, in units of what repeating the season
    would err within the context: easy and hard series count alike, as in MASE.
    """
    horizon = forecast.values_BHQ.shape[1]
    observed_BH = batch.observed_BW[:, -horizon:]
    y_BH = torch.nan_to_num(batch.target_BW[:, -horizon:])
    z_BH = torch.where(observed_BH, (y_BH - forecast.loc_B1) / forecast.scale_B1, 0.0)
    error_BHQ = z_BH[..., None] - forecast.values_BHQ
    loss_BH = 2 * torch.maximum(quantiles_Q * error_BHQ, (quantiles_Q - 1) * error_BHQ).mean(-1)
    unit_B1 = error_scale(batch.target_BW[:, :-horizon], season=season) / forecast.scale_B1
    unit_B1 = torch.nan_to_num(unit_B1, nan=1.0).clamp(min=EASIEST)
    weight_B1 = FAR / (z_BH.abs() / unit_B1).amax(1, keepdim=True).clamp(min=FAR)
    return (loss_BH * observed_BH * weight_B1 / unit_B1).sum()


def error_scale(context_BL: Tensor, *, season: int) -> Tensor:
    """Mean absolute seasonal difference of each context, NaN where there is none. (B, 1)"""
    lag = season if season < context_BL.shape[1] else 1
    return (context_BL[:, lag:] - context_BL[:, :-lag]).abs().nanmean(1, keepdim=True)


def count_targets(batch: Batch, horizon: int) -> Tensor:
    """How many observed targets the batch has: what `pinball_sum` is divided by."""
    return batch.observed_BW[:, -horizon:].sum()
