"""Infer which column is which, by name and kind, with the reason; an error where two would do."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations

import numpy as np
import pandas as pd

from lstm_model.contracts.findings import DataError, ErrorCollector, listed, number, unknown_columns
from lstm_model.contracts.settings import Covariates, FileLayout, Source
from lstm_model.sources.column_meanings import (
    check_columns_are_series,
    check_meanings,
    check_rows_are_series,
    find_total_column,
    list_meanings,
)
from lstm_model.sources.date_parts import is_hour_name
from lstm_model.sources.date_readings import is_date_number, is_whole
from lstm_model.sources.dates import read_dates
from lstm_model.sources.numbers import kind_of_texts
from lstm_model.sources.raw_table import UNNAMED
from lstm_model.sources.series_names import ID_NAMES, split_names
from lstm_model.sources.step_names import are_numbered, check_holes, find_steps
from lstm_model.timeline.events import offer_days

TIME_NAMES = ("ds", "timestamp", "datetime", "date", "time", "date_time", "step", "year")
PARTS_OF_DATES = ("quarter", "month", "week", "day")
TARGET_NAMES = ("y", "target", "value")
SAMPLE_ROWS = 2000


@dataclass(frozen=True)
class Roles:
    """The roles of columns; `values` are the series (wide_columns) or the steps (wide_rows)."""

    layout: FileLayout
    unique_id: str | None = None
    ds: str | None = None
    y: str | None = None
    values: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)


def infer_roles(frame: pd.DataFrame, source: Source, covariates: Covariates) -> Roles:
    """Find the layout and the columns of the series table in a frame of raw columns.

    Raises:
        DataError: a declared column does not exist, or more than one column would do; it names the candidates.
    """
    names = [str(name) for name in frame.columns]
    ids = split_names(source.columns.unique_id or "", names)
    declared = [name for name in (*ids, source.columns.ds, source.columns.y) if name]
    _check_names_exist(declared, names, "source.columns")
    others = [*covariates.static, *covariates.past, *covariates.future]
    _check_names_exist(others, names, "covariates")
    if twice := sorted({*declared} & {*others}):
        raise DataError(
            f"the column {twice[0]} stands both in source.columns and in covariates; the target, the time and the "
            "names of the series are no covariates: remove it from one of them"
        )
    kinds = {str(name): infer_kind(column) for name, column in frame.iloc[:SAMPLE_ROWS].items()}
    nested = [name for name, kind in kinds.items() if kind == "nested"]
    if wanted := [n for n in nested if n in declared + others or n.lower() in (*ID_NAMES, *TIME_NAMES, *TARGET_NAMES)]:
        raise DataError(f"column {wanted[0]!r} holds lists or structures, expected one value in each row")
    kinds = {name: kind for name, kind in kinds.items() if name not in others + nested}
    total = None if source.columns.y else find_total_column(frame, kinds)
    parts = {name: kind for name, kind in kinds.items() if name != total}
    layout, reason = _infer_layout(frame, parts, source)
    if layout is FileLayout.wide_rows:
        reason += f"; {total!r} is their total and left out" if total else ""
        return _assign_wide_rows(frame, parts, source, covariates, reason)
    if layout is FileLayout.wide_columns:
        return _assign_wide_columns(frame, kinds, source, covariates, reason)
    return _assign_long(frame, kinds, source, reason)


def infer_kind(column: pd.Series) -> str:
    """Return the kind of a column: time, clock (a time of day), integer, number, text, nested or empty."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind == "M":
        return "time"
    if is_date_number(column):
        return "time"
    if column.dtype.kind in "iu" or is_whole(column):
        return "integer"
    filled = column.dropna()
    if filled.empty:
        return "empty"
    if isinstance(filled.iloc[0], (datetime.date, pd.Period)):
        return "time"
    if isinstance(filled.iloc[0], (list, tuple, dict, np.ndarray)):
        return "nested"
    if isinstance(filled.iloc[0], (int, float, Decimal)):
        return "number"
    return kind_of_texts([str(value) for value in filled], column.name)


