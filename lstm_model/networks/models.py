"""Build the networks: plain torch modules that turn a `Batch` into normalised quantiles.

Shapes: B windows, L context, D hidden, Q quantiles.
"""

from __future__ import annotations

from torch import Tensor, nn

from lstm_model.contracts.bundle_card import InputShape
from lstm_model.contracts.settings import ModelSpec
from lstm_model.networks.mixture import MixtureForecaster
from lstm_model.networks.normalise import normalise_context
from lstm_model.networks.segmented import NormalisedForecast
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
        """Map windows (B, L, input_dim) to outputs (B, output_dim), on the device of both."""
        out_BLD, _ = self.lstm(x)  # without a state, torch starts from zeros
        output: Tensor = self.fc(out_BLD[:, -1, :])
        return output

    def forecast(self, batch: Batch, *, context: int, normalisation: str) -> NormalisedForecast:
        """Forecast a `Batch`; every output is one step of the horizon (Q = 1)."""
        z_BL, _, loc_B1, scale_B1 = normalise_context(
            batch.target_BW[:, :context], normalisation, level_B1=batch.level_B1
        )
        return NormalisedForecast(self(z_BL[..., None])[..., None], loc_B1, scale_B1)


def build_network(spec: ModelSpec, shape: InputShape, scaler: dict[str, list[list[float]]] | None = None) -> nn.Module:
    """Build the untrained network of a spec, from torch's global random state.

    Raises:
        ValueError: the tutorial's network was asked to read covariates, which it cannot.
    """
    if spec.kind != "tutorial":
        return MixtureForecaster(spec, shape, scaler)
    if shape.past or shape.future or shape.static:
        raise ValueError("model.kind 'tutorial' reads the target only; remove the covariates or use kind 'mixture'")
    return LSTMModel(1, spec.hidden_dim, spec.layer_dim, shape.horizon)


def forecast_batch(network: nn.Module, batch: Batch, *, spec: ModelSpec, context: int) -> NormalisedForecast:
    """Forecast a batch with any of the networks."""
    if isinstance(network, LSTMModel):
        return network.forecast(batch, context=context, normalisation=spec.normalisation)
    result: NormalisedForecast = network(batch)
    return result
