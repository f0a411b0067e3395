"""Read what the names of files say: keys of Hive partitions, and whether files continue each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, listed
from lstm_model.contracts.settings import Source
from lstm_model.sources.columns import infer_kind
from lstm_model.sources.dates import read_dates
from lstm_model.sources.raw_table import RawTable
from lstm_model.sources.series_names import ID_NAMES

PARTS_OF_TIME = ("year", "month", "day", "hour", "week", "quarter", "date", "dt", "ds", "yyyy", "mm", "dd", "hh", "ym")
_PART = re.compile(r"(?i)(?:^|[\W_])(?:part|chunk|shard|page|batch|teil|partie|parte)s?[-_. ]?\d+")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def find_partition_keys(name: str) -> dict[str, str | None]:
    """Return the keys and values of folders such as region=north, as Hive, Spark and pandas write them."""
    pairs = [part.partition("=") for part in PurePosixPath(name).parts[:-1] if "=" in part]
    return {key: None if value == NO_VALUE else unquote(value) for key, _, value in pairs if key}


def add_partition_keys(table: RawTable) -> RawTable:
    """Add the keys of a file's folders as columns; parts of a time that its rows have themselves are left out."""
    keys = {key: value for key, value in find_partition_keys(table.name).items() if key not in table.frame.columns}
    if not keys:
        return table
    timed = any(infer_kind(table.frame[name].iloc[:200]) == "time" for name in table.frame)
    keys = {key: value for key, value in keys.items() if not (timed and key.lower() in PARTS_OF_TIME)}
    added = {key: pd.Series([value] * len(table.frame), dtype="str") for key, value in keys.items()}
    why = [("partitions", f"the folders' {listed(keys)} are columns")] if keys else []
    return replace(table, frame=table.frame.assign(**added), reasons=(*table.reasons, *why))


def find_series_key(tables: Sequence[RawTable]) -> str | None:
    """Return the key of the folders that names the series, if only one differs and rows have no names of their own."""
    first = tables[0].frame
    keys = [{k: v for k, v in find_partition_keys(table.name).items() if k in first.columns} for table in tables]
    differing = [key for key in keys[0] if len({found.get(key) for found in keys}) > 1]
    others = [name for name in first.columns if name not in keys[0]]
    named = any(name.lower() in ID_NAMES or infer_kind(first[name].iloc[:200]) == "text" for name in others)
    return differing[0] if len(differing) == 1 and not named else None


def name_series(tables: Sequence[RawTable], ds: str, source: Source) -> tuple[list[str], str]:
    """Return the series of each file of a source without a column of names, and why.

    Files whose times follow each other, and whose names say so (a year, a month, part-0001), are parts of one series.

    Raises:
        DataError: they may be parts of one series, or series.
    """
    stems = [PurePosixPath(table.name).name.split(".")[0] for table in tables]
    alone = [table.name if stems.count(stem) > 1 else stem for stem, table in zip(stems, tables, strict=True)]
    if len(tables) < 2 or source.files_are == "series":
        return alone, ""
    words = {re.sub(r"[\d_\-. ]+", " ", stem).strip().lower() for stem in stems}
    together = " ".join(words) or PurePosixPath(tables[0].name).parent.name or "series"
    if source.files_are == "parts":
        return [together] * len(tables), "source.files_are is parts"
    spans = _find_spans(tables, ds, source)
    if spans is None:
        return alone, ""
    pairs = [(a, b, min(a.last, b.last) - b.first) for a, b in pairwise(sorted(spans))]
    overlap = max(shared / max(1, min(a.last - a.first, b.last - b.first)) for a, b, shared in pairs)
    if overlap >= 0.1:
        return alone, ""
    follows = all(-shared <= 1.2 * max(a.step, b.step) for a, b, shared in pairs)
    dated = all(
        span.dates and any(date in t.name for date in span.dates) for span, t in zip(spans, tables, strict=True)
    )
    parts = follows and all(_PART.search(stem) for stem in stems)  # a number alone may count shops as well
    if overlap < 0 and len(words) == 1 and (dated or parts):
        return [together] * len(tables), f"the times of {listed(stems, limit=4)} follow each other: parts of one series"
    raise DataError(
        f"the files {listed(stems, limit=4)} have no column that names series, and their times follow each other"
        + (" but for a few" if overlap >= 0 else "")
        + ": they may be parts of one series, or a series each. Set source.files_are to parts or to series "
        "(--set source.files_are=parts)"
    )


class _Span(NamedTuple):
    """The first and last moment of a file, its longest step, all in its unit of time, and its dates in names."""

    first: int
    last: int
    step: int
    dates: tuple[str, ...]
    """The year and month of both ends, as 2024 and 2401."""


def _find_spans(tables: Sequence[RawTable], ds: str, source: Source) -> list[_Span] | None:
    """Return the span of each file; None if one cannot be read."""
    spans = []
    for table in tables:
        try:
            times = read_dates(table.frame[ds], source, str).times
        except (DataError, KeyError):  # it is raised again, with its place, when the whole table is read
            return None
        ends = () if times.dtype.kind == "i" else (times.min(), times.max())
        dates = tuple(f"{end:{form}}" for end in ends for form in ("%Y", "%y%m"))
        moments = np.unique(times.astype("int64").to_numpy())
        step = int(np.diff(moments).max()) if len(moments) > 1 else 0
        spans.append(_Span(int(moments[0]), int(moments[-1]), step, dates))
    return spans
