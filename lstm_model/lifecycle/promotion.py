"""Decide between champion and challenger: whether a newly trained model may make the forecasts.

Both forecast the same targets, which neither has seen, each from contexts of its own; the best baseline on these
targets stands beside them as the floor. The loss is that of the headline: the scaled absolute error of the median
(MASE), or where zeros are common the scaled squared error of the mean (RMSSE); over a series, then over series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtr

from lstm_model.contracts.decision import COVERAGE_FLAW, Check, Decision, Verdict
from lstm_model.contracts.forecast_columns import find_bounds, find_levels, name_bounds
from lstm_model.contracts.score_records import Metric
from lstm_model.contracts.settings import Promotion
from lstm_model.evaluation.baselines import find_baselines
from lstm_model.evaluation.scores import JUDGED, choose_metric, measure_zero_share, name_model
from lstm_model.training.leakage import Seen

ENOUGH_CUTOFFS = 8
"""Cutoffs that do not overlap, from which a significance test says more than the margin alone."""
KEYS = ["unique_id", "cutoff", "ds"]
SCALES = {"mase": ("mase_scale", 1), "rmsse": ("rmsse_scale", 2)}
"""The unit of the errors of a metric, and their power, of which it takes the root of the mean."""
RIVAL, FLOOR = "champion", "floor"


class LeakError(ValueError):
    """A model would be judged on values that it has seen."""


@dataclass(frozen=True)
class Gate:
    """What both are judged by."""

    scale: pd.DataFrame
    """See `error_scales.measure_scales`: errors count in units of seasonal naive's in-sample error."""
    horizon: int
    stride: int
    """Steps between two evaluated cutoffs."""
    own_ends: bool
    """Each series is cut at its own end: cutoffs are counted back from there."""
    settings: Promotion

    @property
    def metric(self) -> Metric:
        """Return what the models are judged by, as in the headline of the scores."""
        return choose_metric(measure_zero_share(self.scale))


def common_targets(
    challenger: pd.DataFrame, champion: pd.DataFrame | None, *, seen: Sequence[Seen], gate: Gate
) -> pd.DataFrame:
    """The targets of both, side by side.

    Args:
        challenger: its forecast table.
        champion: the champion's, of the same cutoffs; None for a first model.
        seen: of the challenger, then of the champion.
        gate: what both are judged by.

    Returns:
        unique_id, cutoff, ds, y, and the scaled errors (absolute, or squared for RMSSE) challenger, champion and one
        column a baseline; the bounds of the intervals as lo_80 and champion_lo_80.

    Raises:
        LeakError: the challenger's test lies within what it has seen.
    """
    if not seen[0].before(challenger).all():
        raise LeakError(
            f"the challenger has seen targets up to {seen[0].of_all}, but its test begins after "
            f"{challenger['cutoff'].min()}: its windows leak. Nothing is promoted; run with refresh to train it again"
        )
    table, judged = challenger, JUDGED[gate.metric]
    if champion is not None:
        bounds = find_bounds(champion)
        other = champion.loc[seen[1].before(champion), [*KEYS, judged, *bounds]]
        names = {judged: RIVAL, **{name: f"{RIVAL}_{name}" for name in bounds}}
        table = table.merge(_plain_ids(other).rename(columns=names), on=KEYS) if len(other) else table.head(0)
        table = table.assign(**{RIVAL: table.get(RIVAL, np.nan)})
    unit, power = SCALES[gate.metric]
    baselines = find_baselines(table)
    table = _plain_ids(table).merge(gate.scale[["unique_id", unit]], on="unique_id")
    table = table[table["y"].notna() & table[list(baselines)].notna().all(axis=1)]
    models = {"challenger": judged, **{name: name for name in baselines}}
    models |= {RIVAL: RIVAL} if champion is not None else {}
    errors = {name: ((table["y"] - table[column]).abs() / table[unit]) ** power for name, column in models.items()}
    return table.assign(**errors)


