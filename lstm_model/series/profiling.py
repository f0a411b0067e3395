"""Measure the facts about a series table that choices rest on, for one table or the shards of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lstm_model.contracts.profile import Profile
from lstm_model.timeline.frequency import Frequency

CLEAR_PEAK = 0.3
"""Autocorrelation that a season must reach, and rise by, before an integer axis is taken to have one."""
SAMPLE = 50
LONG = 24
"""A season is looked for in up to SAMPLE series of at least LONG steps."""


@dataclass(frozen=True)
class SeriesFacts:
    """Facts about each series with an observed value (K), and about the steps between observations."""

    ids_K: NDArray[Any]
    observed_K: NDArray[np.int64]
    last_K: NDArray[Any]
    """The last observed `ds`."""
    lowest_K: NDArray[np.float64]
    start: Any
    """The first observed `ds`."""
    steps: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Distances between neighbours, and how often each occurs: enough for their exact median."""

    def save(self, path: Path) -> None:
        """Write the facts as one Parquet file."""
        table = pa.table({"unique_id": self.ids_K, "observed": self.observed_K, "last": self.last_K})
        table = table.append_column("lowest", pa.array(self.lowest_K))
        steps, counts = (",".join(map(str, numbers.tolist())) for numbers in self.steps)
        start = str(int(np.asarray(self.start).astype(np.int64)))
        pq.write_table(table.replace_schema_metadata({"start": start, "steps": steps, "counts": counts}), path)

    @classmethod
    def load(cls, path: Path) -> SeriesFacts:
        table = pq.read_table(path)
        about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        ids, observed, last, lowest = (
            table.column(name).to_numpy() for name in ("unique_id", "observed", "last", "lowest")
        )
        steps, counts = (np.array([int(n) for n in about[k].split(",") if n], np.int64) for k in ("steps", "counts"))
        start = np.int64(about["start"]).astype(last.dtype)
        return cls(ids, observed, last, lowest, start, (steps, counts))


def measure_profile(table: Path, frequency: str) -> Profile:
    """Measure a series table (Parquet, sorted)."""
    return merge_profiles([measure_facts(table)], [table], frequency)


def measure_facts(table: Path) -> SeriesFacts:
    """Measure one series table (Parquet, sorted) with at least one observed value."""
    rows = pq.read_table(table, columns=["unique_id", "ds", "y", "observed"])
    real = rows.column("observed").to_numpy()
    names = rows.column("unique_id").combine_chunks().dictionary_encode()
    codes = names.indices.to_numpy()[real]
    ds = rows.column("ds").to_numpy()[real]
    present, counts = np.unique(codes, return_counts=True)
    series = np.split(rows.column("y").to_numpy()[real], np.cumsum(counts)[:-1])
    between = np.diff(ds.astype(np.int64))[np.diff(codes) == 0]
    return SeriesFacts(
        ids_K=names.dictionary.take(pa.array(present)).to_numpy(zero_copy_only=False),
        observed_K=counts,
        last_K=ds[np.cumsum(counts) - 1],
        lowest_K=np.array([_find_lowest(y) for y in series]),
        start=ds.min(),
        steps=np.unique(between, return_counts=True),
    )


def merge_profiles(shards: Sequence[SeriesFacts], tables: Sequence[Path], frequency: str) -> Profile:
    """Return the profile of all shards, equal to that of one table with all their rows.

    Args:
        shards: the facts of each.
        tables: the series table of each, read for a season that no calendar names.
        frequency: of all.
    """
    counts = np.concatenate([one.observed_K for one in shards])
    last_K = np.concatenate([one.last_K for one in shards])
    last = last_K.astype(np.int64)
    step = _find_median_step(shards)
    return Profile(
        frequency=frequency,
        num_series=len(counts),
        num_observed=int(counts.sum()),
        length_min=int(counts.min()),
        length_median=int(np.median(counts)),
        length_max=int(counts.max()),
        start=str(min(one.start for one in shards)),
        end=str(last_K.max()),
        median_lag=round(float(last.max() - np.median(last)) / step),
        lowest=min(float(one.lowest_K.min()) for one in shards),
        found_season=_find_season(_read_sample(shards, tables)) if Frequency(frequency).is_integer else None,
    )


def _find_median_step(shards: Sequence[SeriesFacts]) -> float:
    """Return the median step between neighbouring observations; 1 if there are none."""
    steps = np.concatenate([one.steps[0] for one in shards])
    counts = np.concatenate([one.steps[1] for one in shards])
    if not len(steps):
        return 1.0
    order = np.argsort(steps)
    ends, total = np.cumsum(counts[order]), int(counts.sum())
    middle = np.searchsorted(ends, [(total - 1) // 2, total // 2], side="right")
    return max(1.0, float(steps[order][middle].mean()))


def _find_lowest(y: NDArray[np.float64]) -> float:
    least, middle = float(y.min()), float(np.median(y))
    return least / middle if middle > 1e-200 else min(least, 0.0)  # a quotient that stays finite


def _read_sample(shards: Sequence[SeriesFacts], tables: Sequence[Path]) -> list[NDArray[np.float64]]:
    """Read the observed values of a few long series, evenly spread over all of them."""
    ids = np.concatenate([one.ids_K[one.observed_K >= LONG] for one in shards])
    chosen = pa.array(ids[:: max(1, len(ids) // SAMPLE)][:SAMPLE], pa.string())
    wanted = pads.field("unique_id").isin(chosen) & pads.field("observed")
    rows = pads.dataset(list(map(str, tables)), format="parquet").to_table(columns=["unique_id", "y"], filter=wanted)
    found = rows.column("unique_id")
    return [rows.filter(pc.equal(found, one)).column("y").to_numpy() for one in chosen]


def _find_season(chosen: list[NDArray[np.float64]]) -> int | None:
    """Find the lag of 2 to 200 at which the mean autocorrelation rises after a fall, both by `CLEAR_PEAK`."""
    if not chosen:
        return None
    most = min(200, min(len(y) for y in chosen) // 3)
    mean = np.mean([_measure_autocorrelation(y, most) for y in chosen], axis=0)
    peaks = [lag for lag in range(2, most) if mean[lag] > mean[lag - 1] and mean[lag] >= mean[lag + 1]]
    best = max(peaks, key=lambda lag: float(mean[lag]), default=None)
    if best is None or mean[best] < CLEAR_PEAK or mean[best] - mean[:best].min() < CLEAR_PEAK:
        return None
    return best


def _measure_autocorrelation(y: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return (most + 1,) autocorrelations at lags 0..most of the deviations from a line, by fast Fourier transform."""
    steps = np.arange(len(y))
    deviation = y - np.polyval(np.polyfit(steps, y, 1), steps)
    power = np.abs(np.fft.rfft(deviation, 2 * len(y))) ** 2
    correlation = np.fft.irfft(power)[: most + 1]
    return np.asarray(correlation / correlation[0] if correlation[0] > 0 else np.zeros(most + 1))
