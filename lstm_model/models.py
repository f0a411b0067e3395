"""The networks: plain torch modules that turn a `Batch` into normalised quantiles.

Shapes: B windows, L context, H horizon, W = L + H, G steps a segment, N segments read, M segments written, D hidden,
Q quantiles, K simple forecasts, X = Q + K; P, F, S past, future and static covariates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_model.config import ModelSpec
from lstm_model.normalise import masked_context, standardise
from lstm_model.skips import count_simple_forecasts, simple_forecasts
from lstm_model.windows import Batch


class NormalisedForecast(NamedTuple):
    """Quantiles on the scale of each window's own context: original = values * scale + loc."""

    values_BHQ: Tensor
    loc_B1: Tensor
    scale_B1: Tensor


@dataclass(frozen=True)
class InputShape:
    """What a network reads and writes; with a `ModelSpec` it defines every parameter's shape."""

    context: int
    horizon: int
    season: int
    past: int = 0
    future: int = 0
    static: int = 0


class LSTMModel(nn.Module):
    """The tutorial's network: an LSTM over the window and a linear layer on its last step.

    The submodules are called `lstm` and `fc`, so weights saved by the tutorial's own class load.
    """

    def __init__(self, input_dim: int, hidden_dim: int, layer_dim: int, output_dim: int) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.layer_dim = layer_dim
        self.lstm = nn.LSTM(input_dim, hidden_dim, layer_dim, batch_first=True)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Output (B, output_dim) and final state; x is (B, L, input_dim), a state (layer_dim, B, D), zero if absent."""
        if h0 is None or c0 is None:
            h0 = torch.zeros(self.layer_dim, x.size(0), self.hidden_dim, device=x.device)
            c0 = torch.zeros(self.layer_dim, x.size(0), self.hidden_dim, device=x.device)
        out, (hn, cn) = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :]), hn, cn

    def forecast(self, batch: Batch, *, context: int, normalisation: str) -> NormalisedForecast:
        """A `Batch` forecast from a zero state, every output one step of the horizon (Q = 1)."""
        z_BL, _, loc_B1, scale_B1 = masked_context(batch.target_BW[:, :context], normalisation)
        out_BH, _, _ = self(z_BL[..., None])
        return NormalisedForecast(out_BH[..., None], loc_B1, scale_B1)


class DirectForecaster(nn.Module):
    """An LSTM that reads segments of the context and writes all segments of the horizon at once, as quantiles.

    The context is cut into segments of `spec.segment` steps, embedded linearly, so that the LSTM takes N short steps
    instead of L (segment 1 is the plain LSTM). Every output segment has a learned query that takes one further LSTM
    step from the final state, all in parallel: no error is fed back from step to step. What needs no recurrence goes
    past it: a mixture of simple forecasts (last value, drift, last season, ...), weighted for each window and step by
    the LSTM, and a linear map of the context. The network so starts as the mean of the simple forecasts and learns
    which of them to trust, and how to correct them.
    """

    past_scaler: Tensor
    future_scaler: Tensor
    static_scaler: Tensor

    def __init__(self, spec: ModelSpec, shape: InputShape, scaler: dict[str, list[list[float]]] | None = None) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        self.segment = min(spec.segment, shape.context)
        self.reads = -(-shape.context // self.segment)
        self.writes = -(-shape.horizon // self.segment)
        self.num_quantiles = len(spec.quantiles)
        width = spec.hidden_dim
        self.embed = nn.Linear(self.segment * (2 + shape.past + shape.future) + shape.static, width)
        self.lstm = nn.LSTM(
            width,
            width,
            spec.layer_dim,
            batch_first=True,
            dropout=spec.dropout if spec.layer_dim > 1 else 0.0,
        )
        self.query_MD = nn.Parameter(0.1 * torch.randn(self.writes, width))
        known = self.segment * shape.future + shape.static
        self.embed_known = nn.Linear(known, width) if known else None
        self.dropout = nn.Dropout(spec.dropout)
        self.num_simple = count_simple_forecasts(season=shape.season, context=shape.context)
        self.head = nn.Linear(width, self.segment * (self.num_quantiles + self.num_simple))
        self.skip = nn.Linear(shape.context, shape.horizon)
        _start_at_zero(self.head, self.skip)
        _register_scaler(self, scaler or {}, shape)

    def forward(self, batch: Batch) -> NormalisedForecast:
        """Quantiles of the horizon, ascending along Q: they cannot cross."""
        context = self.shape.context
        z_BL, mask_BL, loc_B1, scale_B1 = masked_context(batch.target_BW[:, :context], self.spec.normalisation)
        future_BWF = standardise(batch.future_BWF, self.future_scaler)
        static_BS = standardise(batch.static_BS, self.static_scaler)
        past_BLP = standardise(batch.past_BLP, self.past_scaler)
        channels_BLC = torch.cat([z_BL[..., None], mask_BL[..., None], past_BLP, future_BWF[:, :context]], dim=-1)
        read_BND = self.read(channels_BLC, static_BS)
        raw_BHX = self._write(read_BND, future_BWF[:, context:], static_BS)
        # The skips stay in full precision under autocast: they carry the level of the forecast.
        with torch.autocast(z_BL.device.type, enabled=False):
            raw_BHQ, mix_BHK = torch.split(raw_BHX.float(), [self.num_quantiles, self.num_simple], dim=-1)
            simple_BHK = simple_forecasts(z_BL, mask_BL, season=self.shape.season, horizon=self.shape.horizon)
            base_BH = (simple_BHK * mix_BHK.softmax(dim=-1)).sum(dim=-1) + self.skip(z_BL)
            values_BHQ = ordered_quantiles(raw_BHQ, base_BH)
        return NormalisedForecast(values_BHQ, loc_B1, scale_B1)

    def read(self, channels_BLC: Tensor, static_BS: Tensor) -> Tensor:
        """The LSTM's input (B, N, D): segments of the context, embedded; a short first one is padded on the left."""
        padding = self.reads * self.segment - channels_BLC.shape[1]
        segments_BNX = functional.pad(channels_BLC, (0, 0, padding, 0)).reshape(len(channels_BLC), self.reads, -1)
        static_BNS = static_BS[:, None].expand(-1, self.reads, -1)
        embedded_BND: Tensor = self.dropout(self.embed(torch.cat([segments_BNX, static_BNS], dim=-1)))
        return embedded_BND

    def _write(self, read_BND: Tensor, known_BHF: Tensor, static_BS: Tensor) -> Tensor:
        """One LSTM step a query from the final state, every query its own row: (B, H, X), quantiles and mixture."""
        _, (h_KBD, c_KBD) = self.lstm(read_BND)
        batch, writes = len(read_BND), self.writes
        query_BMD = self.query_MD.expand(batch, -1, -1)
        if self.embed_known is not None:
            query_BMD = query_BMD + self.embed_known(self._known(known_BHF, static_BS))
        states = [state.repeat_interleave(writes, dim=1) for state in (h_KBD, c_KBD)]
        out, _ = self.lstm(query_BMD.reshape(batch * writes, 1, -1), (states[0], states[1]))
        raw: Tensor = self.head(self.dropout(out))
        return raw.reshape(batch, writes * self.segment, -1)[:, : self.shape.horizon]

    def _known(self, known_BHF: Tensor, static_BS: Tensor) -> Tensor:
        """What is known of each output segment: its future covariates and the series' static ones."""
        padding = self.writes * self.segment - known_BHF.shape[1]
        segments_BMX = functional.pad(known_BHF, (0, 0, 0, padding)).reshape(len(known_BHF), self.writes, -1)
        return torch.cat([segments_BMX, static_BS[:, None].expand(-1, self.writes, -1)], dim=-1)


