"""Compare the series of two deliveries: names, moments and values; and find series that have ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.clock import show_moment
from lstm_model.contracts.findings import listed, number
from lstm_model.lifecycle.stage_outputs import TABLE, list_folders, read_clock, read_profile
from lstm_model.storage.store import Store
from lstm_model.timeline.frequency import Frequency
from lstm_model.timeline.timestamps import DAY_US

LONGEST_SHIFT_HOURS = 26
"""Clocks are at most this far apart, by a multiple of a quarter of an hour."""
SHIFTED_SERIES, SHIFTED_ROWS = 20, 500
"""Series, and their latest values, that another clock is looked for in."""
MOST_ROWS = 2_000_000
"""Rows up to which all values are compared; of more, those of evenly spread series."""


class DeliveryPair:
    """The values of the series of two deliveries."""

    def __init__(self, before: Artifact, now: Artifact, store: Store) -> None:
        self._before, self._now = _list_tables(before, store), _list_tables(now, store)
        self._clock = read_clock(now, store)
        self.old, self.new = _read_names(self._before), _read_names(self._now)
        self.single = len(self.old) == len(self.new) == 1  # named after its file, perhaps, which was renamed
        common = sorted(self.old & self.new)
        every = max(1, -(-max(before.num_rows, now.num_rows) // MOST_ROWS))
        self.only = None if self.single or every == 1 else common[::every]
        self.old_y, self.new_y = (self._read(paths) for paths in (self._before, self._now))
        both = self.old_y.merge(self.new_y, on=["unique_id", "ds"], suffixes=("_old", "_new"))
        self.both = both.assign(equal=both["y_old"] == both["y_new"])

    def _read(self, paths: list[Path]) -> pd.DataFrame:
        wanted = pads.field("observed")
        if self.only is not None:
            wanted &= pads.field("unique_id").isin(self.only)
        rows = pads.dataset([str(path) for path in paths], format="parquet").to_table(
            ["unique_id", "ds", "y"], filter=wanted
        )
        frame: pd.DataFrame = rows.to_pandas()
        return frame.assign(unique_id="") if self.single else frame

    @property
    def share_equal(self) -> float:
        """The share of equal values, those apart that are so common that they prove nothing, such as 0."""
        telling = _drop_commonest(self.both)
        return float(telling["equal"].mean()) if len(telling) else 0.0

    def find_shift(self, frequency: Frequency, enough_equal: float) -> float:
        """Return by how many hours the same values lie later than before; 0 if they do not."""
        if frequency.is_integer or frequency.step is None or frequency.step >= DAY_US or self.share_equal >= 0.1:
            return 0.0
        names = self.old_y["unique_id"].drop_duplicates()[:SHIFTED_SERIES]
        latest = self.old_y[self.old_y["unique_id"].isin(names)].groupby("unique_id").tail(SHIFTED_ROWS)
        now = self.new_y[self.new_y["unique_id"].isin(names)]
        for quarters in range(1, 4 * LONGEST_SHIFT_HOURS + 1):
            for hours in (quarters / 4, -quarters / 4):
                moved = now.assign(ds=now["ds"] - pd.Timedelta(hours, unit="h"))
                both = latest.merge(moved, on=["unique_id", "ds"], suffixes=("_old", "_new"))
                telling = _drop_commonest(both)
                if len(telling) > 2 and (telling["y_old"] == telling["y_new"]).mean() >= enough_equal:
                    return hours
        return 0.0

    def describe_overlap(self) -> str:
        if not len(self.both):
            return "no series has a value at a moment that both have"
        equal = int(self.both["equal"].sum())
        return f"of {number(len(self.both), 'value')} at moments that both have, {equal:,} are equal"

    def _show(self, ds: Any) -> str:
        return show_moment(str(ds), self._clock)

    def describe_changes(self) -> Iterator[str]:
        """Say what has changed since the last delivery, except that it goes on."""
        if not self.single:
            if gone := sorted(self.old - self.new):
                yield f"gone since the last delivery: {number(len(gone), 'series', 'series')} ({listed(gone)})"
            if new := sorted(self.new - self.old):
                yield f"new since the last delivery: {number(len(new), 'series', 'series')} ({listed(new)})"
        changed = self.both[~self.both["equal"]]
        if len(changed):
            first = changed.sort_values("ds").iloc[0]
            names = listed(sorted(changed["unique_id"].unique())) or "the series"
            span = f"from {self._show(changed['ds'].min())} to {self._show(changed['ds'].max())}"
            yield (
                f"{number(len(changed), 'value')} were revised since the last delivery, {span}: the first was "
                f"{first['y_old']:g} and is {first['y_new']:g} now ({names})"
            )
        lost = len(self.old_y) - len(self.both) - int((~self.old_y["unique_id"].isin(self.new_y["unique_id"])).sum())
        if lost > 0:
            start = self.new_y["ds"].min()
            rolled = int((self.old_y["ds"] < start).sum())
            where = f"before {self._show(start)}, where the data begin now" if rolled >= lost else "of its moments"
            yield f"{number(lost, 'value')} of the last delivery are no longer there, {where}"


def find_ended(series: Artifact, known: Sequence[str], store: Store, *, steps: int) -> tuple[list[str], list[str]]:
    """Return the known series that are no longer in the data, and those that ended so many steps before the others."""
    last = pa.concat_tables([_find_last(path) for path in _list_tables(series, store)]).to_pandas()
    ends = last.set_index("unique_id")["ds_max"]
    frequency = Frequency(read_profile(series, store).frequency)
    limit = frequency.advance_one(ends.max() if frequency.is_integer else ends.max().to_datetime64(), -steps)
    return sorted(set(known) - set(ends.index)), sorted(ends.index[ends <= limit])


def _find_last(table: Path) -> pa.Table:
    rows = pads.dataset(table, format="parquet").to_table(["unique_id", "ds"], filter=pads.field("observed"))
    return rows.group_by("unique_id").aggregate([("ds", "max")])


def _drop_commonest(both: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose value before is not the commonest one, such as 0, which proves nothing."""
    telling: pd.DataFrame = both[~both["y_old"].isin(both["y_old"].mode()[:1])]
    return telling


def _list_tables(series: Artifact, store: Store) -> list[Path]:
    return [folder / TABLE for folder in list_folders(series, store)]


def _read_names(paths: list[Path]) -> set[str]:
    names = pads.dataset([str(path) for path in paths], format="parquet").to_table(["unique_id"]).column(0)
    return set(pc.unique(names).to_pylist())
