"""Plot the forecasts of a test and their errors: tables in, figures out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lstm_model.contracts.forecast_columns import COVERAGE, name_level, show_level
from lstm_model.evaluation.scores import MEAN, MODEL, Scores, find_models, name_model
from lstm_model.reporting.figures import (
    COLOURS,
    DASHES,
    FEW_STEPS,
    INK,
    MUTED,
    draw_intervals,
    draw_legend,
    format_shares,
    format_time_axis,
    label_axes,
    make_axes,
    shorten,
)

ONE_STEP_WINDOWS = 60
"""Forecasts shown of a model that forecasts one step at a time: a single one shows nothing."""
CURVES_SHOWN = 4
"""A baseline may be far off: the plot ends at this many times the worse of LSTM and seasonal naive."""
TIME_BINS = 160
"""Most points of a curve over time: more cannot be distinguished on 800 pixels."""


def pick_series(per_series: pd.DataFrame) -> dict[str, str]:
    """Return the best, median and worst series by MASE of the LSTM; fewer if there are fewer than three."""
    ranked = per_series[per_series["model"] == MODEL].sort_values(["mase", "unique_id"], ignore_index=True)
    last = len(ranked) - 1
    if last == 0:
        return {"only series": ranked["unique_id"][0]}
    places = {"best": 0, "worst": last} if last == 1 else {"best": 0, "median": last // 2, "worst": last}
    return {name: str(ranked["unique_id"][place]) for name, place in places.items()}


def plot_forecasts(
    table: pd.DataFrame, scores: Scores, *, history: pd.DataFrame | None = None, context: int = 0, target: str = "y"
) -> Figure:
    """Plot the last test window of the best, the median and the worst series, with intervals and some past.

    Args:
        table: the forecast table.
        scores: its scores, which say which series those are.
        history: the series table (unique_id, ds, y), for the past before the cutoff and unscored values.
        context: most steps of the past to show.
        target: the name of y on the axis.
    """
    picks = pick_series(scores.per_series)
    figure, axes = make_axes(len(picks), height=0.7 + 2.3 * len(picks))
    mase = scores.per_series[scores.per_series["model"] == MODEL].set_index("unique_id")["mase"]
    for one, (rank, unique_id) in zip(axes[:, 0], picks.items(), strict=True):
        window = _select_last_window(table[table["unique_id"] == unique_id])
        # Enough of the past to see the pattern, little enough that the forecast is not squeezed.
        past = _select_past(history, unique_id, window["cutoff"].iloc[0], min(context, max(24, 3 * len(window) // 2)))
        _draw_forecast(one, window, past)
        x = format_time_axis(one.xaxis, window["ds"].to_numpy())
        label_axes(one, x="", y=shorten(target, 20), title=f"{rank}: {shorten(unique_id)} (MASE {mase[unique_id]:.2f})")
    axes[-1, 0].set_xlabel(x, fontsize=9, color=MUTED)
    draw_legend(figure, *axes[:, 0])
    return figure


def plot_error_by_step(scores: Scores) -> Figure:
    """Plot MASE at each step of the horizon, beside the baselines."""
    figure, axes = make_axes(1, height=3.4)
    one = axes[0, 0]
    if scores.per_step["step"].max() == 1:
        return _draw_single_step(figure, one, scores)
    for model in reversed(find_models(set(scores.per_step["model"]) - {MEAN})):
        steps = scores.per_step[scores.per_step["model"] == model]
        width, order = (2.2, 5) if model == MODEL else (1.3, 3)
        one.plot(
            steps["step"], steps["mase"], color=COLOURS[model], linestyle=DASHES[model], linewidth=width, zorder=order,
            label=name_model(model),
        )  # fmt: skip
    main = scores.per_step.loc[scores.per_step["model"].isin([MODEL, "seasonal_naive"]), "mase"]
    one.set_ylim(0, min(one.get_ylim()[1], CURVES_SHOWN * float(main.max())))
    one.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    label_axes(one, x="step of the horizon", y="MASE (mean over series)")
    _reverse_legend(figure, one)
    return figure


def plot_residuals(table: pd.DataFrame, *, scale: pd.DataFrame | None = None, target: str = "y") -> Figure:
    """Plot the distribution of the LSTM's errors (actual - forecast), and their course over time.

    With several series the errors are divided by each series' `mase_scale`, or only the largest series would be
    seen; then 1 is the in-sample error of seasonal naive. A series without a scale is left out, unless none has one.
    """
    scored = table[table["y"].notna()]
    residual = (scored["y"].astype(np.float64) - scored[MODEL]).to_numpy()
    unit = f"actual - forecast ({shorten(target, 20)})"
    if scale is not None and scored["unique_id"].nunique() > 1:
        by_series = scale.set_index("unique_id")["mase_scale"]
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = residual / scored["unique_id"].astype("str").map(by_series).to_numpy(np.float64)
        known = np.isfinite(scaled)
        if known.any():
            scored, residual, unit = scored[known], scaled[known], "actual - forecast (scaled)"
    figure, axes = make_axes(1, 2, height=3.3, width_ratios=[1, 1.8])
    _draw_histogram(axes[0, 0], residual, unit)
    _draw_over_time(axes[0, 1], scored["ds"].to_numpy(), residual, unit)
    draw_legend(figure, axes[0, 1], side="right")
    return figure


def plot_calibration(scores: Scores) -> Figure | None:
    """Plot the share of actual values inside each interval by its level; None for a model without intervals."""
    if not scores.levels:
        return None
    figure, axes = make_axes(1, 2, height=3.5, width_ratios=[1, 1.6])
    names = [f"{COVERAGE}{name_level(level)}" for level in scores.levels]
    total = scores.total.set_index("model")
    steps = scores.per_step[scores.per_step["model"] == MODEL]
    _draw_reliability(axes[0, 0], scores.levels, [float(total[name].loc[MODEL]) for name in names])
    shades = ["#0072b2", "#56b4e9", "#8a8a8a", "#cc79a7"]
    right = axes[0, 1]
    for i, (level, name) in enumerate(zip(scores.levels, names, strict=True)):
        colour = shades[i % len(shades)]
        right.axhline(level, color=colour, linestyle=(0, (4, 2)), linewidth=1.2)
        right.plot(
            steps["step"], steps[name], color=colour, linewidth=1.8, label=f"{show_level(level)} interval",
            marker="o" if len(steps) < 3 else None,
        )  # fmt: skip
    lowest = float(np.min(steps[names].to_numpy(np.float64)))
    right.set_ylim(min(0.4, lowest - 0.05), 1.02)
    format_shares(right.yaxis)
    right.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    label_axes(right, x="step of the horizon", y="actual values inside", title="By step (dashed: promised)")
    draw_legend(figure, right, side="right")
    return figure


def _select_last_window(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the latest window of one series with an observed value; of one-step windows, several."""
    if rows["step"].max() == 1:
        return rows.sort_values("ds").tail(ONE_STEP_WINDOWS)
    cutoff = rows.loc[rows["y"].notna(), "cutoff"].max()
    window: pd.DataFrame = rows[rows["cutoff"] == cutoff].sort_values("step")
    return window


