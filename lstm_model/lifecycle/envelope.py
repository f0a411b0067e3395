"""Measure what a forecaster's errors normally look like in a test, to compare later errors with.

Time is cut into *periods*, each a horizon long, or a season where one is within reach: targets of one period are
nearly independent of those of the next but one, however often forecasts are issued, and a whole season in each keeps
easy nights and hard days apart from change. A period's error is a ratio to what its own series and steps of the
horizon showed in the test, so that neither a missing series nor a missing forecast looks like change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lstm_model.contracts.bundle_card import read_bundle_card
from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.forecast_columns import COVERAGE, find_bounds, find_levels, name_bounds, name_level
from lstm_model.contracts.settings import WindowSpec
from lstm_model.evaluation.scores import MODEL
from lstm_model.timeline.frequency import Frequency

LONGEST_SHORT_SEASON = np.timedelta64(8, "D")
"""A season of a day or a week makes a period, also where the horizon is shorter; one of a year does not."""
MAX_SERIES = 2000
"""Up to so many series the envelope knows each one's own error; in larger panels a few missing ones do not matter."""
WORST = 10.0
"""An error counts at most so many times what is usual for its series: one broken sensor is not a change of a panel."""
HEAVIEST = 5.0
"""No series weighs more than so many times the median one."""
LEAST_RATIO = 1e-3
PSEUDO_COUNT = 5
"""Points of the mean that are added to each step of the horizon: single errors do not make a profile."""

Points = pd.DataFrame
"""unique_id, period, step, y, median, mase_scale and lo_…/hi_… of each level; one row a forecast target, y known."""


def envelope(table: pd.DataFrame, *, scales: pd.DataFrame, spec: WindowSpec) -> Envelope:
    """Measure the realised errors of a test, which `monitor.watch` compares later ones with.

    Args:
        table: an `evaluate.tabulate_forecasts`; any number of cutoffs, overlapping or not, of one fold or several.
        scales: unique_id and mase_scale, see `error_scales.measure_scales`; a series without a scale is left out.
        spec: the resolved window settings of the model.

    Raises:
        ValueError: nothing that has a scale was observed.
    """
    points = with_scale(_of_table(table), scales)
    if points.empty:
        raise ValueError("none of the targets was observed in a series that has a scale; there is no envelope")
    of_series = _floored(points["scaled"].groupby(points["unique_id"]).mean())
    kept = len(of_series) <= MAX_SERIES
    profile = Envelope(
        period_steps=period_steps(spec),
        horizon=spec.horizon,
        frequency=spec.frequency,
        error=_rounded(of_series.mean()),
        by_step=_by_step(points, of_series, spec.horizon),
        by_series={str(name): _rounded(value) for name, value in of_series.items()} if kept else None,
        coverage={name_level(level): _rounded(covered(points, level).mean()) for level in find_levels(points)},
        num_series=len(of_series),
        num_cutoffs=int(points["cutoff"].nunique()),
        num_periods=0,
        log_error=[],
        miss=[],
        spread=None,
        autocorrelation=None,
    )
    return _with_periods(profile, period_values(period_sums(_in_periods(points, spec), profile)))


def find_envelope_before_drift(bundle: Path) -> Envelope | None:
    """Return the envelope of the champion before drift, through any number of retrainings because of it."""
    card = read_bundle_card(bundle)
    return card.envelope_before_drift or card.envelope


def _with_periods(profile: Envelope, values: pd.DataFrame) -> Envelope:
    """Return an envelope with the fields that follow from the errors of each period."""
    log_error = values["log_error"].to_numpy()
    changes = {
        "num_periods": len(values),
        "log_error": [_rounded(value) for value in log_error],
        "miss": [_rounded(value) for value in values["miss"]],
        "spread": _rounded(np.std(log_error, ddof=1)) if len(values) > 1 else None,
        "autocorrelation": _rounded(autocorrelation(log_error)) if len(values) > 3 else None,
    }
    return profile.model_copy(update=changes)


def period_steps(spec: WindowSpec) -> int:
    """Steps in a period: a season where it fits into the horizon or lasts a week at most, else the horizon."""
    if 1 < spec.season <= spec.horizon:
        return spec.season
    frequency = Frequency(spec.frequency)
    if spec.season > 1 and not frequency.is_integer:
        start = np.datetime64("2024-01-01", "us")
        if frequency.advance_one(start, spec.season) - start <= LONGEST_SHORT_SEASON:
            return spec.season
    return spec.horizon


def with_scale(points: pd.DataFrame, scales: pd.DataFrame) -> Points:
    """The points that were observed and have a scale, with their scaled error."""
    known = points[points["y"].notna()].merge(scales[["unique_id", "mase_scale"]], on="unique_id", how="inner")
    return known.assign(scaled=(known["y"] - known["median"]).abs() / known["mase_scale"])


def period_sums(points: Points, usual: Envelope) -> pd.DataFrame:
    """One row a period: what `period_values` is made of. The sums of different series may be added.

    Args:
        points: with a column `period`, from `with_scale`.
        usual: of the envelope, `error`, `by_step` and `by_series` are read.

    Returns:
        Indexed by period, ascending: error and usual (of all series and their points), inside-… of each level and
        count of points.
    """
    series = points["unique_id"].astype(str)
    own = usual.by_series
    typical = series.map(own).astype(float) if own is not None else pd.Series(usual.error, points.index)
    known = typical.notna()
    frame = points.assign(usual=typical * np.asarray(usual.by_step)[points["step"].to_numpy() - 1], typical=typical)
    frame = frame.assign(unique_id=series)[known]
    cells = frame.groupby(["period", "unique_id"], sort=True)[["scaled", "usual", "typical"]].mean()
    middle = float(np.median(list(own.values()))) if own else usual.error
    weight = np.minimum(1.0, HEAVIEST * middle / cells["typical"])
    sums = pd.DataFrame(
        {"error": weight * np.minimum(cells["scaled"], WORST * cells["usual"]), "usual": weight * cells["usual"]}
    )
    inside = {
        f"inside-{name_level(level)}": covered(frame, level).groupby(frame["period"]).sum()
        for level in find_levels(points)
    }
    return sums.groupby("period").sum().assign(**inside, count=frame.groupby("period").size())


