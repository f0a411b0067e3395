"""Take what is absent as zero: nothing was sold or counted.

Shape suffixes: N rows of all series, M steps of all series, K series.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lstm_model.contracts.findings import Finding, number
from lstm_model.quality.checks import place_on_grid
from lstm_model.quality.repair import Rows, expand_to_grid, find_history, find_worst


def fill_zeros(rows: Rows, frequency: str, hint: str) -> tuple[Rows, list[Finding]]:
    """Return a row of 0 for each step without a value from a series' first value to the last one of all series."""
    known_N = ~np.isnan(rows.y_N)
    if not known_N.any():
        return rows, []
    _, first_K, _ = find_history(rows)
    sold_K = first_K < len(rows.y_N)
    end = rows.ds_N[~np.isnan(rows.y_N)].max()
    grid, step_N, _ = place_on_grid(rows, frequency, hint)
    end_K = grid.steps(np.arange(rows.num_series), np.full(rows.num_series, end))[0]
    last_K = np.append(rows.first_K[1:], len(step_N)) - 1
    ended_K = sold_K & (step_N[last_K] < end_K)
    rows, step_N = _append_rows(rows, step_N, ended_K, end_K)
    full = expand_to_grid(rows, step_N, grid)
    step_M = grid.steps(full.series_N, full.ds_N)[0]
    _, first_K, _ = find_history(full)
    after_M = np.arange(len(step_M)) >= first_K[full.series_N]
    zero_M = np.isnan(full.y_N) & after_M & (step_M <= end_K[full.series_N])
    full = replace(full, y_N=np.where(zero_M, 0.0, full.y_N))
    if not zero_M.any():
        return full, []
    unique_id, touched, total = find_worst(full.count(zero_M), full.ids)
    text = (
        f"{number(total, 'step')} without a value taken as 0 (missing is zero) in "
        f"{number(touched, 'series', 'series')}; most: {unique_id!r} with {full.count(zero_M).max():,}"
    )
    return full, [Finding(code="zeros", severity="info", message=text, unique_id=unique_id, count=total)]


def _append_rows(rows: Rows, step_N: np.ndarray, which_K: np.ndarray, end_K: np.ndarray) -> tuple[Rows, np.ndarray]:
    """Append an empty row at the end of some series, whose timestamp its step gives."""
    after = np.append(rows.first_K[1:], len(step_N))[which_K]
    columns = {name: np.insert(values, after, np.nan) for name, values in rows.covariates.items()}
    longer = replace(
        rows,
        series_N=np.insert(rows.series_N, after, np.flatnonzero(which_K)),
        ds_N=np.insert(rows.ds_N, after, 0),
        y_N=np.insert(rows.y_N, after, np.nan),
        covariates=columns,
    )
    return longer, np.insert(step_N, after, end_K[which_K])
