"""Tell what timestamps have in common."""

from __future__ import annotations

import numpy as np
import pandas as pd

DAY_US = 86_400_000_000


def same_time_of_day(times: pd.Series) -> bool:
    """Return whether a naive datetime64[us] column has one time of day: it is of daily data, or longer steps."""
    unique = np.unique(times.to_numpy().astype("datetime64[us]").astype(np.int64) % DAY_US)
    return len(unique) <= 1
