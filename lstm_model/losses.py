"""The training loss. Shapes: B windows, H horizon, Q quantiles."""

from __future__ import annotations

import torch
from torch import Tensor

from lstm_model.models import NormalisedForecast
from lstm_model.windows import Batch

# A target this many scales from its context is outside what the context can tell; its window counts for less, so that
# a level shift after a flat stretch does not drown all other windows.
FAR = 10.0


def pinball_sum(forecast: NormalisedForecast, batch: Batch, quantiles_Q: Tensor) -> Tensor:
    """Pinball loss on the normalised scale, summed over windows and observed steps, averaged over quantiles.

    Twice the pinball loss, so that the median alone gives the absolute error.
    """
    horizon = forecast.values_BHQ.shape[1]
    observed_BH = batch.observed_BW[:, -horizon:]
    y_BH = torch.nan_to_num(batch.target_BW[:, -horizon:])
    z_BH = torch.where(observed_BH, (y_BH - forecast.loc_B1) / forecast.scale_B1, 0.0)
    error_BHQ = z_BH[..., None] - forecast.values_BHQ
    loss_BH = 2 * torch.maximum(quantiles_Q * error_BHQ, (quantiles_Q - 1) * error_BHQ).mean(-1)
    weight_B1 = FAR / z_BH.abs().amax(1, keepdim=True).clamp(min=FAR)
    return (loss_BH * observed_BH * weight_B1).sum()


def count_targets(batch: Batch, horizon: int) -> Tensor:
    """How many observed targets the batch has: what `pinball_sum` is divided by."""
    return batch.observed_BW[:, -horizon:].sum()
