"""Detect when a sequence of values is no longer what it was, with a self-starting CUSUM chart.

Each value is compared with all before it, as a Student t of a prediction, which is then made a standard normal
deviate (Hawkins 1987, "Self-starting CUSUM charts for location and scale", The Statistician 36; the deviate by
Wallace 1959). So a short reference, whose mean and spread are hardly known, makes a careful chart rather than a rash
one. The deviates are summed as in Page 1954 ("Continuous inspection schemes", Biometrika 41) and clipped, so that a
single wild value raises no alarm (the robust CUSUM of Lucas and Crosier 1982).

Shapes: N simulated sequences, R reference values, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SLACK = 1.0
"""Deviations that are not summed: the chart is for shifts of two spreads and more, not for small ones that last."""
CLIP = 3.5
"""No value counts for more: with the threshold above CLIP - SLACK, an alarm takes two."""
LEARNED = 60
"""Values after which the reference is known well enough and is no longer changed: slow change shall show too."""
PRIOR_COUNT = 2
"""Degrees of freedom that a first guess of the spread is worth; without it, one reference value would say nothing."""
CORRELATION = 0.25
"""Lag-1 autocorrelation that is assumed if the reference is too short to measure it; see `allow_for_correlation`."""
ENOUGH_TO_CORRELATE = 30
MOST_CORRELATION = 0.7
WIDER = 2.0
"""False alarms are counted on sequences whose spread is so many times the first guess of it: no chart relies on it."""
SEQUENCES = 500
ENDURING = 500
"""Values of each at least: most of the life of a chart lies after it has learned."""
SPARE = 1.3
"""The simulation neither unlearns nor waits after an alarm, which makes the next one a little more likely."""
HIGHEST = 9.0
"""The highest threshold that is looked at: five values or so of the wildest kind."""


@dataclass(frozen=True)
class Scale:
    """What is known of a kind of values beforehand."""

    guess: float
    """Their spread, as a first guess."""
    least: float
    """A smaller spread is not believed: a change below it does not matter in practice."""


@dataclass
class Reference:
    """What values are compared with: their count, mean and sum of squares, of N sequences at once."""

    count: int
    mean: Floats
    squares: Floats
    scale: Scale

    @classmethod
    def of(cls, values_NR: Floats, scale: Scale) -> Reference:
        mean = values_NR.mean(axis=1)
        return cls(values_NR.shape[1], mean, ((values_NR - mean[:, None]) ** 2).sum(axis=1), scale)

    def spread(self) -> Floats:
        """Return the spread of the next value, with the uncertainty of the mean."""
        freedom = PRIOR_COUNT + self.count - 1
        variance = (PRIOR_COUNT * self.scale.guess**2 + self.squares) / freedom
        return np.asarray(np.maximum(np.sqrt(variance), self.scale.least) * math.sqrt(1 + 1 / self.count))

    def deviate(self, value: Floats) -> Floats:
        """Return how unusual the next value is, as a clipped standard normal deviate."""
        freedom = PRIOR_COUNT + self.count - 1
        t = (value - self.mean) / self.spread()
        normal = np.sqrt(freedom * np.log1p(t**2 / freedom)) * (8 * freedom + 1) / (8 * freedom + 3)
        return np.asarray(np.clip(np.copysign(normal, t), -CLIP, CLIP))

    def learn(self, value: Floats) -> None:
        """Add a value to the reference, clipped as in the chart, until `LEARNED` are known."""
        if self.count >= LEARNED:
            return
        reach = CLIP * self.spread()
        value = np.clip(value, self.mean - reach, self.mean + reach)
        self.count += 1
        step = value - self.mean
        self.mean = self.mean + step / self.count
        self.squares = self.squares + step * (value - self.mean)


@dataclass
class Run:
    """A chart over a sequence."""

    threshold: float
    deviates: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    """Before they begin anew: at the threshold or above it is an alarm."""
    alarms: list[int] = field(default_factory=list)
    """Positions in the sequence."""
    on: bool = False
    """Since the last alarm, no value has been back to normal."""
    since: int = 0
    """Position where the present rise began; while it is on, the one that led to the first alarm."""


def run_chart(values: Floats, reference: Floats, *, scale: Scale, threshold: float) -> Run:
    """Run the chart over values in their order, to find a rise; pass both negated to find a fall.

    After an alarm the sum starts again at zero, so that an error that stays raises the alarm again. The reference
    forgets the values since the rise began, so that a change does not become normal. It learns again when the values
    are back to normal, or when there are as many values after the rise as before it: the reference may have been odd.
    """
    known, run, total = Reference.of(np.asarray(reference, np.float64)[None], scale), Run(threshold), 0.0
    before_rise = copy(known)
    for position, value in enumerate(np.asarray(values, np.float64)):
        one = np.array([value])
        deviate = float(known.deviate(one)[0])
        if total == 0.0 and not run.on:
            run.since = position
        total = max(0.0, total + deviate - SLACK)
        run.deviates.append(deviate)
        run.sums.append(total)
        if total >= threshold:
            run.alarms.append(position)
            run.on, known, total = True, copy(before_rise), 0.0
        elif total == 0.0:
            run.on = False
        if not run.on or position - run.since >= known.count:
            known.learn(one)
        if total == 0.0 and not run.on:
            before_rise = copy(known)
    return run


@cache
def find_threshold(num_reference: int, correlation: float, periods: int) -> float:
    """Find the sum that raises an alarm, so that a stationary sequence raises one in `periods` values at most.

    Found by simulating this chart with a reference of this length on Gaussian AR(1) sequences: the lowest threshold
    with few enough alarms, each counted, also those that come in clusters.
    """
    candidates_C = np.arange(CLIP - SLACK + 0.1, HIGHEST, 0.1)
    total_NC, alarms_C, num_values = np.zeros((SEQUENCES, len(candidates_C))), np.zeros(len(candidates_C)), 0
    for deviate_N in _simulate(num_reference, correlation, periods):
        total_NC = np.maximum(0.0, total_NC + deviate_N[:, None] - SLACK)
        above_NC = total_NC >= candidates_C
        total_NC[above_NC] = 0.0
        alarms_C += above_NC.sum(axis=0)
        num_values += len(deviate_N)
    enough = alarms_C <= num_values / (SPARE * periods)
    return float(candidates_C[np.argmax(enough)] if enough.any() else HIGHEST)


def _simulate(num_reference: int, correlation: float, periods: int) -> Iterator[Floats]:
    """Yield the deviates (N,) of one value after another; each sequence learns from its first `num_reference`."""
    rng = np.random.default_rng(0)
    shock = math.sqrt(1 - correlation**2)
    value_NR = rng.standard_normal((SEQUENCES, 1))
    for _ in range(num_reference - 1):
        value_NR = np.column_stack([value_NR, correlation * value_NR[:, -1] + shock * rng.standard_normal(SEQUENCES)])
    known, value_N = Reference.of(value_NR, Scale(guess=1 / WIDER, least=0.0)), value_NR[:, -1]
    for _ in range(max(periods, ENDURING)):
        value_N = correlation * value_N + shock * rng.standard_normal(SEQUENCES)
        yield known.deviate(value_N)
        known.learn(value_N)


def allow_for_correlation(num_values: int, correlation: float | None) -> float:
    """Return the autocorrelation that a threshold allows for, in steps of 0.05: the measured one if there is one."""
    if correlation is None or num_values < ENOUGH_TO_CORRELATE:
        return CORRELATION
    # Its standard error is added: an estimate that is too low costs false alarms.
    upper = correlation + 1 / math.sqrt(num_values)
    return round(min(max(upper, 0.0), MOST_CORRELATION) * 20) / 20
