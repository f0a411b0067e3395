"""Read a source as one long raw table, and give its columns their roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, Finding, Where, listed, number
from lstm_model.contracts.settings import Columns, Covariates, FileLayout, Source, SourceKind
from lstm_model.contracts.shard import IdRange
from lstm_model.sources import readers
from lstm_model.sources.categories import read_categories
from lstm_model.sources.columns import Roles, find_rows_apart, infer_roles
from lstm_model.sources.date_parts import join_date_parts
from lstm_model.sources.dates import read_dates, read_header
from lstm_model.sources.numbers import find_sentinels, read_numbers
from lstm_model.sources.partitions import find_series_key, name_series
from lstm_model.sources.raw_table import RawTable
from lstm_model.sources.series_names import convert_ids, split_names, take_ids

__all__ = ["DataError", "RawSeries", "read_source"]


def _know_nothing() -> None:
    return None


@dataclass(frozen=True)
class RawSeries:
    """A long table as it was received: `unique_id` (str), `ds`, `y` (float64, NaN = missing), then the covariates
    (float64; past and future ones that are texts are categorical).

    `ds` is int64, datetime64[us] naive, or datetime64[us] with a zone; rows are in the order of the source.
    """

    table: pd.DataFrame
    source: Source
    """The source with the inferred settings filled in: layout, columns, dayfirst, date_format, decimal."""
    reasons: dict[str, str] = field(default_factory=dict)
    """How each was inferred, by the name of the setting below `source`."""
    findings: tuple[Finding, ...] = ()
    """What was noticed about the values: marks taken as missing, and values that look like such marks."""
    values: tuple[str, ...] = ()
    """The columns of the source that became steps or series, where each did."""
    find_rows_apart: Callable[[], str] = str
    """Return the columns that tell two rows of one series and time apart, as --id-column takes them; "" if none do."""
    count_equal_rows: Callable[[], int | None] = _know_nothing
    """Return how many rows of the source repeat another in all columns; None where only `table` is known."""


def read_source(
    source: Source, *, covariates: Covariates, password: str | None = None, only: IdRange | None = None
) -> RawSeries:
    """Read files or a query into one long table; of a synthetic source, the caller names the generated file.

    With `only`, the rows of some series of a source that `parquet.survey_parquet` has settled.

    Raises:
        DataError: what was received, what was expected, and the setting that decides.
    """
    loaded = read_tables(source, password=password, only=only)
    return arrange_tables(loaded, source, covariates=covariates, only=only)


def read_tables(source: Source, *, password: str | None = None, only: IdRange | None = None) -> list[RawTable]:
    """Read files or a query as tables whose columns have no roles yet."""
    if source.kind is SourceKind.sql:
        return [readers.run_query(source, password)]
    return readers.read_files(source, only=only)


def arrange_tables(
    loaded: list[RawTable], source: Source, *, covariates: Covariates, only: IdRange | None = None
) -> RawSeries:
    """Give the columns of tables their roles, and put all rows into one long table."""
    if source.columns.unique_id is None and (key := find_series_key(loaded)):
        source = source.model_copy(update={"columns": source.columns.model_copy(update={"unique_id": key})})
    joined = [join_date_parts(part.frame, source, covariates) for part in loaded]
    loaded = [replace(part, frame=frame) for part, (frame, _) in zip(loaded, joined, strict=True)]
    roles = infer_roles(loaded[0].frame, source, covariates)
    if joined[0][1] is not None:
        roles.reasons["columns.ds"] = joined[0][1]
    series, why = _name_series(loaded, roles, source)
    parts = [
        _arrange_part(part, roles, covariates, source, first=loaded[0].name, series=name)
        for part, name in zip(loaded, series, strict=True)
        if len(part.frame) or only is None
    ]
    if only is None:
        _check_kinds_of_time(parts, loaded)
    frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    frame = frame.assign(**{name: read_categories(frame[name]) for name in (*covariates.past, *covariates.future)})
    reasons = _join_reasons(loaded) | roles.reasons | ({"files_are": why} if why else {})
    used = {*roles.values, roles.y, *covariates.past, *covariates.future}
    noticed = tuple(
        _note_column(name, note, covariates) for part in loaded for name, note in part.notes if name in used
    )
    where = (
        _make_row_locator(loaded, frame)
        if roles.layout is FileLayout.long and only is None
        else _make_series_locator(frame)
    )
    raw = _convert_types(frame, source, (loaded[0].decimal, roles, reasons, noticed), covariates, where)
    count = partial(_count_equal_rows, loaded, len(roles.values) or 1)
    apart = partial(find_rows_apart, loaded[0].frame, roles)
    return replace(raw, values=tuple(roles.values), find_rows_apart=apart, count_equal_rows=count)


def _count_equal_rows(loaded: Sequence[RawTable], width: int) -> int:
    """Return how many values stand in rows that repeat another row of the files in all columns."""
    frame = pd.concat([part.frame for part in loaded], ignore_index=True)
    return int(frame.astype("str").duplicated().sum()) * width  # lists in a cell have no hash


def _name_series(loaded: Sequence[RawTable], roles: Roles, source: Source) -> tuple[Sequence[str | None], str]:
    """Return the series of each file where no column names them, and why."""
    if roles.layout is not FileLayout.long or roles.unique_id is not None:
        return [None] * len(loaded), ""
    if source.kind is SourceKind.sql:
        return ["series"], ""
    assert roles.ds is not None
    return name_series(loaded, roles.ds, source)


def _join_reasons(loaded: Sequence[RawTable]) -> dict[str, str]:
    """Return the reasons of all files by setting; alike files say a thing once, others are counted."""
    texts: dict[str, list[str]] = {}
    for part in loaded:
        for key, text in part.reasons:
            texts.setdefault(key, []).append(text)
    return {key: listed(dict.fromkeys(found), limit=3) for key, found in texts.items()}


def _check_kinds_of_time(parts: Sequence[pd.DataFrame], loaded: Sequence[RawTable]) -> None:
    """Refuse files of which one has timestamps with a zone and another timestamps without one."""
    zoned = [isinstance(part["ds"].dtype, pd.DatetimeTZDtype) for part in parts]
    naive = [part["ds"].dtype.kind == "M" and not zone for part, zone in zip(parts, zoned, strict=True)]
    if any(zoned) and any(naive):
        raise DataError(
            f"{loaded[zoned.index(True)].name} has timestamps with a time zone, {loaded[naive.index(True)].name} has "
            "timestamps without one; write all files of a source with the same kind of time"
        )


def _arrange_part(
    part: RawTable, roles: Roles, covariates: Covariates, source: Source, *, first: str, series: str | None
) -> pd.DataFrame:
    """Arrange one file as long rows with the roles' names; values stay as they were read."""
    extra = [*covariates.static, *covariates.past, *covariates.future]
    ids = split_names(roles.unique_id or "", [str(name) for name in part.frame.columns])
    needed = [name for name in (*ids, roles.ds, roles.y, *roles.values, *extra) if name]
    missing = [name for name in needed if name not in part.frame.columns]
    if missing:
        raise DataError(
            f"{part.name} lacks the column {missing[0]!r} that {first} has; all files of one source need "
            "the same columns"
        )
    if roles.layout is FileLayout.wide_rows:
        if (unnamed := part.frame[roles.unique_id].isna().to_numpy()).any():
            raise DataError(
                f"row {part.locate(int(unnamed.argmax()))} of {part.name}: the name of the series (column "
                f"{roles.unique_id!r}) is empty; give one, or drop the row"
            )
        return _melt_rows(part.frame, roles, list(covariates.static), source)
    if roles.layout is FileLayout.wide_columns:
        return _melt_columns(part.frame, roles, [*covariates.past, *covariates.future])
    names = _convert_whole(take_ids(part.frame, roles.unique_id)) if roles.unique_id else series
    data = {"unique_id": names, "ds": part.frame[roles.ds], "y": part.frame[roles.y]}
    return pd.DataFrame(data | {name: part.frame[name] for name in extra})


