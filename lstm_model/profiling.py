"""Find the facts about a series table that choices rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lstm_model.profile import Profile
from lstm_model.time_axis import INTEGER

CLEAR = 0.3
"""Autocorrelation that a season must reach, and rise by, before an integer axis is taken to have one."""


def profile(table: Path, frequency: str) -> Profile:
    """Measure a series table (Parquet, sorted)."""
    rows = pq.read_table(table, columns=["unique_id", "ds", "y", "observed"])
    real = rows.column("observed").to_numpy()
    ids = rows.column("unique_id").combine_chunks().dictionary_encode().indices.to_numpy()[real]
    ds = rows.column("ds").to_numpy()[real]
    _, counts = np.unique(ids, return_counts=True)
    series = np.split(rows.column("y").to_numpy()[real], np.cumsum(counts)[:-1])
    last = ds[np.cumsum(counts) - 1].astype(np.int64)
    step = max(1.0, float(np.median(np.diff(ds.astype(np.int64))[np.diff(ids) == 0]))) if len(ds) > len(counts) else 1.0
    return Profile(
        frequency=frequency,
        num_series=len(counts),
        num_observed=len(ds),
        length_min=int(counts.min()),
        length_median=int(np.median(counts)),
        length_max=int(counts.max()),
        start=str(ds.min()),
        end=str(ds.max()),
        median_lag=round(float(last.max() - np.median(last)) / step),
        lowest=min(map(_lowest, series)),
        found_season=_find_season(series) if frequency == INTEGER else None,
    )


def _lowest(y: NDArray[np.float64]) -> float:
    least, middle = float(y.min()), float(np.median(y))
    return least / middle if middle > 0 else min(least, 0.0)


def _find_season(series: list[NDArray[np.float64]], *, sample: int = 50) -> int | None:
    """The lag of 2 to 200 at which the mean autocorrelation has a clear peak: a rise after a fall, both of `CLEAR`."""
    long = [y for y in series if len(y) >= 24]
    if not long:
        return None
    chosen = long[:: max(1, len(long) // sample)][:sample]
    most = min(200, min(len(y) for y in chosen) // 3)
    mean = np.mean([_autocorrelation(y, most) for y in chosen], axis=0)
    peaks = [lag for lag in range(2, most) if mean[lag] > mean[lag - 1] and mean[lag] >= mean[lag + 1]]
    best = max(peaks, key=lambda lag: float(mean[lag]), default=None)
    if best is None or mean[best] < CLEAR or mean[best] - mean[:best].min() < CLEAR:
        return None
    return best


def _autocorrelation(y: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """(most + 1,) at lags 0..most, of the deviations from a straight line, by the fast Fourier transform."""
    steps = np.arange(len(y))
    deviation = y - np.polyval(np.polyfit(steps, y, 1), steps)
    power = np.abs(np.fft.rfft(deviation, 2 * len(y))) ** 2
    correlation = np.fft.irfft(power)[: most + 1]
    return np.asarray(correlation / correlation[0] if correlation[0] > 0 else np.zeros(most + 1))