def decide(table: pd.DataFrame, *, champion: str | None, gate: Gate) -> Decision:
    """The decision on the common targets.

    With a champion, the challenger is promoted when it is better by the margin and beyond noise, worse than the cap on
    no series, and its intervals cover as they should. Beyond noise: with 8 or more cutoffs that do not overlap, a
    Diebold-Mariano test on the panel's loss per cutoff; with fewer, a majority of the series. Without a champion it
    must beat the best baseline, or is promoted with a warning, as the settings say.

    Args:
        table: from `common_targets`.
        champion: version of the champion; None for a first model.
        gate: what both are judged by.
    """
    targets = table.groupby("unique_id")["ds"].nunique().max() if len(table) else 0
    if targets < gate.horizon:
        return _untested(int(targets), champion, gate)
    table, floor = _put_best_baseline(table, gate)
    numbers = _numbers(table, floor=floor, champion=champion, gate=gate)
    if champion is None:
        return _first(numbers, gate)
    judge = _against_broken if numbers.champion_loss is None else partial(_against_champion, table)
    return judge(numbers, gate)


def average_by_series(table: pd.DataFrame, models: list[str], *, gate: Gate) -> pd.DataFrame:
    """Return the loss of each model on each series."""
    return table.groupby("unique_id")[models].mean() ** (1 / SCALES[gate.metric][1])


def _put_best_baseline(table: pd.DataFrame, gate: Gate) -> tuple[pd.DataFrame, str]:
    """Return the table with the errors of the best baseline as the floor, and its name in words."""
    loss = average_by_series(table, list(find_baselines(table)), gate=gate).mean()
    return table.assign(**{FLOOR: table[loss.idxmin()]}), name_model(str(loss.idxmin()))


def _untested(targets: int, champion: str | None, gate: Gate) -> Decision:
    """Too little to judge by: a champion stays; without one, any model may be better than none."""
    few = f"{targets} steps to test on, fewer than one horizon ({gate.horizon})"
    if champion is not None:
        summary = f"Deferred, the champion stays: both models have left only {few}. A later run decides."
        return Decision(verdict="defer", summary=summary, champion=champion)
    if gate.settings.first_model == "floor":
        return Decision(verdict="defer", summary=f"Deferred: the history leaves {few}; a first model must be tested.")
    warning = f"WARNING: the first model is untested: the history leaves {few}; it forecasts because there is no other."
    return Decision(verdict="promote", summary=warning, warnings=(warning,))


def _first(numbers: Decision, gate: Gate) -> Decision:
    """There is no champion to beat: the best baseline is what counts."""
    checks, failed = _floor_checks(numbers, gate)
    if not failed:
        return _decided(
            numbers,
            "promote",
            f"The first model, and it beats {_name_floor(numbers)}.",
            checks,
            warnings=_flaws(checks),
        )
    if gate.settings.first_model == "floor" or not checks[0].passed:
        return _decided(numbers, "reject", f"Rejected: the first model must pass every check ({failed}).", checks)
    warning = f"WARNING: the first model fails a check ({failed}); it forecasts because there is no other."
    return _decided(numbers, "promote", warning, checks, warnings=(warning, *_flaws(checks)))


def _floor_checks(numbers: Decision, gate: Gate) -> tuple[tuple[Check, ...], str]:
    """What a model must pass that has no champion beside it, and what of it failed, in words."""
    challenger, floor = _known(numbers.challenger_loss), _known(numbers.floor_loss)
    checks = (
        _finite(numbers),
        Check(name="floor", passed=challenger < floor, detail=f"{challenger:.4f}, {numbers.floor} {floor:.4f}"),
        _coverage(numbers, gate),
    )
    return checks, "; ".join(f"{check.name}: {check.detail}" for check in checks if not check.passed)


def _against_broken(numbers: Decision, gate: Gate) -> Decision:
    """A champion that forecasts NaN has no error to compare with, and must not stay because of that."""
    checks, failed = _floor_checks(numbers, gate)
    if failed:
        return _decided(numbers, "reject", f"Rejected, though the champion forecasts NaN: {failed}.", checks)
    better = f"Better: the champion forecasts NaN, this beats {_name_floor(numbers)}."
    return _decided(numbers, "promote", better, checks, warnings=_flaws(checks))


