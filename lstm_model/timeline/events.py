"""Recognise single events, such as the receipts of a till, and name the days in which they can be added up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.inference import infer_frequency
from lstm_model.timeline.timestamps import DAY_US

LEAST_DAYS = 14
"""Fewer tell nothing of a week."""
LEAST_A_DAY = 2
RARE = 0.3
"""Regular rows are at most steps of some length, or at most times of day on most days; events at fewer than this."""
Integers = NDArray[np.int64]


def offer_days(ds_N: Integers) -> str:
    """Return words that offer to add up single events by day, with all flags; "" where rows are no such events.

    Args:
        ds_N: the timestamps of all rows, microseconds since 1970.
    """
    moments = np.unique(ds_N)
    days, times = np.unique(moments // DAY_US), np.unique(moments % DAY_US)
    if len(days) < LEAST_DAYS or len(moments) < LEAST_A_DAY * len(days):
        return ""
    step = np.gcd.reduce(np.diff(moments))
    places = min(len(days) * len(times), (moments[-1] - moments[0]) // step + 1)
    if len(moments) > RARE * places:
        return ""
    alias = name_open_days(days * DAY_US)
    quoted = f"'{alias}'" if " " in alias else alias
    return (
        f". The rows look like single events at any time, such as receipts: {round(len(ds_N) / len(days)):,} a day. To "
        f"add up what was sold or counted each day, set frequency, aggregate and missing: --frequency {quoted} "
        "--aggregate sum --missing zero. For the mean of what was measured, say --frequency D --aggregate mean"
    )


def name_open_days(ds_N: Integers) -> str:
    """Return the frequency of the days that have rows, without those on which a business is closed: D open mon-sat."""
    times = np.unique(ds_N // DAY_US * DAY_US)
    try:
        alias, _ = infer_frequency(np.zeros(len(times), np.int64), times, integer=False)
    except DataError:
        return "D"
    return alias if alias.split()[0] in ("B", "D") else "D"
