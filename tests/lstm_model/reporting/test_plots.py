"""Plots are drawn for every shape of data, show what they claim, and are the same bytes each time."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lstm_model.contracts.forecast_columns import name_bounds
from lstm_model.contracts.loss_history import LossRecord
from lstm_model.evaluation.baselines import BASELINES
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.evaluation.evaluate import score
from lstm_model.evaluation.scores import MODELS, Scores
from lstm_model.reporting.evaluation_plots import (
    pick_series,
    plot_calibration,
    plot_error_by_step,
    plot_forecasts,
    plot_residuals,
)
from lstm_model.reporting.figures import save_figure, to_png
from lstm_model.reporting.model_plots import GATES, MAX_STEPS, plot_further_points, plot_gates, plot_loss, plot_units
from lstm_model.timeline.frequency import Frequency

MAX_BYTES = 90_000


def make(
    ids: list[str], frequency: str = "h", *, horizon: int = 12, windows: int = 6, magnitude: float = 100.0
) -> tuple[pd.DataFrame, Scores, pd.DataFrame, pd.DataFrame]:
    """A forecast table, its scores, the series table and the scales, with everything a plot can show."""
    rng = np.random.default_rng(0)
    steps = 60 + windows + horizon
    start = np.zeros(steps, np.int64) if frequency == "1" else np.repeat(np.datetime64("2020-01-01", "us"), steps)
    ds = Frequency(frequency).advance(start, np.arange(steps))
    series, parts = [], []
    for k, unique_id in enumerate(ids):
        y = magnitude * (2 + np.sin(np.arange(steps) / 4) + 0.2 * rng.normal(size=steps))
        series.append(pd.DataFrame({"unique_id": unique_id, "ds": ds, "y": y}))
        for cutoff in range(59, 59 + windows):
            at = slice(cutoff + 1, cutoff + 1 + horizon)
            part = pd.DataFrame({"unique_id": unique_id, "cutoff": ds[cutoff], "ds": ds[at], "y": y[at]})
            part["step"] = np.arange(1, horizon + 1)
            for model in MODELS:
                part[model] = y[at] + magnitude * (0.1 + 0.1 * k) * rng.normal(size=horizon)
            for level, width in ((0.8, 0.2), (0.95, 0.4)):
                low, high = name_bounds(level)
                part[low], part[high] = part["lstm"] - width * magnitude, part["lstm"] + width * magnitude
            parts.append(part)
    table, history = pd.concat(parts, ignore_index=True), pd.concat(series, ignore_index=True)
    scale = measure_scales(history.groupby("unique_id").head(60), season=4)
    return table, score(table, scale=scale), history, scale


def figures(ids: list[str], frequency: str = "h", **shape: float) -> dict[str, Figure]:
    table, scores, history, scale = make(ids, frequency, **shape)  # type: ignore[arg-type]
    calibration = plot_calibration(scores)
    assert calibration is not None
    return {
        "forecasts": plot_forecasts(table, scores, history=history, context=40, target="kWh"),
        "steps": plot_error_by_step(scores),
        "residuals": plot_residuals(table, scale=scale, target="kWh"),
        "calibration": calibration,
    }


def texts(figure: Figure) -> Iterator[object]:
    """Titles, axis labels and legend entries."""
    for axes in figure.axes:
        yield from (axes.xaxis.label, axes.yaxis.label, axes.title, axes._left_title)  # type: ignore[attr-defined]
    for legend in figure.legends:
        yield from legend.get_texts()


def check(figure: Figure) -> None:
    """Not blank, small, nothing cut off, and the legend clear of the data."""
    png = to_png(figure)
    assert len(png) <= MAX_BYTES
    assert np.asarray(Image.open(io.BytesIO(png)).convert("L")).std() > 5
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for text in texts(figure):
        box = text.get_window_extent(renderer)  # type: ignore[attr-defined]
        if text.get_text():  # type: ignore[attr-defined]
            assert box.x0 >= -2 and box.x1 <= figure.bbox.x1 + 2, text
            assert box.y0 >= -2 and box.y1 <= figure.bbox.y1 + 2, text
    for legend in figure.legends:
        for axes in figure.axes:
            assert not legend.get_window_extent(renderer).overlaps(axes.get_window_extent(renderer))


SHAPES = {
    "hourly panel": (["a", "b", "c", "d"], "h", {}),
    "two integer series": (["a", "b"], "1", {}),
    "yearly, tiny values": (["a", "b", "c"], "YS", {"horizon": 4, "magnitude": 1e-6}),
    "horizon 1, huge values": (["a", "b", "c"], "MS", {"horizon": 1, "windows": 30, "magnitude": 1e9}),
    "one series, one window of two steps": (["a"], "15min", {"horizon": 2, "windows": 1}),
}


# Drawing is slow; the two shapes that differ most are for every run.
FAST = ("hourly panel", "horizon 1, huge values")


@pytest.mark.parametrize(
    "shape", [shape if shape in FAST else pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES]
)
def test_every_shape_of_data_is_drawn(shape: str) -> None:
    ids, frequency, sizes = SHAPES[shape]
    for figure in figures(ids, frequency, **sizes).values():
        check(figure)


def test_the_last_window_and_its_past_are_shown() -> None:
    table, scores, history, _ = make(["a", "b", "c", "d", "e"])
    figure = plot_forecasts(table, scores, history=history, context=10)
    picks = pick_series(scores.per_series)
    assert list(picks) == ["best", "median", "worst"]
    mase = scores.per_series[scores.per_series["model"] == "lstm"].set_index("unique_id")["mase"].sort_values()
    assert list(picks.values()) == [mase.index[0], mase.index[2], mase.index[4]]
    for axes, unique_id in zip(figure.axes, picks.values(), strict=True):
        lines = {line.get_label(): line for line in axes.get_lines()}
        window = table[(table["unique_id"] == unique_id) & (table["cutoff"] == table["cutoff"].max())]
        np.testing.assert_allclose(lines["LSTM"].get_ydata(), window["lstm"])
        np.testing.assert_allclose(lines["actual"].get_ydata(), window["y"])
        past = axes.get_lines()[0]
        assert len(past.get_xdata()) == 10
        assert pd.Timestamp(np.max(past.get_xdata())) == table["cutoff"].max()
        assert unique_id in axes._left_title.get_text()  # type: ignore[attr-defined]


def test_targets_that_are_missing_leave_a_gap_not_an_error() -> None:
    table, _, history, scale = make(["a", "b"])
    table.loc[table["unique_id"] == "b", "y"] = np.nan
    table.loc[table["ds"] == table["ds"].max(), "y"] = np.nan
    scores = score(table, scale=scale)
    assert list(pick_series(scores.per_series)) == ["only series"]
    check(plot_forecasts(table, scores, history=history, context=20))
    check(plot_residuals(table, scale=scale))


def test_names_with_dollars_and_of_any_length_are_drawn_as_they_are() -> None:
    names = ["$x_{$", "<script>alert(1)</script>", "a" * 300]
    table, scores, history, _ = make(names)
    check(plot_forecasts(table, scores, history=history, context=20, target="$y^{$ in kWh"))


def test_a_constant_error_has_a_histogram() -> None:
    table, _, _, scale = make(["a"])
    check(plot_residuals(table.assign(lstm=table["y"]), scale=scale))


def test_without_intervals_there_is_no_calibration() -> None:
    table, _, _, scale = make(["a", "b"])
    bounds = [name for level in (0.8, 0.95) for name in name_bounds(level)]
    scores = score(table.drop(columns=bounds), scale=scale)
    assert plot_calibration(scores) is None
    check(plot_forecasts(table.drop(columns=bounds), scores))


def test_residuals_of_several_series_are_scaled() -> None:
    table, _, _, scale = make(["a", "b"])
    table.loc[table["unique_id"] == "b", ["y", *MODELS]] *= 1e6
    scale.loc[scale["unique_id"] == "b", "mase_scale"] *= 1e6
    figure = plot_residuals(table, scale=scale)
    assert np.abs(figure.axes[0].get_xlim()).max() < 10


@pytest.mark.parametrize("without", [["a"], ["a", "b", "c"]])
def test_a_series_without_a_scale_is_left_out_of_the_scaled_residuals(without: list[str]) -> None:
    table, _, _, scale = make(["a", "b", "c"])
    scale.loc[scale["unique_id"].isin(without), "mase_scale"] = [np.nan, 0.0, np.nan][: len(without)]
    figure = plot_residuals(table, scale=scale)
    check(figure)
    assert any("(scaled)" in str(text) for text in texts(figure)) == (len(without) < 3)


def test_dates_of_the_first_centuries_are_drawn() -> None:
    """The M3 competition has series that begin in the year 1."""
    table, _, _, _ = make(["a", "b"], "MS")
    old = table["unique_id"] == "b"
    table.loc[old, "ds"] = table.loc[old, "ds"] - np.timedelta64(365 * 2016, "D")
    assert to_png(plot_residuals(table))


def test_loss_marks_the_kept_step_and_takes_a_log_scale_when_it_falls_far() -> None:
    history = [LossRecord(step=s, train_loss=1 / s, validation_loss=None, learning_rate=0.01) for s in range(1, 101)]
    for row in history[9::10]:
        row["validation_loss"] = 2 * row["train_loss"]
    figure = plot_loss(history, best_step=90)
    check(figure)
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines["validation"].get_xdata()) == list(range(10, 101, 10))
    assert lines["kept: step 90"].get_xdata()[0] == 90
    assert axes.get_yscale() == "log"
    assert plot_loss(history[:3]).axes[0].get_yscale() == "linear"


def test_further_points_show_the_error_of_every_model() -> None:
    step = np.arange(1000, 1200)
    y = np.sin(step / 10)
    table = pd.DataFrame({"ds": step, "y": y, **dict.fromkeys(BASELINES, y + 0.5), "lstm": y + 0.01})
    figure = plot_further_points(table.assign(drift=np.nan))
    check(figure)
    title = figure.axes[1]._left_title.get_text()  # type: ignore[attr-defined]
    assert title == "RMSE: LSTM 0.01, naive 0.5, seasonal naive 0.5, window average 0.5"
    np.testing.assert_allclose(figure.axes[1].get_lines()[0].get_ydata(), 0.01)


def test_units_are_drawn_for_every_gate_and_the_cell() -> None:
    step = np.arange(937, 1000)
    wave = 0.5 + 0.4 * np.sin(step[:, None] / 10 + np.arange(100))
    layer = {gate: wave + 0.01 * number for number, gate in enumerate(GATES)}
    figure = plot_units(step, np.sin(step / 10), layer, units=[7, 0, 99])
    check(figure)
    for axes, gate in zip(figure.axes[1:], GATES, strict=True):
        lines = axes.get_lines()
        assert [line.get_label() for line in lines] == ["unit 7", "unit 0", "unit 99"]
        np.testing.assert_array_equal(lines[2].get_ydata(), layer[gate][:, 99])


def gates(steps: int, units: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {gate: rng.random((steps, units)) * (1 if gate != "cell" else 4) for gate in GATES}


@pytest.mark.parametrize(("steps", "units", "layers"), [(50, 16, 1), (700, 256, 2), (1, 1, 1), (30, 8, 3)])
def test_gates_of_any_size(steps: int, units: int, layers: int) -> None:
    series = np.sin(np.arange(steps) / 5)
    figure = plot_gates(series, [gates(steps, units)] * layers)
    # Noise is the worst case of a PNG; what an LSTM does is smooth.
    assert len(to_png(figure)) <= 2 * MAX_BYTES
    shown = figure.axes[0].get_lines()[0].get_xdata()
    assert len(shown) == min(steps, MAX_STEPS) and shown[-1] == steps - 1


def test_gates_are_sorted_alike_and_carry_timestamps() -> None:
    ds = np.datetime64("2024-03-01T00", "us") + np.arange(48) * np.timedelta64(1, "h")
    series = np.sin(np.arange(48) / 4)
    layer = gates(48, 3)
    layer["cell"] = np.stack([-series, 0.1 * series**2, series], axis=1)
    figure = plot_gates(series, [layer], ds=ds)
    check(figure)
    images = [axes.images[0].get_array() for axes in figure.axes[1:5]]
    np.testing.assert_allclose(images[3][0], series)
    np.testing.assert_allclose(images[3][2], -series)
    np.testing.assert_allclose(images[0], layer["input"].T[[2, 1, 0]])
    assert figure.axes[4].get_xticklabels()[0].get_text() == "01 Mar\n00:00"


def test_wrong_gates_are_named() -> None:
    with pytest.raises(ValueError, match="lacks 'cell'"):
        plot_gates(np.zeros(4), [{gate: np.zeros((4, 2)) for gate in ("input", "forget", "output")}])
    with pytest.raises(ValueError, match=r"'input' has shape \(5, 2\)"):
        plot_gates(np.zeros(4), [{gate: np.zeros((5, 2)) for gate in GATES}])
    with pytest.raises(ValueError, match="no layer"):
        plot_gates(np.zeros(4), [])


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        table, _, _, scale = make(["a", "b"], "D")
        save_figure(plot_residuals(table, scale=scale), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not Image.open(tmp_path / "a.png").info.keys() & {"Software", "Creation Time", "date"}


def test_pyplot_stays_out() -> None:
    for file in (Path(__file__).parents[3] / "lstm_model").rglob("*.py"):
        assert not re.search(r"import pyplot|matplotlib\.pyplot|import pylab", file.read_text()), file
