"""Examine the data: a clear error, or a repair that is reported and never scored as truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError, ErrorCollector, Finding, NothingLeftError, number
from lstm_model.contracts.settings import MissingPolicy, PipelineConfig
from lstm_model.quality import checks
from lstm_model.quality.aggregation import aggregate_rows, is_by_days
from lstm_model.quality.repair import (
    Rows,
    expand_to_grid,
    fill_from_seasons,
    find_history,
    find_worst,
    interpolate,
    sort_rows,
)
from lstm_model.quality.zeros import fill_zeros
from lstm_model.sources.raw_series import RawSeries
from lstm_model.timeline.events import offer_days
from lstm_model.timeline.frequency import Frequency
from lstm_model.timeline.inference import infer_frequency
from lstm_model.timeline.time_zones import find_clock, to_regular_clock
from lstm_model.timeline.timestamps import same_time_of_day

MANY_ABSENT = 0.1
"""From this share of missing steps on, counts are asked about: their absent steps are mostly zeros."""
__all__ = ["DataError", "Examination", "Finding", "examine"]


@dataclass(frozen=True)
class Examination:
    """The series table, and all findings about the data."""

    table: pd.DataFrame
    """`unique_id` (str), `ds` (datetime64[us] naive, or int64), `y` (float64, NaN in future rows), `observed`,
    then the declared covariates (float64 or text; past ones are not filled in future rows)."""
    frequency: str
    findings: tuple[Finding, ...]
    counts: pd.DataFrame
    """One row a series: `unique_id`, `observed`, `repaired`, `future` (numbers of rows)."""
    reasons: dict[str, str]
    clock: Clock | None
    """The source's own, if the table is in UTC instead."""


def examine(raw: RawSeries, config: PipelineConfig) -> Examination:
    """Check a raw table and put it on a regular grid, missing values filled by `config.missing`.

    Raises:
        DataError: naming the series, the timestamp, what was received, what was expected and the fix; of several
            things that are wrong, all but those that follow from another.
    """
    errors = ErrorCollector()
    with errors.collect():
        examined = _examine(raw, config, errors)
    errors.raise_found()
    return examined


def _examine(raw: RawSeries, config: PipelineConfig, errors: ErrorCollector) -> Examination:
    """Examine the data; errors after which the rest can be examined too are only collected."""
    if raw.table.empty:
        raise DataError("the source has no rows; expected at least horizon + 2 observations of one series")
    covariates = config.covariates
    by_days = bool(config.aggregate) and is_by_days(config.frequency)
    table, findings, clock = to_regular_clock(raw.table, raw.source.timezone, by_days=by_days)
    rows, order = sort_rows(table, [*covariates.past, *covariates.future])
    rows = replace(rows, clock=None if by_days else find_clock(raw.table["ds"], raw.source.timezone))
    static = pd.DataFrame(index=pd.Index(rows.ids, name="unique_id"))
    with errors.collect():
        static = checks.collect_static(table, rows, order, covariates.static)

    rows, infinite = checks.replace_infinite(rows)
    if config.aggregate:
        rows, duplicates = aggregate_rows(rows, config.aggregate, config.frequency)
    else:
        rows, duplicates = checks.drop_duplicates(
            rows, unzoned=_lacks_zone(raw), find_apart=raw.find_rows_apart, count_equal=raw.count_equal_rows
        )
    totals = checks.find_total(rows)
    zeroed: list[Finding] = []
    if config.missing == "zero":
        frequency, why = _choose_frequency(rows, config)
        rows, zeroed = fill_zeros(rows, frequency, _suggest_zone(raw))
    rows, trimmed = checks.trim(rows, covariates.future)
    numbers = [name for name in covariates.past if name not in rows.texts]
    rows, holes = checks.trim_leading_holes(rows, [*numbers, *covariates.future])
    rows, short = checks.drop_short(rows, config.horizon)
    with errors.collect():
        checks.check_magnitudes(rows, static)
    if config.missing != "zero":
        frequency, why = _choose_frequency(rows, config)
    rows, observed_N, filled = _make_regular(rows, frequency, config, _suggest_zone(raw), errors)

    history_N, _, _ = find_history(rows)
    with errors.collect():
        checks.check_future_covariates(rows, covariates.future, history_N)
    rows, past = checks.fill_past_covariates(rows, covariates.past, history_N)
    findings += [
        *(*raw.findings, *infinite, *duplicates, *totals, *zeroed, *trimmed, *holes, *short, *filled),
        *(
            *checks.find_constant(rows),
            *checks.find_rounded_covariates(rows),
            *past,
            *checks.find_similar_names(rows.ids),
        ),
    ]
    return Examination(
        table=_build_table(rows, observed_N, static.loc[rows.ids]),
        frequency=frequency,
        findings=tuple(findings),
        counts=_count_rows(rows, observed_N, history_N),
        reasons={"frequency": why, "clock": clock},
        clock=rows.clock,
    )


def _lacks_zone(raw: RawSeries) -> bool:
    ds = raw.table["ds"]
    if raw.source.timezone is not None or ds.dtype.kind == "i" or isinstance(ds.dtype, pd.DatetimeTZDtype):
        return False
    return raw.source.kind != "synthetic" and not same_time_of_day(ds)


def _suggest_zone(raw: RawSeries) -> str:
    zoned = isinstance(raw.table["ds"].dtype, pd.DatetimeTZDtype) and raw.source.timezone is None
    return " in UTC (if they are regular on a local clock, set source.timezone (--timezone))" if zoned else ""


