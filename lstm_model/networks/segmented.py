"""Define an LSTM that reads segments of the context and writes all segments of the horizon at once.

Shapes: B windows, L context, H horizon, G steps a segment, N segments read, M segments written, D hidden, U features,
O outputs a step; P, F, S past, future and static covariates.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lstm_model.contracts.bundle_card import InputShape
from lstm_model.contracts.settings import ModelSpec
from lstm_model.networks.normalise import standardise
from lstm_model.windows.in_memory import Batch


class NormalisedForecast(NamedTuple):
    """Quantiles on the scale of each window's own context: transformed value above the level = values * scale + loc."""

    values_BHQ: Tensor
    loc_B1: Tensor
    scale_B1: Tensor


class SegmentedLSTM(nn.Module):
    """The recurrent part of a forecaster, and its covariates.

    The context is cut into segments of `spec.segment` steps, embedded linearly, so that the LSTM takes N short steps
    instead of L (segment 1 is the plain LSTM). Every output segment has a learned query that takes one further LSTM
    step from the final state, all in parallel: no error is fed back from step to step. Segments and parallel decoding
    are those of Lin et al., "SegRNN: Segment Recurrent Neural Network for Long-Term Time Series Forecasting", 2023.
    The head starts at zero.
    """

    past_scaler: Tensor
    future_scaler: Tensor
    static_scaler: Tensor

    def __init__(
        self,
        spec: ModelSpec,
        shape: InputShape,
        scaler: dict[str, list[list[float]]] | None = None,
        *,
        outputs: int,
        features: int = 0,
    ) -> None:
        super().__init__()
        self.spec, self.shape = spec, shape
        self.segment = min(spec.segment, shape.context)
        self.reads = -(-shape.context // self.segment)
        self.writes = -(-shape.horizon // self.segment)
        self.num_quantiles = len(spec.quantiles)
        width, static = spec.hidden_dim, shape.static + features
        self.embed = nn.Linear(self.segment * (2 + shape.past + shape.future) + static, width)
        self.lstm = nn.LSTM(
            width,
            width,
            spec.layer_dim,
            batch_first=True,
            dropout=spec.dropout if spec.layer_dim > 1 else 0.0,
        )
        self.query_MD = nn.Parameter(_draw_queries(self.writes, width))
        known = self.segment * shape.future + static
        self.embed_known = nn.Linear(known, width) if known else None
        self.dropout = nn.Dropout(spec.dropout)
        self.head = nn.Linear(width, self.segment * outputs)
        fill_with_zeros(self.head)
        _register_scaler(self, scaler or {}, shape)

    def read_and_write(
        self, z_BL: Tensor, mask_BL: Tensor, batch: Batch, *, features_BU: Tensor | None = None
    ) -> Tensor:
        """Return (B, H, O) the head's outputs for a normalised context, covariates and window features."""
        context = self.shape.context
        future_BWF = standardise(batch.future_BWF, self.future_scaler)
        static_BS = standardise(batch.static_BS, self.static_scaler)
        if features_BU is not None:
            static_BS = torch.cat([static_BS, features_BU], dim=1)
        past_BLP = standardise(batch.past_BLP, self.past_scaler)
        channels_BLC = torch.cat([z_BL[..., None], mask_BL[..., None], past_BLP, future_BWF[:, :context]], dim=-1)
        return self._write(self.read(channels_BLC, static_BS), future_BWF[:, context:], static_BS)

    def read(self, channels_BLC: Tensor, static_BS: Tensor) -> Tensor:
        """Return the LSTM's input (B, N, D): embedded segments of the context, a short first one padded left."""
        padding = self.reads * self.segment - channels_BLC.shape[1]
        segments_BNX = functional.pad(channels_BLC, (0, 0, padding, 0)).reshape(len(channels_BLC), self.reads, -1)
        static_BNS = static_BS[:, None].expand(-1, self.reads, -1)
        embedded_BND: Tensor = self.dropout(self.embed(torch.cat([segments_BNX, static_BNS], dim=-1)))
        return embedded_BND

    def _write(self, read_BND: Tensor, known_BHF: Tensor, static_BS: Tensor) -> Tensor:
        """Take one LSTM step a query from the final state, every query its own row: (B, H, O)."""
        _, (h_KBD, c_KBD) = self.lstm(read_BND)
        batch, writes = len(read_BND), self.writes
        query_BMD = self.query_MD.expand(batch, -1, -1)
        if self.embed_known is not None:
            query_BMD = query_BMD + self.embed_known(self._join_known(known_BHF, static_BS))
        states = [state.repeat_interleave(writes, dim=1) for state in (h_KBD, c_KBD)]
        out, _ = self.lstm(query_BMD.reshape(batch * writes, 1, -1), (states[0], states[1]))
        raw: Tensor = self.head(self.dropout(out))
        return raw.reshape(batch, writes * self.segment, -1)[:, : self.shape.horizon]

    def _join_known(self, known_BHF: Tensor, static_BS: Tensor) -> Tensor:
        """Return the known inputs of each output segment: its future covariates and the static ones."""
        padding = self.writes * self.segment - known_BHF.shape[1]
        segments_BMX = functional.pad(known_BHF, (0, 0, 0, padding)).reshape(len(known_BHF), self.writes, -1)
        return torch.cat([segments_BMX, static_BS[:, None].expand(-1, self.writes, -1)], dim=-1)


def order_quantiles(raw_BHQ: Tensor, base_BH: Tensor) -> Tensor:
    """Return median = base + raw median, and each further quantile a positive distance outside the one before."""
    middle = raw_BHQ.shape[-1] // 2
    median_BH1 = base_BH[..., None] + raw_BHQ[..., middle : middle + 1]
    if middle == 0:
        return median_BH1
    below = functional.softplus(raw_BHQ[..., :middle] - 1).flip(-1).cumsum(-1).flip(-1)
    above = functional.softplus(raw_BHQ[..., middle + 1 :] - 1).cumsum(-1)
    return torch.cat([median_BH1 - below, median_BH1, median_BH1 + above], dim=-1)


def fill_with_zeros(*layers: nn.Linear) -> None:
    """Set layers to zero, so that a network's corrections start from none."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def _draw_queries(writes: int, width: int) -> Tensor:
    query_MD = torch.empty(writes, width)
    if not query_MD.is_meta:  # torch would load its compiler, which takes seconds, to draw nothing
        query_MD.normal_().mul_(0.1)
    return query_MD


def _register_scaler(network: nn.Module, scaler: dict[str, list[list[float]]], shape: InputShape) -> None:
    """Store covariate means and deviations beside the weights: (2, count) buffers, identity if none are given."""
    for role, count in (("past", shape.past), ("future", shape.future), ("static", shape.static)):
        pairs = scaler.get(role) or [[0.0, 1.0]] * count
        if len(pairs) != count:
            raise ValueError(f"the scaler has {len(pairs)} {role} covariates, the windows have {count}")
        network.register_buffer(f"{role}_scaler", torch.tensor(pairs, dtype=torch.float32).reshape(count, 2).T.clone())
