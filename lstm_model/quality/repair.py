"""Put the rows of all series on a regular grid and fill the gaps, vectorised: 10,000 series take seconds.

Shape suffixes: N rows of all series, K series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError, number
from lstm_model.timeline.grid import Grid

MOST_ADDED, MOST_ADDED_PER_ROW = 1_000_000, 100
"""Most steps without a row that are filled: the larger of the two. A wrong year in hourly data can leave more."""


@dataclass(frozen=True)
class Rows:
    """Rows sorted by series and time; a series' rows are contiguous."""

    ids: np.ndarray
    """K names, ascending."""
    series_N: np.ndarray
    ds_N: np.ndarray
    """int64: microseconds since 1970, or integer steps."""
    y_N: np.ndarray
    """float64, NaN where missing."""
    covariates: dict[str, np.ndarray]
    """Past and future covariates, float64, N each; those that are texts as codes."""
    integer: bool = False
    """Whether `ds_N` holds integer steps."""
    clock: Clock | None = None
    """The source's own, in which messages name moments, if `ds_N` is UTC instead."""
    texts: dict[str, np.ndarray] = field(default_factory=dict)
    """What the codes of those covariates that are texts stand for."""

    @property
    def num_series(self) -> int:
        return len(self.ids)

    @property
    def first_K(self) -> np.ndarray:
        """Return the first row of each series."""
        return np.searchsorted(self.series_N, np.arange(self.num_series))

    @property
    def last_K(self) -> np.ndarray:
        """Return the last row of each series."""
        return np.searchsorted(self.series_N, np.arange(self.num_series), side="right") - 1

    def describe(self, row: int) -> str:
        """Return the series and timestamp of a row, for a message."""
        return f"series {self.ids[self.series_N[row]]!r}, {self.show_timestamp(row)}"

    def show_timestamp(self, row: int) -> str:
        """Return the timestamp of a row as the source has it, for a message."""
        if self.integer:
            return f"step {self.ds_N[row]}"
        moment = pd.Timestamp(self.ds_N[row], unit="us").to_pydatetime()
        return str(moment if self.clock is None else self.clock.convert(moment))

    def count(self, mask_N: np.ndarray) -> np.ndarray:
        """Return the number of marked rows of each series, K."""
        return np.bincount(self.series_N[mask_N], minlength=self.num_series)

    def take(self, rows: np.ndarray) -> Rows:
        """Return some rows, by mask or in another order; the series stay, even when empty."""
        columns = {name: values[rows] for name, values in self.covariates.items()}
        return replace(self, series_N=self.series_N[rows], ds_N=self.ds_N[rows], y_N=self.y_N[rows], covariates=columns)

    def select(self, keep_K: np.ndarray) -> Rows:
        """Return the rows of some series, whose numbers then count from 0 again."""
        if keep_K.all():
            return self
        kept = self.take(keep_K[self.series_N])
        return replace(kept, ids=self.ids[keep_K], series_N=(np.cumsum(keep_K) - 1)[kept.series_N])


def sort_rows(table: pd.DataFrame, covariates: Sequence[str]) -> tuple[Rows, np.ndarray]:
    """Return a raw table with naive `ds` as sorted rows, and the table's row that each one was."""
    series_N, ids = pd.factorize(table["unique_id"], sort=True)
    ds = table["ds"].to_numpy()
    ds_N = ds if ds.dtype.kind == "i" else ds.astype("datetime64[us]").astype(np.int64)
    texts = {n: table[n].cat for n in covariates if isinstance(table[n].dtype, pd.CategoricalDtype)}
    coded = {n: np.where(cat.codes < 0, np.nan, cat.codes) for n, cat in texts.items()}
    columns = {n: coded[n] if n in coded else table[n].to_numpy(dtype=np.float64) for n in covariates}
    known = {n: np.asarray(cat.categories, dtype=object) for n, cat in texts.items()}
    y_N = table["y"].to_numpy(dtype=np.float64)
    rows = Rows(np.asarray(ids, dtype=object), series_N, ds_N, y_N, columns, ds.dtype.kind == "i", texts=known)
    step, turn = np.diff(ds_N), np.diff(series_N)
    if bool(((turn > 0) | ((turn == 0) & (step >= 0))).all()):
        return rows, np.arange(len(ds_N))
    order = np.lexsort((ds_N, series_N))
    return rows.take(order), order


