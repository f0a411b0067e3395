"""Read a source as one long raw table, and give its columns their roles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, Where
from lstm_model.contracts.settings import Columns, Covariates, FileLayout, Source, SourceKind
from lstm_model.contracts.shard import IdRange
from lstm_model.sources import readers
from lstm_model.sources.columns import Roles, find_rows_apart, infer_roles
from lstm_model.sources.flags import read_flags
from lstm_model.sources.readers import RawTable
from lstm_model.sources.series_names import convert_ids, split_names, take_ids
from lstm_model.timeline.timestamps import parse_numbers, parse_timestamps

__all__ = ["DataError", "RawSeries", "read_source"]


@dataclass(frozen=True)
class RawSeries:
    """A long table as it was received: `unique_id` (str), `ds`, `y` (float64, NaN = missing), then the covariates.

    `ds` is int64, datetime64[us] naive, or datetime64[us] with a zone; rows are in the order of the source.
    """

    table: pd.DataFrame
    source: Source
    """The source with the inferred settings filled in: layout, columns, dayfirst, decimal."""
    reasons: dict[str, str] = field(default_factory=dict)
    """How each was inferred, by the name of the setting below `source`."""
    find_rows_apart: Callable[[], str] = str
    """Return the columns that tell two rows of one series and time apart, as --id-column takes them; "" if none do."""


def read_source(
    source: Source, *, covariates: Covariates, password: str | None = None, only: IdRange | None = None
) -> RawSeries:
    """Read files or a query into one long table; of a synthetic source, the caller names the generated file.

    With `only`, the rows of some series of a source that `parquet.survey_parquet` has settled.

    Raises:
        DataError: what was received, what was expected, and the setting that decides.
    """
    is_query = source.kind is SourceKind.sql
    loaded = [readers.run_query(source, password)] if is_query else readers.read_files(source, only=only)
    roles = infer_roles(loaded[0].frame, source, covariates)
    parts = [_arrange_part(part, roles, covariates, loaded) for part in loaded if len(part.frame) or only is None]
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    frame = frame.assign(**{name: read_flags(frame[name]) for name in (*covariates.past, *covariates.future)})
    reasons = {key: text for part in loaded for key, text in part.reasons} | roles.reasons
    where = (
        _make_row_locator(loaded, frame)
        if roles.layout is FileLayout.long and only is None
        else _make_series_locator(frame)
    )
    raw = _convert_types(frame, source, (loaded[0].decimal, roles, reasons), covariates, where)
    return replace(raw, find_rows_apart=partial(find_rows_apart, loaded[0].frame, roles))


def _arrange_part(part: RawTable, roles: Roles, covariates: Covariates, loaded: Sequence[RawTable]) -> pd.DataFrame:
    """Arrange one file as long rows with the roles' names; values stay as they were read."""
    extra = [*covariates.static, *covariates.past, *covariates.future]
    ids = split_names(roles.unique_id or "", [str(name) for name in part.frame.columns])
    needed = [name for name in (*ids, roles.ds, roles.y, *roles.values, *extra) if name]
    missing = [name for name in needed if name not in part.frame.columns]
    if missing:
        raise DataError(
            f"{part.name} lacks the column {missing[0]!r} that {loaded[0].name} has; all files of one source need "
            "the same columns"
        )
    if roles.layout is FileLayout.wide_rows:
        return _melt_rows(part.frame, roles, list(covariates.static))
    if roles.layout is FileLayout.wide_columns:
        return _melt_columns(part.frame, roles, [*covariates.past, *covariates.future])
    names = take_ids(part.frame, roles.unique_id) if roles.unique_id else _find_file_id(part, loaded)
    data = {"unique_id": names, "ds": part.frame[roles.ds], "y": part.frame[roles.y]}
    return pd.DataFrame(data | {name: part.frame[name] for name in extra})


def _find_file_id(part: RawTable, loaded: Sequence[RawTable]) -> str:
    """Return the file's stem, or its whole path if stems repeat."""

    def find_stem(name: str) -> str:
        return PurePosixPath(name).name.split(".")[0]

    repeated = sum(find_stem(other.name) == find_stem(part.name) for other in loaded) > 1
    name = part.name if repeated else find_stem(part.name)
    return "series" if name == "the query" else name


def _melt_columns(frame: pd.DataFrame, roles: Roles, extra: list[str]) -> pd.DataFrame:
    """Turn one column a series into long rows: the series follow each other, each with all rows."""
    count, values = len(frame), list(roles.values)
    block = frame[values]
    is_plain = all(dtype.kind in "fiu" for dtype in set(block.dtypes))  # to join thousands of columns takes seconds
    long = frame[[roles.ds, *extra]].iloc[np.tile(np.arange(count), len(values))].reset_index(drop=True)
    long.columns = pd.Index(["ds", *extra])
    long["unique_id"] = pd.array(values, dtype="str").repeat(count)
    long["y"] = (
        block.to_numpy(np.float64, na_value=np.nan).ravel(order="F")
        if is_plain
        else pd.concat([frame[name] for name in values], ignore_index=True)
    )
    return long