def _check_names_exist(wanted: Sequence[str], names: Sequence[str], setting: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise unknown_columns(missing, names, setting)


def _infer_layout(frame: pd.DataFrame, kinds: dict[str, str], source: Source) -> tuple[FileLayout, str]:
    columns = source.columns
    if source.layout is not FileLayout.auto:
        return source.layout, "set"
    if columns.y or (columns.unique_id and columns.ds):
        return FileLayout.long, "long: its columns are named in source.columns"
    times = [name for name in kinds if kinds[name] == "time" or name == columns.ds]
    ids = split_names(columns.unique_id or "", list(kinds))
    texts = [name for name in kinds if (kinds[name] == "text" and name != columns.ds) or name in ids]
    numbers = [name for name in kinds if kinds[name] in ("number", "integer", "empty") and name != columns.ds]
    named = [name for name in kinds if name.lower() in (*ID_NAMES, *TARGET_NAMES)]
    steps = find_steps([name for name in kinds if kinds[name] != "text" and name not in ids])
    naming = [name for name in texts if name not in steps and frame[name].is_unique]
    if not [name for name in times if name not in steps] and naming and steps and len(frame) > 1:
        return FileLayout.wide_rows, f"wide_rows: {naming[0]!r} differs in every row and the other columns are numbered"
    clock = times or [name for name in numbers if name.lower() in TIME_NAMES][:1]
    series = [name for name in numbers if name not in clock]
    if len(clock) == 1 and not texts and not named and len(series) >= 3:
        return (
            FileLayout.wide_columns,
            f"wide_columns: beside {clock[0]!r} there are {len(series)} number columns and no column of names "
            "(--target would pick one of them)",
        )
    return FileLayout.long, "long: one row an observation"


def _assign_wide_rows(
    frame: pd.DataFrame, kinds: dict[str, str], source: Source, covariates: Covariates, reason: str
) -> Roles:
    if covariates.past or covariates.future:
        raise DataError(
            "covariates.past and covariates.future need the long layout: a file with one row a series has no room "
            "for them"
        )
    names = list(kinds)
    given = split_names(source.columns.unique_id or "", names)
    numbers = [name for name in names if kinds[name] != "text" and name not in given]
    steps = find_steps(numbers if given or len(numbers) < len(names) else names[1:])
    before = [name for name in names if name not in steps] or names
    texts = [name for name in before if kinds[name] == "text"]
    unique_id = source.columns.unique_id or next((n for n in texts if frame[n].is_unique), (texts or before)[0])
    ids = split_names(unique_id, names)
    values = tuple(steps or (name for name in names if name not in ids))
    _check_values(values, unique_id, "wide_rows")
    if earlier := find_steps([name for name in before if kinds[name] != "text" and name not in ids]):
        raise DataError(
            f"the columns {listed(earlier, limit=4)} count on, as the steps {listed(values, limit=4)} after them do, "
            "which alone would be read; give all steps names that count on, such as dates, or remove what is no step"
        )
    check_holes(values)
    twice = frame[ids].duplicated()
    if twice.any():
        again = frame[twice].iloc[0]
        raise DataError(
            f"more than one row has {' '.join(repr(again[name]) for name in ids)} in the column {unique_id!r}, "
            "expected one row a series; name the columns that tell rows apart with --id-column "
            f"(source.columns.unique_id), such as {','.join(before[:2])}"
        )
    if source.layout is FileLayout.auto and not given:
        check_rows_are_series(frame[unique_id].astype("str").tolist(), unique_id)
    beside = [name for name in before if name not in ids and steps]
    if not are_numbered(values):
        reason += "; steps in the order of the columns"
    return Roles(
        FileLayout.wide_rows,
        unique_id,
        None,
        None,
        values,
        {"layout": reason, "columns.unique_id": f"{unique_id!r} names each row"} | _explain_ignored(beside),
    )


def _assign_wide_columns(
    frame: pd.DataFrame, kinds: dict[str, str], source: Source, covariates: Covariates, reason: str
) -> Roles:
    if covariates.static:
        raise DataError(
            "covariates.static needs the long layout or one row a series: a column cannot carry a value of its own"
        )
    ds, why = _find_time(kinds, source)
    values = tuple(name for name in kinds if name != ds and kinds[name] != "text")
    ignored = [name for name in kinds if name != ds and kinds[name] == "text"]
    _check_values(values, ds, "wide_columns")
    if source.layout is FileLayout.auto:
        check_columns_are_series(values, ds)
        check_meanings(frame, values)
    reasons = {"layout": reason, "columns.ds": why} | _explain_ignored(ignored)
    return Roles(FileLayout.wide_columns, None, ds, None, values, reasons)


def _check_values(values: Sequence[str], first: str, layout: str) -> None:
    if not values:
        raise DataError(f"source.layout is {layout}, but beside {first!r} there is no column with values")
    unnamed = [name for name in values if name.startswith(UNNAMED) and name.removeprefix(UNNAMED).isdigit()]
    if unnamed:
        at = int(unnamed[0].removeprefix(UNNAMED)) + 1
        raise DataError(
            f"{number(len(unnamed), 'column')} of values without a name, first column {at}; name each in one row. "
            "Where two rows name the columns together, such as a year over months, write both into one: 2020-01"
        )


def _assign_long(frame: pd.DataFrame, kinds: dict[str, str], source: Source, reason: str) -> Roles:
    errors, ds, unique_id, y = ErrorCollector(), "", None, ""
    with errors.collect():
        ds, why_ds = _find_time(kinds, source)
    rest = {name: kind for name, kind in kinds.items() if name != ds and (ds or kind != "time")}
    with errors.collect():
        if ds:
            unique_id, why_id = _find_id(frame, rest, source, ds)
    ids = split_names(unique_id or "", list(kinds))
    rest = {name: kind for name, kind in rest.items() if name not in ids}
    with errors.collect():
        if ds or len(rest) < len(kinds):  # without any time, the columns that could be it would be told as targets
            y, why_y = _find_target(frame, rest, source, ds, is_one_series=not ids)
    if errors.found and ds:
        errors.found[-1] = DataError(f"{errors.found[-1]}{_offer_days(_read_times(frame[ds], source))}")
    errors.raise_found()
    reasons = {"layout": reason, "columns.ds": why_ds, "columns.unique_id": why_id, "columns.y": why_y}
    return Roles(
        FileLayout.long, unique_id, ds, y, (), reasons | _explain_ignored([name for name in rest if name != y])
    )


def _read_times(ds: pd.Series, source: Source) -> pd.Series | None:
    """Return the timestamps of a column; None if the error is raised later, with the right place."""
    try:
        return read_dates(ds, source, str).times
    except DataError:
        return None


def _offer_days(times: pd.Series | None) -> str:
    """Return the words that offer to add up single events, so that all that they need is asked for at once."""
    return "" if times is None or times.dtype.kind == "i" else offer_days(np.asarray(times.astype("int64"), np.int64))


def _explain_ignored(names: Sequence[str]) -> dict[str, str]:
    text = f"{listed(names, limit=20)}: neither needed nor declared as covariates"
    return {"ignored columns": text} if names else {}


def _find_time(kinds: dict[str, str], source: Source) -> tuple[str, str]:
    if source.columns.ds:
        return source.columns.ds, "set"
    named = [name for name in kinds if name.lower() in TIME_NAMES and kinds[name] in ("time", "integer")]
    typed = [name for name in kinds if kinds[name] == "time"]
    named = [
        name for name in named if name.lower() != "year" or not set(typed) - {name}
    ]  # beside a date it tells no more
    clocks = [name for name in kinds if kinds[name] == "clock"]
    if clocks:
        raise DataError(
            f"column {clocks[0]!r} holds times of day; join it with the date into one column of timestamps first, "
            "or say "
            "with --time-column (source.columns.ds) which column alone is the time"
        )
    parts = [name for name in kinds if name.lower() in PARTS_OF_DATES]
    if len(named) == 1 and named[0].lower() == "year" and parts and not typed:
        raise DataError(
            f"the columns {listed([named[0], *parts])} are parts of dates; join them into one column such as 2024-03 "
            "or 2024-Q1 first, or say with --time-column (source.columns.ds) which column alone is the time"
        )
    for found, why in ((named, "by its name"), (typed, "the only column of timestamps")):
        if len(found) == 1:
            return found[0], f"{found[0]!r}: {why}"
        if found:
            raise DataError(
                f"more than one column could be the time: {listed(found)}. Name it with --time-column, or "
                "source.columns.ds in the file"
            )
    if claimed := [name for name, kind in kinds.items() if name.lower() in TIME_NAMES and kind == "text"]:
        return claimed[0], f"{claimed[0]!r}: by its name"  # the row that is no timestamp is told when it is read
    if numbers := [name for name in [*kinds][1:] if kinds[name] in ("number", "integer")]:
        check_columns_are_series(numbers, next(iter(kinds)))
    shown = listed([f"{name} ({kind})" for name, kind in kinds.items()], limit=20)
    raise DataError(
        f"no column of timestamps found among: {shown}. Name it with --time-column, or source.columns.ds in the file"
    )


def _find_id(frame: pd.DataFrame, kinds: dict[str, str], source: Source, ds: str) -> tuple[str | None, str]:
    if source.columns.unique_id is not None:
        return source.columns.unique_id or None, "set"
    named = [name for name in kinds if name.lower() in ID_NAMES and name != source.columns.y]
    named = [
        name
        for name in named
        if not (kinds[name] in ("integer", "number") and frame[name].is_unique and len(frame) > 1)
    ]
    texts = [name for name in kinds if kinds[name] == "text" and name.lower() not in TARGET_NAMES]
    texts = [name for name in texts if name != source.columns.y]
    about = [name for name in texts if _describes_rows(frame, name, ds, source)]
    texts = [name for name in texts if name not in about]
    if hours := [name for name in texts if is_hour_name(name)]:
        raise DataError(
            f"column {hours[0]!r} holds texts such as {str(frame[hours[0]].iloc[0])!r}, expected hours such as 7, "
            f"07:00 or 07-08 beside the date; correct them, or say --id-column {hours[0]} if they name series"
        )
    for found, why in ((named, "by its name"), (texts, "the only column of names")):
        found = [name for name in found if not _counts_rows(frame, name, ds)]
        if len(found) == 1:
            return found[0], f"{found[0]!r}: {why}"
        if len(found) > 1:
            return _choose_ids(frame, found, ds)
    if about and _offer_days(_read_times(frame[ds], source)):
        raise DataError(
            f"column {about[0]!r}, with texts such as {str(frame[about[0]].iloc[0])!r}, may name the series (what was "
            f"sold, or where), or describe the rows of one. If it names them, say --id-column {about[0]}; if all rows "
            "are one series, --id-column ''"
        )
    return None, "no column that tells series apart: one series a file"


def _choose_ids(frame: pd.DataFrame, found: Sequence[str], ds: str) -> tuple[str, str]:
    """Return the one column, or all of them, that leave no two rows at one time.

    Raises:
        DataError: more than one column would do, or not even all of them.
    """
    apart = [name for name in found if not frame.duplicated([name, ds]).any()]
    several = frame.duplicated(apart or list(found)).any()  # a name of one row tells nothing
    if several and len(apart) == 1 and all(frame.groupby(apart[0])[name].nunique().le(1).all() for name in found):
        return apart[0], f"{apart[0]!r}: the only column of names that leaves no two rows at one time"
    if several and not apart and not frame.duplicated([*found, ds]).any():
        return ",".join(found), f"{listed(found)}: only together they leave no two rows at one time"
    raise DataError(
        f"more than one column could name the series: {listed(found)}. Name it with --id-column, or "
        f"source.columns.unique_id in the file; several together as {','.join(found[:2])}"
    )


def find_rows_apart(frame: pd.DataFrame, roles: Roles) -> str:
    """Return columns that tell rows of one series and time apart, as --id-column takes them; "" if none do."""
    if roles.layout is not FileLayout.long or roles.ds is None:
        return ""
    names = [str(name) for name in frame.columns]
    ids = split_names(roles.unique_id or "", names)
    others = [name for name in names if name not in (*ids, roles.ds, roles.y)]
    kinds = {name: infer_kind(frame[name].iloc[:SAMPLE_ROWS]) for name in others}
    others = [name for name in others if kinds[name] in ("text", "integer") and not frame[name].is_unique][:8]
    for count in (1, 2):
        for added in combinations(others, count):
            if not frame.duplicated([*ids, *added, roles.ds]).any():
                return ",".join([*ids, *added])
    return ""


def _counts_rows(frame: pd.DataFrame, name: str, ds: str) -> bool:
    """Return whether a column numbers rows: every row has its own value, although no timestamp repeats."""
    return len(frame) > 1 and bool(frame[name].is_unique) and bool(frame[ds].is_unique)


def _describes_rows(frame: pd.DataFrame, name: str, ds: str, source: Source) -> bool:
    """Return whether a column of texts (a weekday, the weather) describes the rows of one series, or may do so.

    Then no timestamp repeats, and the rows of one text have no steadier step than all rows together. Single events at
    any time have no step that could tell.
    """
    if len(frame) < 3 or frame[ds].isna().any() or not frame[ds].is_unique:
        return False
    if (times := _read_times(frame[ds], source)) is None:
        return False
    ds_N, codes_N = times.astype("int64").to_numpy(), pd.factorize(frame[name])[0]
    _check_blocks(frame[name], ds_N, codes_N)
    within_N = np.lexsort((ds_N, codes_N))
    steps_within = np.diff(ds_N[within_N])[np.diff(codes_N[within_N]) == 0]
    steps = np.diff(np.sort(ds_N))
    return _measure_steadiness(steps) >= _measure_steadiness(steps_within) or bool(_offer_days(times))


def _check_blocks(names: pd.Series, ds_N: np.ndarray, codes_N: np.ndarray) -> None:
    """Refuse a column of texts that may as well name series that follow each other as parts of one."""
    order = np.argsort(ds_N, kind="stable")
    texts, sizes = np.unique(codes_N, return_counts=True)
    steps = np.unique(np.diff(ds_N[order]))
    changes = np.flatnonzero(np.diff(codes_N[order]))
    if len(texts) < 2 or texts[0] < 0 or sizes.min() < 3 or len(changes) != len(texts) - 1 or len(steps) > 1:
        return
    before, after = names.iloc[order[changes[0]]], names.iloc[order[changes[0] + 1]]
    raise DataError(
        f"column {str(names.name)!r} changes once from {before!r} to {after!r}, as series would that follow each "
        f"other, or parts of one. If it names series, say --id-column {names.name}; if all rows are one series, "
        "--id-column ''"
    )


def _measure_steadiness(steps: np.ndarray) -> float:
    """Return the share of the commonest step; 0 without any step."""
    return float(np.unique(steps, return_counts=True)[1].max() / len(steps)) if len(steps) else 0.0


def _find_target(
    frame: pd.DataFrame, kinds: dict[str, str], source: Source, ds: str, *, is_one_series: bool
) -> tuple[str, str]:
    if source.columns.y:
        return source.columns.y, "set"
    numbers = [name for name in kinds if kinds[name] in ("number", "integer", "empty")]
    named = [name for name in numbers if name.lower() in TARGET_NAMES]
    for found, why in ((named, "by its name"), (numbers, "the only column of numbers")):
        if len(found) == 1:
            return found[0], f"{found[0]!r}: {why}"
        if found:
            check_columns_are_series(found, ds)
            may_be_series = is_one_series and not list_meanings(frame, found)
            wide = "; if each is a series of its own, set source.layout to wide_columns (--layout wide_columns)"
            raise DataError(
                f"more than one column of numbers could be the target: {listed(found)}. Name it with --target, or "
                f"source.columns.y in the file{wide if may_be_series else ''}"
            )
    shown = listed([f"{name} ({kind})" for name, kind in kinds.items()], limit=20) or "none"
    raise DataError(
        f"no column of numbers to forecast; columns left: {shown}. Name it with --target, or source.columns.y in "
        "the file; to count events that have none, such as trips, give each row a 1 in a column of its own"
    )
