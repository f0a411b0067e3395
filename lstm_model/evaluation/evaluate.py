"""Put forecasts beside the truth: the forecast table, and the scores of the model and of every baseline.

The formulas are those of `utilsforecast.losses`; this module chooses the points to average over. Losses are first
averaged in *cells*, one for each (series, step of the horizon) pair, over all windows; per series, per step and total
are then means of cells. So one pass over millions of rows gives all three views, and they agree.

Shapes: W windows, L context, H horizon, Q quantiles, C cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from utilsforecast import losses

from lstm_model.contracts.forecast_columns import COVERAGE, find_levels, index_quantiles, name_bounds, name_level
from lstm_model.evaluation.baselines import (
    BASELINES,
    fill_further_baselines,
    forecast_baselines,
    forecast_years_before,
)
from lstm_model.evaluation.scores import MEAN, MODEL, Scores, find_models, measure_zero_share, summarise
from lstm_model.forecast.forecaster import raise_to_zero
from lstm_model.timeline.frequency import Frequency
from lstm_model.windows.in_memory import Windows

BATCH_STEPS = 1 << 23
"""Steps of windows gathered at once; bounds the memory."""


class Predictor(Protocol):
    """A trained forecaster, or anything else that forecasts windows."""

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Return the quantiles, ascending and symmetric around 0.5."""

    def predict(self, windows: Windows) -> NDArray[Any]:
        """Forecast (W, H, Q) in original units, sorted along Q."""

    def compute_mean(self, values_WHQ: NDArray[Any]) -> NDArray[Any]:
        """Return (W, H) the mean of what was forecast."""


