"""The preset is the tutorial's plain script, bit by bit; and the error on further points, which that does not show."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import tutorial_script
from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.reporting.figures import save_figure
from lstm_model.reporting.gallery import EXACT
from lstm_model.reporting.model_plots import plot_tutorial
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows

CONTEXT, TRAINED, EPOCHS = 10, 1000, 100


def sine(num_steps=1200) -> np.ndarray:
    """The tutorial's sine, continued beyond its 1000 steps with the same step width."""
    return np.sin(np.arange(num_steps) * (100 / (TRAINED - 1)))


def preset(epochs=EPOCHS, **model) -> Plan:
    network = {
        "kind": "tutorial",
        "hidden_dim": 100,
        "layer_dim": 1,
        "segment": 1,
        "dropout": 0.0,
        "normalisation": "none",
        "levels": (0.8,),
    }
    return Plan(
        window=WindowSpec(
            context=CONTEXT,
            horizon=1,
            season=1,
            frequency="1",
            stride=1,
            evaluation_stride=1,
            test_steps=200,
            validation_steps=0,
            align="calendar",
            pad_short=False,
        ),
        model=ModelSpec(**(network | model)),
        training=TrainingSpec(
            seed=0,
            device="cpu",
            precision="fp32",
            threads=1,
            max_steps=epochs,
            batch_size=TRAINED,
            learning_rate=0.01,
            weight_decay=0.0,
            gradient_clip=1.0,
            patience=1,
            refit=False,
        ),
    )


def windows(series: np.ndarray) -> Windows:
    return Windows.from_arrays([series], context=CONTEXT, horizon=1)


CPU = DeviceChoice("cpu", "fp32", 1, "a test")


def test_the_windows_are_those_of_create_sequences():
    x, y = tutorial_script.create_sequences(tutorial_script.WAVE, CONTEXT)
    ours = windows(sine(TRAINED))
    target = ours.gather_batch(torch.arange(len(ours))).target_BW.numpy()
    np.testing.assert_array_equal(target[:, :CONTEXT], x.astype(np.float32))
    np.testing.assert_array_equal(target[:, CONTEXT], y.astype(np.float32))


def assert_same_run(epochs, capsys, caplog):
    script = tutorial_script.train(seed=0, epochs=epochs)
    with caplog.at_level(logging.INFO, logger="lstm_model.training.tutorial"):
        fitted = fit(windows(sine(TRAINED)), None, plan=preset(epochs), scaler={}, device=CPU)
    assert [row["train_loss"] for row in fitted.history] == script.losses, "every loss, bit by bit"
    assert caplog.messages == capsys.readouterr().out.splitlines()
    ours, theirs = fitted.forecaster.network.state_dict(), script.model.state_dict()
    assert list(ours) == list(theirs)
    for name, weight in theirs.items():
        assert torch.equal(weight, ours[name]), name
    return script, fitted


def test_the_first_epochs_are_the_scripts(one_thread, capsys, caplog):
    assert_same_run(20, capsys, caplog)


@pytest.mark.slow
def test_the_whole_run_is_the_scripts_and_what_it_does_not_show(one_thread, capsys, caplog):
    script, fitted = assert_same_run(EPOCHS, capsys, caplog)
    # The weights are equal to the bit; forecasts are made in batches, whose kernels round the last rows differently.
    forecast = fitted.forecaster.predict(windows(sine(TRAINED)))[:, 0]
    np.testing.assert_allclose(forecast, script.predicted, rtol=0, atol=1e-6)
    assert script.losses[-1] < 1e-5
    forecast = fitted.forecaster.predict(windows(sine()[TRAINED - CONTEXT :]))
    assert forecast.shape == (200, 1, 1) and fitted.forecaster.quantiles == (0.5,)
    error = forecast[:, 0, 0] - sine()[TRAINED:]
    assert np.mean(error**2) < 1e-5


def test_the_plot_is_the_scripts_to_the_last_pixel(tmp_path):
    predicted = tutorial_script.WAVE[CONTEXT:, None] + 0.01
    steps = np.arange(CONTEXT, TRAINED)
    ours = plot_tutorial(steps, tutorial_script.WAVE[CONTEXT:], predicted[:, 0])
    save_figure(ours, tmp_path / "ours.png", exact="tutorial" in EXACT)
    tutorial_script.draw(predicted).savefig(tmp_path / "theirs.png")
    ours, theirs = (Image.open(tmp_path / f"{whose}.png").convert("RGB") for whose in ("ours", "theirs"))
    np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_missing_targets_are_left_out(one_thread):
    whole = sine(120)
    gap = whole.copy()
    gap[70] = np.nan
    train = windows(gap)
    assert len(train) == 109
    fitted = fit(train, None, plan=preset(3), scaler={}, device=CPU)
    assert all(np.isfinite(row["train_loss"]) for row in fitted.history)
