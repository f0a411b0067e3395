"""Draw all plots of one training, by name, for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lstm_model.contracts.loss_history import LossRecord
from lstm_model.evaluation.scores import Scores
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.networks.gates import compute_gates
from lstm_model.reporting.evaluation_plots import plot_calibration, plot_error_by_step, plot_forecasts, plot_residuals
from lstm_model.reporting.model_plots import plot_further_points, plot_gates, plot_loss, plot_tutorial, plot_units
from lstm_model.windows.in_memory import Windows

UNITS_OF_A_WAVE = 5
"""Most lines that can still be distinguished."""
EXACT = ("tutorial",)
"""Pictures that are kept to the last pixel: a learner may compare this one with his own."""


@dataclass(frozen=True)
class Training:
    """A trained forecaster and the windows that it has and has not seen."""

    forecaster: Forecaster
    history: Sequence[LossRecord]
    best_step: int
    train: Callable[[], Windows]
    """Loads them: they may be many, and most models need only their test here."""
    test: Windows


@dataclass(frozen=True)
class Evaluation:
    """An evaluation: the forecast table, its scores, the error scales, and the series that are drawn."""

    table: pd.DataFrame
    scores: Scores
    scale: pd.DataFrame
    series: pd.DataFrame


def draw_plots(training: Training, evaluation: Evaluation | None, *, target: str) -> Iterator[tuple[str, Figure]]:
    """Yield each plot with the name of its file, in the order of the report.

    Args:
        training: the model and its windows.
        evaluation: None if the history was too short for a test; then only the model's own plots are drawn.
        target: the name of y on the axes.
    """
    context = training.forecaster.context
    if training.forecaster.spec.kind == "tutorial":
        yield "tutorial", plot_tutorial(*predict_first_steps(training))
        if evaluation is not None:
            yield "further_points", plot_further_points(evaluation.table[evaluation.table["step"] == 1])
    if evaluation is not None:
        history = evaluation.series
        yield (
            "forecasts",
            plot_forecasts(evaluation.table, evaluation.scores, history=history, context=context, target=target),
        )
        yield "error_by_step", plot_error_by_step(evaluation.scores)
    yield "loss", plot_loss(training.history, best_step=training.best_step)
    if evaluation is not None:
        calibration = plot_calibration(evaluation.scores)
        if calibration is not None:
            yield "calibration", calibration
        yield "residuals", plot_residuals(evaluation.table, scale=evaluation.scale, target=target)
    if training.forecaster.spec.kind == "tutorial":
        yield "gates_over_a_wave", draw_gates_over_a_wave(training)
    else:
        yield "gates", draw_gates(training)


def draw_gates(training: Training) -> Figure:
    """Draw the gates over the latest window: of the test, or of training if there is no test."""
    windows = training.test if len(training.test) else training.train()
    latest = int(np.argmax(windows.cutoff_W))
    input_TI = capture_lstm_input(training.forecaster, windows, latest)
    layers = [
        {"input": g.input_TD, "forget": g.forget_TD, "output": g.output_TD, "cell": g.cell_TD}
        for g in compute_gates(training.forecaster.network.lstm, input_TI)  # type: ignore[arg-type]
    ]
    context = windows.gather_values(torch.tensor([latest]))[0, : windows.context].numpy()
    steps = len(input_TI)
    pad = steps * -(-windows.context // steps) - windows.context
    padded = np.ma.masked_invalid(np.concatenate([np.full(pad, np.nan, np.float32), context]))
    return plot_gates(padded.reshape(steps, -1).mean(axis=1).filled(np.nan), layers)


def draw_gates_over_a_wave(training: Training) -> Figure:
    """Draw the units that move the tutorial's forecast most over the latest season, each window's last step a column.

    A unit moves it by the change of its output times its weight in the linear layer.
    """
    forecaster, windows = training.forecaster, training.test if len(training.test) else training.train()
    latest = np.argsort(windows.cutoff_W, kind="stable")[-max(2, forecaster.shape.season) :]
    network: Any = forecaster.network
    ends = [compute_gates(network.lstm, capture_lstm_input(forecaster, windows, int(index)))[-1] for index in latest]
    gates_TD = {
        name: np.stack([getattr(end, f"{name}_TD")[-1] for end in ends])
        for name in ("input", "forget", "output", "cell", "hidden")
    }
    weight_D = network.fc.weight.detach().abs().sum(dim=0).cpu().numpy()
    units = np.argsort(-gates_TD.pop("hidden").std(axis=0) * weight_D, kind="stable")[:UNITS_OF_A_WAVE].tolist()
    last_read = windows.gather_values(torch.from_numpy(latest))[:, windows.context - 1].numpy()
    return plot_units(windows.cutoff_W[latest], last_read, gates_TD, units=units)


def capture_lstm_input(forecaster: Forecaster, windows: Windows, index: int) -> torch.Tensor:
    """Return (T, I), the values that the LSTM of a network reads for one window."""
    captured: list[torch.Tensor] = []
    lstm = forecaster.network.lstm
    assert isinstance(lstm, torch.nn.LSTM)
    hook = lstm.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0][0].clone()))
    try:
        forecaster.predict(select_window(windows, index))
    finally:
        hook.remove()
    return captured[0]


def select_window(windows: Windows, index: int) -> Windows:
    """Return the same data with a single window."""
    at = slice(index, index + 1)
    return replace(windows, starts_W=windows.starts_W[at], series_W=windows.series_W[at], cutoff_W=windows.cutoff_W[at])


def predict_first_steps(training: Training) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return time, original and prediction of the first step of each training window, for the tutorial's picture."""
    windows = training.train()
    forecast = training.forecaster.predict(windows)
    original = windows.gather_values(torch.arange(len(windows)))[:, windows.context].numpy()
    return windows.compute_ds_WH()[:, 0], original, forecast[:, 0, forecast.shape[2] // 2]