def _against_champion(table: pd.DataFrame, numbers: Decision, gate: Gate) -> Decision:
    settings, improvement = gate.settings, numbers.improvement
    better = improvement is not None and improvement >= settings.margin
    shown = "not a number" if improvement is None else f"{improvement:+.2%}"
    checks = (
        _finite(numbers),
        Check(name="margin", passed=better, detail=f"{shown}, at least {settings.margin:+.2%} is asked"),
        _noise(numbers, settings),
        _cap(table, gate),
        _coverage(numbers, gate),
    )
    losses = f"scaled error {_known(numbers.challenger_loss):.4f} against {_known(numbers.champion_loss):.4f}"
    warnings = _flaws(checks)
    if _known(numbers.challenger_loss) >= _known(numbers.floor_loss):
        warnings = (f"it does not beat {_name_floor(numbers)} ({_known(numbers.floor_loss):.4f})", *warnings)
    failed = [check for check in checks if not check.passed]
    if failed:
        why = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        return _decided(
            numbers, "reject", f"Rejected, the champion stays: {losses} ({why}).", checks, warnings=warnings
        )
    return _decided(numbers, "promote", f"Better by {improvement:.2%}: {losses}.", checks, warnings=warnings)


def _decided(
    numbers: Decision, verdict: Verdict, summary: str, checks: tuple[Check, ...], *, warnings: tuple[str, ...] = ()
) -> Decision:
    return numbers.model_copy(update={"verdict": verdict, "summary": summary, "checks": checks, "warnings": warnings})


def _name_floor(numbers: Decision) -> str:
    return f"{numbers.floor}, the best baseline"


def _flaws(checks: tuple[Check, ...]) -> tuple[str, ...]:
    """Return what is wrong with checks that passed, for the reader."""
    return tuple(f"{check.name} is {check.flaw}: {check.detail}" for check in checks if check.flaw and check.passed)


def _numbers(table: pd.DataFrame, *, floor: str, champion: str | None, gate: Gate) -> Decision:
    """All that is measured, before any of it is judged."""
    models = ["challenger", FLOOR, *([RIVAL] if champion else [])]
    by_series = average_by_series(table, models, gate=gate)
    # Means skip NaN: one forecast that is no number must not vanish in them.
    loss = by_series.mean().where(np.isfinite(table[models].to_numpy()).all(axis=0))
    cutoffs = losses_per_cutoff(table, models, gate=gate)
    rival = loss.get(RIVAL)
    improvement = None if rival is None else _ratio(rival - loss["challenger"], rival)
    p_value = None
    if rival is not None and len(cutoffs) >= ENOUGH_CUTOFFS:
        p_value = diebold_mariano(cutoffs[RIVAL].to_numpy(), cutoffs["challenger"].to_numpy())
    return Decision(
        verdict="defer",
        summary="",
        champion=champion,
        challenger_loss=_number(loss["challenger"]),
        champion_loss=_number(rival),
        floor_loss=_number(loss[FLOOR]),
        floor=floor,
        improvement=_number(improvement),
        p_value=_number(p_value),
        num_cutoffs=len(cutoffs),
        num_series=len(by_series),
        series_won=int((by_series["challenger"] < by_series[RIVAL if champion else FLOOR]).sum()),
        coverage=_covered(table, champion=champion is not None),
        first_target=str(table["ds"].min()),
        last_target=str(table["ds"].max()),
    )


def losses_per_cutoff(table: pd.DataFrame, models: list[str], *, gate: Gate) -> pd.DataFrame:
    """The panel's loss at each cutoff, latest first; only cutoffs whose horizons do not overlap.

    Windows that overlap share targets, so that their losses would count the same luck many times.
    """
    cutoffs = table["cutoff"]
    rank = (cutoffs.groupby(table["unique_id"]) if gate.own_ends else cutoffs).rank(method="dense", ascending=False) - 1
    apart = max(1, math.ceil(gate.horizon / gate.stride))
    kept = table.assign(rank=rank)[rank % apart == 0]
    return kept.groupby(["rank", "unique_id"])[models].mean().groupby("rank").mean()


