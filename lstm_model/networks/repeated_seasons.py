"""Repeat the last and the mean season of a context: simple forecasts that the network weighs and corrects.

All are computed from a normalised context and its mask. Shapes: B windows, L context, H horizon, K cycles, S season,
R repeated seasons.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lstm_model.networks.normalise import find_last_value
from lstm_model.networks.seasonality import repeat_season

LONG_CYCLE = 7
"""Seasons in the longer cycle that many series have beside their season: days in a week."""


def count_repeated_seasons(*, season: int, context: int) -> int:
    """Return R for this geometry."""
    long = LONG_CYCLE * season
    return 2 * (1 < season <= context) + (season > 1) * ((long <= context) + (2 * long <= context))


def repeat_seasons(z_BL: Tensor, mask_BL: Tensor, *, season: int, horizon: int) -> Tensor:
    """Return (B, H, R) the last and the mean season, and those of a long cycle if the context holds it."""
    context, long = z_BL.shape[1], LONG_CYCLE * season
    seasons = []
    if 1 < season <= context:
        seasons.append(repeat_last_season(z_BL, mask_BL, season=season, horizon=horizon))
        seasons.append(_repeat_mean_season(z_BL, mask_BL, season=season, horizon=horizon))
    if season > 1 and long <= context:
        seasons.append(repeat_last_season(z_BL, mask_BL, season=long, horizon=horizon))
    if season > 1 and 2 * long <= context:
        seasons.append(_repeat_mean_season(z_BL, mask_BL, season=long, horizon=horizon))
    return torch.stack(seasons, dim=-1) if seasons else z_BL.new_zeros(len(z_BL), horizon, 0)


def repeat_last_season(z_BL: Tensor, mask_BL: Tensor, *, season: int, horizon: int) -> Tensor:
    """Repeat the newest value of each phase of the season over the horizon: (B, H).

    A phase without any value takes the window's last value.
    """
    z_BKS, valid_BKS = _split_whole_seasons(z_BL, season), _split_whole_seasons(mask_BL, season) > 0
    order_K1 = torch.arange(1, z_BKS.shape[1] + 1, device=z_BL.device)[:, None]
    newest_B1S = (valid_BKS * order_K1).amax(1, keepdim=True)
    value_BS = z_BKS.gather(1, (newest_B1S - 1).clamp(min=0)).squeeze(1)
    value_BS = torch.where(newest_B1S.squeeze(1) > 0, value_BS, find_last_value(z_BL, mask_BL > 0))
    return repeat_season(value_BS, horizon)


def _repeat_mean_season(z_BL: Tensor, mask_BL: Tensor, *, season: int, horizon: int) -> Tensor:
    """Repeat the mean shape of all seasons, less noisy than one, at the level of the last one: (B, H)."""
    z_BKS, mask_BKS = _split_whole_seasons(z_BL, season), _split_whole_seasons(mask_BL, season)
    level_BK1 = z_BKS.sum(2, keepdim=True) / mask_BKS.sum(2, keepdim=True).clamp(min=1)
    shape_BS = ((z_BKS - level_BK1) * mask_BKS).sum(1) / mask_BKS.sum(1).clamp(min=1)
    return repeat_season(level_BK1[:, -1] + shape_BS, horizon)


def _split_whole_seasons(values_BL: Tensor, season: int) -> Tensor:
    """Return the whole seasons at the end of the context: (B, number of seasons, season)."""
    cycles = values_BL.shape[1] // season
    return values_BL[:, -cycles * season :].reshape(-1, cycles, season)
