"""Note the last target that a model has seen, and refuse to judge it on anything before.

Taken from the windows that were trained on, not from the plan that cut them: the checks for leaks rest on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.contracts.bundle_card import LastTargets, Moment, SeenRecord
from lstm_model.timeline.frequency import Frequency
from lstm_model.windows.in_memory import Windows

Ends = dict[str | None, Any]
"""A `ds` (datetime64 or integer) for each unique_id, or one for all under None."""


Part = TypeVar("Part")


class SeenError(ValueError):
    """A model has seen what its successor is to be judged on, or there is nothing new to see."""


@dataclass(frozen=True)
class Seen:
    """The last targets that were seen, by the model and all that it goes on from."""

    search: Ends
    """By the search, which has not seen the validation."""
    refit: Ends
    """By anything that was fitted: training, refit, the calibration of the intervals."""

    @classmethod
    def in_windows(cls, train: Windows, validation: Windows, *, by_series: bool, ancestor: Seen | None = None) -> Self:
        """Return what a training on these windows sees, and what the model that it goes on from has seen."""
        search = find_last_targets(train, by_series=by_series)
        refit = _later(search, find_last_targets(validation, by_series=by_series))
        return (
            cls(search, refit)
            if ancestor is None
            else cls(_later(search, ancestor.search), _later(refit, ancestor.refit))
        )

    @classmethod
    def on_card(cls, card: SeenRecord, *, by_series: bool) -> Self:
        """Return what a model's card says.

        Raises:
            SeenError: it does not say it.
        """
        if not by_series:
            both = _said(card.seen_through, "seen_through")
            return cls({None: parse_moment(both.train)}, {None: parse_moment(both.refit)})
        search = _said(card.searched_through_by_series, "searched_through_by_series")
        refit = _said(card.seen_through_by_series, "seen_through_by_series")
        return cls({k: parse_moment(v) for k, v in search.items()}, {k: parse_moment(v) for k, v in refit.items()})

    @property
    def of_all(self) -> Any:
        """Return the last target of any series that anything fitted has seen."""
        return find_latest(self.refit)

    def before(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Find the rows of a forecast table whose windows have all their targets after it.

        Where each series is cut at its own end, one that is not named was not seen.
        """
        cutoffs = table["cutoff"].to_numpy()
        if None in self.refit:
            before = np.asarray(cutoffs >= self.of_all)
            return before if before.all() else self._before_first_target(table)
        own = table["unique_id"].astype(str).map(self.refit).fillna(table["cutoff"].min())
        return np.asarray(cutoffs >= own.to_numpy())

    def _before_first_target(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        """Compare first targets: series whose steps fall on other days have cutoffs before that of all."""
        first = table.groupby(["unique_id", "cutoff"], observed=True)["ds"].transform("min")
        return np.asarray(first.to_numpy() > self.of_all)

    def card(self) -> SeenRecord:
        """Return the part of a model's card that says it."""
        last = LastTargets(train=to_moment(find_latest(self.search)), refit=to_moment(find_latest(self.refit)))
        if None in self.search:
            return SeenRecord(seen_through=last)
        return SeenRecord(
            seen_through=last,
            seen_through_by_series={str(name): to_moment(ds) for name, ds in self.refit.items()},
            searched_through_by_series={str(name): to_moment(ds) for name, ds in self.search.items()},
        )


def _said(part: Part | None, name: str) -> Part:
    if part is None:
        raise SeenError(f"its card does not say what it has seen: no {name!r}")
    return part


def refuse_leaks(ancestor: Seen, train: Windows, validation: Windows, *, by_series: bool) -> None:
    """Check that a training on these windows may go on from a model.

    Raises:
        SeenError: its search has seen the validation, its refit has seen what comes after that, or nothing is new.
    """
    own = Seen.in_windows(train, validation, by_series=by_series)
    allowed = {**own.search, **find_first_cutoffs(validation, by_series=by_series)}
    _refuse_later(ancestor.search, allowed, "its search has seen the validation")
    _refuse_later(ancestor.refit, own.refit, "it has seen what comes after the validation")
    if all(name in ancestor.search and ds <= ancestor.search[name] for name, ds in own.search.items()):
        raise SeenError(f"no new data: its search has seen all through {to_moment(find_latest(own.search))}")


def find_last_targets(windows: Windows, *, by_series: bool) -> Ends:
    """Return the `ds` of the last step of any horizon, observed or not; empty without windows."""
    cutoffs = _by_series(windows, np.argsort(windows.cutoff_W, kind="stable"))
    steps = np.full(len(cutoffs), windows.horizon)
    ends = Frequency(windows.frequency).advance(np.array([*cutoffs.values()], windows.cutoff_W.dtype), steps)
    last = dict(zip(cutoffs, ends, strict=True))
    return last if by_series or not last else {None: find_latest(last)}


def find_first_cutoffs(windows: Windows, *, by_series: bool) -> Ends:
    """Return the last `ds` before anything that these windows forecast."""
    first = _by_series(windows, np.argsort(windows.cutoff_W, kind="stable")[::-1])
    return first if by_series or not first else {None: min(first.values())}


def _by_series(windows: Windows, order: NDArray[np.int64]) -> Ends:
    """Return the cutoff of each series' last window in this order."""
    series = windows.series_W.cpu().numpy()[order]
    last = dict(zip(series.tolist(), order.tolist(), strict=True))
    return {windows.unique_ids[k]: windows.cutoff_W[w] for k, w in sorted(last.items())}


def _refuse_later(seen: Ends, allowed: Ends, what: str) -> None:
    for name, ds in seen.items():
        if name in allowed and ds > allowed[name]:
            of = "" if name is None else f" of {name}"
            raise SeenError(f"{what}{of}: it went through {to_moment(ds)}, allowed is {to_moment(allowed[name])}")


def _later(a: Ends, b: Ends) -> Ends:
    """Return the later end of each series."""
    return {name: max(ends[name] for ends in (a, b) if name in ends) for name in {**a, **b}}


def find_latest(ends: Ends) -> Any:
    """Return the latest end of all series."""
    return max(ends.values())


def to_moment(ds: Any) -> Moment:
    """Return a datetime64 as ISO text, an integer as it is."""
    return int(ds) if isinstance(ds, (int, np.integer)) else str(ds)


def parse_moment(moment: Moment) -> Any:
    """Return the `ds` that `to_moment` wrote."""
    return moment if isinstance(moment, int) else np.datetime64(moment, "us")
