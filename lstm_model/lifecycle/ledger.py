"""Keep every forecast that was ever issued, each exactly once.

An append writes one immutable Parquet file, named by its number: 00000007-00000007.parquet. It holds the forecasts of
one issue: one cutoff and one model, or several cutoffs where series end apart. Every so many files are merged into one
that is named by the range it holds, 00000000-00000031.parquet, so that years of hourly forecasts stay a hundred files.
The folder is the truth: a file counts once it bears its name, and one whose range lies inside another's counts no
more. So a process that dies at any moment leaves every forecast there once, and nothing half-written.

In an object store writers of several machines meet, whom no lock keeps apart. There a number is taken by whoever writes
its file first, ranges are merged in blocks that can only lie apart or inside each other, and files that were merged
stay for a while, so that nobody who has just listed them misses one.

A forecast knows the data that it was made of, by their hash. Where those at its cutoff were revised, a new one is
issued as the next revision, and what was issued before stays.
"""

from __future__ import annotations

import functools
import operator
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lstm_model.contracts.forecast_columns import find_bounds
from lstm_model.storage.backend import Entry
from lstm_model.storage.checked_parquet import CheckedParquet, dump_table
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.store import Store

Found = TypeVar("Found")

FOLDER = "ledger"
KEY = ("unique_id", "cutoff", "model_version")
ORDER = [("cutoff", "ascending"), ("unique_id", "ascending"), ("step", "ascending")]
FIXED = ("unique_id", "cutoff", "ds", "step", "mean", "median")
NAMES = ("data", "revision", "model_version")
"""What a forecast was made of, which of those of its cutoff it is (0 the first), and by which bundle."""
FANOUT = 32
"""So many files in a row that hold equally many issues are merged."""
MERGED_BYTES = 64 << 20
"""Files that together are larger stay apart, which bounds the memory of a merge."""
TRIES = 60
"""In an object store, of an append while others write."""
LOOKS = 4
"""In an object store, at files that others are merging."""
SETTLE_SECONDS = 60.0
"""In an object store, files that were merged stay for so long."""


@dataclass(frozen=True, order=True)
class Part:
    """A file of the ledger: the issues from `first` to `last`."""

    first: int
    last: int
    entry: Entry = field(compare=False)

    @property
    def issues(self) -> int:
        return self.last - self.first + 1


class DamagedLedgerError(ValueError):
    """A file of the ledger is gone or cannot be read."""


