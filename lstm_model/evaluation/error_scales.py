"""Measure the scale of each series' errors: the in-sample error of seasonal naive.

Shapes: N rows of all series, K series.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.series.series_table import FINE

RESOLUTION, FINE_RESOLUTION = 1e-7, 1e-12
"""A scale below this share of a series' mean size is rounding: of windows that are float32, or float64 where the steps
are `FINE`."""


def measure_scales(train: pd.DataFrame | Mapping[str, NDArray[Any]], *, season: int) -> pd.DataFrame:
    """Measure the in-sample error of seasonal naive for each series: the denominators of MASE and RMSSE.

    Where it is zero (a constant or perfectly seasonal series) or cannot be had (shorter than a season), the error of
    naive stands in, then the mean size of the values, then 1; `basis` says which. Repaired values do not count.

    Args:
        train: only data that may be learnt from: rows sorted by unique_id, ds with a column y (and observed), or
            the values of each series by unique_id.
        season: steps in one season; 1 for none.

    Returns:
        unique_id, mase_scale (mean absolute error), rmsse_scale (root mean squared error), basis, zero_share.

    Raises:
        ValueError: season is below 1, there is no row, or the rows of a series do not stand together.
    """
    if season < 1:
        raise ValueError(f"season must be at least 1, received {season}")
    codes_N, ids, values_N = _flatten(train)
    candidates = {
        "seasonal naive": _measure_lagged_error(values_N, codes_N, len(ids), season),
        "naive": _measure_lagged_error(values_N, codes_N, len(ids), 1),
        "mean size": _measure_mean_size(values_N, codes_N, len(ids)),
        "one": np.ones((2, len(ids))),
    }
    size_K, step_K = (np.nan_to_num(candidates[name][0]) for name in ("mean size", "naive"))
    floor_K = np.where(step_K < FINE * size_K, FINE_RESOLUTION, RESOLUTION) * size_K
    scale_2K = np.full((2, len(ids)), np.nan)
    basis_K = np.full(len(ids), "", object)
    for name, error_2K in candidates.items():
        take_K = np.isnan(scale_2K[0]) & (error_2K[0] > floor_K) & (error_2K[0] > 0)
        scale_2K[:, take_K] = error_2K[:, take_K]
        basis_K[take_K] = name
    known_N = np.isfinite(values_N)
    zeros_K = np.bincount(codes_N[values_N == 0], minlength=len(ids))
    share_K = zeros_K / np.maximum(np.bincount(codes_N[known_N], minlength=len(ids)), 1)
    scales = {"mase_scale": scale_2K[0], "rmsse_scale": scale_2K[1], "basis": basis_K.astype(str)}
    return pd.DataFrame({"unique_id": ids, **scales, "zero_share": share_K})


def make_empty_scales() -> pd.DataFrame:
    """Return the scales of no series, in the form of `measure_scales`."""
    return measure_scales({"": np.ones(1)}, season=1).head(0)


def _flatten(train: pd.DataFrame | Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], list[str], NDArray[np.float64]]:
    """Return flat float64 values, NaN if not observed, with the number of the series of each."""
    if not isinstance(train, pd.DataFrame):
        ids = [str(unique_id) for unique_id in train]
        codes_N = np.repeat(np.arange(len(ids)), [len(values) for values in train.values()])
        return codes_N, ids, np.concatenate([np.asarray(values, np.float64) for values in train.values()])
    if train.empty:
        raise ValueError("the training part has no rows; errors cannot be scaled")
    codes_N, unique = pd.factorize(train["unique_id"])
    if np.count_nonzero(np.diff(codes_N)) != len(unique) - 1:
        raise ValueError("the rows of a series must stand together; sort the table by unique_id, ds")
    values_N = train["y"].to_numpy(np.float64, na_value=np.nan)
    if "observed" in train:
        values_N = np.where(train["observed"].to_numpy(np.bool_), values_N, np.nan)
    return codes_N, [str(unique_id) for unique_id in unique], values_N


def _measure_lagged_error(
    values_N: NDArray[Any], codes_N: NDArray[Any], num_series: int, lag: int
) -> NDArray[np.float64]:
    """Return (2, K) mean absolute and root mean squared differences over `lag` steps, NaN without any."""
    difference = values_N[lag:] - values_N[:-lag]
    valid = (codes_N[lag:] == codes_N[:-lag]) & np.isfinite(difference)
    return _average_errors(difference[valid], codes_N[lag:][valid], num_series)


def _measure_mean_size(values_N: NDArray[Any], codes_N: NDArray[Any], num_series: int) -> NDArray[np.float64]:
    known = np.isfinite(values_N)
    return _average_errors(values_N[known], codes_N[known], num_series)


def _average_errors(errors: NDArray[Any], codes: NDArray[Any], num_series: int) -> NDArray[np.float64]:
    count = np.bincount(codes, minlength=num_series)
    total = np.stack([np.bincount(codes, weights, num_series) for weights in (np.abs(errors), errors**2)])
    mean = np.divide(total, count, out=np.full((2, num_series), np.nan), where=count > 0)
    return np.stack([mean[0], np.sqrt(mean[1])])
