"""Compare issued forecasts with what happened: are their errors still those that the test showed?

Everything is computed again at each look from the ledger and the newest series table, so that late and revised actuals
count, and nothing needs to be remembered between two looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lstm_model.contracts.clock import Clock, show_moment
from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.forecast_columns import find_coverage, find_levels, name_bounds, name_level
from lstm_model.contracts.monitored import Status
from lstm_model.lifecycle.cusum import Run, Scale, allow_for_correlation, find_threshold, run_chart
from lstm_model.lifecycle.envelope import (
    autocorrelation,
    period_sums,
    period_values,
    steps_since,
    with_scale,
)
from lstm_model.timeline.frequency import Frequency
from lstm_model.timeline.time_zones import to_wall_time

ERROR_SCALE = Scale(guess=0.3, least=0.05)
"""Of log errors: a third more or less from one period to the next; five percent are too little to act on."""
MISS_SCALE = Scale(guess=0.15, least=0.03)
"""Of the arc sine of the root of the share outside: half of it is what 24 independent targets give."""
START_PERIODS = 3
"""Periods of the test that the charts start from; they run over its others, and then over those since."""
ENOUGH_OBSERVED = 0.5
"""A period counts when this share of its targets is known: the first few series to arrive may be unlike the rest."""

LOOK_BACK, BLOCK = 400, 100
"""Periods that are looked at, at least; earlier ones are left out in blocks, so that a look sees those of the last."""
RECENT = 10
"""Periods whose error is told where nothing is wrong."""
SAME_ERROR = 0.1
"""Envelopes whose errors differ by less than a tenth are of the same errors, however well they are known."""


@dataclass(frozen=True)
class Piece:
    """Some of the series, so that those of a large panel need not be in memory together."""

    ledger: pd.DataFrame
    """unique_id, cutoff, ds, step, median, lo_…, hi_…, model_version; see `ledger`."""
    series: pd.DataFrame
    """The newest series table: unique_id, ds, y, observed; not less than what the ledger forecast."""
    scales: pd.DataFrame
    """unique_id and mase_scale, those of the champion."""


@dataclass(frozen=True)
class DriftCheck:
    """What a look at the forecasts showed."""

    status: Status
    summary: str
    """One or two plain sentences."""
    evidence: str | None
    """End of the period that raised the latest alarm; None without drift. One retraining for each."""
    periods: pd.DataFrame
    """Ascending: model_version, counted (of the present champion), end (its last ds), error (1 is as in the test),
    coverage-…, count, and for counted ones the sum of each chart."""
    thresholds: dict[str, float]
    """By chart: error, too narrow, too wide."""

    @property
    def alarm(self) -> bool:
        return self.status == "drift"


CHARTS = {
    "error": "the error is {ratio:.2f} times what the model's test showed",
    "too narrow": "{inside:.0%} of the values lie inside the intervals on average, {usual:.0%} in the model's test",
    "too wide": "{inside:.0%} of the values lie inside the intervals on average, only {usual:.0%} in the model's test",
}


def watch(
    pieces: Iterable[Piece],
    *,
    issued: pd.DataFrame,
    end: Any,
    usual: Envelope,
    champion: str,
    origin: Any = None,
    periods_per_false_alarm: int = 200,
    clock: Clock | None = None,
) -> DriftCheck:
    """Compare what was forecast with what happened.

    Args:
        pieces: each series in one of them; looked at one after another.
        issued: what was forecast of all series, see `Ledger.cutoffs`; not more than the pieces hold.
        end: the latest observed ds of all series.
        usual: the champion's envelope, see `envelope.envelope`.
        champion: the model_version whose forecasts since it came into its place raise the alarm.
        origin: see `find_origin`; not needed if the ledger is whole.
        clock: the source's own, in which the summary and the periods are told, if moments are kept in UTC.
        periods_per_false_alarm: on a stationary process there is one false alarm in so many periods at most.
    """
    periods = measure_periods(pieces, issued=issued, end=end, usual=usual, champion=champion, origin=origin)
    if issued.empty:
        return DriftCheck("no forecasts", "No forecast has been issued yet.", None, periods, {})
    counted = periods["counted"]
    if not counted.any():
        text = "No forecast period of the present champion is over yet; nothing can be said about it."
        return DriftCheck("waiting", text, None, periods, {})
    runs = _run_charts(periods[counted], usual, periods_per_false_alarm)
    ends = periods["end"]
    if clock is not None:
        periods["end"] = to_wall_time(pd.DataFrame({"ds": ends}), clock)["ds"]
    for name, run in runs.items():
        periods.loc[counted, f"sum {name}"] = run.sums[-int(counted.sum()) :]
    limits = {name: run.threshold for name, run in runs.items()}
    ringing = {
        name: run for name, run in runs.items() if run.on and _find_period(run.alarms[-1], run, periods[counted]) >= 0
    }
    if not ringing:
        return DriftCheck("normal", _write_normal(periods[counted]), None, periods, limits)
    latest = max(_find_period(run.alarms[-1], run, periods[counted]) for run in ringing.values())
    evidence = str(ends[counted].iloc[latest])
    return DriftCheck("drift", _write_alarm(periods[counted], usual, ringing), evidence, periods, limits)


def find_origin(issued: pd.DataFrame, *, champion: str, end: Any, usual: Envelope) -> Any:
    """Return where the periods of the champion begin that are looked at; None before its first forecast.

    It is a whole number of blocks after the first cutoff. So periods end at the same steps in every look, and the
    evidence of an alarm keeps its name.

    Args:
        issued: see `Ledger.cutoffs`.
        champion: its model_version.
        end: the latest observed ds.
        usual: the champion's envelope.
    """
    counted = issued[_find_counted(issued, issued, champion)]
    if counted.empty:
        return None
    first = find_first_cutoff(counted)
    steps = BLOCK * usual.period_steps
    age = int(steps_since(np.array([end]), first, usual.frequency)[0]) - LOOK_BACK * usual.period_steps
    return Frequency(usual.frequency).advance_one(first, max(0, age // steps) * steps)


def find_first_cutoff(issued: pd.DataFrame) -> Any:
    """Return the first cutoff that most series share; series that ended long ago have earlier ones.

    Args:
        issued: cutoff and num_series, ascending; see `Ledger.cutoffs`.
    """
    return issued["cutoff"].to_numpy()[issued["num_series"] > issued["num_series"].max() / 2][0]


def choose_better_known(own: Envelope, backtest: Envelope | None) -> Envelope:
    """Return the envelope of a backtest where it holds more periods than the champion's own test, and the same errors.

    After a change of the data the champion's errors may be others than before it; then its own test counts.
    """
    if backtest is None or backtest.num_periods <= own.num_periods or not own.error or not backtest.error:
        return own
    if _unit(own) != _unit(backtest) or backtest.spread is None:
        return own
    uncertain = backtest.spread * math.sqrt(1 / own.num_periods + 1 / backtest.num_periods)
    same = abs(math.log(own.error / backtest.error)) <= max(SAME_ERROR, 3 * uncertain)
    return backtest if same else own


def _unit(usual: Envelope) -> tuple[int, int, str, set[str]]:
    """Return what two envelopes must have in common to be comparable."""
    return usual.period_steps, usual.horizon, usual.frequency, set(usual.coverage)


def measure_periods(
    pieces: Iterable[Piece],
    *,
    issued: pd.DataFrame,
    end: Any,
    usual: Envelope,
    champion: str,
    origin: Any = None,
) -> pd.DataFrame:
    """Measure the errors of each model in the periods that are over; see `watch` and `DriftCheck.periods`."""
    by = ["model_version", "counted"]
    groups = issued.assign(counted=_find_counted(issued, issued, champion)).groupby(by, sort=False, observed=True)
    # With the first cutoff a period is one forecast where possible.
    origins = {key: origin if key[1] and origin is not None else find_first_cutoff(rows) for key, rows in groups}
    sums: dict[Any, list[pd.DataFrame]] = {key: [] for key in origins}
    for piece in pieces if origins else []:
        truth = piece.series.loc[piece.series["observed"], ["unique_id", "ds", "y"]]
        truth = truth.assign(unique_id=truth["unique_id"].astype(str))
        ledger = piece.ledger.assign(counted=_find_counted(piece.ledger, issued, champion))
        ledger = ledger.assign(unique_id=ledger["unique_id"].astype(str))
        for key, rows in ledger.groupby(by, sort=False, observed=True):
            if key in origins:  # or it was issued since `issued` was read
                sums[key].append(_sum_periods(rows, truth, piece.scales, usual, origins[key]))
    parts = [
        _finish_periods(pd.concat(found), end, usual, origins[key]).assign(model_version=key[0], counted=key[1])
        for key, found in sums.items()
        if found
    ]
    if not parts:
        return pd.DataFrame({name: [] for name in ("model_version", "counted", "end", "error", "log_error", "count")})
    return pd.concat(parts, ignore_index=True).sort_values("end", kind="stable", ignore_index=True)


def _sum_periods(
    rows: pd.DataFrame, truth: pd.DataFrame, scales: pd.DataFrame, usual: Envelope, origin: Any
) -> pd.DataFrame:
    """Sum the errors of one model by period, see `period_sums`; count the issued targets and those that are known."""
    # Models of an earlier config may have forecast further than the present envelope knows, and had other intervals.
    rows = rows[rows["step"] <= usual.horizon]
    for level in find_levels(rows):
        low, high = name_bounds(level)
        if name_level(level) not in usual.coverage or rows[low].isna().all():
            rows = rows.drop(columns=[low, high])
    rows = rows[rows["unique_id"].isin(scales["unique_id"])]
    at = steps_since(rows["ds"].to_numpy(), origin, usual.frequency) - 1
    rows = rows.assign(period=at // usual.period_steps)[at >= 0]
    points = with_scale(rows.merge(truth, on=["unique_id", "ds"], how="inner"), scales)
    counts = {"issued": rows.groupby("period").size(), "known": points.groupby("period").size()}
    return pd.DataFrame(counts).join(period_sums(points, usual))


def _finish_periods(sums: pd.DataFrame, end: Any, usual: Envelope, origin: Any) -> pd.DataFrame:
    """Return the errors and the last ds of each period of one model that is over."""
    sums = sums.groupby("period").sum()
    sums = sums[sums["count"] > 0].astype({"count": "int64"})
    values = period_values(sums)
    steps = (values.index.to_numpy(np.int64) + 1) * usual.period_steps
    last = Frequency(usual.frequency).advance(np.repeat(origin, len(values)), steps)
    over = (last <= end) & (sums["known"] >= ENOUGH_OBSERVED * sums["issued"]).to_numpy()
    periods: pd.DataFrame = values.assign(end=last)[over].reset_index(drop=True)
    return periods


def _find_counted(rows: pd.DataFrame, issued: pd.DataFrame, champion: str) -> pd.Series[bool]:
    """Find the champion's forecasts since it took over, which is the cutoff of another model's last forecast.

    What a champion forecast in an earlier time as champion does not count.
    """
    own: pd.Series[bool] = rows["model_version"] == champion
    others = issued.loc[issued["model_version"] != champion, "cutoff"]
    return own if others.empty else own & (rows["cutoff"] >= others.max())


def _run_charts(counted: pd.DataFrame, usual: Envelope, periods_per_false_alarm: int) -> dict[str, Run]:
    """Run the charts of error and coverage over the periods of the test and those since."""
    error = (counted["log_error"], usual.log_error, ERROR_SCALE, 1)
    kinds = {"error": error}
    if usual.coverage:
        kinds["too narrow"] = (counted["miss"], usual.miss, MISS_SCALE, 1)
        kinds["too wide"] = (counted["miss"], usual.miss, MISS_SCALE, -1)
    runs = {}
    for name, (live, test, scale, sign) in kinds.items():
        before, after = np.asarray(test, np.float64), live.to_numpy(np.float64)
        correlation = allow_for_correlation(len(before), autocorrelation(before) if len(before) > 3 else None)
        limit = find_threshold(min(START_PERIODS, len(before)), correlation, len(kinds) * periods_per_false_alarm)
        values = sign * np.concatenate([before[START_PERIODS:], after])
        runs[name] = run_chart(values, sign * before[:START_PERIODS], scale=scale, threshold=limit)
    return runs


def _find_period(position: int, run: Run, counted: pd.DataFrame) -> int:
    """Return which counted period is at a position of a chart; negative in the test, which the gate has judged."""
    return position - (len(run.sums) - len(counted))


def _write_normal(counted: pd.DataFrame) -> str:
    part = counted.iloc[-RECENT:]
    ratio, which = math.exp(part["log_error"].mean()), f"{len(part)} periods" if len(part) > 1 else "period"
    return (
        f"In the last {which} of forecasts, up to {show_moment(str(counted['end'].iloc[-1]))}, the error is "
        f"{ratio:.2f} times that of the model's test: nothing that chance does not explain."
    )


def _write_alarm(counted: pd.DataFrame, usual: Envelope, ringing: Mapping[str, Run]) -> str:
    part = counted.iloc[min(max(0, _find_period(run.since, run, counted)) for run in ringing.values()) :]
    shares = list(find_coverage(part))
    facts = {
        "ratio": math.exp(part["log_error"].mean()),
        "inside": part[shares].to_numpy().mean() if shares else math.nan,
        "usual": float(np.mean(list(usual.coverage.values()))) if shares else math.nan,
    }
    what = "; ".join(CHARTS[name].format(**facts) for name in ringing)
    return f"In the {len(part)} forecast periods up to {show_moment(str(counted['end'].iloc[-1]))}, {what}."
