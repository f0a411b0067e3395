"""Plot the model itself: its losses, its gates, and the tutorial's picture.

Shapes: T steps, D hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lstm_model.contracts.loss_history import LossRecord
from lstm_model.evaluation.scores import MEAN, find_models, name_model
from lstm_model.reporting.figures import (
    COLOURS,
    DASHES,
    INK,
    MUTED,
    draw_legend,
    format_time_axis,
    label_axes,
    make_axes,
)

ACCENT = COLOURS["seasonal_naive"]
GATES = {
    "input": "input gate: how much is written",
    "forget": "forget gate: how much is kept",
    "output": "output gate: how much is shown",
    "cell": "cell state: the memory",
}
MAX_LAYERS = 3
MAX_STEPS = 336
"""The last steps of a long window are drawn, two pixels or more each."""
MAX_UNITS = 48
SHADES = 40
"""Of a heat map: few enough for a palette."""
LOG_RANGE = 20
"""A loss that falls by more than this factor is drawn on a logarithmic scale."""


def plot_loss(history: Sequence[LossRecord], *, best_step: int | None = None) -> Figure:
    """Plot training and validation loss against the step; the step whose weights were kept is marked.

    Args:
        history: one record at least.
        best_step: the step that was kept.
    """
    figure, axes = make_axes(1, height=3.3)
    one = axes[0, 0]
    step = np.array([row["step"] for row in history])
    train = _convert_to_floats([row["train_loss"] for row in history])
    validation = _convert_to_floats([row["validation_loss"] for row in history])
    marker = "o" if len(step) < 3 else None
    one.plot(step, train, color=COLOURS["lstm"], linewidth=1.5, marker=marker, label="training")
    if np.isfinite(validation).any():
        known = np.isfinite(validation)
        one.plot(
            step[known],
            validation[known],
            color=ACCENT,
            linewidth=1.8,
            marker=marker,
            label="validation",
        )
    if best_step is not None:
        one.axvline(best_step, color=INK, linewidth=1, linestyle=(0, (4, 2)), label=f"kept: step {best_step:,}")
    losses = np.concatenate([train, validation])
    losses = losses[np.isfinite(losses)]
    if len(losses) and losses.min() > 0 and losses.max() / losses.min() > LOG_RANGE:
        one.set_yscale("log")
    one.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    label_axes(one, x="optimiser step", y="loss" + (" (log scale)" if one.get_yscale() == "log" else ""))
    draw_legend(figure, one)
    return figure


def plot_tutorial(step: NDArray[Any], original: NDArray[Any], predicted: NDArray[Any]) -> Figure:
    """Draw the tutorial's own picture, pixel for pixel: the model on its training data. All arrays are (T,)."""
    figure = Figure(figsize=(12, 6))
    axes = figure.subplots()
    axes.plot(step, original, label="Original Data")
    axes.plot(step, predicted, label="Predicted Data", linestyle="--")
    axes.set_title("LSTM Model Predictions vs. Original Data")
    axes.set_xlabel("Time Step")
    axes.set_ylabel("Value")
    axes.legend()
    return figure


def plot_further_points(table: pd.DataFrame) -> Figure:
    """Draw points after the tutorial's training data, and every model's error there.

    Args:
        table: forecasts one step ahead, as `tabulate_forecasts` makes them: ds, y, and a column for each model.
    """
    figure, axes = make_axes(2, height=5.4, height_ratios=[1, 1.3], sharex=True)
    top, bottom = axes[:, 0]
    step, y = table["ds"].to_numpy(), table["y"].to_numpy()
    top.plot(step, y, color=INK, linewidth=1.4, label="original")
    top.plot(step, table["lstm"], color=COLOURS["lstm"], linewidth=1.8, linestyle=(0, (4, 2)))
    errors = []
    for model in find_models(set(table) - {MEAN}):
        if table[model].notna().any():
            error = np.abs(table[model].to_numpy() - y)
            bottom.plot(
                step, error, color=COLOURS[model], linestyle=DASHES[model], linewidth=1.4, label=name_model(model)
            )
            errors.append(f"{name_model(model)} {np.sqrt(np.nanmean(error**2)):.2g}")
    bottom.set_yscale("log")
    label_axes(top, x="", y="value", title=f"{len(table)} points that the model has not seen, each one step ahead")
    title = f"RMSE: {', '.join(errors)}"
    label_axes(bottom, x=format_time_axis(bottom.xaxis, step), y="absolute error (log scale)", title=title)
    draw_legend(figure, top, bottom)
    return figure


def plot_gates(
    series: NDArray[Any], layers: Sequence[Mapping[str, NDArray[Any]]], *, ds: NDArray[Any] | None = None
) -> Figure:
    """Plot the gates of each layer over one window, under the series that the LSTM reads.

    Args:
        series: (T,) the input of the LSTM.
        layers: for each layer the arrays input, forget, output (within 0..1) and cell, each (T, D).
        ds: (T,) timestamps; steps are counted if not given.

    Raises:
        ValueError: an array is missing, or its length differs from the series'.
    """
    _check_layers(series, layers)
    steps = slice(max(0, len(series) - MAX_STEPS), len(series))
    shown = layers[:MAX_LAYERS]
    figure, axes = make_axes(1 + len(GATES), len(shown), height=8.2, sharex=True)
    for column, layer in enumerate(shown):
        top = axes[0, column]
        top.plot(np.arange(steps.start, steps.stop), series[steps], color=INK, linewidth=1.2)
        top.margins(x=0)
        label_axes(top, x="", y="series" if column == 0 else "", title=_name_layer(column, len(layers)))
        order = _order_units(np.asarray(layer["cell"], np.float64), np.asarray(series, np.float64))
        for row, gate in enumerate(GATES, start=1):
            values = np.asarray(layer[gate])[steps][:, order]
            image = _draw_heat(axes[row, column], values, first=steps.start, signed=gate == "cell")
            label_axes(axes[row, column], x="", y="hidden units" if column == 0 else "", title=GATES[gate])
            if column == len(shown) - 1:
                _draw_colour_bar(figure, image, axes[row])
        _label_steps(axes[-1, column], steps, ds, ticks=6 if len(shown) == 1 else 3)
    return figure


