"""Normalise every window by the scale of its own context, and of nothing after it.

Shapes: B windows, L context, C covariates.
"""

from __future__ import annotations

import torch
from torch import Tensor

# A context flatter than this share of its own level is treated as constant: dividing by rounding noise explodes.
FLAT = 1e-5
FLAT_LOG = 0.1
"""Scale of a constant context of logarithms, whose level depends on the unit: a tenth up or down."""
LARGEST_LOG = 85.0
"""The exponential of more does not fit into float32."""


def apply_transform(values_BW: Tensor, transform: str, level_B1: Tensor) -> Tensor:
    """Return values above a level as the network takes them.

    Of `log`, that is their natural logarithms, above that of the level if it is positive; NaN (missing) if there is
    none.
    """
    if transform == "none":
        return values_BW
    plain_BW = values_BW + level_B1
    plain_BW = torch.where(plain_BW > 0, plain_BW, torch.nan).log()
    if level_B1.device.type == "cpu" and not level_B1.any():  # of a GPU, the question would take longer than the answer
        return plain_BW
    share_BW = values_BW / level_B1
    return torch.where(level_B1 > 0, torch.where(share_BW > -1, share_BW, torch.nan).log1p(), plain_BW)


def invert_transform(values_BHQ: Tensor, transform: str, level_B1: Tensor | None = None) -> Tensor:
    """Return transformed values in their original units: float32, or float64 if a level is put back."""
    plain_BHQ = values_BHQ if transform == "none" else values_BHQ.clamp(max=LARGEST_LOG).exp()
    if level_B1 is None:
        return plain_BHQ
    level_B11 = level_B1.double()[..., None]
    if transform == "none":
        return plain_BHQ + level_B11
    return torch.where(level_B11 > 0, level_B11 * values_BHQ.double().clamp(max=LARGEST_LOG).exp(), plain_BHQ.double())


def normalise_context(
    context_BL: Tensor, normalisation: str, transform: str = "none", level_B1: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the context with 0 for NaN, the mask (1 for a value), loc (B, 1) and scale (B, 1).

    Args:
        context_BL: the transformed context.
        normalisation: as `measure_scale` takes it.
        transform: the one that was applied: logarithms have no level of their own.
        level_B1: that was taken out, 0 if not given.
    """
    valid_BL = ~context_BL.isnan()
    filled_BL = torch.where(valid_BL, context_BL, 0.0)
    level_B1 = torch.zeros_like(filled_BL[:, :1]) if level_B1 is None else level_B1
    loc_B1, scale_B1 = measure_scale(filled_BL, valid_BL, normalisation, transform, level_B1)
    z_BL = torch.where(valid_BL, (filled_BL - loc_B1) / scale_B1, 0.0)
    return z_BL, valid_BL.to(z_BL.dtype), loc_B1, scale_B1


def measure_scale(
    filled_BL: Tensor, valid_BL: Tensor, normalisation: str, transform: str, level_B1: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the location and scale of each window: (B, 1) each.

    mean_std: mean and standard deviation. last: last value and mean absolute step between neighbours, which fits
    short trending series, whose deviation measures mostly the trend. none: 0 and 1.
    """
    if normalisation == "none":
        zero_B1 = torch.zeros_like(filled_BL[:, :1])
        return zero_B1, torch.ones_like(zero_B1)
    count_B1 = valid_BL.sum(1, keepdim=True).clamp(min=1)
    mean_B1 = filled_BL.sum(1, keepdim=True) / count_B1
    if normalisation == "mean_std":
        centred_BL = torch.where(valid_BL, filled_BL - mean_B1, 0.0)
        spread_B1 = (centred_BL.square().sum(1, keepdim=True) / count_B1).sqrt()
        return mean_B1, _replace_flat_scale(spread_B1, mean_B1, transform, level_B1)
    step_BL = torch.where(valid_BL[:, 1:] & valid_BL[:, :-1], filled_BL.diff(dim=1).abs(), 0.0)
    steps_B1 = (valid_BL[:, 1:] & valid_BL[:, :-1]).sum(1, keepdim=True).clamp(min=1)
    return find_last_value(filled_BL, valid_BL), _replace_flat_scale(
        step_BL.sum(1, keepdim=True) / steps_B1, mean_B1, transform, level_B1
    )


def find_last_value(filled_BL: Tensor, valid_BL: Tensor) -> Tensor:
    """Return the last value of each window that is present; 0 if none is. (B, 1)"""
    position_L = torch.arange(1, filled_BL.shape[1] + 1, device=filled_BL.device)
    last_B1 = (valid_BL * position_L).amax(1, keepdim=True)
    return torch.where(last_B1 > 0, filled_BL.gather(1, (last_B1 - 1).clamp(min=0)), 0.0)


def standardise(values: Tensor, scaler_2C: Tensor) -> Tensor:
    """Return covariates on the training rows' scale; missing ones become 0, the mean."""
    if values.shape[-1] == 0:
        return values
    return torch.nan_to_num((values - scaler_2C[0]) / scaler_2C[1].clamp(min=1e-8), nan=0.0)


def _replace_flat_scale(scale_B1: Tensor, mean_B1: Tensor, transform: str, level_B1: Tensor) -> Tensor:
    """Replace the scale of a flat context by its level, or by 1 if that is 0 too."""
    flat_B1 = FLAT * mean_B1.abs()  # what float32 rounds: of a context without its level, that is little
    if transform == "log":
        return torch.where(scale_B1 > torch.where(level_B1 > 0, flat_B1, FLAT), scale_B1, FLAT_LOG)
    whole_B1 = (mean_B1 + level_B1).abs()
    return torch.where(scale_B1 > flat_B1, scale_B1, torch.where(whole_B1 > 0, whole_B1, 1.0))
