"""Where a training starts: from scratch, or from the weights of the model before it; and what it has then seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_model.time_axis import advance
from lstm_model.windows import Windows

Moment = str | int
"""A `ds` as JSON keeps it: ISO text, or an integer."""


@dataclass(frozen=True)
class Seen:
    """The last target of each series that something fitted has seen, its ancestors included."""

    train: Mapping[str, Any]
    """By the search, which early stopping ends."""
    refit: Mapping[str, Any]
    """By anything: the refit, or the calibration of the intervals."""

    def card(self, *, by_series: bool) -> dict[str, Any]:
        """For a model's card; series have ends of their own only where windows are aligned to these."""
        card: dict[str, Any] = {"seen_through": {"train": _latest(self.train), "refit": _latest(self.refit)}}
        if by_series:
            card["seen_through_by_series"] = {name: moment_of(ds) for name, ds in self.refit.items()}
            card["searched_through_by_series"] = {name: moment_of(ds) for name, ds in self.train.items()}
        return card


@dataclass(frozen=True)
class Start:
    """Where a training started, and why there."""

    parent: str | None = None
    """The sha256 of the bundle whose weights it went on from; None: from scratch."""
    generation: int = 0
    """Warm starts since the last training from scratch."""
    reason: str = "no model to start from"

    def card(self) -> dict[str, Any]:
        return {"warm": {"parent": self.parent, "generation": self.generation, "reason": self.reason}}


def seen_by(train: Windows, validation: Windows | None) -> Seen:
    """What a training on these windows sees: taken from the windows themselves, not from the plan that cut them."""
    searched = last_targets(train)
    later = {} if validation is None else last_targets(validation)
    return Seen(searched, _later_of(searched, later))


def last_targets(windows: Windows) -> dict[str, Any]:
    """The `ds` of each series' last step of any horizon, whether or not a value was observed there."""
    order = np.argsort(windows.cutoff_W, kind="stable")
    last = {int(k): int(w) for k, w in zip(windows.series_W.cpu().numpy()[order], order, strict=True)}
    cutoffs = windows.cutoff_W[list(last.values())]
    ends = advance(cutoffs, np.full(len(last), windows.horizon), windows.frequency)
    return dict(sorted(zip((windows.unique_ids[k] for k in last), ends, strict=True)))


def moment_of(ds: Any) -> Moment:
    """A datetime64 as ISO text, an integer as it is."""
    return int(ds) if isinstance(ds, (int, np.integer)) else str(ds)


def _latest(ends: Mapping[str, Any]) -> Moment:
    return moment_of(max(ends.values()))


def _later_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """For each series of either, the later end."""
    return {name: max(end[name] for end in (a, b) if name in end) for name in sorted({*a, *b})}