class Ledger:
    """The ledger of one problem, in its store."""

    def __init__(self, store: Store) -> None:
        self._store, self._backend = store, store.backend
        self.folder = store.root / FOLDER

    def append(self, tables: pd.DataFrame | Iterable[pd.DataFrame], *, model_version: str) -> int:
        """Add the forecasts that are not there yet, as one issue; one is known by its series, cutoff, model and data.

        Args:
            tables: unique_id, cutoff, ds, step, mean, median, the bounds of intervals and perhaps data, see
                `forecast.predict`; several have different series, and are looked at one after another.
            model_version: of the bundle that made them.

        Returns:
            The number of new rows.

        Raises:
            ValueError: a forecast is in a table twice, a series in two tables, or timestamps are of another type than
                the ledger's.
        """
        each = [tables] if isinstance(tables, pd.DataFrame) else tables
        parts = [_to_arrow(table, model_version) for table in each]
        _check_apart(parts)
        issue = _oldest_first(pa.concat_tables(parts, promote_options="permissive"))
        with self._store.lock("ledger"):
            self._again(self._sweep)
            written = self._until_it_counts(issue)
            self._again(self._merge)
        return written

    def read(
        self,
        *,
        since: Any = None,
        cutoffs: pd.Series | None = None,
        ids: tuple[str, str | None] | None = None,
        model_version: str | None = None,
    ) -> pd.DataFrame:
        """Forecasts as they were issued, the oldest first; all of them, or a part. See `select_latest`.

        Args:
            since: only cutoffs from this one on.
            cutoffs: only these, of the type that appended forecasts have; a value may occur often.
            ids: only series whose names are not before the first of these and not after the last, if there is one.
            model_version: only those of one bundle.

        Raises:
            DamagedLedgerError: a file is gone or cannot be read.
        """
        tests = []
        if since is not None:
            tests.append(pads.field("cutoff") >= _moment(since))
        if cutoffs is not None:
            tests.append(_among(pa.array(cutoffs.unique(), _moment_type(cutoffs))))
        if ids is not None:
            tests.append(pads.field("unique_id") >= ids[0])
            tests += [pads.field("unique_id") <= ids[1]] if ids[1] is not None else []
        if model_version is not None:
            tests.append(pads.field("model_version") == model_version)
        condition = functools.reduce(operator.and_, tests) if tests else None
        return self._look(lambda: _to_frame(self.read_parts(self.parts(), condition)))

    def issue_after(self, number: int) -> tuple[int, pd.DataFrame] | None:
        """The next file that holds issues after this one (-1: the first) and its last issue; None where there is none.

        A merged file comes whole, so that issues up to `number` may come once more.
        """

        def look() -> tuple[int, pd.DataFrame] | None:
            part = next((part for part in self.parts() if part.last > number), None)
            return (part.last, _to_frame(self.read_parts([part], None))) if part is not None else None

        return self._look(look)

    def issue_before(self, number: int | None) -> tuple[Part, pd.DataFrame] | None:
        """The next file that begins before this issue (None: the newest), and what its last issue forecasts.

        That is unique_id, cutoff, model_version and revision of what bears its last cutoff and model, the end of a
        large issue.
        """

        def look() -> tuple[Part, pd.DataFrame] | None:
            part = next((part for part in self.parts()[::-1] if number is None or part.first < number), None)
            return (part, self._last_keys(part)) if part is not None else None

        return self._look(look)

    def cutoffs(self) -> pd.DataFrame:
        """How many series each model forecast at each cutoff, ascending: model_version, cutoff, num_series."""
        names, revision = ["model_version", "cutoff"], pads.field("revision")
        first = (pads.field("step") == 1) & (revision.is_null() | (revision == 0))

        def look() -> list[pa.Table]:
            files = [[part] for part in self.parts()] or [[]]
            return [
                self.read_parts(one, first, columns=names).group_by(names).aggregate([([], "count_all")])
                for one in files
            ]

        total = pa.concat_tables(self._look(look)).group_by(names).aggregate([("count_all", "sum")])
        frame: pd.DataFrame = total.rename_columns([*names, "num_series"]).to_pandas()
        return frame.sort_values(["cutoff", "model_version"], ignore_index=True)

    def model_versions(self) -> set[str]:
        """The bundles that any forecast was made with: an explanation of it needs them.

        Raises:
            DamagedLedgerError: a file is gone or cannot be read.
        """

        def look() -> set[str]:
            found = [
                self.read_parts([part], None, columns=["model_version"]).column(0).unique() for part in self.parts()
            ]
            return {version for column in found for version in column.to_pylist()}

        return self._look(look)

    def parts(self) -> list[Part]:
        """The files that count, in order.

        Raises:
            DamagedLedgerError: a number is missing: somebody removed a file.
        """
        found = [self._part(entry) for entry in self.list_files()]
        found.sort(key=lambda part: (part.first, -part.last))
        parts: list[Part] = []
        for part in found:
            if parts and part.last <= parts[-1].last:
                continue
            if parts and part.first != parts[-1].last + 1:
                raise DamagedLedgerError(
                    f"{self._backend.shown(FOLDER)} lacks the issues {parts[-1].last + 1} to {part.first - 1}: a file "
                    "was removed. Restore it. Only the oldest files may go: without it, those before it must be moved "
                    "away too"
                )
            parts.append(part)
        return parts

    def _without_known(self, parts: list[Part], issue: pa.Table) -> pa.Table:
        """The rows whose forecast the ledger does not have, or has of other data as the latest; with their revision."""
        if not parts or not issue.num_rows:
            return issue
        kept = self._open(parts[-1]).schema.field("cutoff").type
        if kept != issue.schema.field("cutoff").type:
            raise ValueError(
                f"the ledger in {self._backend.shown(FOLDER)} has cutoffs of type {kept}, the new forecasts "
                f"{issue.schema.field('cutoff').type}: these are other series. Give the problem another name"
            )
        version = pads.field("model_version") == issue.column("model_version")[0]
        condition = version & _among(pc.unique(issue.column("cutoff")))
        known = self.read_parts(parts, condition, columns=[*KEY, "step", "data", "revision"])
        if not known.num_rows:
            return issue
        found = issue.drop_columns("revision").join(_select_known(known), keys=[*KEY, "step"])
        same = pc.fill_null(pc.equal(found.column("data"), found.column("known_data")), True)  # none was noted before
        is_new = pc.or_(pc.is_null(found.column("known_revision")), pc.invert(same))
        revision = pc.fill_null(
            pc.add(found.column("known_revision"), pa.scalar(1, pa.int32())), pa.scalar(0, pa.int32())
        )
        found = found.append_column("revision", revision).select(issue.column_names)
        return found.filter(is_new).sort_by(ORDER)

    def read_parts(self, parts: list[Part], condition: Any, columns: list[str] | None = None) -> pa.Table:
        if not parts:  # a condition on moments fits no type that an empty ledger could be said to have
            return _EMPTY.empty_table()
        files = [self._open(part) for part in parts]
        schema = pa.unify_schemas([file.schema for file in files], promote_options="permissive")
        for name in NAMES:  # what older files do not have is empty
            if name not in schema.names:
                schema = schema.append(_EMPTY.field(name))
        tables = []
        for part, file in zip(parts, files, strict=True):
            with self._reading(part):
                tables.append(file.read(schema=schema, condition=condition, columns=columns))
        return pa.concat_tables(tables)

    def _last_keys(self, part: Part) -> pd.DataFrame:
        """From the last row group alone: a file may hold years."""
        file = self._open(part)
        with self._reading(part):
            keys = file.read_last_rows([name for name in (*KEY, "revision") if name in file.schema.names]).to_pandas()
        last, keys = keys.iloc[-1], keys.assign(revision=keys["revision"] if "revision" in keys else np.int32(0))
        same = (keys["cutoff"] == last["cutoff"]) & (keys["model_version"] == last["model_version"])
        distinct: pd.DataFrame = keys.loc[same, [*KEY, "revision"]].drop_duplicates(ignore_index=True)
        return distinct

    def _open(self, part: Part) -> CheckedParquet:
        path = self._backend.local(part.entry)
        with self._reading(part):
            return CheckedParquet(path, self._backend.shown(part.entry.name), name=part.entry.name)

    @contextmanager
    def _reading(self, part: Part) -> Iterator[None]:
        """Name a file that is damaged, and the remedy; the next look fetches a copy again."""
        try:
            yield
        except pa.ArrowMemoryError:  # the file is sound
            raise
        except (OSError, DamagedFileError, pa.ArrowException) as error:
            self._backend.drop_copy(part.entry)
            raise DamagedLedgerError(
                f"{self._backend.shown(part.entry.name)}, a file of the ledger, cannot be read: {error}. Restore it. "
                "If it is lost, move it elsewhere, and unless it is the newest, those with smaller numbers too"
            ) from error

    def _write(self, table: pa.Table, first: int, last: int) -> Part | None:
        """None where, in an object store, another machine has written a file of that name."""
        name = f"{FOLDER}/{first:08}-{last:08}.parquet"
        entry = self._backend.add(name, dump_table(table, name=name))
        return Part(first, last, entry) if entry is not None else None

    def _look(self, look: Callable[[], Found]) -> Found:
        with self._store.lock("ledger"):
            return self._again(look)

    def _again(self, look: Callable[[], Found]) -> Found:
        """In an object store, once more where files were merged between the listing and the reading."""
        for number in range(LOOKS if self._backend.is_shared else 0):
            time.sleep(0.1 * number)
            with suppress(FileNotFoundError, DamagedLedgerError):
                return look()
        return look()

    def _until_it_counts(self, issue: pa.Table) -> int:
        """Append what is not known; where another machine was faster, what is not known by then."""
        written = 0
        for _ in range(TRIES):
            parts, new = self._again(lambda: self.find_missing(issue))
            if not new.num_rows:
                return written
            number = parts[-1].last + 1 if parts else 0
            part = self._write(new, number, number)
            if part is None:
                continue
            written = int(new.num_rows)
            # A number from an old listing may lie inside a range that was merged since: such a file does not count.
            if not self._backend.is_shared or _same(part) in map(_same, self._again(self.parts)):
                return written
        raise ConnectionError(
            f"{self._backend.shown(FOLDER)}: other writers came between {TRIES} times; the next run issues "
            "what is missing"
        )

    def find_missing(self, issue: pa.Table) -> tuple[list[Part], pa.Table]:
        parts = self.parts()
        return parts, self._without_known(parts, issue)

    def _merge(self) -> None:
        """Merge blocks of `FANOUT` files of one size, smallest first, until there is none."""
        while (block := self._block()) is not None:
            self._write(self.read_parts(block, None), block[0].first, block[-1].last)
            for part in block if not self._backend.is_shared else []:
                self._backend.remove(part.entry.name)

    def _block(self) -> list[Part] | None:
        """Files that together make the next larger range; ranges begin at multiples of their length."""
        blocks: dict[tuple[int, int], list[Part]] = {}
        for part in self.parts():
            blocks.setdefault((part.issues, part.first // (part.issues * FANOUT)), []).append(part)
        for block in blocks.values():
            if len(block) == FANOUT and sum(part.entry.size for part in block) <= MERGED_BYTES:
                return block
        return None

    def _sweep(self) -> None:
        """Remove files that were merged already, which a killed process left. Only with the lock."""
        counted, files = self.parts(), self.list_files()
        newest = max((entry.modified for entry in files), default=0.0)
        names = {part.entry.name for part in counted}
        for part in (self._part(entry) for entry in files if entry.name not in names):
            over = next((one for one in counted if one.first <= part.first and part.last <= one.last), None)
            if over is None:
                continue  # written since the first listing
            self._open(over)  # a file that was renamed holds less than its name says
            if not self._backend.is_shared or newest - over.entry.modified > SETTLE_SECONDS:
                self._backend.remove(part.entry.name)

    def list_files(self) -> list[Entry]:
        return [entry for entry in self._backend.entries(FOLDER) if fnmatch(entry.name, f"{FOLDER}/*-*.parquet")]

    def _part(self, entry: Entry) -> Part:
        match = re.fullmatch(rf"{FOLDER}/(\d{{8}})-(\d{{8}})\.parquet", entry.name)
        if match is None:
            raise DamagedLedgerError(f"{self._backend.shown(entry.name)} is no file of a ledger; move it elsewhere")
        return Part(int(match[1]), int(match[2]), entry)


def _same(part: Part) -> tuple[str, str]:
    """A name may be used again."""
    return part.entry.name, part.entry.tag


def _among(cutoffs: pa.Array) -> Any:
    """Between the least and the greatest too, by which files and row groups are skipped."""
    span, cutoff = pc.min_max(cutoffs), pads.field("cutoff")
    return (cutoff >= span["min"]) & (cutoff <= span["max"]) & cutoff.isin(cutoffs)


def _moment_type(cutoffs: pd.Series) -> pa.DataType:
    return pa.int64() if cutoffs.dtype.kind == "i" else pa.timestamp("us")


def _to_arrow(table: pd.DataFrame, model_version: str) -> pa.Table:
    if table.duplicated(["unique_id", "cutoff", "step"]).any():
        raise ValueError("the table holds a forecast twice: unique_id, cutoff and step must name one row")
    table, moment = table.assign(revision=0, model_version=model_version), _moment_type(table["cutoff"])
    table = table if "data" in table else table.assign(data=None)
    bounds = [name for name in table.columns if name not in (*FIXED, *NAMES)]
    schema = _schema(bounds, moment, pa.float64() if table["mean"].dtype == np.float64 else pa.float32())
    arrow = pa.Table.from_pandas(table, schema=schema, preserve_index=False)
    return arrow.replace_schema_metadata(None)


def _check_apart(parts: list[pa.Table]) -> None:
    """That tables which were checked one by one have no forecast in common."""
    names = pa.chunked_array([pc.unique(part.column("unique_id")) for part in parts], pa.string())
    if pc.count_distinct(names).as_py() < len(names):
        again = next(one["values"].as_py() for one in names.value_counts() if one["counts"].as_py() > 1)
        raise ValueError(f"two tables hold forecasts of the same series, such as {again!r}")


def _oldest_first(issue: pa.Table) -> pa.Table:
    """Almost always all series end together, and nothing is moved."""
    span = pc.min_max(issue.column("cutoff"))
    return issue if span["min"] == span["max"] else issue.sort_by("cutoff")


def _schema(bounds: list[str], moment: pa.DataType, number: pa.DataType) -> pa.Schema:
    types = {"unique_id": pa.string(), "cutoff": moment, "ds": moment, "step": pa.int32()}
    types |= {"data": pa.string(), "revision": pa.int32(), "model_version": pa.string()}
    return pa.schema([(name, types.get(name, number)) for name in [*FIXED, *bounds, *NAMES]])


_EMPTY = _schema([], pa.int64(), pa.float32())


def _to_frame(table: pa.Table) -> pd.DataFrame:
    """Intervals from the narrowest, whichever models had them."""
    names = [*FIXED, *find_bounds(table.column_names), *NAMES]
    frame: pd.DataFrame = _fill_revisions(table).select(names).to_pandas()
    return frame


def _fill_revisions(table: pa.Table) -> pa.Table:
    """Return the table with 0, the first, where an older file has no revision."""
    revision = pc.fill_null(table.column("revision"), pa.scalar(0, pa.int32()))
    return table.set_column(table.column_names.index("revision"), "revision", revision)


def select_latest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the latest revision of each forecast."""
    if not frame["revision"].any():
        return frame
    latest: pd.DataFrame = frame[frame["revision"] == frame.groupby(list(KEY))["revision"].transform("max")]
    return latest.reset_index(drop=True)


def _select_known(known: pa.Table) -> pa.Table:
    """Return the latest revision of each forecast: its key, step, known_data and known_revision."""
    known = _fill_revisions(known)
    if pc.max(known.column("revision")).as_py():
        latest = known.group_by([*KEY, "step"]).aggregate([("revision", "max")])
        latest = latest.rename_columns([*KEY, "step", "revision"])
        known = known.join(latest, keys=[*KEY, "step", "revision"], join_type="left semi")
    return known.rename_columns(
        [{"data": "known_data", "revision": "known_revision"}.get(n, n) for n in known.column_names]
    )


def _moment(since: Any) -> Any:
    """As Arrow compares it: pandas' timestamps are in other units than the files'."""
    if isinstance(since, (int, np.integer)):
        return int(since)
    return pa.scalar(pd.Timestamp(since).as_unit("us"), pa.timestamp("us"))
