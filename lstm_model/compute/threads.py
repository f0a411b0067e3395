"""Choose how many CPU threads train, measured on the first steps of the training itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

ROUNDS = 3
CLEARLY_SLOWER = 1.25
"""How much slower the second best must be for the trial to end before its last round."""


class Threads:
    """Runs the first steps under each candidate in turn and keeps the fastest.

    More threads are not always faster: on busy cores the threads of a small LSTM wait for each other at every barrier,
    which can take several times as long as one thread. The trial steps are real steps, so measuring costs nothing.
    Another thread count changes the order of floating-point sums: bitwise reproducible runs need a fixed count.
    """

    def __init__(self, fixed: int | None, *, on_cpu: bool) -> None:
        available = torch.get_num_threads()
        if fixed:
            self._candidates = [fixed]
        else:
            self._candidates = sorted({1, available}, reverse=True) if on_cpu else [available]
        self.count: int | None = self._candidates[0] if len(self._candidates) == 1 else None
        self._seconds: dict[int, list[float]] = {candidate: [] for candidate in self._candidates}
        self._steps = 0
        if self.count:
            torch.set_num_threads(self.count)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time one training step, until the number of threads is chosen."""
        if self.count is not None:
            yield
            return
        candidate = self._candidates[self._steps % len(self._candidates)]
        torch.set_num_threads(candidate)
        start = time.perf_counter()
        yield
        self._record(candidate, time.perf_counter() - start)

    def _record(self, candidate: int, seconds: float) -> None:
        self._steps += 1
        if self._steps > len(self._candidates):  # each one's first step warms up and does not count
            self._seconds[candidate].append(seconds)
        rounds, rest = divmod(self._steps, len(self._candidates))
        if rounds > 1 and rest == 0:
            self._decide(last_round=rounds > ROUNDS)

    def _decide(self, *, last_round: bool) -> None:
        medians = {c: statistics.median(s) for c, s in self._seconds.items()}
        best, second = sorted(medians, key=lambda c: medians[c])[:2]
        if last_round or medians[second] > CLEARLY_SLOWER * medians[best]:
            self.count = best
            torch.set_num_threads(best)

    @property
    def note(self) -> str:
        """Return the choice and its reason."""
        if self.count is None or not self._seconds[self.count]:
            return f"{self.count or torch.get_num_threads()} CPU threads"
        timings = ", ".join(f"{1000 * statistics.median(s):.1f} ms with {c}" for c, s in sorted(self._seconds.items()))
        return f"{self.count} CPU threads (a step took {timings})"


@contextmanager
def restore_threads() -> Iterator[None]:
    """Put torch's thread count back at the end."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