def period_values(sums: pd.DataFrame) -> pd.DataFrame:
    """One row a period: how the errors of its points compare with what is usual.

    Args:
        sums: from `period_sums`, of all series.

    Returns:
        Indexed by period, ascending: error (ratio to what is usual; 1 is as in the test), log_error (its logarithm,
        whose spread does not grow with it), coverage-… of each level, miss (the arc sine of the square root of the
        mean share outside the intervals, whose spread does not depend on that share) and count of points.
    """
    error = (sums["error"] / sums["usual"]).clip(lower=LEAST_RATIO)
    inside = [str(name) for name in sums if str(name).startswith("inside-")]
    shares = {name.replace("inside-", COVERAGE): sums[name] / sums["count"] for name in inside}
    miss = sum(1 - share for share in shares.values()) / len(shares) if shares else 0 * error
    return pd.DataFrame(
        {"error": error, "log_error": np.log(error), "miss": np.arcsin(np.sqrt(miss)), **shares}
    ).assign(count=sums["count"])


def covered(points: pd.DataFrame, level: float) -> pd.Series[bool]:
    """Whether each target lies inside the interval of a level."""
    low, high = name_bounds(level)
    inside: pd.Series[bool] = points["y"].between(points[low], points[high])
    return inside


def steps_since(ds: NDArray[Any], origin: Any, frequency: str) -> NDArray[np.int64]:
    """How many steps each timestamp lies after `origin`; both on the grid of `frequency`, those before it negative."""
    if Frequency(frequency).is_integer:
        return np.asarray(ds, np.int64) - int(origin)
    ds, origin = ds.astype("datetime64[us]"), np.datetime64(origin, "us")
    result = np.zeros(len(ds), np.int64)
    for side, sign in ((ds >= origin, 1), (ds < origin, -1)):
        if side.any():
            result[side] = sign * _count(ds[side], origin, sign, frequency)
    return result


def autocorrelation(values: NDArray[Any]) -> float:
    """At lag 1; 0 where the values do not differ."""
    centred = values - values.mean()
    total = float(centred @ centred)
    return float(centred[1:] @ centred[:-1]) / total if total > 0 else 0.0


def _count(ds: NDArray[Any], origin: Any, sign: int, frequency: str) -> NDArray[np.int64]:
    """Steps between `origin` and timestamps that lie on one side of it."""
    furthest, length = (ds.max() if sign > 0 else ds.min()), 64
    while True:
        axis = Frequency(frequency).advance(np.repeat(origin, length), sign * np.arange(length))
        if sign * (axis[-1] - furthest).astype(np.int64) >= 0:
            return np.searchsorted(sign * axis.astype(np.int64), sign * ds.astype(np.int64))
        length *= 4


def _of_table(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a forecast table under the ledger's names."""
    frame = table[["unique_id", "cutoff", "ds", "step", "y", MODEL, *find_bounds(table)]]
    frame = frame.rename(columns={MODEL: "median"})
    return frame.assign(unique_id=frame["unique_id"].astype(str))


def _by_step(points: Points, of_series: pd.Series[float], horizon: int) -> list[float]:
    """Error of each step of the horizon, 1 on average; drawn towards 1 where few points are behind it."""
    ratio = np.minimum(points["scaled"].to_numpy() / points["unique_id"].map(of_series).to_numpy(), WORST)
    at = points["step"].to_numpy() - 1
    total, count = np.bincount(at, ratio, horizon), np.bincount(at, minlength=horizon)
    profile = (total + PSEUDO_COUNT * (ratio.mean() or 1.0)) / (count + PSEUDO_COUNT)
    return [_rounded(value) for value in profile / profile.mean()]


def _in_periods(points: Points, spec: WindowSpec) -> Points:
    """Points in whole periods counted back from the end, of one forecast every period or horizon.

    Averages over all overlapping forecasts would vary less than those of forecasts that are issued once a period.
    """
    origin = points["ds"].min()
    at = steps_since(points["ds"].to_numpy(), origin, spec.frequency)
    end = pd.Series(at).groupby(points["unique_id"].to_numpy()).transform("max").to_numpy()
    last = end if spec.align == "end" else at.max()
    before = last - at
    points = points.assign(period=-(before // period_steps(spec)), _back=before + points["step"].to_numpy())
    points = points[points["_back"].isin(_thinned(points["_back"].unique(), spec))]
    whole = (int(before.max()) + 1) // period_steps(spec)
    return points[points["period"] > -whole] if whole else points.assign(period=0)


def _thinned(back: NDArray[Any], spec: WindowSpec) -> list[int]:
    """Of the cutoffs, as steps back from the end, the latest in each period or horizon."""
    apart, chosen = min(period_steps(spec), spec.horizon), dict[int, int]()
    for one in sorted(back):
        chosen.setdefault((one - spec.horizon) // apart, int(one))
    return list(chosen.values())


def _floored(of_series: pd.Series[float]) -> pd.Series[float]:
    """A series forecast without any error still gets a small one, or the first real one would be infinitely large."""
    return of_series.clip(lower=max(1e-6, 0.01 * float(of_series.median())))


def _rounded(value: Any) -> float:
    return float(f"{value:.5g}")
