"""Generate series: the tutorial's sine wave, and a panel with the patterns of real hourly data."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lstm_model.contracts.settings import Dataset

FIRST_HOUR = np.datetime64("2024-01-01T00:00:00", "us")
TUTORIAL_STEPS = 1000


def generate_dataset(dataset: Dataset, *, num_series: int, num_steps: int, seed: int) -> pd.DataFrame:
    """Generate a dataset by its name, as a long table `unique_id`, `ds`, `y`; a sine has no randomness."""
    return generate_sine(num_steps) if dataset == "sine" else generate_panel(num_series, num_steps, seed)


def generate_sine(num_steps: int = TUTORIAL_STEPS) -> pd.DataFrame:
    """Generate the tutorial's wave on its grid t_i = i * 100/999, which continues beyond its 1,000 points.

    Returns:
        Long table `unique_id` ("sine"), `ds` (0, 1, ...), `y`.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, received {num_steps}")
    beyond = np.arange(TUTORIAL_STEPS, max(num_steps, TUTORIAL_STEPS)) * (100 / (TUTORIAL_STEPS - 1))
    # The tutorial's own expression for its part: the learner's numbers, to the last bit.
    wave = np.concatenate([np.sin(np.linspace(0, 100, TUTORIAL_STEPS)), np.sin(beyond)])[:num_steps]
    return pd.DataFrame({"unique_id": "sine", "ds": np.arange(num_steps, dtype=np.int64), "y": wave})


def generate_panel(num_series: int = 12, num_steps: int = 1440, seed: int = 0) -> pd.DataFrame:
    """Generate an hourly panel: trend, daily and weekly seasons, noise, level shifts, missing rows, own scales.

    Series i does not depend on `num_series`. The first and last rows are never missing.

    Returns:
        Long table `unique_id`, `ds` (hourly, naive), `y` (positive, in units of the series' own scale).
    """
    if num_series < 1 or num_steps < 2:
        raise ValueError(f"a panel needs 1 series and 2 steps at least, received {num_series} and {num_steps}")
    hours = np.arange(num_steps)
    basis = _make_basis(hours)
    values = np.empty((num_series, num_steps))
    kept = np.ones((num_series, num_steps), dtype=bool)
    for index in range(num_series):
        rng = np.random.default_rng((seed, index))
        values[index] = _generate_series(rng, basis, hours)
        kept[index] = _draw_kept_rows(rng, num_steps)
    ids = pd.array([f"S{index:05d}" for index in range(num_series)], dtype="str")
    series_N, step_N = np.nonzero(kept)
    ds = (FIRST_HOUR + hours.astype("timedelta64[h]")).astype("datetime64[us]")
    return pd.DataFrame({"unique_id": ids.take(series_N), "ds": ds[step_N], "y": values[kept]})


def _make_basis(hours: np.ndarray) -> np.ndarray:
    """Return (5, T): two daily harmonics as sine and cosine pairs, and a weekend flag."""
    day = 2 * np.pi * hours / 24
    weekend = ((FIRST_HOUR + hours.astype("timedelta64[h]")).astype("datetime64[D]").astype(np.int64) + 3) % 7 >= 5
    return np.stack([np.sin(day), np.cos(day), np.sin(2 * day), np.cos(2 * day), weekend.astype(float)])


def _generate_series(rng: np.random.Generator, basis: np.ndarray, hours: np.ndarray) -> np.ndarray:
    scale = 10 ** rng.uniform(1, 4)
    weights = np.concatenate([rng.normal(0, [0.2, 0.2, 0.08, 0.08]), [-rng.uniform(0.05, 0.25)]])
    shape = np.exp(weights @ basis)  # multiplicative, so that values stay positive
    trend = 1 + rng.normal(0, 0.15) * hours / len(hours)
    level = np.ones(len(hours))
    for _ in range(rng.integers(0, 3)):
        level[rng.integers(len(hours)) :] *= 1 + rng.choice([-1, 1]) * rng.uniform(0.05, 0.2)
    noise = np.exp(rng.normal(0, rng.uniform(0.02, 0.06), len(hours)))
    values: np.ndarray = scale * shape * np.maximum(trend, 0.2) * level * noise
    return values


def _draw_kept_rows(rng: np.random.Generator, num_steps: int) -> np.ndarray:
    kept = np.ones(num_steps, dtype=bool)
    for _ in range(rng.integers(0, 4)):
        start = int(rng.integers(1, num_steps))
        kept[start : start + int(rng.integers(1, 13))] = False
    kept[[0, -1]] = True
    return kept
