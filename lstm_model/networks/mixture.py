"""Define the default network: an LSTM that weighs simple forecasts by window and step, and corrects them.

Shapes: B windows, L context, H horizon, Q quantiles, K simple forecasts, R repeated seasons, U features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_model.contracts.bundle_card import InputShape
from lstm_model.contracts.settings import ModelSpec
from lstm_model.networks.normalise import apply_transform, normalise_context
from lstm_model.networks.repeated_seasons import LONG_CYCLE, count_repeated_seasons, repeat_seasons
from lstm_model.networks.seasonality import Seasonality, find_seasonality
from lstm_model.networks.segmented import (
    NormalisedForecast,
    SegmentedLSTM,
    fill_with_zeros,
    order_quantiles,
)
from lstm_model.networks.smoothing import NUM_SMOOTHED, smooth_forecasts
from lstm_model.windows.in_memory import Batch

NUM_FEATURES = 9
SHARPNESS = 5.0
"""The head's outputs times this weigh the forecasts: at usual learning rates the weights so move far enough in the few
hundred steps that a training has."""


class MixtureForecaster(SegmentedLSTM):
    """A mixture of simple forecasts, with and without the season, whose weights and corrections an LSTM gives.

    The LSTM reads the context without its seasonal shape, and features of the window. Levels, trends, half trends and
    damped trends are forecast without the season, which is added back in the share that the LSTM's gate allows; last
    and mean seasons are repeated as they are. The network starts as the mean of all. With `spec.linear_skip`, a linear
    map of the context, which starts at zero, is added.
    """

    def __init__(self, spec: ModelSpec, shape: InputShape, scaler: dict[str, list[list[float]]] | None = None) -> None:
        self.num_simple = NUM_SMOOTHED + count_repeated_seasons(season=shape.season, context=shape.context)
        super().__init__(spec, shape, scaler, outputs=len(spec.quantiles) + self.num_simple + 1, features=NUM_FEATURES)
        self._cycles = (shape.season, LONG_CYCLE * shape.season)
        self.skip = nn.Linear(shape.context, shape.horizon) if spec.linear_skip else None
        if self.skip is not None:
            fill_with_zeros(self.skip)

    def forward(self, batch: Batch) -> NormalisedForecast:
        """Forecast the quantiles of the horizon, ascending along Q: they cannot cross."""
        transform, level_B1 = self.spec.transform, batch.level_B1
        context_BL = apply_transform(batch.target_BW[:, : self.shape.context], transform, level_B1)
        z_BL, mask_BL, loc_B1, scale_B1 = normalise_context(context_BL, self.spec.normalisation, transform, level_B1)
        season = find_seasonality(z_BL, mask_BL, season=self.shape.season, horizon=self.shape.horizon)
        rest_BL = z_BL - season.context_BL
        size_B1 = (rest_BL.square().sum(1, keepdim=True) / mask_BL.sum(1, keepdim=True).clamp(min=1)).sqrt()
        relative_B1 = scale_B1 if transform == "log" else scale_B1 / (loc_B1 + level_B1).abs().clamp(min=1e-6)
        naive_B2 = torch.cat([_measure_naive_error(z_BL, mask_BL, lag) for lag in self._cycles], dim=1)
        features_BU = torch.cat(
            [season.share_B1, naive_B2, _measure_features(rest_BL, mask_BL, size_B1, relative_B1)], dim=1
        )
        raw_BHO = self.read_and_write(rest_BL / size_B1.clamp(min=1), mask_BL, batch, features_BU=features_BU)
        # Forecasts stay in full precision under autocast: they carry the level.
        with torch.autocast(z_BL.device.type, enabled=False):
            values_BHQ = self._mix(raw_BHO.float(), z_BL, mask_BL, season)
        return NormalisedForecast(values_BHQ, loc_B1, scale_B1)

    def _mix(self, raw_BHO: Tensor, z_BL: Tensor, mask_BL: Tensor, season: Seasonality) -> Tensor:
        raw_BHQ, mix_BHK, gate_BH1 = torch.split(raw_BHO, [self.num_quantiles, self.num_simple, 1], dim=-1)
        horizon, period = self.shape.horizon, self.shape.season
        repeated_BHR = repeat_seasons(z_BL, mask_BL, season=period, horizon=horizon)
        gate_B11 = 2 * (SHARPNESS * gate_BH1.mean(1, keepdim=True)).sigmoid()
        smoothed_BHK = smooth_forecasts(z_BL - gate_B11[..., 0] * season.context_BL, mask_BL, horizon=horizon)
        smoothed_BHK = smoothed_BHK + gate_B11 * season.horizon_BH[..., None]
        simple_BHK = torch.cat([smoothed_BHK, repeated_BHR], dim=-1)
        base_BH = (simple_BHK * (SHARPNESS * mix_BHK).softmax(dim=-1)).sum(dim=-1)
        if self.skip is not None:
            base_BH = base_BH + self.skip(z_BL)
        return order_quantiles(raw_BHQ, base_BH)


def _measure_naive_error(z_BL: Tensor, mask_BL: Tensor, lag: int) -> Tensor:
    """Return the log error of repeating the last cycle within the context, 0 if it holds no two. (B, 1)"""
    if not 1 < lag < z_BL.shape[1]:
        return torch.zeros_like(z_BL[:, :1])
    pair_BN = mask_BL[:, lag:] * mask_BL[:, :-lag]
    error_B1 = ((z_BL[:, lag:] - z_BL[:, :-lag]).abs() * pair_BN).sum(1, keepdim=True)
    return (error_B1 / pair_BN.sum(1, keepdim=True).clamp(min=1)).clamp(min=1e-3).log() + 1


def _measure_features(rest_BL: Tensor, mask_BL: Tensor, size_B1: Tensor, relative_B1: Tensor) -> Tensor:
    """Return the features that distinguish series, each from about -2 to 2. (B, U - 3)

    Args:
        rest_BL: the normalised context without its season.
        mask_BL: 1 where there is a value.
        size_B1: root mean square of `rest_BL`.
        relative_B1: the scale of the window as a share of its level.
    """
    pair_BL = mask_BL[:, 1:] * mask_BL[:, :-1]
    step_BL = rest_BL.diff(dim=1) * pair_BL
    pairs_B1 = pair_BL.sum(1, keepdim=True).clamp(min=1)
    mean_B1 = step_BL.sum(1, keepdim=True) / pairs_B1
    size_of_step_B1 = step_BL.abs().sum(1, keepdim=True) / pairs_B1
    around_BL = (step_BL - mean_B1) * pair_BL
    spread_B1 = around_BL.square().sum(1, keepdim=True).clamp(min=1e-6)
    autocorrelation_B1 = (around_BL[:, 1:] * around_BL[:, :-1]).sum(1, keepdim=True) / spread_B1
    trend_B1 = mean_B1 / size_of_step_B1.clamp(min=1e-3) * pairs_B1.sqrt()
    features = [
        mask_BL.sum(1, keepdim=True).clamp(min=1).log() - 3,
        size_B1.clamp(min=1e-2).log(),
        size_of_step_B1.clamp(min=1e-2).log(),
        2 * autocorrelation_B1,
        (trend_B1 / 3).clamp(-3, 3),
        0.5 * relative_B1.clamp(1e-4, 1e2).log() + 1,
    ]
    return torch.cat(features, dim=1)
