"""Take what is absent as zero: nothing was sold or counted.

Shape suffixes: N rows of all series, M steps of all series, K series.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lstm_model.contracts.findings import Finding, number
from lstm_model.quality.checks import place_on_grid
from lstm_model.quality.repair import Rows, expand_to_grid, find_history, find_worst
from lstm_model.timeline.calendars import MONDAY_US
from lstm_model.timeline.events import name_open_times
from lstm_model.timeline.grid import Grid
from lstm_model.timeline.timestamps import DAY_US

RARE = 0.1
"""A weekday is closed as a rule if it is open on at most this share of its weeks."""
ENDED_STEPS, ENDED_PAUSES = 28, 3
"""A series may have ended when it has no value for more steps than these, and than so many times its longest pause."""


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
    ended_K = sold_K & (step_N[rows.last_K] < end_K)
    full = expand_to_grid(*_append_rows(rows, step_N, ended_K, end_K, grid), grid)
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
    findings = [Finding(code="zeros", severity="info", message=text, unique_id=unique_id, count=total)]
    return full, [*findings, *_find_closed_days(rows, frequency), *_find_ended(full, zero_M)]


def _find_closed_days(rows: Rows, frequency: str) -> list[Finding]:
    """Find days or hours without a row of any series that recur: closed times, which are no zeros.

    A weekday that is open once in ten weeks or less is closed as a rule.
    """
    if rows.integer:
        return []
    times = np.unique(rows.ds_N[~np.isnan(rows.y_N)])
    days = np.unique(times // DAY_US)
    count_W = np.bincount((days - MONDAY_US // DAY_US) % 7, minlength=7)
    rare_W = (count_W > 0) & (count_W <= RARE * count_W.max())
    usual = times[~rare_W[(times // DAY_US - MONDAY_US // DAY_US) % 7]]
    if (opened := name_open_times(usual, frequency)) == frequency:
        return []
    rest = len(times) - len(usual)
    few = f" but {number(rest, 'time')}" if rest else ""
    text = (
        f"no series has a row{few} at times of the week that recur, which were taken as 0 and "
        f"will be forecast. If they are closed, set the open times: --frequency '{opened}' (frequency)"
        f"{', and leave out the rows outside of them' if rest else ''}"
    )
    return [Finding(code="closed_days", severity="warning", message=text)]


def _find_ended(rows: Rows, zero_M: np.ndarray) -> list[Finding]:
    """Find series that seem to have ended: the zeros at their end outlast every earlier pause by far."""
    sold = np.flatnonzero(~zero_M & ~np.isnan(rows.y_N))
    series = rows.series_N[sold]
    pause_K, end_K = np.zeros(rows.num_series, np.int64), np.full(rows.num_series, -1)
    np.maximum.at(pause_K, series[1:], np.where(np.diff(series) == 0, np.diff(sold), 0))
    end_K[series] = sold
    # Steps without an observation after the end of all series carry covariates only.
    count = np.append(0, np.cumsum(zero_M))
    absent_K = count[rows.last_K + 1] - count[end_K + 1]
    ended_K = (end_K >= 0) & (absent_K > np.maximum(ENDED_STEPS, ENDED_PAUSES * pause_K))
    if not ended_K.any():
        return []
    longest = int(np.where(ended_K, absent_K, 0).argmax())
    text = (
        f"{number(int(ended_K.sum()), 'series', 'series')} without a value for long, such as "
        f"{rows.describe(int(end_K[longest]))}, the last one; they are forecast as 0 or nearly so. If they have ended, "
        "leave them out of the source"
    )
    name = str(rows.ids[longest])
    return [Finding(code="ended", severity="info", message=text, unique_id=name, count=int(ended_K.sum()))]


def _append_rows(
    rows: Rows, step_N: np.ndarray, which_K: np.ndarray, end_K: np.ndarray, grid: Grid
) -> tuple[Rows, np.ndarray]:
    """Append an empty row at the end of some series."""
    which = np.flatnonzero(which_K)
    after = rows.last_K[which_K] + 1
    columns = {name: np.insert(values, after, np.nan) for name, values in rows.covariates.items()}
    longer = replace(
        rows,
        series_N=np.insert(rows.series_N, after, which),
        ds_N=np.insert(rows.ds_N, after, grid.timestamps(which, end_K[which])),
        y_N=np.insert(rows.y_N, after, np.nan),
        covariates=columns,
    )
    return longer, np.insert(step_N, after, end_K[which_K])