def _convert_whole(ids: pd.Series) -> pd.Series:
    """Return names that a missing value made floats as texts: another file may hold them as such."""
    return convert_ids(ids) if ids.dtype.kind == "f" and ids.notna().all() else ids


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


def _melt_rows(frame: pd.DataFrame, roles: Roles, static: list[str], source: Source) -> pd.DataFrame:
    """Turn one row a series into long rows without padding; steps count from 1, or are the columns' dates."""
    count, values = len(frame), list(roles.values)
    dates = read_header(values, source)
    steps = pd.Series(range(1, len(values) + 1)) if dates is None else dates
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
    """Return a function that names a row by its file and line, as an editor counts it."""
    ends = np.cumsum([len(part.frame) for part in loaded])

    def locate(position: int) -> str:
        index = int(np.searchsorted(ends, position, side="right"))
        row = position - (int(ends[index - 1]) if index else 0)
        return f"row {loaded[index].locate(row)} of {loaded[index].name}, {_name_cell(frame, position)}"

    return locate


def _make_series_locator(frame: pd.DataFrame) -> Where:
    return lambda position: _name_cell(frame, position)


def _name_cell(frame: pd.DataFrame, position: int) -> str:
    """Return the series, if it has a name, and the timestamp of a row."""
    unique_id, ds = frame["unique_id"].iloc[position], frame["ds"].iloc[position]
    plain = unique_id.item() if isinstance(unique_id, np.generic) else unique_id
    return (
        f"timestamp {ds}" if plain is None or plain != plain else f"series {plain!r}, timestamp {ds}"
    )  # NaN is not itself


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
    inferred: tuple[str | None, Roles, dict[str, str], tuple[Finding, ...]],
    covariates: Covariates,
    where: Where,
) -> RawSeries:
    """Return the frame with its final types, and the source with the inferred settings."""
    decimal, roles, reasons, noticed = inferred
    ids = _decode_ids(frame["unique_id"], where)
    texts = ids.astype("str")
    if (nul := texts.str.contains("\0", regex=False).to_numpy(dtype=bool, na_value=False)).any():
        raise DataError(f"{where(int(nul.argmax()))}: the name of the series has a NUL byte in it; mend the source")
    blank = (ids.isna() | texts.str.strip().eq("")).to_numpy()
    if blank.any():
        raise DataError(f"{where(int(blank.argmax()))}: the name of the series (column {roles.unique_id!r}) is empty")
    dates = read_dates(frame["ds"].rename(roles.ds), source, where, ids)
    ds = dates.times
    table = pd.DataFrame({"unique_id": convert_ids(ids), "ds": ds.to_numpy() if ds.dtype.kind in "iu" else ds.array})
    findings = list(_note_joined_names(texts, table["unique_id"]))
    for name in ("y", *covariates.past, *covariates.future):
        column = frame[name].rename(roles.y) if name == "y" else frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype) and name != "y":
            table[name] = column.array
            continue
        read = read_numbers(column, where, decimal=source.decimal, hint=decimal)
        table[name] = read.values
        findings += [_note_column(column.name, note, covariates) for note in read.notes]
        if sentinel := find_sentinels(read.values, table["unique_id"], None if name == "y" else name):
            findings.append(sentinel)
        decimal = decimal or read.decimal
        if read.reason and source.decimal is None:
            reasons.setdefault("decimal", read.reason)
    for name in covariates.static:
        table[name] = frame[name].array
    given = roles.unique_id if roles.unique_id or source.columns.unique_id is None else ""
    columns = Columns(unique_id=given, ds=roles.ds, y=roles.y)
    update = {"layout": roles.layout, "columns": columns, **dates.settled}
    if decimal == ",":
        update["decimal"] = decimal
    return RawSeries(table, source.model_copy(update=update), reasons | dates.reasons, (*noticed, *findings))


def _note_joined_names(texts: pd.Series, names: pd.Series) -> Iterator[Finding]:
    """Warn of names that differ in outer blanks only, and so are one series."""
    differs = texts.to_numpy() != names.to_numpy()
    if differs.any() and (both := sorted({*names[differs]} & {*names[~differs]})):
        text = (
            f"{number(len(both), 'series is', 'series are')} written with and without outer blanks, and taken as one, "
            f"such as {both[0]!r}; if they are two, give them names of their own"
        )
        yield Finding(code="joined_names", severity="warning", message=text, unique_id=both[0], count=len(both))


def _note_column(name: object, note: str, covariates: Covariates) -> Finding:
    """Return what was noticed in a column; in a covariate, a mark such as none may mean 0."""
    doubtful = str(name) in {*covariates.past, *covariates.future} and note.endswith("taken as missing")
    hint = ". A missing past value becomes the last one known; where it means that there was none, write 0"
    message = f"column {str(name)!r}: {note}{hint if doubtful else ''}"
    return Finding(code="number_marks", severity="warning" if doubtful else "info", message=message)