def _select_past(history: pd.DataFrame | None, unique_id: str, cutoff: Any, steps: int) -> pd.DataFrame | None:
    if history is None or steps < 1:
        return None
    rows = history["unique_id"].eq(unique_id) & history["ds"].le(cutoff)
    past = history[rows].tail(steps)
    return None if past.empty else past


def _draw_forecast(axes: Axes, window: pd.DataFrame, past: pd.DataFrame | None) -> None:
    ds, marker = window["ds"].to_numpy(), "o" if len(window) < FEW_STEPS else None
    draw_intervals(axes, window)
    if past is not None:
        axes.plot(past["ds"].to_numpy(), past["y"].to_numpy(), color=INK, linewidth=1.1)
        axes.axvline(window["cutoff"].iloc[0], color="#999999", linewidth=1, label="cutoff")
    for model, width in (("seasonal_naive", 1.2), (MODEL, 2.0)):
        axes.plot(
            ds, window[model].to_numpy(np.float64), color=COLOURS[model], linestyle=DASHES[model], linewidth=width,
            marker=marker, label=name_model(model),
        )  # fmt: skip
    axes.plot(
        ds, window["y"].to_numpy(np.float64), color=INK, linewidth=1.3, marker=marker, markersize=4, label="actual"
    )


def _draw_single_step(figure: Figure, axes: Axes, scores: Scores) -> Figure:
    """Draw bars: a horizon of one step has no curve."""
    mase = scores.per_step.set_index("model")["mase"][
        list(reversed(find_models(set(scores.per_step["model"]) - {MEAN})))
    ]
    bars = axes.barh([name_model(m) for m in mase.index], mase, color=[COLOURS[m] for m in mase.index], height=0.6)
    axes.bar_label(bars, fmt="%.3f", padding=4, fontsize=9, color=INK)
    axes.margins(x=0.1)
    label_axes(axes, x="MASE at the single step of the horizon (mean over series)", y="")
    return figure


