"""The tutorial's own script beside the preset: the same loss curve, and the error that the script does not show."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows

CONTEXT, TRAINED, EPOCHS = 10, 1000, 100


class LSTMModel(nn.Module):
    def __init__(self, input_dim, hidden_dim, layer_dim, output_dim):
        super().__init__()
        self.hidden_dim, self.layer_dim = hidden_dim, layer_dim
        self.lstm = nn.LSTM(input_dim, hidden_dim, layer_dim, batch_first=True)
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x, h0=None, c0=None):
        if h0 is None or c0 is None:
            h0 = torch.zeros(self.layer_dim, x.size(0), self.hidden_dim)
            c0 = torch.zeros(self.layer_dim, x.size(0), self.hidden_dim)
        out, (hn, cn) = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :]), hn, cn


def create_sequences(data, seq_length):
    xs, ys = [], []
    for i in range(len(data) - seq_length):
        xs.append(data[i : i + seq_length])
        ys.append(data[i + seq_length])
    return np.array(xs), np.array(ys)


def run_script(epochs=EPOCHS, *, carry=True):
    np.random.seed(0)
    torch.manual_seed(0)
    data = np.sin(np.linspace(0, 100, TRAINED))
    x, y = create_sequences(data, CONTEXT)
    train_x = torch.tensor(x[:, :, None], dtype=torch.float32)
    train_y = torch.tensor(y[:, None], dtype=torch.float32)
    model = LSTMModel(input_dim=1, hidden_dim=100, layer_dim=1, output_dim=1)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    h0, c0, losses, lines = None, None, [], []
    for epoch in range(epochs):
        model.train()
        optimizer.zero_grad()
        outputs, h0, c0 = model(train_x, h0, c0)
        loss = criterion(outputs, train_y)
        loss.backward()
        optimizer.step()
        h0, c0 = (h0.detach(), c0.detach()) if carry else (None, None)
        losses.append(loss.item())
        if (epoch + 1) % 10 == 0:
            lines.append(f"Epoch [{epoch + 1}/{epochs}], Loss: {loss.item():.4f}")
    return model, losses, lines


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
    x, y = create_sequences(np.sin(np.linspace(0, 100, TRAINED)), CONTEXT)
    ours = windows(sine(TRAINED))
    target = ours.batch(torch.arange(len(ours))).target_BW.numpy()
    np.testing.assert_array_equal(target[:, :CONTEXT], x.astype(np.float32))
    np.testing.assert_array_equal(target[:, CONTEXT], y.astype(np.float32))


def assert_same_run(epochs, caplog):
    script, losses, lines = run_script(epochs)
    with caplog.at_level(logging.INFO, logger="lstm_model.training.tutorial"):
        fitted = fit(windows(sine(TRAINED)), None, plan=preset(epochs), scaler={}, device=CPU)
    assert [row["train_loss"] for row in fitted.history] == losses, "the loss curve, bit by bit"
    assert caplog.messages == lines
    for name, weight in script.state_dict().items():
        assert torch.equal(weight, fitted.forecaster.network.state_dict()[name])
    return script, fitted


def test_the_first_epochs_are_the_scripts(one_thread, caplog):
    assert_same_run(20, caplog)


@pytest.mark.slow
def test_the_whole_run_is_the_scripts_and_what_it_does_not_show(one_thread, caplog):
    _, fitted = assert_same_run(EPOCHS, caplog)
    assert fitted.history[-1]["train_loss"] < 1e-3
    held_out = windows(sine()[TRAINED - CONTEXT :])
    forecast = fitted.forecaster.predict(held_out)
    assert forecast.shape == (200, 1, 1) and fitted.forecaster.quantiles == (0.5,)
    error = forecast[:, 0, 0] - sine()[TRAINED:]
    assert np.mean(error**2) < 0.005


@pytest.mark.slow
def test_carrying_the_state_costs_held_out_accuracy(one_thread):
    """What the docstring of `train_tutorial` says: the state that the script carries is one that no forecast has."""
    x, y = (torch.tensor(a, dtype=torch.float32) for a in create_sequences(sine()[TRAINED - CONTEXT :], CONTEXT))
    errors = {}
    for carry in (True, False):
        model, _, _ = run_script(carry=carry)
        with torch.no_grad():
            errors[carry] = float((model(x[..., None])[0][:, 0] - y).square().mean())
    assert len(y) == 200
    assert errors[True] > 10 * errors[False]


def test_missing_targets_are_left_out(one_thread):
    whole = sine(120)
    gap = whole.copy()
    gap[70] = np.nan
    train = windows(gap)
    assert len(train) == 109
    fitted = fit(train, None, plan=preset(3), scaler={}, device=CPU)
    assert all(np.isfinite(row["train_loss"]) for row in fitted.history)