def tabulate_forecasts(
    forecaster: Predictor, windows: Windows, *, season: int, history: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return every forecast of every window, long, beside the truth and the baselines from the same contexts.

    Args:
        forecaster: the model to evaluate.
        windows: a split that it has not seen.
        season: steps in one season, for the baselines; 1 for none.
        history: unique_id, ds, y and observed of the series, for what needs more of the past than a window has; of
            each series, the rows up to its first cutoff are read.

    Returns:
        unique_id (categorical), cutoff, ds, step (1..H), y (NaN where not observed), lstm (the median), lstm_mean, the
        bounds of each interval, and one column a baseline; W x H rows. All are float32, or float64 where float32 would
        round the steps of any series.

    Raises:
        ValueError: there is no window, or the forecast has the wrong shape, order of quantiles, or NaN in it.
    """
    if not len(windows):
        raise ValueError("there is no window to evaluate: every test target is missing or lacks a context before it")
    forecast_WHQ = np.asarray(forecaster.predict(windows))
    _check_forecast(forecast_WHQ, forecaster.quantiles, windows)
    history = None if history is None else _select_past(history, windows)
    mean_WH = windows.match_precision(forecaster.compute_mean(forecast_WHQ))
    if history is not None:
        nonnegative_W = _find_nonnegative(history, windows)
        forecast_WHQ, mean_WH = (raise_to_zero(values, nonnegative_W) for values in (forecast_WHQ, mean_WH))
    columns: dict[str, NDArray[Any] | pd.Categorical] = {
        "unique_id": _repeat_ids(windows),
        "cutoff": np.repeat(windows.cutoff_W, windows.horizon),
        "ds": windows.compute_ds_WH().reshape(-1),
        "step": np.tile(np.arange(1, windows.horizon + 1, dtype=np.int32), len(windows)),
    }
    truth_WH, baselines = _gather_truth(windows, season=season)
    columns["y"] = truth_WH.reshape(-1)
    names = index_quantiles(forecaster.quantiles, median=MODEL)
    columns |= {name: forecast_WHQ[..., q].reshape(-1) for name, q in names.items()}
    columns[MEAN] = mean_WH.reshape(-1)
    columns |= {name: values_WH.reshape(-1) for name, values_WH in baselines.items()}
    table = pd.DataFrame(columns, copy=False)
    if history is not None:
        years_N = forecast_years_before(history, table, frequency=windows.frequency)
        table["years_before"] = windows.match_precision(years_N.reshape(truth_WH.shape)).reshape(-1)
    return fill_further_baselines(table)


def _select_past(history: pd.DataFrame, windows: Windows) -> pd.DataFrame:
    """Return the observed rows of each series up to its first cutoff."""
    series_W = windows.series_W.cpu().numpy()
    first = pd.Series(windows.cutoff_W).groupby(series_W).min()
    first.index = pd.Index([windows.unique_ids[k] for k in first.index], dtype="str")
    known = history[history["observed"].to_numpy(np.bool_) & history["y"].notna().to_numpy()]
    past: pd.DataFrame = known[known["ds"].to_numpy() <= known["unique_id"].astype("str").map(first).to_numpy()]
    return past


def _find_nonnegative(history: pd.DataFrame, windows: Windows) -> NDArray[np.bool_]:
    """Return (W,) whether the series of each window never had a negative value."""
    lowest = history.groupby("unique_id", observed=True)["y"].min()
    nonnegative = {str(unique_id) for unique_id in lowest.index[lowest >= 0]}
    mask_K = np.array([name in nonnegative for name in windows.unique_ids], np.bool_)
    return np.asarray(mask_K[windows.series_W.cpu().numpy()])


def join_shards(tables: Sequence[pd.DataFrame], scales: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the forecast table and the scales of a panel, from those of its shards in their order."""
    table = pd.concat([one.astype({"unique_id": "str"}) for one in tables]).astype({"unique_id": "category"})
    return fill_further_baselines(table.reset_index(drop=True)), pd.concat(scales, ignore_index=True)


def score(table: pd.DataFrame, *, scale: pd.DataFrame, levels: Sequence[float] | None = None) -> Scores:
    """Score the model beside every baseline, on the same windows and only on observed targets.

    Conventions, the competitions' (M3, M4): MASE, RMSSE and sMAPE (in percent, 0 to 200) are computed a series and
    then averaged over series, each weighing the same; for a step of the horizon likewise. MAE, RMSE, pinball, WQL,
    coverage and interval width are over all points. Pinball is the mean over quantiles; WQL is twice the pinball
    sum over the sum of |y|. A baseline has no quantiles: its one forecast stands for each, so that its WQL is the
    sum of its absolute errors over the sum of |y|.

    Args:
        table: a `tabulate_forecasts`.
        scale: from `measure_scales`, of the rows before the test; a series without any there is left out, with a note.
        levels: intervals to score, as shares (0.8); all that the table holds if not given.

    Raises:
        ValueError: nothing was observed, an interval is missing, or the model forecast NaN.
    """
    chosen = find_levels(table) if levels is None else tuple(sorted(levels))
    _check_levels(table, chosen)
    scored, notes = _select_scored(table, scale)
    notes += _note_scales(scored, scale)
    cells = (
        one.merge(scale[["unique_id", "mase_scale", "rmsse_scale"]], on="unique_id", how="left")
        for one in _average_losses(scored, chosen)
    )
    num_windows = len(scored[["unique_id", "cutoff"]].drop_duplicates())
    share = measure_zero_share(scale[scale["unique_id"].isin(scored["unique_id"].unique())])
    return summarise(cells, levels=chosen, num_windows=num_windows, notes=notes, zero_share=share)


def _check_forecast(forecast_WHQ: NDArray[Any], quantiles: tuple[float, ...], windows: Windows) -> None:
    expected = (len(windows), windows.horizon, len(quantiles))
    if forecast_WHQ.shape != expected:
        raise ValueError(
            f"expected forecasts of shape (windows, horizon, quantiles) {expected}, received {forecast_WHQ.shape}"
        )
    if not np.allclose(np.add(quantiles, quantiles[::-1]), 1) or 0.5 not in quantiles:
        raise ValueError(f"expected quantiles that mirror around 0.5, such as 0.1, 0.5, 0.9; received {quantiles}")
    broken_W = ~np.isfinite(forecast_WHQ).all(axis=(1, 2))
    if broken_W.any():
        first = int(np.argmax(broken_W))
        unique_id = windows.unique_ids[int(windows.series_W[first])]
        raise ValueError(
            f"the model forecast NaN or infinity in {broken_W.sum()} of {len(windows)} windows, first for series "
            f"{unique_id!r} after {windows.cutoff_W[first]}; its training diverged: lower the learning rate"
        )


def _repeat_ids(windows: Windows) -> pd.Categorical:
    codes = np.repeat(windows.series_W.cpu().numpy().astype(np.int32), windows.horizon)
    return pd.Categorical.from_codes(codes, categories=pd.Index(windows.unique_ids, dtype="str"))


def _gather_truth(windows: Windows, *, season: int) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Return the observed targets (W, H), NaN elsewhere, and each baseline (W, H)."""
    shape = (len(windows), windows.horizon)
    dtype = np.float64 if len(windows.exact_K) else np.float32
    truth_WH = np.empty(shape, dtype)
    baselines: dict[str, NDArray[Any]] = {}
    known = {"season": season, "week": Frequency(windows.frequency).count_week_steps(season)}
    for rows in _slice_windows(windows):
        index_B = torch.arange(rows.start, rows.stop)
        truth_WH[rows] = windows.gather_truth(index_B).cpu().numpy()
        before_BL = windows.gather_past(index_B).cpu().numpy()
        found = forecast_baselines(before_BL, horizon=windows.horizon, context=windows.context, **known)
        for name, values in found.items():
            baselines.setdefault(name, np.empty(shape, dtype))[rows] = values
    return truth_WH, {name: windows.match_precision(values_WH) for name, values_WH in baselines.items()}


def _slice_windows(windows: Windows) -> Iterator[slice]:
    size = max(1, BATCH_STEPS // (windows.lead + windows.horizon))
    for start in range(0, len(windows), size):
        yield slice(start, min(start + size, len(windows)))


def _check_levels(table: pd.DataFrame, levels: Sequence[float]) -> None:
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"levels are shares between 0 and 1, such as 0.8; received {level}")
        missing = [name for name in name_bounds(level) if name not in table]
        if missing:
            raise ValueError(
                f"the forecast table has no column {missing[0]!r} for level {level}; it has {find_levels(table)}"
            )


def _select_scored(table: pd.DataFrame, scale: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that can be scored, one set for all models so that scores compare, and notes on the rest."""
    young = ~table["unique_id"].isin(scale["unique_id"])
    observed = table["y"].notna() & ~young
    without_baseline = observed & table[list(BASELINES)].isna().any(axis=1)
    scored = table[observed & ~without_baseline]
    if scored.empty:
        raise ValueError(
            f"none of the {len(table)} targets in the test windows was observed; there is nothing to score"
        )
    notes = []
    if without_baseline.any():
        notes.append(f"{without_baseline.sum()} targets are not scored: their context holds no value.")
    scored_ids = set(scored["unique_id"].unique())
    new = sorted(set(table.loc[young, "unique_id"]))
    if new:
        notes.append(f"{len(new)} series begin after the training data, and are not scored: {_list_ids(new)}.")
    lost = sorted({*scale["unique_id"], *table["unique_id"].astype("category").cat.categories} - scored_ids - {*new})
    if lost:
        notes.append(
            f"{len(lost)} of {len(lost) + len(scored_ids)} series have no observed value in the test and are not "
            f"scored: {_list_ids(lost)}. With advanced.window.align: end each series is tested at its own end."
        )
    return scored, notes


def _list_ids(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")


def _average_losses(scored: pd.DataFrame, levels: Sequence[float]) -> Iterator[pd.DataFrame]:
    """Yield the mean losses of each cell, a frame a model: unique_id, step, model, count, size, mae, mse, …"""
    horizon = int(scored["step"].max())
    codes = scored["unique_id"].astype("category").cat
    frame = scored.drop(columns=["unique_id", "cutoff", "ds", "step"]).astype(np.float64)
    frame["cell"] = codes.codes.to_numpy(np.int64) * horizon + scored["step"].to_numpy(np.int64) - 1
    cell = frame.groupby("cell")["y"].agg("size").to_frame("count")
    cell["size"] = frame["y"].abs().groupby(frame["cell"]).mean()
    cell.insert(0, "unique_id", codes.categories.to_numpy()[cell.index // horizon])
    cell.insert(1, "step", cell.index % horizon + 1)
    for model in find_models(frame):
        point = {name: getattr(losses, name)(frame, [model], id_col="cell") for name in ("mae", "mse", "smape", "bias")}
        columns = {name: loss.set_index("cell")[model] for name, loss in point.items()}
        # Every quantile of a baseline is its one forecast; over mirrored quantiles that is half the absolute error.
        quantile = _average_quantile_losses(frame, levels) if model == MODEL else {"pinball": columns["mae"] / 2}
        yield cell.assign(model=model, **columns, **quantile)


def _average_quantile_losses(frame: pd.DataFrame, levels: Sequence[float]) -> dict[str, pd.Series[float]]:
    """Return the mean pinball loss, coverage and width of each cell."""
    bounds = [name_bounds(level) for level in levels]
    columns = [*(low for low, _ in reversed(bounds)), MODEL, *(high for _, high in bounds)]
    quantiles = [*((1 - level) / 2 for level in reversed(levels)), 0.5, *((1 + level) / 2 for level in levels)]
    pinball = losses.mqloss(frame, {MODEL: columns}, np.array(quantiles), id_col="cell").set_index("cell")[MODEL]
    result = {"pinball": pinball}
    for level, (low, high) in zip(levels, bounds, strict=True):
        # A missing target would count as a miss; unobserved rows are gone by now.
        covered = frame["y"].between(frame[low], frame[high])
        result[f"{COVERAGE}{name_level(level)}"] = covered.groupby(frame["cell"]).mean()
        result[f"width-{name_level(level)}"] = (frame[high] - frame[low]).groupby(frame["cell"]).mean()
    return result


def _note_scales(scored: pd.DataFrame, scale: pd.DataFrame) -> list[str]:
    """Return notes on the scales that are not those of seasonal naive."""
    if "basis" not in scale:
        return []
    other = scale[(scale["basis"] != "seasonal naive") & scale["unique_id"].isin(scored["unique_id"].unique())]
    return [
        f"{len(group)} series are scaled by {basis} instead of seasonal naive's in-sample error: "
        f"{_list_ids(list(group['unique_id']))}."
        for basis, group in other.groupby("basis")
    ]