def find_history(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a mask N of the rows from each series' first to its last known target, and these two rows, K each.

    A series without any known target has first > last.
    """
    known = np.flatnonzero(~np.isnan(rows.y_N))
    left = np.searchsorted(rows.series_N[known], np.arange(rows.num_series))
    right = np.searchsorted(rows.series_N[known], np.arange(rows.num_series), side="right")
    padded = np.append(known, len(rows.y_N))
    first_K = np.where(right > left, padded[left], len(rows.y_N))
    last_K = np.where(right > left, padded[np.maximum(right - 1, 0)], -1)
    place = np.arange(len(rows.y_N))
    return (place >= first_K[rows.series_N]) & (place <= last_K[rows.series_N]), first_K, last_K


def expand_to_grid(rows: Rows, step_N: np.ndarray, grid: Grid) -> Rows:
    """Return one row for every step from each series' first row to its last; new rows are NaN throughout.

    Raises:
        DataError: there would be too many new rows.
    """
    first_K, last_K = rows.first_K, rows.last_K
    length_K = step_N[last_K] - step_N[first_K] + 1
    if bool((length_K == last_K - first_K + 1).all()):
        return replace(rows, ds_N=grid.timestamps(rows.series_N, step_N))
    added = int(length_K.sum()) - len(step_N)
    if added > max(MOST_ADDED, MOST_ADDED_PER_ROW * len(step_N)):
        raise DataError(
            f"{number(added, 'step')} without a row, too many to fill; {describe_longest_gap(rows, step_N)}. Correct "
            "the timestamp that is wrong, or set frequency"
        )
    start_K = np.cumsum(length_K) - length_K
    series_M = np.repeat(np.arange(rows.num_series), length_K)
    step_M = np.arange(len(series_M)) - (start_K - step_N[first_K])[series_M]
    place_N = start_K[rows.series_N] + step_N - step_N[first_K][rows.series_N]

    def spread(values: np.ndarray) -> np.ndarray:
        full = np.full(len(series_M), np.nan)
        full[place_N] = values
        return full

    columns = {name: spread(values) for name, values in rows.covariates.items()}
    ds_M = grid.timestamps(series_M, step_M)
    return replace(rows, series_N=series_M, ds_N=ds_M, y_N=spread(rows.y_N), covariates=columns)


def describe_longest_gap(rows: Rows, step_N: np.ndarray, series: int | None = None) -> str:
    """Return where the most steps without a row lie, in one series or in any, for a message."""
    inside = (np.diff(rows.series_N) == 0) & (series is None or rows.series_N[1:] == series)
    gap_N = np.where(inside, np.diff(step_N) - 1, 0)
    row = int(gap_N.argmax())
    return (
        f"the longest gap, of {number(int(gap_N[row]), 'step')}, is between {rows.describe(row)}, and "
        f"{rows.show_timestamp(row + 1)}"
    )


def interpolate(values_N: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill `missing` rows on the line between their known neighbours, in a copy.

    Every missing row must lie between two known ones of its series, as it does within a history; so no line runs
    from one series into the next.
    """
    known = np.flatnonzero(~np.isnan(values_N))
    filled = values_N.copy()
    filled[missing] = np.interp(missing, known, values_N[known])
    return filled


def carry_forward(values_N: np.ndarray, missing: np.ndarray, series_N: np.ndarray) -> np.ndarray:
    """Fill `missing` rows with the last known value before them in their series.

    Returns:
        A copy; NaN stays if nothing is known before.
    """
    known = np.flatnonzero(~np.isnan(values_N))
    filled = values_N.copy()
    if not len(known) or not len(missing):
        return filled
    before = np.searchsorted(known, missing) - 1
    source = known[np.maximum(before, 0)]
    inside = (before >= 0) & (series_N[source] == series_N[missing])
    filled[missing[inside]] = values_N[source[inside]]
    return filled


def fill_from_seasons(
    values_N: np.ndarray, missing: np.ndarray, series_N: np.ndarray, season: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fill `missing` rows with the known value a whole number of seasons before, the nearest first.

    Returns:
        A copy, and the rows that no earlier season could fill.
    """
    source, before = np.arange(len(values_N)), missing - season
    inside = before >= 0
    inside[inside] = series_N[before[inside]] == series_N[missing[inside]]
    source[missing[inside]] = before[inside]
    # A missing row points at a season before, which may be missing and point further: each round doubles the reach.
    while not np.array_equal(further := source[source[missing]], source[missing]):
        source[missing] = further
    filled = values_N.copy()
    filled[missing] = values_N[source[missing]]
    return filled, missing[np.isnan(filled[missing])]


def find_worst(counts_K: np.ndarray, ids: np.ndarray) -> tuple[str, int, int]:
    """Return the series with the largest count, how many series have one, and the total of the counts."""
    return str(ids[int(counts_K.argmax())]), int((counts_K > 0).sum()), int(counts_K.sum())
