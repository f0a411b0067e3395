"""Forecast with the naive baselines that a trained network must beat to be worth running.

Every baseline sees the values before the cutoff: the context, or a whole season if that is longer. NaN in it
(padding, or a value that is missing) is skipped; a context without any value gives NaN.

Shapes: B windows, L context, H horizon.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BASELINES = ("naive", "seasonal_naive", "drift", "window_average")


def forecast_baselines(context_BL: NDArray[Any], *, horizon: int, season: int) -> dict[str, NDArray[np.float32]]:
    """Forecast with all baselines of `BASELINES`, each (B, H) float32.

    Args:
        context_BL: the last L values before each cutoff, NaN where padded or missing; a season of them at least, or
            seasonal naive is no more than naive.
        horizon: steps to forecast.
        season: steps in one season; 1 for none.

    Raises:
        ValueError: the context is not (B, L) with L >= 1, or horizon or season is below 1.
    """
    if context_BL.ndim != 2 or context_BL.shape[1] == 0:
        raise ValueError(f"expected contexts of shape (windows, steps >= 1), received shape {context_BL.shape}")
    if horizon < 1 or season < 1:
        raise ValueError(f"horizon and season must be at least 1, received horizon={horizon} and season={season}")
    forecasts = (
        forecast_naive(context_BL, horizon=horizon),
        forecast_seasonal_naive(context_BL, horizon=horizon, season=season),
        forecast_drift(context_BL, horizon=horizon),
        forecast_window_average(context_BL, horizon=horizon, season=season),
    )
    return {name: f.astype(np.float32, copy=False) for name, f in zip(BASELINES, forecasts, strict=True)}


def forecast_naive(context_BL: NDArray[Any], *, horizon: int) -> NDArray[Any]:
    """Repeat the last known value."""
    last_B, _ = _find_last_known(context_BL)
    return _repeat(last_B, horizon)


def forecast_seasonal_naive(context_BL: NDArray[Any], *, horizon: int, season: int) -> NDArray[Any]:
    """Repeat the value one season before each step, from the latest season in which that phase is known.

    A phase that the context does not hold (it is shorter than a season, or padded) falls back to the last known value.
    """
    last_B, _ = _find_last_known(context_BL)
    seasons_BCS = _fold_seasons(context_BL, season)
    phase_BS, _ = _find_last_known(seasons_BCS.transpose(0, 2, 1))
    phase_BS = np.where(np.isnan(phase_BS), last_B[:, None], phase_BS)
    return phase_BS[:, np.arange(horizon) % season]


def forecast_drift(context_BL: NDArray[Any], *, horizon: int) -> NDArray[Any]:
    """Continue the line through the first and the last known value; one known value gives a flat line."""
    last_B, last_at_B = _find_last_known(context_BL)
    first_B, from_end_B = _find_last_known(context_BL[:, ::-1])
    steps_B = last_at_B - (context_BL.shape[1] - 1 - from_end_B)
    # The slope is taken in float64: the difference of two nearly equal float32 values times the horizon drifts.
    slope_B = (last_B.astype(np.float64) - first_B) / np.maximum(steps_B, 1)
    line_BH: NDArray[Any] = last_B[:, None] + slope_B[:, None] * np.arange(1, horizon + 1)
    return line_BH


def forecast_window_average(context_BL: NDArray[Any], *, horizon: int, season: int) -> NDArray[Any]:
    """Repeat the mean of the last season, or of the whole context when there is no season.

    Where the last season holds no known value, the mean of the whole context.
    """
    whole_B = _average_known(context_BL)
    if season == 1:
        return _repeat(whole_B, horizon)
    recent_B = _average_known(context_BL[:, -season:])
    return _repeat(np.where(np.isnan(recent_B), whole_B, recent_B), horizon)


def _repeat(value_B: NDArray[Any], horizon: int) -> NDArray[Any]:
    return np.repeat(value_B[:, None], horizon, axis=1)


def _find_last_known(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the last value that is not NaN along the last axis (NaN if none), and its position."""
    known = ~np.isnan(values)
    at = values.shape[-1] - 1 - np.argmax(known[..., ::-1], axis=-1)
    return np.take_along_axis(values, at[..., None], axis=-1)[..., 0], at


def _average_known(values_BL: NDArray[Any]) -> NDArray[Any]:
    known_BL = ~np.isnan(values_BL)
    count_B = known_BL.sum(axis=1)
    total_B = np.where(known_BL, values_BL, 0).sum(axis=1, dtype=np.float64)
    return np.where(count_B > 0, total_B / np.maximum(count_B, 1), np.nan)


def _fold_seasons(context_BL: NDArray[Any], season: int) -> NDArray[Any]:
    """Return (B, C, season), the context as C seasons; NaN before it lets the last one end at the cutoff."""
    num_windows, length = context_BL.shape
    padding = np.full((num_windows, -length % season), np.nan, context_BL.dtype)
    return np.concatenate([padding, context_BL], axis=1).reshape(num_windows, -1, season)