def ordered_quantiles(raw_BHQ: Tensor, base_BH: Tensor) -> Tensor:
    """Median = base + raw median; each further quantile lies a positive distance outside the one before."""
    middle = raw_BHQ.shape[-1] // 2
    median_BH1 = base_BH[..., None] + raw_BHQ[..., middle : middle + 1]
    if middle == 0:
        return median_BH1
    below = functional.softplus(raw_BHQ[..., :middle] - 1).flip(-1).cumsum(-1).flip(-1)
    above = functional.softplus(raw_BHQ[..., middle + 1 :] - 1).cumsum(-1)
    return torch.cat([median_BH1 - below, median_BH1, median_BH1 + above], dim=-1)


def build_network(spec: ModelSpec, shape: InputShape, scaler: dict[str, list[list[float]]] | None = None) -> nn.Module:
    """The untrained network of a spec, from torch's global random state.

    Raises:
        ValueError: the tutorial's network was asked to read covariates, which it cannot.
    """
    if spec.kind == "direct":
        return DirectForecaster(spec, shape, scaler)
    if shape.past or shape.future or shape.static:
        raise ValueError("model.kind 'tutorial' reads the target only; remove the covariates or use kind 'direct'")
    return LSTMModel(1, spec.hidden_dim, spec.layer_dim, shape.horizon)


def forecast_batch(network: nn.Module, batch: Batch, *, spec: ModelSpec, context: int) -> NormalisedForecast:
    """What either network forecasts for a batch."""
    if isinstance(network, LSTMModel):
        return network.forecast(batch, context=context, normalisation=spec.normalisation)
    result: NormalisedForecast = network(batch)
    return result


def _start_at_zero(*layers: nn.Linear) -> None:
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def _register_scaler(network: nn.Module, scaler: dict[str, list[list[float]]], shape: InputShape) -> None:
    """Covariate means and deviations travel with the weights: (2, count) buffers, identity where none are given."""
    for role, count in (("past", shape.past), ("future", shape.future), ("static", shape.static)):
        pairs = scaler.get(role) or [[0.0, 1.0]] * count
        if len(pairs) != count:
            raise ValueError(f"the scaler has {len(pairs)} {role} covariates, the windows have {count}")
        network.register_buffer(f"{role}_scaler", torch.tensor(pairs, dtype=torch.float32).reshape(count, 2).T.clone())
