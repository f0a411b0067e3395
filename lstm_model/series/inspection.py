"""Read and examine a source exactly as ingest does, and describe what was read; nothing of it is kept."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from lstm_model.contracts.findings import DataError, list_messages, listed, number
from lstm_model.contracts.inspection import ColumnRole, CovariateReach, Inferred, Inspection, Role, SeriesSpan
from lstm_model.contracts.redaction import redact_address
from lstm_model.contracts.settings import Columns, Covariates, FileLayout, PipelineConfig, Source, SourceKind
from lstm_model.series.infer import explain_source
from lstm_model.series.ingestion import write_series
from lstm_model.sources import synthetic
from lstm_model.sources.columns import SAMPLE_ROWS, infer_kind
from lstm_model.sources.date_parts import JOIN
from lstm_model.sources.raw_series import RawSeries, arrange_tables, read_tables
from lstm_model.sources.series_names import split_names
from lstm_model.timeline.time_zones import to_wall_time

MOST_SERIES = 1000
"""Most series that are described one by one."""
SHOWN_ROWS = 3
"""Rows at each end of the source that are shown."""


def inspect_source(config: PipelineConfig, table: Path, *, password: str | None = None) -> Inspection:
    """Read and examine the source of a config; write the series table to `table` where that is possible.

    What is wrong with the source is in `errors` of the result, and what was known before is described.
    """
    found = Inspection(source=_name_source(config.source))
    try:
        raw = _read(config, found, table.parent, password)
        _describe_rows(found, raw)
        request = config.select_data_settings()
        try:
            written = write_series(raw, request, table)
        except DataError:
            _describe_spans(found, raw.table.assign(observed=raw.table["y"].notna()), regular=False)
            raise
    except (DataError, OSError) as error:
        found.errors += list_messages(error)
        return found
    meta = written.meta
    found.profile, found.clock, found.findings = meta.profile, meta.clock, meta.findings
    found.reading = _explain_reading(meta.source, meta.reasons, meta.profile.frequency)
    rows = to_wall_time(pq.read_table(table).to_pandas(), meta.clock)
    _describe_spans(found, rows, regular=True)
    found.covariates = _describe_covariates(rows, config.covariates)
    return found


def _name_source(source: Source) -> str:
    if source.kind is SourceKind.synthetic:
        return f"the built-in data set {source.dataset!r}"
    return redact_address(source.path or f"a query of {source.url}")


def _read(config: PipelineConfig, found: Inspection, folder: Path, password: str | None) -> RawSeries:
    """Read the source as `read_source` does, and describe its columns, also where they have no roles yet."""
    loaded = read_tables(_find_file(config.source, folder), password=password)
    found.files = {part.name: len(part.frame) for part in loaded}
    frame = loaded[0].frame
    kinds = {str(name): infer_kind(frame[name].iloc[:SAMPLE_ROWS]) for name in frame.columns}
    found.columns = [ColumnRole(name=name, kind=kind, role="unknown") for name, kind in kinds.items()]
    found.header = list(kinds)
    found.first_rows, found.last_rows = _show_ends(frame, loaded[-1].frame)
    raw = arrange_tables(loaded, _find_file(config.source, folder), covariates=config.covariates)
    found.columns = _assign_roles(kinds, raw, config.covariates)
    found.reading = _explain_reading(raw.source, raw.reasons, None)
    return replace(raw, source=config.source, reasons={}) if config.source.kind is SourceKind.synthetic else raw


def _find_file(source: Source, folder: Path) -> Source:
    """Return the source; of a synthetic one, a file generated in `folder`."""
    if source.kind is not SourceKind.synthetic:
        return source
    path = folder / "generated.parquet"
    if not path.exists():
        sizes = {"num_series": source.num_series, "num_steps": source.num_steps, "seed": source.seed}
        synthetic.generate_dataset(source.dataset, **sizes).to_parquet(path, index=False)
    names = Columns(unique_id="unique_id", ds="ds", y="y")
    file = {"kind": SourceKind.files, "path": str(path), "layout": FileLayout.long, "columns": names}
    return source.model_copy(update=file)


def _show_ends(first: pd.DataFrame, last: pd.DataFrame) -> tuple[list[list[str]], list[list[str]]]:
    """Return the first and the last rows as texts; all of a short table are first rows."""
    rest = len(last) if last is not first else max(0, len(last) - SHOWN_ROWS)
    tail = last.tail(min(SHOWN_ROWS, rest))
    return _show_rows(first.head(SHOWN_ROWS)), _show_rows(tail)


def _show_rows(rows: pd.DataFrame) -> list[list[str]]:
    return [[_show(value) for value in row] for row in rows.itertuples(index=False, name=None)]


def _show(value: Any) -> str:
    if np.ndim(value) == 0 and pd.isna(value):
        return ""
    if isinstance(value, float):
        return f"{value:.12g}"
    return re.sub(r"(?<=:\d\d):00(?=$|[+-])", "", str(value))


def _show_times(times: pd.Series) -> pd.Series:
    """Return timestamps as texts: dates where all are midnights, else with their time of day."""
    if times.dtype.kind in "iu":
        return times.astype("str")
    texts = times.map(_show)
    plain = texts.str.removesuffix(" 00:00")
    return plain if plain.str.len().eq(10).all() else texts


def _describe_rows(found: Inspection, raw: RawSeries) -> None:
    """Describe the first and last rows of the long table."""
    found.header = [str(name) for name in raw.table.columns]
    rest = min(SHOWN_ROWS, max(0, len(raw.table) - SHOWN_ROWS))
    ends = pd.concat([raw.table.head(SHOWN_ROWS), raw.table.tail(rest)])
    rows = _show_rows(ends.assign(ds=_show_times(ends["ds"])))
    found.first_rows, found.last_rows = rows[:SHOWN_ROWS], rows[SHOWN_ROWS:]


def _assign_roles(kinds: dict[str, str], raw: RawSeries, covariates: Covariates) -> list[ColumnRole]:
    """Say of each column what it is for, and why."""
    names, wide = raw.source.columns, raw.source.layout
    special: dict[str | None, tuple[Role, str]] = {names.y: ("target", raw.reasons.get("columns.y", ""))}
    ids, times = split_names(names.unique_id or "", list(kinds)), (names.ds or "").split(JOIN)
    special |= {name: ("series", raw.reasons.get("columns.unique_id", "")) for name in ids}
    special |= {name: ("time", raw.reasons.get("columns.ds", "")) for name in (names.ds, *times)}
    roles: tuple[Role, ...] = ("static", "past", "future")
    for role in roles:
        for name in getattr(covariates, role):
            special[name] = role, f"declared in covariates{_explain_texts(kinds.get(name), raw.table[name])}"
    values = {*raw.values}

    def assign(name: str, kind: str) -> ColumnRole:
        if name in special:
            role, reason = special[name]
            return ColumnRole(name=name, kind=kind, role=role, reason=reason.removeprefix(f"{name!r}: "))
        if name in values and wide is FileLayout.wide_columns:
            return ColumnRole(name=name, kind=kind, role="one series", reason="each column of numbers is a series")
        if name in values:
            return ColumnRole(name=name, kind=kind, role="step", reason="each column is one step of all series")
        return ColumnRole(name=name, kind=kind, role="ignored", reason="neither needed nor declared as covariate")

    return [assign(name, kind) for name, kind in kinds.items()]


def _explain_texts(kind: str | None, column: pd.Series) -> str:
    """Return what became of a covariate that is text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return f"; {number(len(column.cat.categories), 'category', 'categories')}: {listed(column.cat.categories)}"
    return "; yes is 1, no is 0" if kind == "text" and pd.api.types.is_numeric_dtype(column.dtype) else ""


