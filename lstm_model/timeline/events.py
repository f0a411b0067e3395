"""Recognise single events, such as the receipts of a till, and name the days in which they can be added up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lstm_model.contracts.findings import DataError
from lstm_model.timeline.calendars import MINUTE_US
from lstm_model.timeline.inference import infer_frequency
from lstm_model.timeline.timestamps import DAY_US

LEAST_DAYS = 14
"""Fewer tell nothing of a week."""
LEAST_A_DAY = 2
RARE = 0.3
"""Regular rows are at most steps of some length, or at most times of day on most days; events at fewer than this."""
JITTER, NEARLY_ALL = 0.1, 0.95
"""A reading is at most this share of a step off its time; so are at least so many of all."""
MOST = 0.8
"""So many readings follow the one before after about a step."""
STEPS = {"min": 1, "5min": 5, "10min": 10, "15min": 15, "30min": 30, "h": 60, "D": 1440}
"""Minutes between readings, by the name of their frequency."""
Integers = NDArray[np.int64]


def offer_days(ds_N: Integers) -> str:
    """Return words that offer to add up single events by day, with all flags; "" where rows are no such events.

    Args:
        ds_N: the timestamps of all rows, series by series in their order of time, microseconds since 1970.
    """
    if offer := _offer_steps(ds_N):
        return offer
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


def is_jittered(ds_N: Integers, step_us: int) -> bool:
    """Return whether nearly all moments lie close to the full steps, and some beside them."""
    off_N = measure_jitter(ds_N, step_us)
    return bool((off_N != 0).any()) and bool((np.abs(off_N) <= JITTER * step_us).mean() >= NEARLY_ALL)


def measure_jitter(ds_N: Integers, step_us: int) -> Integers:
    """Return the microseconds from the nearest full step to each moment."""
    return np.asarray((ds_N + step_us // 2) % step_us - step_us // 2)


def _offer_steps(ds_N: Integers) -> str:
    """Return words that offer the mean of each step for readings that come a little early or late, else ""."""
    steps = np.diff(ds_N)
    steps = steps[steps > 0]
    if len(steps) < LEAST_DAYS:
        return ""
    median = float(np.median(steps))
    alias = min(STEPS, key=lambda name: abs(STEPS[name] * MINUTE_US - median))
    is_near = np.abs(steps - STEPS[alias] * MINUTE_US) < 2 * JITTER * STEPS[alias] * MINUTE_US
    is_exact = steps == STEPS[alias] * MINUTE_US
    if is_near.mean() < MOST or is_exact.mean() > 1 - MOST:
        return ""
    return (
        f". The rows look like readings about every {alias}, a little early or late. For the mean of the readings in "
        f"each step, set frequency and aggregate (--frequency {alias} --aggregate mean)"
    )


def name_open_times(ds_N: Integers, frequency: str) -> str:
    """Return a frequency of days, or parts of a day, without the times at which a business is closed, if it is."""
    if frequency == "D":
        return name_open_days(ds_N)
    try:
        alias, _ = infer_frequency(np.zeros(len(ds_N), np.int64), ds_N, integer=False)
    except DataError:
        return frequency
    return alias if alias.startswith(f"{frequency} open ") else frequency


def name_open_days(ds_N: Integers) -> str:
    """Return the frequency of the days that have rows, without those on which a business is closed: D open mon-sat."""
    times = np.unique(ds_N // DAY_US * DAY_US)
    try:
        alias, _ = infer_frequency(np.zeros(len(times), np.int64), times, integer=False)
    except DataError:
        return "D"
    return alias if alias.split()[0] in ("B", "D") else "D"