def _reverse_legend(figure: Figure, axes: Axes) -> None:
    """Draw the legend with the LSTM first, although its line is drawn last, on top."""
    for line in reversed(lines := list(axes.get_lines())):
        line.remove()
        axes.add_line(line)
    assert len(lines) == len(axes.get_lines())
    draw_legend(figure, axes)


def _draw_histogram(axes: Axes, residual: NDArray[np.float64], unit: str) -> None:
    """Draw the middle 99 % of the errors, since a single outlier would flatten the rest."""
    low, high = np.quantile(residual, [0.005, 0.995])
    if not high > low:
        low, high = low - 0.5 * max(1.0, abs(low)), high + 0.5 * max(1.0, abs(high))
    shown = residual[(residual >= low) & (residual <= high)]
    bins = int(np.clip(np.sqrt(len(shown)), 8, 50))
    axes.hist(
        shown,
        bins=bins,
        range=(low, high),
        weights=np.full(len(shown), 1 / len(residual)),
        color=COLOURS[MODEL],
        alpha=0.75,
    )
    axes.axvline(0, color=INK, linewidth=1)
    axes.axvline(float(np.mean(residual)), color=COLOURS["seasonal_naive"], linewidth=1.5, linestyle=(0, (4, 2)))
    format_shares(axes.yaxis, decimals=1)
    label_axes(axes, x=unit, y="share of points", title=f"Spread (dashed: mean {np.mean(residual):.3g})")


def _draw_over_time(axes: Axes, ds: NDArray[Any], residual: NDArray[np.float64], unit: str) -> None:
    number = ds.astype(np.int64)
    first, span = number.min(), max(1, int(number.max() - number.min()))
    bins = min(TIME_BINS, len(np.unique(number)))
    index = np.minimum((number - first) * bins // (span + 1), bins - 1)
    curve = pd.DataFrame({"bin": index, "ds": ds, "residual": residual}).groupby("bin").agg(
        ds=("ds", "min"), low=("residual", lambda r: r.quantile(0.1)), middle=("residual", "median"),
        high=("residual", lambda r: r.quantile(0.9)),
    )  # fmt: skip
    x = curve["ds"].to_numpy()
    axes.fill_between(
        x, curve["low"], curve["high"], color=COLOURS[MODEL], alpha=0.25, linewidth=0, label="80% of errors"
    )
    axes.plot(
        x, curve["middle"], color=COLOURS[MODEL], linewidth=1.6, marker="o" if bins < 3 else None, label="median error"
    )
    axes.axhline(0, color=INK, linewidth=1)
    if len(x) > 1:  # no margin: around dates of the first centuries it would reach before the year 1
        axes.set_xlim(x[0], x[-1])
    label_axes(axes, x=format_time_axis(axes.xaxis, ds), y=unit, title="Over time")


def _draw_reliability(axes: Axes, levels: tuple[float, ...], covered: list[float]) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=(0, (4, 2)))
    axes.plot(levels, covered, color=INK, linewidth=1.2, marker="o", markersize=6, markerfacecolor=COLOURS[MODEL])
    for level, share in zip(levels, covered, strict=True):
        axes.annotate(
            f"{share:.1%}", (level, share), (-8, 0), textcoords="offset points", ha="right", va="center", fontsize=9
        )
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        format_shares(axis)
    label_axes(axes, x="promised", y="actual values inside", title="In total (dashed: ideal)")
