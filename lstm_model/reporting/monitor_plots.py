"""Plot the errors of issued forecasts over time, and the scores of a backtest by fold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.typing import LineStyleType

from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.forecast_columns import find_coverage, name_level, show_level
from lstm_model.evaluation.scores import MODEL, name_model
from lstm_model.lifecycle.monitor import DriftCheck
from lstm_model.reporting.figures import (
    COLOURS,
    DASHES,
    INK,
    MUTED,
    draw_legend,
    format_shares,
    format_time_axis,
    label_axes,
    make_axes,
)

BAND = "#cfe3f1"
ALARM = COLOURS["seasonal_naive"]
MODEL_COLOURS = (COLOURS["lstm"], COLOURS["naive"])
"""Present champion, earlier models."""
CHART_COLOURS = {"error": COLOURS["lstm"], "too narrow": COLOURS["drift"], "too wide": COLOURS["window_average"]}
CHART_DASHES: dict[str, LineStyleType] = {"error": "-", "too narrow": (0, (5, 1.5)), "too wide": (0, (1, 1))}
SPREADS = 2


def plot_drift(check: DriftCheck, envelope: Envelope) -> Figure:
    """Plot three panels over time: the error and its envelope, coverage, and the charts with their threshold.

    Args:
        check: the result of `watch`; one period at least.
        envelope: the envelope.

    Raises:
        ValueError: no period is over.
    """
    if check.periods.empty:
        raise ValueError("there is no period to draw: no forecast has been observed yet")
    shares = find_coverage(check.periods)
    rows = 1 + bool(shares) + bool(check.thresholds)
    figure, axes = make_axes(rows, height=0.8 + 2.2 * rows, sharex=True)
    panels = list(axes[:, 0])
    _draw_error(panels[0], check.periods, envelope)
    if shares:
        _draw_coverage(panels[1], check.periods, envelope, shares)
    if check.thresholds:
        _draw_charts(panels[-1], check)
    for panel in panels:
        _mark_alarms(panel, check)
    label_axes(
        panels[-1], x=format_time_axis(panels[-1].xaxis, check.periods["end"].to_numpy()), y=panels[-1].get_ylabel()
    )
    draw_legend(figure, *panels)
    return figure


def plot_folds(folds: pd.DataFrame) -> Figure:
    """Plot MASE of the LSTM and of the baselines by fold, over time; lower is better.

    Args:
        folds: from `backtest.tabulate_folds`.
    """
    figure, axes = make_axes(1, height=3.2)
    one, at = axes[0, 0], folds["cutoff"].to_numpy()
    for model in (name for name in COLOURS if name in folds):
        style = {"color": COLOURS[model], "linestyle": DASHES[model], "linewidth": 2.2 if model == MODEL else 1.2}
        one.plot(at, folds[model], marker="o", markersize=4, label=name_model(model), **style)
    one.set_ylim(bottom=0)
    format_time_axis(one.xaxis, at)
    label_axes(one, x="first cutoff of the fold", y="MASE")
    draw_legend(figure, one)
    return figure


def _draw_error(axes: Axes, periods: pd.DataFrame, envelope: Envelope) -> None:
    log_error = np.array(envelope.log_error)
    spread = SPREADS * (envelope.spread or 0.0)
    if spread:
        low, high = np.exp(log_error.mean() - spread), np.exp(log_error.mean() + spread)
        axes.axhspan(low, high, color=BAND, label="as in the test")
    axes.axhline(1, color=MUTED, linewidth=1)
    for counted, colour, label in zip((False, True), MODEL_COLOURS[::-1], ("earlier models", "champion"), strict=True):
        part = periods[periods["counted"] == counted]
        if len(part):
            axes.plot(part["end"], part["error"], color=colour, marker="o", markersize=3.5, linewidth=1.4, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    low, high = min(axes.get_ylim()[0], 0.45), max(axes.get_ylim()[1], 2.2)
    axes.set_ylim(low, high)
    axes.minorticks_off()
    axes.set_yticks([tick for tick in (0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50, 100) if low <= tick <= high])
    label_axes(axes, x="", y="error, times the test's")


def _draw_coverage(axes: Axes, periods: pd.DataFrame, envelope: Envelope, shares: Mapping[str, float]) -> None:
    styles = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1.5, 1, 1.5)))
    for (share, level), style in zip(shares.items(), styles, strict=False):
        axes.plot(
            periods["end"],
            periods[share],
            color=COLOURS["drift"],
            linestyle=style,
            linewidth=1.4,
            label=f"inside {show_level(level)}",
        )
        if name_level(level) in envelope.coverage:
            axes.axhline(envelope.coverage[name_level(level)], color=MUTED, linestyle=style, linewidth=1)
    format_shares(axes.yaxis)
    axes.set_ylim(-0.03, 1.03)
    label_axes(axes, x="", y="inside (grey: in the test)")


def _draw_charts(axes: Axes, check: DriftCheck) -> None:
    counted = check.periods[check.periods["counted"]]
    for name in check.thresholds:
        one = axes.plot(counted["end"], counted[f"sum {name}"], label=name, linewidth=1.6)[0]
        one.set(color=CHART_COLOURS[name], linestyle=CHART_DASHES[name])
    for limit in set(check.thresholds.values()):
        axes.axhline(limit, color=INK, linewidth=1, linestyle=(0, (4, 2)), label="limit")
    axes.set_ylim(0, max(1.25 * max(check.thresholds.values()), axes.get_ylim()[1]))
    label_axes(axes, x="", y="summed deviations")


def _mark_alarms(axes: Axes, check: DriftCheck) -> None:
    counted = check.periods[check.periods["counted"]]
    for end in sorted({
        end
        for name, limit in check.thresholds.items()
        for end in counted.loc[counted[f"sum {name}"] >= limit, "end"]
    }):  # fmt: skip
        axes.axvline(end, color=ALARM, linewidth=1.2, linestyle=(0, (2, 2)), label="alarm")
