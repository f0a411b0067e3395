"""Judge a network during training: its loss on validation windows, and its intervals there.

Shapes: B windows of a batch, K series, W windows, L context, H horizon, Q quantiles, J levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lstm_model.compute.device import DeviceChoice
from lstm_model.compute.process_group import ALONE, World
from lstm_model.contracts.settings import Plan
from lstm_model.forecast.calibrate import CalibrationWindows, calibrate
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.forecast.mean import compute_mean, fit_mean_share
from lstm_model.networks.losses import count_targets, sum_pinball
from lstm_model.networks.models import forecast_batch
from lstm_model.networks.normalise import apply_transform
from lstm_model.training.sampling import gather_batch_on, place_windows, spread_evenly
from lstm_model.windows.in_memory import Batch, Windows

VALIDATION_WINDOWS = 2048
"""A look takes at most this many windows, evenly spread; calibration takes `CALIBRATION_WINDOWS`."""
CALIBRATION_WINDOWS = 20_000


class Validation:
    """Computes the mean loss over an evenly spread part of the validation windows; infinite if no target counts.

    Each of several processes takes its share of them, and all are told the same mean.
    """

    def __init__(
        self,
        windows: Windows,
        loss_sum: Callable[[Batch], Tensor],
        device: DeviceChoice,
        *,
        transform: str = "none",
        world: World = ALONE,
    ) -> None:
        self._windows = place_windows(windows, device)
        self._loss_sum, self._device = loss_sum, device.torch_device
        self._horizon, self._transform = windows.horizon, transform
        self._world = world
        self._index = spread_evenly(len(windows), VALIDATION_WINDOWS)[world.rank :: world.size]

    def __call__(self) -> float:
        total, count = 0.0, 0
        with torch.inference_mode():
            for index_B in torch.split(self._index, 512):
                batch = gather_batch_on(self._windows, index_B, self._device)
                total += float(self._loss_sum(batch))
                count += int(count_targets(batch, self._horizon, transform=self._transform))
        total, targets = self._world.total(total, count)
        return total / targets if targets else math.inf


def make_loss_sum(network: nn.Module, plan: Plan, choice: DeviceChoice) -> Callable[[Batch], Tensor]:
    """Return a function that computes the summed loss of a batch under a network, in the chosen precision."""
    model, context, device = plan.model, plan.window.context, choice.torch_device
    quantiles_Q, season = torch.tensor(model.quantiles, device=device), plan.window.season

    def loss_sum(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=choice.precision == "bf16"):
            forecast = forecast_batch(network, batch, spec=model, context=context)
        return sum_pinball(forecast, batch, quantiles_Q, season=season, transform=model.transform)

    return loss_sum


def calibrate_forecaster(forecaster: Forecaster, validation: Windows) -> str:
    """Set the intervals and the mean of a forecaster by windows that it was not trained on; return a note."""
    part = validation.take(spread_evenly(len(validation), CALIBRATION_WINDOWS))
    normalised = forecaster.predict_normalised(part)
    values_WHQ, loc_W1, scale_W1, _ = normalised
    every = torch.arange(len(part))
    batch, target_WH = part.gather_batch(every), part.gather_values(every)[:, validation.context :]
    above_WH = batch.target_BW[:, validation.context :]
    y_WH = apply_transform(above_WH, forecaster.spec.transform, batch.level_B1).cpu().numpy()
    observed_WH = batch.observed_BW[:, validation.context :].cpu().numpy() & ~np.isnan(y_WH)
    z_WH = np.nan_to_num((y_WH - loc_W1) / scale_W1)
    about = describe_windows(part)
    forecaster.calibration, note = calibrate(values_WHQ, z_WH, observed_WH, forecaster.quantiles, about)
    forecaster.mean_share = _fit_mean_share(
        forecaster, forecaster.restore_units(*normalised, windows=part), target_WH.cpu().numpy(), observed_WH, about
    )
    share = forecaster.mean_share
    mean = (
        f"the mean lies {share:.0%} of the way from the median to that of the quantiles"
        if share
        else "the median is also the mean"
    )
    return f"{note}; {mean}"


def _fit_mean_share(
    forecaster: Forecaster,
    values_WHQ: NDArray[Any],
    y_WH: NDArray[Any],
    observed_WH: NDArray[np.bool_],
    windows: CalibrationWindows,
) -> float:
    mean_WH = compute_mean(values_WHQ, forecaster.quantiles, transform=forecaster.spec.transform, share=1.0)
    median_WH = values_WHQ[..., values_WHQ.shape[-1] // 2]
    median_N, mean_N, y_N = (array[observed_WH].astype(np.float64) for array in (median_WH, mean_WH, y_WH))
    series_N = np.broadcast_to(windows.series_W[:, None], y_WH.shape)[observed_WH]
    return fit_mean_share(median_N, mean_N, y_N, series_N, horizons=float(windows.horizons_K.sum()))


def describe_windows(windows: Windows) -> CalibrationWindows:
    """Return the series of each window, and how many horizons of distinct steps each series has."""
    series_W, starts_W = windows.series_W.cpu().numpy(), windows.starts_W.cpu().numpy()
    order = np.lexsort((starts_W, series_W))
    new_W = np.minimum(np.diff(starts_W[order], prepend=-windows.horizon), windows.horizon)
    new_W[np.diff(series_W[order], prepend=-1) != 0] = windows.horizon
    steps_K = np.bincount(series_W[order], weights=new_W, minlength=len(windows.unique_ids))
    return CalibrationWindows(windows.unique_ids, series_W, np.asarray(steps_K / windows.horizon, np.float32))
