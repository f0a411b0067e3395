"""Forecast with the naive baselines that a trained network must beat to be worth running.

- `BASELINES`: of any data, from the values before each cutoff (the context, or a season or four weeks if longer).
- `FURTHER_BASELINES`: what people of the trade use where the data allow it: the same time last week and the mean of
  the last weeks (steps of a day or less), the mean of the same day in the years before (two years or more), and TSB
  (many zeros).

NaN before the cutoff (padding, or a value that is missing) is skipped; a context without any value gives NaN.

Shapes: B windows, L context, H horizon, D days of the year, S steps of a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.timeline.frequency import WEEKS_BEFORE, Frequency
from lstm_model.timeline.timestamps import DAY_US

BASELINES = ("naive", "seasonal_naive", "drift", "window_average")
FURTHER_BASELINES = {
    "last_week": "seasonal_naive",
    "week_average": "seasonal_naive",
    "years_before": "seasonal_naive",
    "tsb": "window_average",
}
"""Each with the baseline that stands in for it in series which it cannot forecast."""
ALL_BASELINES = (*BASELINES, *FURTHER_BASELINES)
INTERMITTENT = 0.24
"""Share of zeros from which demand is called intermittent: more than 1.32 steps from one sale to the next (Syntetos,
Boylan & Croston, "On the categorization of demand patterns", 2005)."""
TSB_SMOOTHING = 0.1
NEAR_DAYS = 7
"""Days before and after a day of the year whose values are averaged with its own."""
MOST_DAILY_STEPS = 96
"""Steps of a day at most where years are averaged: quarters of an hour."""


def find_baselines(columns: Iterable[object]) -> tuple[str, ...]:
    """Return the baselines among the columns of a table."""
    names = set(columns)
    return tuple(name for name in ALL_BASELINES if name in names)


def forecast_baselines(
    context_BL: NDArray[Any], *, horizon: int, season: int, week: int = 0, context: int | None = None
) -> dict[str, NDArray[Any]]:
    """Forecast with all of `BASELINES`, and those of `FURTHER_BASELINES` that need no calendar; each (B, H).

    Args:
        context_BL: the last L values before each cutoff, NaN where padded or missing; a season of them at least, or
            seasonal naive is no more than naive.
        horizon: steps to forecast.
        season: steps in one season; 1 for none.
        week: steps in one week; 0 if it is not known, or not longer than a step.
        context: steps that `BASELINES` see, or a season if that is longer; all if not given.

    Returns:
        The forecasts by name; without the last week where the season is one. Those of TSB are NaN where zeros are few.

    Raises:
        ValueError: the context is not (B, L) with L >= 1, or horizon or season is below 1.
    """
    if context_BL.ndim != 2 or context_BL.shape[1] == 0:
        raise ValueError(f"expected contexts of shape (windows, steps >= 1), received shape {context_BL.shape}")
    if horizon < 1 or season < 1:
        raise ValueError(f"horizon and season must be at least 1, received horizon={horizon} and season={season}")
    near_BL = context_BL[:, -max(context or context_BL.shape[1], season) :]
    forecasts = {
        "naive": forecast_naive(near_BL, horizon=horizon),
        "seasonal_naive": forecast_seasonal_naive(near_BL, horizon=horizon, season=season),
        "drift": forecast_drift(near_BL, horizon=horizon),
        "window_average": forecast_window_average(near_BL, horizon=horizon, season=season),
    }
    if week > 1 and week != season:
        forecasts["last_week"] = forecast_seasonal_naive(context_BL, horizon=horizon, season=week)
    if week > 1:
        forecasts["week_average"] = forecast_week_average(context_BL, horizon=horizon, week=week)
    forecasts["tsb"] = forecast_tsb(context_BL, horizon=horizon)
    return forecasts


def fill_further_baselines(table: pd.DataFrame) -> pd.DataFrame:
    """Return a forecast table without the further baselines that forecast no series, the others without gaps."""
    further = [name for name in find_baselines(table) if name in FURTHER_BASELINES]
    empty = [name for name in further if table[name].isna().all()]
    filled = {name: table[name].fillna(table[FURTHER_BASELINES[name]]) for name in further if name not in empty}
    return table.drop(columns=empty).assign(**filled)


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
    # Of float32 values, the slope is taken in float64: the difference of two nearly equal ones would drift.
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


def forecast_week_average(context_BL: NDArray[Any], *, horizon: int, week: int) -> NDArray[Any]:
    """Repeat the mean of each phase of the last `WEEKS_BEFORE` weeks; one without values takes the last known value."""
    last_B, _ = _find_last_known(context_BL)
    recent_BL = context_BL[:, -WEEKS_BEFORE * week :]
    weeks_BCS = _fold_seasons(recent_BL, week)
    phases_BS = _average_known(weeks_BCS.transpose(0, 2, 1))
    phases_BS = np.where(np.isnan(phases_BS), last_B[:, None], phases_BS)
    return phases_BS[:, np.arange(horizon) % week]


def forecast_tsb(context_BL: NDArray[Any], *, horizon: int) -> NDArray[Any]:
    """Repeat the smoothed chance of a sale times its smoothed size; NaN where zeros are not common, or a value is < 0.

    Teunter, Syntetos & Babai, "Intermittent demand: linking forecasting to inventory obsolescence", 2011, which mends
    the bias of Croston's method. It starts from the means of the context.
    """
    known_BL = ~np.isnan(context_BL)
    zeros_B = ((context_BL == 0) & known_BL).sum(axis=1)
    usable_B = (zeros_B >= INTERMITTENT * known_BL.sum(axis=1)) & ~(context_BL < 0).any(axis=1) & known_BL.any(axis=1)
    rate_B = np.full(len(context_BL), np.nan)
    if usable_B.any():
        values_BL, known_BL = context_BL[usable_B].astype(np.float64), known_BL[usable_B]
        sold_BL = known_BL & (values_BL > 0)
        chance_B = sold_BL.sum(axis=1) / known_BL.sum(axis=1)
        size_B = np.where(sold_BL, values_BL, 0).sum(axis=1) / np.maximum(sold_BL.sum(axis=1), 1)
        for value_B, known_B, sold_B in zip(values_BL.T, known_BL.T, sold_BL.T, strict=True):
            chance_B = np.where(known_B, chance_B + TSB_SMOOTHING * (sold_B - chance_B), chance_B)
            size_B = np.where(sold_B, size_B + TSB_SMOOTHING * (np.nan_to_num(value_B) - size_B), size_B)
        rate_B[usable_B] = chance_B * size_B
    return _repeat(rate_B, horizon)


def forecast_years_before(history: pd.DataFrame, targets: pd.DataFrame, *, frequency: str) -> NDArray[np.float64]:
    """Forecast with the mean of the same time of the same days in all years before, a week to either side included.

    Args:
        history: unique_id, ds and y of the observed rows before the first target.
        targets: unique_id and ds of what to forecast.
        frequency: of both.

    Returns:
        One value a target; NaN for a series with fewer than two years, and for days without any value.
    """
    forecast = np.full(len(targets), np.nan)
    grid = Frequency(frequency)
    step = None if grid.is_integer else (grid.step or grid.mean_step)
    if step is None or step > 7 * DAY_US or DAY_US // step > MOST_DAILY_STEPS:
        return forecast
    rows_of = history.groupby("unique_id", observed=True).indices
    for unique_id, wanted in targets.groupby("unique_id", observed=True).indices.items():
        rows = rows_of.get(str(unique_id), ())
        ds = history["ds"].to_numpy()[rows]
        if len(rows) and ds[-1] - ds[0] >= np.timedelta64(2 * 365, "D"):
            year_DS = _average_years(ds, history["y"].to_numpy(np.float64)[rows], steps=max(1, DAY_US // step))
            forecast[wanted] = year_DS[_place_in_year(targets["ds"].to_numpy()[wanted], steps=year_DS.shape[1])]
    return forecast


def _average_years(ds: NDArray[Any], values: NDArray[np.float64], *, steps: int) -> NDArray[np.float64]:
    """Return (D, S) the mean of each time of each day of the year and of the `NEAR_DAYS` on either side."""
    sums_2DS = np.zeros((2, 366, steps))
    place = _place_in_year(ds, steps=steps)
    np.add.at(sums_2DS[0], place, values)
    np.add.at(sums_2DS[1], place, 1.0)
    around_2DS = np.concatenate([sums_2DS[:, -NEAR_DAYS:], sums_2DS, sums_2DS[:, :NEAR_DAYS]], axis=1)
    total_DS, count_DS = np.lib.stride_tricks.sliding_window_view(around_2DS, 2 * NEAR_DAYS + 1, axis=1).sum(axis=-1)
    return np.asarray(np.divide(total_DS, count_DS, out=np.full_like(total_DS, np.nan), where=count_DS > 0))


def _place_in_year(ds: NDArray[Any], *, steps: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the day of the year and the step of the day of each moment, both from 0."""
    moments = pd.DatetimeIndex(ds)
    of_day_us = (moments - moments.normalize()) // pd.Timedelta(1, unit="us")
    return moments.day_of_year.to_numpy() - 1, np.asarray(of_day_us * steps // DAY_US)


def _repeat(value_B: NDArray[Any], horizon: int) -> NDArray[Any]:
    return np.repeat(value_B[:, None], horizon, axis=1)


def _find_last_known(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the last value that is not NaN along the last axis (NaN if none), and its position."""
    known = ~np.isnan(values)
    at = values.shape[-1] - 1 - np.argmax(known[..., ::-1], axis=-1)
    return np.take_along_axis(values, at[..., None], axis=-1)[..., 0], at


def _average_known(values: NDArray[Any]) -> NDArray[Any]:
    """Return the means along the last axis, NaN where no value is known."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0).sum(axis=-1, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _fold_seasons(context_BL: NDArray[Any], season: int) -> NDArray[Any]:
    """Return (B, C, season), the context as C seasons; NaN before it lets the last one end at the cutoff."""
    num_windows, length = context_BL.shape
    padding = np.full((num_windows, -length % season), np.nan, context_BL.dtype)
    return np.concatenate([padding, context_BL], axis=1).reshape(num_windows, -1, season)
