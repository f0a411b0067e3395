"""Give all plots one look, and make the same figure the same bytes every time.

Figures are made without pyplot: no global state, no display, safe in threads. Nothing here reads or sets rcParams.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, ScalarFormatter
from matplotlib.typing import LineStyleType
from numpy.typing import NDArray
from PIL import Image

from lstm_model.contracts.forecast_columns import find_levels, name_bounds, show_level

DPI = 100
WIDTH = 9.0
"""Inches: 900 pixels, which a report column shows without scaling up."""

INK, MUTED, GRID = "#222222", "#666666", "#e4e4e4"
# Okabe and Ito's colours, distinct under every common colour blindness; the dashes distinguish them in grey.
COLOURS = {
    "lstm": "#0072b2",
    "naive": "#8a8a8a",
    "seasonal_naive": "#d55e00",
    "drift": "#009e73",
    "window_average": "#cc79a7",
    "last_week": "#e69f00",
    "week_average": "#56b4e9",
    "years_before": "#7a5195",
    "tsb": "#5c4a32",
}
DASHES: dict[str, LineStyleType] = {
    "lstm": "-",
    "naive": (0, (1, 1)),
    "seasonal_naive": (0, (5, 1.5)),
    "drift": (0, (4, 1.5, 1, 1.5)),
    "window_average": (0, (7, 1.5, 1, 1.5, 1, 1.5)),
    "last_week": (0, (3, 1, 1, 1)),
    "week_average": (0, (2, 1)),
    "years_before": (0, (8, 2)),
    "tsb": (0, (1, 2)),
}
# Years, months, days, hours, minutes, seconds: a tick says its day and month itself, the corner the year or the day.
DATE_FORMATS: dict[str, list[str]] = {
    "formats": ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"],
    "zero_formats": ["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
    "offset_formats": ["", "", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"],
}


BANDS = ("#dbe9f3", "#a8cde4", "#7db4d6", "#5b9dc6")
"""Of intervals, the widest first; opaque, so that the legend has the colours of the plot."""
FEW_STEPS = 3
"""Forecasts of fewer steps are drawn as points: lines and bands of one or two can hardly be seen."""


def make_axes(rows: int, columns: int = 1, *, height: float, **kwargs: Any) -> tuple[Figure, NDArray[Any]]:
    """Return a figure with styled axes (rows, columns); height in inches, `kwargs` as for `Figure.subplots`."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    for one in axes.flat:
        style_axes(one)
    return figure, axes


def style_axes(axes: Axes) -> None:
    """Style axes: a light grid behind the data, no box, small labels."""
    axes.set_axisbelow(True)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.tick_params(labelsize=9, colors=MUTED, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#bbbbbb")
    axes.yaxis.get_offset_text().set(fontsize=8, color=MUTED)


def format_shares(axis: Axis, *, decimals: int = 0) -> None:
    """Show tick labels of shares as percentages."""
    axis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))


def label_axes(axes: Axes, *, x: str, y: str, title: str | None = None) -> None:
    """Label axes and set a left-aligned title. Names come from users, so `$` is a letter and not mathematics."""
    axes.set_xlabel(x, fontsize=9, color=MUTED, parse_math=False)
    axes.set_ylabel(y, fontsize=9, color=MUTED, parse_math=False)
    if title is not None:
        axes.set_title(title, loc="left", fontsize=10, color=INK, parse_math=False)


def format_time_axis(axis: Axis, ds: NDArray[Any]) -> str:
    """Set tick labels that suit dates or integers; return the label of the axis."""
    if np.issubdtype(np.asarray(ds).dtype, np.datetime64):
        locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
        axis.set_major_locator(locator)
        axis.set_major_formatter(ConciseDateFormatter(locator, **DATE_FORMATS))  # type: ignore[no-untyped-call]
        return "time"
    axis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axis.set_major_formatter(ScalarFormatter(useOffset=False))
    return "step of the series"


def draw_legend(figure: Figure, *axes: Axes, side: Literal["left", "right"] = "left") -> None:
    """Draw one legend for all axes above them, never over the data; it begins at `side`, left or right."""
    found: dict[str, Artist] = {}
    for one in axes:
        handles, labels = one.get_legend_handles_labels()
        found |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in found}
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside upper left" if side == "left" else "outside upper right",
        ncols=min(len(found), 7),
        fontsize=9,
        frameon=False,
        labelcolor=INK,
        handlelength=2.2,
        columnspacing=1.4,
    )


def shorten(name: str, limit: int = 48) -> str:
    """Return a series' name on one line of a plot."""
    flat = " ".join(str(name).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def to_png(figure: Figure, *, exact: bool = False) -> bytes:
    """Return the figure as a PNG without date or version: the same figure gives the same bytes.

    It has at most 256 colours; with `exact`, all that were drawn.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = Image.fromarray(pixels).convert("RGB")
    buffer = io.BytesIO()
    if not exact:  # a palette takes a third of the room; without dithering, which would speckle flat areas
        picture = picture.quantize(256, dither=Image.Dither.NONE)
    picture.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path, *, exact: bool = False) -> None:
    """Write the figure as PNG, see `to_png`."""
    path.write_bytes(to_png(figure, exact=exact))


def draw_intervals(axes: Axes, forecast: pd.DataFrame) -> None:
    """Draw all intervals of one forecast, the widest below: bands, or bars if it has few steps."""
    ds = forecast["ds"].to_numpy()
    for level, colour in zip(reversed(find_levels(forecast)), BANDS, strict=False):
        low, high = (forecast[name].to_numpy(np.float64) for name in name_bounds(level))
        label = f"{show_level(level)} interval"
        if len(forecast) < FEW_STEPS:
            axes.vlines(ds, low, high, color=colour, linewidth=7, label=label)
        else:
            axes.fill_between(ds, low, high, color=colour, linewidth=0, label=label)
