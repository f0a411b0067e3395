"""Build the networks: plain torch modules that turn a `Batch` into normalised quantiles.

Shapes: B windows, L context, H horizon, D hidden, Q quantiles, K simple forecasts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lstm_model.contracts.settings import ModelSpec
from lstm_model.networks.mixture import MixtureForecaster
from lstm_model.networks.normalise import masked_context, transformed
from lstm_model.networks.segmented import (
    InputShape,
    NormalisedForecast,
    SegmentedLSTM,
    ordered_quantiles,
    start_at_zero,
)
from lstm_model.networks.simple_forecasts import count_simple_forecasts, simple_forecasts
from lstm_model.windows.in_memory import Batch


class LSTMModel(nn.Module):
    """The tutorial's network: an LSTM reads a window from a zero state, a linear layer reads the LSTM's last step.

    The submodules are called `lstm` and `fc`, so weights of the tutorial's own class load here, and these load there.
    """

    def __init__(self, input_dim: int, hidden_dim: int, layer_dim: int, output_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.layer_dim = layer_dim
        self.lstm = nn.LSTM(input_dim, hidden_dim, layer_dim, batch_first=True)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map windows (B, L, input_dim) to outputs (B, output_dim), on whatever device both are."""
        out_BLD, _ = self.lstm(x)  # without a state, torch starts from zeros
        output: Tensor = self.fc(out_BLD[:, -1, :])
        return output

    def forecast(self, batch: Batch, *, context: int, normalisation: str) -> NormalisedForecast:
        """Forecast a `Batch`; every output is one step of the horizon (Q = 1)."""
        z_BL, _, loc_B1, scale_B1 = masked_context(batch.target_BW[:, :context], normalisation)
        return NormalisedForecast(self(z_BL[..., None])[..., None], loc_B1, scale_B1)


class DirectForecaster(SegmentedLSTM):
    """The network of version 0.2, for its bundles: five simple forecasts, and a linear map of the context."""

    def __init__(self, spec: ModelSpec, shape: InputShape, scaler: dict[str, list[list[float]]] | None = None) -> None:
        self.num_simple = count_simple_forecasts(season=shape.season, context=shape.context)
        super().__init__(spec, shape, scaler, outputs=len(spec.quantiles) + self.num_simple)
        self.skip = nn.Linear(shape.context, shape.horizon)
        start_at_zero(self.skip)

    def forward(self, batch: Batch) -> NormalisedForecast:
        """Quantiles of the horizon, ascending along Q: they cannot cross."""
        context_BL = transformed(batch.target_BW[:, : self.shape.context], self.spec.transform)
        z_BL, mask_BL, loc_B1, scale_B1 = masked_context(context_BL, self.spec.normalisation)
        raw_BHO = self.read_and_write(z_BL, mask_BL, batch)
        # The skips stay in full precision under autocast: they carry the level of the forecast.
        with torch.autocast(z_BL.device.type, enabled=False):
            raw_BHQ, mix_BHK = torch.split(raw_BHO.float(), [self.num_quantiles, self.num_simple], dim=-1)
            simple_BHK = simple_forecasts(z_BL, mask_BL, season=self.shape.season, horizon=self.shape.horizon)
            base_BH = (simple_BHK * mix_BHK.softmax(dim=-1)).sum(dim=-1) + self.skip(z_BL)
            values_BHQ = ordered_quantiles(raw_BHQ, base_BH)
        return NormalisedForecast(values_BHQ, loc_B1, scale_B1)


def build_network(spec: ModelSpec, shape: InputShape, scaler: dict[str, list[list[float]]] | None = None) -> nn.Module:
    """The untrained network of a spec, from torch's global random state.

    Raises:
        ValueError: the tutorial's network was asked to read covariates, which it cannot.
    """
    if spec.kind != "tutorial":
        return {"mixture": MixtureForecaster, "direct": DirectForecaster}[spec.kind](spec, shape, scaler)
    if shape.past or shape.future or shape.static:
        raise ValueError("model.kind 'tutorial' reads the target only; remove the covariates or use kind 'mixture'")
    return LSTMModel(1, spec.hidden_dim, spec.layer_dim, shape.horizon)


def forecast_batch(network: nn.Module, batch: Batch, *, spec: ModelSpec, context: int) -> NormalisedForecast:
    """What any of the networks forecasts for a batch."""
    if isinstance(network, LSTMModel):
        return network.forecast(batch, context=context, normalisation=spec.normalisation)
    result: NormalisedForecast = network(batch)
    return result