def _melt_rows(frame: pd.DataFrame, roles: Roles, static: list[str]) -> pd.DataFrame:
    """Turn one row a series into long rows without padding; steps count from 1, or are the columns' dates."""
    count, values = len(frame), list(roles.values)
    numbered = not all(name[:4].isdigit() and not name.isdigit() for name in values)
    steps = pd.Series(range(1, len(values) + 1) if numbered else values)
    block = frame[values]
    empty = (block.isna() | (block == "")).to_numpy()
    length_K = len(values) - np.logical_and.accumulate(empty[:, ::-1], axis=1).sum(axis=1)
    kept = (np.arange(len(values)) < length_K[:, None]).ravel()
    long = pd.DataFrame(
        {
            "unique_id": take_ids(frame, str(roles.unique_id)).repeat(len(values)).to_numpy()[kept],
            "ds": pd.concat([steps] * count, ignore_index=True)[kept].reset_index(drop=True),
            "y": block.to_numpy().ravel()[kept],
        }
    )
    for name in static:
        long[name] = frame[name].repeat(len(values)).to_numpy()[kept]
    return long


def _make_row_locator(loaded: Sequence[RawTable], frame: pd.DataFrame) -> Where:
    """Return a function that names a row as a person counts it: line 1 of a file holds the column names."""
    ends = np.cumsum([len(part.frame) for part in loaded])

    def locate(position: int) -> str:
        index = int(np.searchsorted(ends, position, side="right"))
        row = position - (int(ends[index - 1]) if index else 0)
        label = f"row {row + 2}" if "." in loaded[index].name else f"row {row + 1}"
        return (
            f"{label} of {loaded[index].name}, series {frame['unique_id'].iloc[position]!r}, timestamp "
            f"{frame['ds'].iloc[position]}"
        )

    return locate


def _make_series_locator(frame: pd.DataFrame) -> Where:
    return lambda position: f"series {frame['unique_id'].iloc[position]!r}, timestamp {frame['ds'].iloc[position]}"


def _decode_ids(ids: pd.Series, where: Where) -> pd.Series:
    """Return names of series that are bytes as texts."""
    if ids.dtype != object or not ids.map(lambda value: isinstance(value, bytes)).any():
        return ids
    try:
        return ids.map(lambda value: value.decode() if isinstance(value, bytes) else value)
    except UnicodeDecodeError as error:
        bad = next(row for row, value in enumerate(ids) if value == error.object)
        raise DataError(
            f"{where(bad)}: the name of the series is bytes that are no UTF-8; give names as texts"
        ) from None


def _convert_types(
    frame: pd.DataFrame,
    source: Source,
    inferred: tuple[str, Roles, dict[str, str]],
    covariates: Covariates,
    where: Where,
) -> RawSeries:
    """Return the frame with its final types, and the source with the inferred settings."""
    decimal, roles, reasons = inferred
    ids = _decode_ids(frame["unique_id"], where)
    texts = ids.astype("str")
    if (nul := texts.str.contains("\0", regex=False).to_numpy(dtype=bool, na_value=False)).any():
        raise DataError(f"{where(int(nul.argmax()))}: the name of the series has a NUL byte in it; mend the source")
    blank = (ids.isna() | texts.str.strip().eq("")).to_numpy()
    if blank.any():
        raise DataError(f"{where(int(blank.argmax()))}: the name of the series (column {roles.unique_id!r}) is empty")
    ds, more = parse_timestamps(frame["ds"].rename(roles.ds), source, where)
    table = pd.DataFrame({"unique_id": convert_ids(ids), "ds": ds.to_numpy() if ds.dtype.kind in "iu" else ds.array})
    table["y"] = parse_numbers(frame["y"].rename(roles.y), where, decimal=decimal)
    for name in (*covariates.past, *covariates.future):
        table[name] = parse_numbers(frame[name], where, decimal=decimal)
    for name in covariates.static:
        table[name] = frame[name].array
    given = roles.unique_id if roles.unique_id or source.columns.unique_id is None else ""
    columns = Columns(unique_id=given, ds=roles.ds, y=roles.y)
    dayfirst = (
        more["dayfirst"].startswith("the day") if source.dayfirst is None and "dayfirst" in more else source.dayfirst
    )
    update = {"layout": roles.layout, "columns": columns, "dayfirst": dayfirst}
    if decimal != ".":
        update["decimal"] = decimal
    return RawSeries(table, source.model_copy(update=update), reasons | more)