def plot_units(
    ds: NDArray[Any],
    series: NDArray[Any],
    gates: Mapping[str, NDArray[Any]],
    *,
    units: Sequence[int] | NDArray[np.intp],
) -> Figure:
    """Draw a few hidden units as lines, under the series that they read.

    Args:
        ds: (T,) timestamps or integers.
        series: (T,) the value that was read last.
        gates: the arrays input, forget, output (within 0..1) and cell, each (T, D).
        units: the columns to draw.

    Raises:
        ValueError: there are more units than colours.
    """
    figure, axes = make_axes(1 + len(GATES), height=8.2, sharex=True)
    top, *panels = axes[:, 0]
    top.plot(ds, series, color=INK, linewidth=1.4)
    label_axes(top, x="", y="value", title="what the LSTM has just read")
    for one, (gate, title) in zip(panels, GATES.items(), strict=True):
        looks = list(zip(COLOURS.values(), DASHES.values(), strict=True))[: len(units)]
        for unit, (colour, dashes) in zip(units, looks, strict=True):
            one.plot(ds, gates[gate][:, unit], color=colour, linestyle=dashes, linewidth=1.5, label=f"unit {unit}")
        label_axes(one, x="", y="", title=title)
    label_axes(panels[-1], x=format_time_axis(panels[-1].xaxis, ds), y="")
    draw_legend(figure, panels[0])
    return figure


def _convert_to_floats(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _check_layers(series: NDArray[Any], layers: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    if not layers:
        raise ValueError("there is no layer to draw: pass the gates of at least one")
    for layer in layers:
        for gate in GATES:
            if gate not in layer:
                raise ValueError(f"a layer lacks {gate!r}; expected {', '.join(GATES)}, received {', '.join(layer)}")
            if np.ndim(layer[gate]) != 2 or len(layer[gate]) != len(series):
                raise ValueError(f"{gate!r} has shape {np.shape(layer[gate])}; expected ({len(series)}, hidden units)")


def _order_units(cell_TD: NDArray[np.float64], series_T: NDArray[np.float64]) -> NDArray[np.intp]:
    """Sort units by the correlation of their memory with the series: unsorted rows look like noise."""
    series = np.nan_to_num(series_T - np.nanmean(series_T))
    centred = cell_TD - cell_TD.mean(axis=0)
    size = np.linalg.norm(centred, axis=0) * np.linalg.norm(series)
    likeness = np.divide(series @ centred, size, out=np.zeros(cell_TD.shape[1]), where=size > 0)
    order: NDArray[np.intp] = np.argsort(-likeness, kind="stable")
    shown = np.unique(np.linspace(0, len(order) - 1, min(len(order), MAX_UNITS)).round().astype(np.intp))
    return np.take(order, shown)


def _name_layer(layer: int, num_layers: int) -> str:
    if num_layers == 1:
        return "what the LSTM reads"
    return "layer 1 reads this" if layer == 0 else f"layer {layer + 1} reads what layer {layer} shows of this"


def _draw_heat(axes: Axes, values_TD: NDArray[Any], *, first: int, signed: bool) -> AxesImage:
    axes.grid(False)
    axes.set_yticks([])  # rows are sorted, so their numbers say nothing
    # A few units saturate; the colours are spent on the other 98 %.
    limit = max(float(np.quantile(np.abs(values_TD), 0.98)), 1e-6) if signed else 1.0
    return axes.imshow(
        values_TD.T, aspect="auto", interpolation="nearest", vmin=-limit if signed else 0.0, vmax=limit,
        extent=(first - 0.5, first + len(values_TD) - 0.5, values_TD.shape[1], 0),
        cmap=colormaps["PuOr" if signed else "cividis"].resampled(SHADES),
    )  # fmt: skip


def _draw_colour_bar(figure: Figure, image: AxesImage, row: NDArray[Any]) -> None:
    bar = figure.colorbar(image, ax=list(row), aspect=12, pad=0.01)
    bar.ax.tick_params(labelsize=8, colors=MUTED, length=2)
    bar.outline.set_visible(False)


def _choose_date_format(ds: NDArray[Any]) -> str:
    """Return a format of two short lines: the day and its hour, or for steps of a day or more its year."""
    fine = len(ds) > 1 and ds[1] - ds[0] < np.timedelta64(1, "D")
    return "%d %b\n%H:%M" if fine else "%d %b\n%Y"


def _label_steps(axes: Axes, steps: slice, ds: NDArray[Any] | None, *, ticks: int) -> None:
    """Label a few columns of a heat map, which has one a step, with their timestamps."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=ticks, integer=True))
    label_axes(axes, x="step of the LSTM", y=axes.get_ylabel())
    if ds is not None and np.asarray(ds).dtype.kind == "M":
        at = np.linspace(steps.start, steps.stop - 1, min(steps.stop - steps.start, ticks)).round().astype(int)
        axes.set_xticks(at, pd.DatetimeIndex(np.asarray(ds)[at]).strftime(_choose_date_format(ds)))
        axes.set_xlabel("time", fontsize=9, color=MUTED)
