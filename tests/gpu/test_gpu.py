"""On a real GPU: skipped where there is none."""

import numpy as np
import pytest
import torch

from lstm_model.compute.device import DeviceChoice, fits_on_device, hold_gpu, select_device
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.forecast.bundle import load_bundle, save_bundle
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows
from tests.factories import model_card

# ruff: noqa: C408
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU here")


def plan(kind="mixture", **training) -> Plan:
    window = dict(context=48, horizon=12, season=12, frequency="h", stride=1, evaluation_stride=1, test_steps=12)
    mixture = kind == "mixture"
    model = dict(kind=kind, hidden_dim=64, layer_dim=2, segment=6 if mixture else 1, dropout=0.1 if mixture else 0.0)
    settings = dict(seed=0, device="cuda", precision="auto", threads=None, max_steps=200, batch_size=128)
    settings |= dict(learning_rate=3e-3, weight_decay=0.01, gradient_clip=1.0, patience=5, refit=True)
    return Plan(
        window=WindowSpec(**window, validation_steps=12, align="calendar", pad_short=True),
        model=ModelSpec(**model, normalisation="mean_std", levels=(0.8,)),
        training=TrainingSpec(**(settings | training)),
    )


def windows() -> tuple[Windows, Windows, Windows]:
    rng, t = np.random.default_rng(0), np.arange(400)
    wave = [1 + 0.8 * np.sin(2 * np.pi * t / 36 + phase) for phase in rng.uniform(0, 6, 20)]
    series = [50 + 10 * w * np.sin(2 * np.pi * t / 12) + rng.normal(0, 0.5, 400) for w in wave]
    cuts = [slice(None, -48), slice(-48 - 48, -12), slice(-60, None)]
    train, validation, test = (Windows.from_arrays([y[c] for y in series], context=48, horizon=12) for c in cuts)
    return train, validation, test


def error(forecast: np.ndarray, test: Windows) -> tuple[float, float]:
    target = test.gather_batch(torch.arange(len(test))).target_BW.numpy()
    middle = forecast.shape[-1] // 2
    return (
        float(np.abs(forecast[..., middle] - target[:, 48:]).mean()),
        float(np.abs(target[:, 36:48] - target[:, 48:]).mean()),
    )


def test_the_gpu_is_chosen_and_locked(tmp_path):
    choice = select_device(lock_folder=tmp_path)
    assert choice.device.startswith("cuda:")
    with hold_gpu(choice, tmp_path):
        assert len(list(tmp_path.glob("gpu-*.lock"))) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_on_the_gpu_beats_seasonal_naive_and_moves_to_a_cpu(precision, tmp_path):
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("this GPU has no bf16 units")
    train, validation, test = windows()
    choice = DeviceChoice("cuda:0", precision, None, "a test")
    fitted = fit(train, validation, plan=plan(), scaler={}, device=choice)
    on_gpu = fitted.forecaster.predict(test)
    ours, naive = error(on_gpu, test)
    assert ours < 0.7 * naive
    save_bundle(tmp_path, fitted.forecaster, model_card())
    np.testing.assert_allclose(load_bundle(tmp_path, device="cpu").predict(test), on_gpu, rtol=1e-2, atol=0.05)


def test_streamed_data_train_the_same_as_resident_data(monkeypatch):
    train, _, _ = windows()
    choice = DeviceChoice("cuda:0", "fp32", None, "a test")
    assert fits_on_device(train.nbytes, choice)
    resident = fit(train, None, plan=plan(max_steps=10), scaler={}, device=choice)
    monkeypatch.setattr("lstm_model.training.sampling.fits_on_device", lambda nbytes, choice: False)
    streamed = fit(train, None, plan=plan(max_steps=10), scaler={}, device=choice)
    losses = [[row["train_loss"] for row in fitted.history] for fitted in (resident, streamed)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


def test_the_tutorial_trains_on_the_gpu():
    train, _, test = windows()
    settings = plan(kind="tutorial", max_steps=5)
    fitted = fit(train, None, plan=settings, scaler={}, device=DeviceChoice("cuda:0", "fp32", None, "a test"))
    assert len(fitted.history) == 5 and np.isfinite(fitted.forecaster.predict(test)).all()
