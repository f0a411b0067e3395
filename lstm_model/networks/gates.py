"""Recompute the gates of a trained `nn.LSTM`, step by step, from its weights.

Shapes: T steps, I input features, D hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LayerGates:
    """One layer's activations over a window, each (T, D): gates within (0, 1), candidate and hidden within (-1, 1)."""

    input_TD: Array
    """How much of the candidate is written."""
    forget_TD: Array
    """How much of the cell is kept."""
    candidate_TD: Array
    """The values that would be written."""
    output_TD: Array
    """How much of the cell is shown."""
    cell_TD: Array
    hidden_TD: Array


def compute_gates(lstm: nn.LSTM, input_TI: Tensor, state: tuple[Tensor, Tensor] | None = None) -> list[LayerGates]:
    """Compute the gates of every layer over one window; `state` is (h0, c0), each (layers, D), or zeros.

    Raises:
        ValueError: the LSTM is bidirectional or has a projection.
    """
    if lstm.bidirectional or lstm.proj_size:
        raise ValueError("gates are drawn for plain LSTMs only: not bidirectional, no projection")
    layers = []
    with torch.no_grad():
        for layer in range(lstm.num_layers):
            start = (state[0][layer], state[1][layer]) if state else None
            gates, input_TI = _compute_layer(lstm, layer, input_TI, start)
            layers.append(gates)
    return layers


def _compute_layer(
    lstm: nn.LSTM, layer: int, input_TI: Tensor, start: tuple[Tensor, Tensor] | None
) -> tuple[LayerGates, Tensor]:
    """Compute one layer's gates, and its output, which the next layer reads."""
    weights = {name: getattr(lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh")}
    bias = getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}") if lstm.bias else 0.0
    h_D, c_D = start or (input_TI.new_zeros(lstm.hidden_size), input_TI.new_zeros(lstm.hidden_size))
    rows: list[Tensor] = []
    for x_I in input_TI:
        i_D, f_D, g_D, o_D = (weights["weight_ih"] @ x_I + weights["weight_hh"] @ h_D + bias).chunk(4)
        i_D, f_D, g_D, o_D = i_D.sigmoid(), f_D.sigmoid(), g_D.tanh(), o_D.sigmoid()
        c_D = f_D * c_D + i_D * g_D
        h_D = o_D * c_D.tanh()
        rows.append(torch.stack([i_D, f_D, g_D, o_D, c_D, h_D]))
    steps_6TD = torch.stack(rows, dim=1)
    return LayerGates(*(a.cpu().numpy() for a in steps_6TD)), steps_6TD[5]
