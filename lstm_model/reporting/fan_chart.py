"""Plot the coming forecasts of a few series as fan charts, with some of their past."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_model.evaluation.scores import MODEL
from lstm_model.reporting.figures import (
    COLOURS,
    FEW_STEPS,
    INK,
    draw_intervals,
    draw_legend,
    format_time_axis,
    label_axes,
    make_axes,
    shorten,
)

SERIES_SHOWN = 3


def pick_largest(forecasts: pa.Table) -> list[str]:
    """Return the largest series, which are shown because people know them best."""
    size = pa.table({"unique_id": forecasts["unique_id"], "median": pc.abs(forecasts["median"])})
    means = size.group_by("unique_id", use_threads=False).aggregate([("median", "mean")])
    names: list[str] = means.sort_by([("median_mean", "descending")])["unique_id"][:SERIES_SHOWN].to_pylist()
    return names


def plot_upcoming(table: pd.DataFrame, history: pd.DataFrame, *, target: str = "y") -> Figure:
    """Plot the next horizon of the largest series.

    Args:
        table: forecasts, see `lstm_model.forecast.predict`; one cutoff a series.
        history: the series table: unique_id, ds, y.
        target: the name of y on the axis.
    """
    chosen = pick_largest(pa.Table.from_pandas(table, columns=["unique_id", "median"]))
    figure, axes = make_axes(len(chosen), height=0.7 + 2.1 * len(chosen))
    label = ""
    for one, unique_id in zip(axes[:, 0], chosen, strict=True):
        ahead = table[table["unique_id"] == unique_id]
        rows = (history["unique_id"] == unique_id) & (history["ds"] <= ahead["cutoff"].iloc[0])
        past = history[rows].tail(max(24, 3 * len(ahead)))
        _draw_fan(one, ahead, past)
        label = format_time_axis(one.xaxis, ahead["ds"].to_numpy())
        label_axes(one, x="", y=shorten(target, 20), title=shorten(str(unique_id)))
    axes[-1, 0].set_xlabel(label, fontsize=9, color="#666666")
    draw_legend(figure, *axes[:, 0])
    return figure


def _draw_fan(axes: Axes, ahead: pd.DataFrame, past: pd.DataFrame) -> None:
    ds, marker = ahead["ds"].to_numpy(), "o" if len(ahead) < FEW_STEPS else None
    draw_intervals(axes, ahead)
    axes.plot(past["ds"].to_numpy(), past["y"].to_numpy(), color=INK, linewidth=1.1, label="actual")
    axes.plot(
        ds, ahead["median"].to_numpy(np.float64), color=COLOURS[MODEL], linewidth=2, marker=marker, label="median"
    )