def diebold_mariano(champion: NDArray[Any], challenger: NDArray[Any], *, overlap: int = 1) -> float:
    """One-sided p-value that the challenger's expected loss is lower.

    Diebold & Mariano (1995), Comparing Predictive Accuracy, with the small-sample correction and Student's t of Harvey,
    Leybourne & Newbold (1997), Testing the equality of prediction mean squared errors.

    Args:
        champion: (N,) losses, one a cutoff, in order of time.
        challenger: (N,) losses at the same cutoffs.
        overlap: horizons in units of the distance of cutoffs; 1 where they do not overlap.
    """
    difference = np.asarray(champion, float) - np.asarray(challenger, float)
    num, mean = len(difference), difference.mean()
    centred = difference - mean
    lags = [centred[k:] @ centred[: num - k] / num for k in range(overlap)]
    variance = (lags[0] + 2 * sum(lags[1:])) / num
    if variance <= 0:
        return 0.0 if mean > 0 else 1.0
    correction = math.sqrt((num + 1 - 2 * overlap + overlap * (overlap - 1) / num) / num)
    # The upper tail of Student's t; scipy.stats would add a second to every start of the flow.
    return float(stdtr(num - 1, -correction * mean / math.sqrt(variance)))


def _covered(table: pd.DataFrame, *, champion: bool) -> dict[str, dict[str, float]]:
    """Shares of all targets inside the intervals, of the levels that the challenger has."""
    shares: dict[str, dict[str, float]] = {}
    for level in find_levels(table):
        low, high = name_bounds(level)
        bounds = {"challenger": (low, high)}
        if champion and f"{RIVAL}_{low}" in table:
            bounds[RIVAL] = (f"{RIVAL}_{low}", f"{RIVAL}_{high}")
        shares[f"{100 * level:g}"] = {
            name: round(float(table["y"].between(table[a], table[b]).mean()), 6) for name, (a, b) in bounds.items()
        }
    return shares


def _finite(numbers: Decision) -> Check:
    passed = numbers.challenger_loss is not None
    return Check(name="finite", passed=passed, detail="every forecast is a number" if passed else "forecasts are NaN")


def _noise(numbers: Decision, settings: Promotion) -> Check:
    if numbers.p_value is not None:
        return Check(
            name="beyond noise",
            passed=numbers.p_value <= settings.significance,
            detail=f"p = {numbers.p_value:.3f} over {numbers.num_cutoffs} cutoffs, at most {settings.significance:g}",
        )
    return Check(
        name="majority",
        passed=2 * numbers.series_won > numbers.num_series,
        detail=f"better on {numbers.series_won} of {numbers.num_series} series; {numbers.num_cutoffs} cutoffs are too "
        "few for a test",
    )


def _cap(table: pd.DataFrame, gate: Gate) -> Check:
    """Worse than champion and floor alike: either alone may be lucky on a single series."""
    settings, loss = gate.settings, average_by_series(table, ["challenger", RIVAL, FLOOR], gate=gate)
    ratio = loss["challenger"] / loss[[RIVAL, FLOOR]].max(axis=1).clip(lower=1e-9)
    worst = str(ratio.idxmax()) if ratio.notna().any() else "?"
    return Check(
        name="no series much worse",
        passed=bool((ratio <= settings.series_cap).all()),
        detail=f"worst {worst}: {ratio.max():.2f} times the error of both others, at most {settings.series_cap:g}",
    )


def _coverage(numbers: Decision, gate: Gate) -> Check:
    parts, passed, worst = [], True, 0.0
    for level, shares in numbers.coverage.items():
        off = shares["challenger"] - float(level) / 100
        nearer = RIVAL in shares and abs(off) < abs(shares[RIVAL] - float(level) / 100)
        passed &= abs(off) <= gate.settings.coverage_tolerance or nearer
        worst = max(worst, off, key=abs)
        parts.append(f"{shares['challenger']:.1%} at {level}%")
    flaw = "" if abs(worst) <= COVERAGE_FLAW else "TOO NARROW" if worst < 0 else "too wide"
    return Check(name="coverage", passed=passed, detail=", ".join(parts) or "no intervals", flaw=flaw)


def _plain_ids(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(unique_id=table["unique_id"].astype(str))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _known(value: float | None) -> float:
    return math.nan if value is None else value