def _choose_frequency(rows: Rows, config: PipelineConfig) -> tuple[str, str]:
    if config.frequency is None:
        if config.missing == "zero":  # steps of all series together: a slow seller's own rows tell of none
            times = np.unique(rows.ds_N)
            if not rows.integer and (offer := offer_days(times)):
                raise DataError(f"the rows have no common step, in which absent ones could be zero{offer}")
            return infer_frequency(np.zeros(len(times), np.int64), times, integer=rows.integer)
        return infer_frequency(rows.series_N, rows.ds_N, integer=rows.integer)
    frequency = Frequency(config.frequency)
    if rows.integer != frequency.is_integer:
        expected = (
            "1, because timestamps are integers (season says how many steps make one)"
            if rows.integer
            else "an alias such as h or D"
        )
        raise DataError(f"frequency is {config.frequency!r}, expected {expected}")
    frequency.check()
    return config.frequency, "set"


def _make_regular(
    rows: Rows, frequency: str, config: PipelineConfig, hint: str, errors: ErrorCollector
) -> tuple[Rows, np.ndarray, list[Finding]]:
    """Return all steps of every series with missing targets filled, a mask of observed rows, and findings."""
    grid, step_N, findings = checks.place_on_grid(rows, frequency, hint)
    missing_K, _ = checks.count_missing_steps(rows, step_N)
    if not missing_K.any():
        return (full := expand_to_grid(rows, step_N, grid)), ~np.isnan(full.y_N), findings
    unique_id, touched, total = find_worst(missing_K, rows.ids)
    steps = number(total, "business day" if frequency == "B" else "step")
    what = (
        f"{steps} without a value{' (such as holidays)' if frequency == 'B' else ''} in "
        f"{number(touched, 'series', 'series')}; "
        f"most: {unique_id!r} with {missing_K.max():,}"
    )
    if config.missing == "error":
        refused = DataError(
            f"{what}; first at {_find_first_gap(rows, step_N)}. Repair the source, or set missing to interpolate, "
            f"seasonal or drop_series{checks.offer_zero(rows)}"
        )
        errors.found.append(refused)
    if config.missing == "drop_series":
        complete_K = missing_K == 0
        if not complete_K.any():
            raise NothingLeftError(
                f"{what}; missing is drop_series and no series is complete. Set missing to interpolate or seasonal",
                code="dropped",
                count=touched,
            )
        keep_N = complete_K[rows.series_N]
        text = f"{number(touched, 'series', 'series')} dropped: {what}"
        findings.append(Finding(code="dropped", severity="warning", message=text, unique_id=unique_id, count=touched))
        full = expand_to_grid(rows.select(complete_K), step_N[keep_N], grid.select(complete_K))
        return full, ~np.isnan(full.y_N), findings
    missing_K, length_K = checks.check_missing_share(rows, step_N, config.advanced.window.max_missing_share)
    many = missing_K.sum() >= MANY_ABSENT * length_K.sum()
    full = expand_to_grid(rows, step_N, grid)
    observed_N = ~np.isnan(full.y_N)
    full, how = _fill_missing(full, config.missing, config.season or Frequency(frequency).default_season)
    offer = checks.offer_zero(rows) if many else ""
    text = f"{what}; filled {how}, and never scored as truth{offer}"
    severity: Literal["warning", "repair"] = "warning" if offer else "repair"
    findings.append(Finding(code="missing", severity=severity, message=text, unique_id=unique_id, count=total))
    return full, observed_N, findings


def _fill_missing(rows: Rows, policy: MissingPolicy, season: int) -> tuple[Rows, str]:
    history_N, _, _ = find_history(rows)
    missing = np.flatnonzero(history_N & np.isnan(rows.y_N))
    if policy in ("interpolate", "error"):
        return replace(rows, y_N=interpolate(rows.y_N, missing)), "by interpolation"
    values, unfilled = fill_from_seasons(rows.y_N, missing, rows.series_N, season)
    rest = f"; {len(unfilled):,} without an earlier season by interpolation" if len(unfilled) else ""
    line = interpolate(rows.y_N, unfilled)
    values[unfilled] = line[unfilled]
    return replace(rows, y_N=values), f"with the value {season} steps before{rest}"


def _find_first_gap(rows: Rows, step_N: np.ndarray) -> str:
    inside_N, _, _ = find_history(rows)
    empty = inside_N & np.isnan(rows.y_N)
    jump = np.append((np.diff(rows.series_N) == 0) & (np.diff(step_N) > 1), False) & inside_N
    row = int((empty | jump).argmax())
    return rows.describe(row) if empty[row] else f"the step after {rows.describe(row)}"


def _count_rows(rows: Rows, observed_N: np.ndarray, history_N: np.ndarray) -> pd.DataFrame:
    masks = {"observed": observed_N, "repaired": history_N & ~observed_N, "future": ~history_N}
    counts = {name: rows.count(mask) for name, mask in masks.items()}
    return pd.DataFrame({"unique_id": pd.array(rows.ids, dtype="str"), **counts})


def _build_table(rows: Rows, observed_N: np.ndarray, static: pd.DataFrame) -> pd.DataFrame:
    ids = pd.array(rows.ids, dtype="str")
    ds = rows.ds_N if rows.integer else rows.ds_N.astype("datetime64[us]")
    table = pd.DataFrame({"unique_id": ids.take(rows.series_N), "ds": ds, "y": rows.y_N, "observed": observed_N})
    for name, values in rows.covariates.items():
        table[name] = pd.array(_decode(values, rows.texts[name]), "str") if name in rows.texts else values
    for name in static.columns:
        table[name] = static[name].array.take(rows.series_N)
    return table


def _decode(codes_N: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Return the texts that codes stand for; None for NaN."""
    known_N = ~np.isnan(codes_N)
    decoded = np.full(len(codes_N), None, dtype=object)
    decoded[known_N] = texts[codes_N[known_N].astype(np.int64)]
    return decoded