def _explain_reading(source: Source, reasons: dict[str, str], frequency: str | None) -> list[Inferred]:
    """Return how the source was read, without what is said of single columns."""
    of_columns = ("columns.unique_id", "columns.ds", "columns.y", "ignored columns")
    rows = [row for row in explain_source(source, reasons) if row[0] not in of_columns]
    if frequency is not None:
        rows.append(("frequency", frequency, reasons.get("frequency", "")))
    return [Inferred(setting=name, value=value, reason=why.removeprefix(f"{value}: ")) for name, value, why in rows]


def _describe_spans(found: Inspection, table: pd.DataFrame, *, regular: bool) -> None:
    """Measure every series: where it begins and ends, its gaps, its zeros.

    Args:
        found: receives `series` and `total`.
        table: with unique_id, ds, y and observed; on a regular grid, sorted by series and time, if `regular`.
        regular: whether steps can be counted.
    """
    values = table[table["observed"]].reset_index(names="row")
    if values.empty:
        return
    by_series = values.groupby("unique_id", sort=True)
    spans = by_series["ds"].agg(first="min", last="max", values="size")
    spans["zeros"] = values["y"].eq(0).groupby(values["unique_id"]).sum()
    gaps = by_series["row"].diff().fillna(1).astype(int) - 1
    spans["missing"] = gaps.groupby(values["unique_id"]).sum()
    spans["longest_gap"] = gaps.groupby(values["unique_id"]).max()
    spans["ahead"] = table.groupby("unique_id").size() - spans["values"] - spans["missing"] if regular else 0

    def make(name: str, row: pd.Series) -> SeriesSpan:
        gap = {key: int(row[key]) if regular else None for key in ("missing", "longest_gap")}
        counts = {key: int(row[key]) for key in ("values", "zeros", "ahead")}
        return SeriesSpan(unique_id=name, first=row["first"], last=row["last"], **counts, **gap)

    ends = [spans["first"].min(), spans["last"].max()]
    shown = _show_times(pd.concat([spans["first"], spans["last"], pd.Series(ends)], ignore_index=True))
    spans["first"], spans["last"] = shown[: len(spans)].to_numpy(), shown[len(spans) : -2].to_numpy()
    found.num_series = len(spans)
    found.series = [make(str(name), row) for name, row in spans.head(MOST_SERIES).iterrows()]
    whole: Any = spans[["values", "zeros", "missing", "ahead"]].sum()
    whole = whole.astype(object)
    whole["first"], whole["last"], whole["longest_gap"] = shown.iloc[-2], shown.iloc[-1], spans["longest_gap"].max()
    found.total = make("all", whole)


def _describe_covariates(table: pd.DataFrame, covariates: Covariates) -> list[CovariateReach]:
    """Say what each covariate holds, and how far it is known."""
    last = table[table["observed"]].groupby("unique_id")["ds"].transform("max").groupby(table["unique_id"]).max()
    ahead = table["ds"] > table["unique_id"].map(last)
    count = ahead.groupby(table["unique_id"]).sum()
    steps = f"{count.min():,}" if count.min() == count.max() else f"{count.min():,} to {count.max():,}"
    known = {
        "static": "one value a series",
        "past": "to the last value of the target",
        "future": f"{steps} {'step' if steps == '1' else 'steps'} beyond the last value of the target, to "
        f"{_show(table['ds'].max())}",
    }
    roles: tuple[Role, ...] = ("static", "past", "future")
    return [
        CovariateReach(name=name, role=role, values=_summarise(table[name]), known=known[role])
        for role in roles
        for name in getattr(covariates, role)
    ]


def _summarise(column: pd.Series) -> str:
    """Return the range of numbers, or the texts."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return f"{column.min():g} to {column.max():g}"
    return listed(sorted(map(str, column.dropna().unique())))
