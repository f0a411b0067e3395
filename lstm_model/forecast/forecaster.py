"""Turn windows into quantiles in original units with a trained network.

Shapes: W windows, H horizon, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lstm_model.contracts.bundle_card import InputShape
from lstm_model.contracts.settings import ModelSpec
from lstm_model.contracts.windows_meta import Scaler
from lstm_model.forecast.calibrate import Calibration
from lstm_model.forecast.mean import compute_mean
from lstm_model.networks.models import forecast_batch
from lstm_model.networks.normalise import invert_transform
from lstm_model.networks.segmented import SegmentedLSTM
from lstm_model.windows.in_memory import Windows

Floats = NDArray[np.float32]

DECODER_ROWS = 65_536
"""A forecast is made in batches of at most this many windows x output segments, which bounds its memory."""


@dataclass
class Forecaster:
    """A trained network with all that is needed to forecast: it knows nothing of training."""

    network: nn.Module
    spec: ModelSpec
    shape: InputShape
    scaler: Scaler = field(default_factory=dict)
    calibration: Calibration | None = None
    mean_share: float = 0.0
    """How far the mean goes from the median to what the quantiles give, see `forecast.mean`."""

    @property
    def context(self) -> int:
        return self.shape.context

    @property
    def horizon(self) -> int:
        return self.shape.horizon

    @property
    def season(self) -> int:
        return self.shape.season

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Return the quantiles, ascending, the median in the middle; the tutorial's network has only the median."""
        return (0.5,) if self.spec.kind == "tutorial" else self.spec.quantiles

    def predict(self, windows: Windows, *, batch_size: int = 1024, device: str | None = None) -> NDArray[Any]:
        """Return quantiles of every window's horizon: (W, H, Q), original units, ascending along Q.

        They are float32, or float64 where the windows are.

        Args:
            windows: cut with the forecaster's own context and horizon.
            batch_size: windows at once, at most.
            device: where to compute; the network's own device when empty, and it stays there afterwards.

        Raises:
            ValueError: the windows have another geometry or other covariates.
        """
        return self.restore_units(
            *self.predict_normalised(windows, batch_size=batch_size, device=device), windows=windows
        )

    def restore_units(
        self, values_WHQ: Floats, loc_W1: Floats, scale_W1: Floats, level_W1: Floats, *, windows: Windows
    ) -> NDArray[Any]:
        """Return normalised quantiles calibrated and in original units."""
        if self.calibration is not None:
            values_WHQ = self.calibration.apply(values_WHQ, windows.unique_ids, windows.series_W.cpu().numpy())
        values = torch.from_numpy(values_WHQ * scale_W1[..., None] + loc_W1[..., None])
        level = torch.from_numpy(level_W1) if len(windows.exact_K) else None
        return np.asarray(invert_transform(values, self.spec.transform, level).numpy())

    def compute_mean(self, values_WHQ: NDArray[Any]) -> NDArray[Any]:
        """Return (W, H) the mean of a forecast of `predict`."""
        return compute_mean(values_WHQ, self.quantiles, transform=self.spec.transform, share=self.mean_share)

    def predict_normalised(
        self, windows: Windows, *, batch_size: int = 1024, device: str | None = None
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return quantiles before calibration: values (W, H, Q), loc, scale and level (W, 1) of each window."""
        self._check(windows)
        at = torch.device(device) if device else next(self.network.parameters()).device
        self.network.to(at).eval()
        values = np.empty((len(windows), self.horizon, len(self.quantiles)), np.float32)
        loc, scale, level = (np.empty((len(windows), 1), np.float32) for _ in range(3))
        with torch.inference_mode():
            for part in _slice_windows(len(windows), self.limit_batch_size(batch_size)):
                batch = windows.gather_batch(torch.arange(part.start, part.stop)).to(at)
                result = forecast_batch(self.network, batch, spec=self.spec, context=self.context)
                found = (*result, batch.level_B1)
                values[part], loc[part], scale[part], level[part] = (a.float().cpu().numpy() for a in found)
        return values, loc, scale, level

    def limit_batch_size(self, most: int) -> int:
        """Return how many windows to forecast at once: `most`, or fewer if the horizon has many segments."""
        writes = self.network.writes if isinstance(self.network, SegmentedLSTM) else 1
        return max(1, min(most, DECODER_ROWS // writes))

    def _check(self, windows: Windows) -> None:
        received, expected = find_input_shape(windows, season=self.season), self.shape
        if received != expected:
            raise ValueError(f"these windows do not fit the forecaster: received {received}, expected {expected}")


def raise_to_zero(values: NDArray[Any], nonnegative_W: NDArray[np.bool_]) -> NDArray[Any]:
    """Return forecasts (W, H, ...) without negative values in the windows of series that never had one."""
    return np.where(nonnegative_W.reshape(-1, *[1] * (values.ndim - 1)), np.maximum(values, 0), values)


def find_input_shape(windows: Windows, *, season: int) -> InputShape:
    """Return the input shape that a network for these windows needs."""
    return InputShape(
        context=windows.context,
        horizon=windows.horizon,
        season=season,
        past=windows.past_NP.shape[1],
        future=windows.future_NF.shape[1],
        static=windows.static_KS.shape[1],
    )


def _slice_windows(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
