import time

import numpy as np
import pytest
import torch

from lstm_model.compute.device import DeviceChoice
from lstm_model.compute.threads import Threads, restore_threads
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.networks.losses import count_targets
from lstm_model.training import train as train_module
from lstm_model.training.microbatch import MicroBatches
from lstm_model.training.progress import Progress, Reporter, TrainingDivergedError, average_losses
from lstm_model.training.sampling import shuffle_windows
from lstm_model.training.train import compute_learning_rate, fit
from lstm_model.windows.in_memory import Windows

CPU = DeviceChoice("cpu", "fp32", 1, "a test")
CONTEXT, HORIZON, SEASON = 36, 12, 12


def plan(model=(), **training) -> Plan:
    window = {
        "context": CONTEXT,
        "horizon": HORIZON,
        "season": SEASON,
        "frequency": "h",
        "stride": 1,
        "evaluation_stride": 1,
        "test_steps": HORIZON,
        "validation_steps": HORIZON,
        "align": "calendar",
        "pad_short": True,
    }
    network = {
        "kind": "mixture",
        "hidden_dim": 16,
        "layer_dim": 1,
        "segment": 6,
        "dropout": 0.1,
        "normalisation": "mean_std",
        "linear_skip": True,
        "levels": (0.8,),
    }
    settings = {
        "seed": 0,
        "device": "cpu",
        "precision": "fp32",
        "threads": 1,
        "max_steps": 40,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "weight_decay": 0.01,
        "gradient_clip": 1.0,
        "patience": 5,
        "refit": True,
    }
    return Plan(
        window=WindowSpec(**window),
        model=ModelSpec(**(network | dict(model))),
        training=TrainingSpec(**(settings | training)),
    )


def seasonal(num_series=6, num_steps=240, seed=0) -> list[np.ndarray]:
    """Seasons whose amplitude follows a slow wave: the last season repeated is a poor forecast."""
    rng, t = np.random.default_rng(seed), np.arange(num_steps)
    wave = [1 + 0.8 * np.sin(2 * np.pi * t / 36 + rng.uniform(0, 6)) for _ in range(num_series)]
    return [50 + 10 * w * np.sin(2 * np.pi * t / SEASON) + rng.normal(0, 0.5, num_steps) for w in wave]


def splits(series: list[np.ndarray], held_out: int = 4 * HORIZON):
    cut = {"context": CONTEXT, "horizon": HORIZON}
    train = Windows.from_arrays([y[:-held_out] for y in series], **cut)
    validation = Windows.from_arrays([y[-held_out - CONTEXT : -HORIZON] for y in series], **cut)
    test = Windows.from_arrays([y[-CONTEXT - HORIZON :] for y in series], **cut)
    return train, validation, test


def weights(fitted) -> torch.Tensor:
    return torch.cat([p.flatten() for p in fitted.forecaster.network.parameters()])


def test_training_beats_seasonal_naive_and_calibrates():
    train, validation, test = splits(seasonal())
    fitted = fit(train, validation, plan=plan(max_steps=300), scaler={}, device=CPU)
    forecast = fitted.forecaster.predict(test)
    target = test.gather_batch(torch.arange(len(test))).target_BW.numpy()
    y, naive = target[:, CONTEXT:], target[:, CONTEXT - SEASON : CONTEXT]
    error, naive_error = np.abs(forecast[..., 1] - y).mean(), np.abs(naive - y).mean()
    assert error < 0.6 * naive_error
    assert (np.diff(forecast, axis=-1) >= 0).all()
    covered = (y >= forecast[..., 0]) & (y <= forecast[..., 2])
    assert 0.6 < covered.mean() <= 1
    assert fitted.forecaster.calibration.offsets_JH.shape == (1, HORIZON)
    assert any("refitted through validation" in note for note in fitted.notes)


def test_same_seed_same_weights_and_the_callers_random_state_is_untouched():
    train, validation, _ = splits(seasonal())
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first = fit(train, validation, plan=plan(), scaler={}, device=CPU)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(321)
    second = fit(train, validation, plan=plan(), scaler={}, device=CPU)
    assert torch.equal(weights(first), weights(second))
    assert first.history == second.history
    np.testing.assert_array_equal(first.forecaster.calibration.offsets_JH, second.forecaster.calibration.offsets_JH)
    assert first.forecaster.calibration.widths == second.forecaster.calibration.widths
    assert set(first.forecaster.calibration.widths) <= set("012345") and len(first.forecaster.calibration.widths) > 1
    other = fit(train, validation, plan=plan(seed=1), scaler={}, device=CPU)
    assert not torch.equal(weights(first), weights(other))


def test_early_stopping_restores_the_best_and_refit_takes_its_step_count(monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0] + [2.0] * 99)
    monkeypatch.setattr(train_module.Validation, "__call__", lambda self: next(losses))
    train, validation, _ = splits(seasonal())
    seen: list[Progress] = []
    settings = plan(max_steps=50, patience=2)
    fitted = fit(train, validation, plan=settings, scaler={}, device=CPU, on_progress=seen.append)
    assert fitted.best_step == 4
    assert [row["step"] for row in fitted.history] == [2, 4, 6, 8]
    assert [row["validation_loss"] for row in fitted.history] == [3.0, 1.0, 2.0, 2.0]
    assert (seen[-1].stage, seen[-1].step, seen[-1].max_steps) == ("refit", 4, 4)


def test_without_refit_the_searched_weights_are_kept(monkeypatch):
    train, validation, _ = splits(seasonal())
    searched = fit(train, validation, plan=plan(refit=False), scaler={}, device=CPU)
    refitted = fit(train, validation, plan=plan(), scaler={}, device=CPU)
    assert not torch.equal(weights(searched), weights(refitted))
    assert searched.history == refitted.history


def test_without_validation_all_steps_are_taken_and_it_is_said():
    train, _, _ = splits(seasonal())
    fitted = fit(train, None, plan=plan(max_steps=10), scaler={}, device=CPU)
    assert fitted.best_step == 10 and fitted.forecaster.calibration is None
    assert any("no validation windows" in note for note in fitted.notes)


def test_no_windows_is_a_clear_error():
    empty = Windows.from_arrays([np.arange(5.0)], context=CONTEXT, horizon=HORIZON)
    with pytest.raises(ValueError, match="no training windows"):
        fit(empty, None, plan=plan(), scaler={}, device=CPU)


def test_a_loss_that_is_no_number_names_its_step():
    with pytest.raises(TrainingDivergedError, match=r"became nan at step 8; try a smaller training.learning_rate"):
        average_losses([torch.tensor(1.0), torch.tensor(float("nan")), torch.tensor(2.0)], last_step=9)
    train, _, _ = splits(seasonal())
    train.values_N[100] = float("inf")
    with pytest.raises(TrainingDivergedError, match="step 1"):
        fit(train, None, plan=plan(batch_size=4096), scaler={}, device=CPU)


def test_progress_comes_first_last_and_no_more_than_twice_a_second(monkeypatch):
    clock = iter(np.arange(0, 1000, 0.05))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    report_times: list[Progress] = []
    report = Reporter(report_times.append)
    for step in range(1, 101):
        if report.due(step, 100):
            report(Progress(step, 100, 1.0, None, step))
    steps = [progress.step for progress in report_times]
    assert steps[0] == 1 and steps[-1] == 100
    assert 8 <= len(steps) <= 14


def test_an_interrupt_ends_training_and_restores_the_threads():
    train, _, _ = splits(seasonal())

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    before = torch.get_num_threads()
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        fit(train, None, plan=plan(), scaler={}, device=CPU, on_progress=interrupt)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_out_of_memory_in_training_leads_to_the_same_losses(monkeypatch):
    train, _, _ = splits(seasonal())
    settings = plan(model={"dropout": 0.0}, max_steps=5)
    whole = fit(train, None, plan=settings, scaler={}, device=CPU)
    accumulate = MicroBatches.accumulate

    def limited(self, batch, count):
        if (self.size or 32) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return accumulate(self, batch, count)

    monkeypatch.setattr(MicroBatches, "accumulate", limited)
    parts = fit(train, None, plan=settings, scaler={}, device=CPU)
    losses = [[row["train_loss"] for row in fitted.history] for fitted in (whole, parts)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_a_refit_trains_on_the_validation_at_the_stride_of_the_training(monkeypatch):
    trained = []
    run = train_module.run_stage
    monkeypatch.setattr(train_module, "run_stage", lambda w, *a, **k: trained.append(len(w)) or run(w, *a, **k))
    train, newest, _ = splits(seasonal())
    sparse = newest.take(torch.arange(0, len(newest), 4))
    fit(train, sparse, newest=newest, plan=plan(max_steps=4), scaler={}, device=CPU)
    assert trained == [len(train), len(train) + len(newest)]


def test_targets_without_a_logarithm_do_not_count():
    """A validation that is all zeros would otherwise be met without any error, from the first look on."""
    train, validation, _ = splits(seasonal())
    validation.values_N.zero_()
    logarithms = plan(max_steps=4, model={"transform": "log"})
    fitted = fit(train, validation, plan=logarithms, scaler={}, device=CPU)
    assert fitted.best_step == 4 and fitted.best_loss == np.inf
    batch = train.gather_batch(torch.arange(3))
    batch.target_BW[:, -1] = 0.0
    assert count_targets(batch, HORIZON) - count_targets(batch, HORIZON, transform="log") == 3


def test_unobserved_targets_are_not_trained_on():
    """A value that was repaired may be wrong without harm: only observed ones enter the loss."""
    series = seasonal()
    train, _, _ = splits(series)
    train.observed_N[-HORIZON:] = False
    wrong, _, _ = splits(series)
    wrong.observed_N[-HORIZON:] = False
    wrong.values_N[-HORIZON:] = 1e6
    last = {"plan": plan(max_steps=3, batch_size=4096), "scaler": {}, "device": CPU}
    assert torch.equal(weights(fit(train, None, **last)), weights(fit(wrong, None, **last)))


def test_every_window_is_drawn_once_an_epoch():
    drawn = torch.cat(list(shuffle_windows(10, 4, seed=0, steps=5)))
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))
    assert [len(i) for i in shuffle_windows(3, 4, seed=0, steps=2)] == [3, 3]


def test_learning_rate_rises_and_falls():
    rates = [compute_learning_rate(step, 100, 1.0) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0
    assert rates[-1] == pytest.approx(0.01) and np.all(np.diff(rates[9:]) <= 0)
    assert compute_learning_rate(1, 1, 1.0) == 1.0


@pytest.mark.parametrize(("slow", "used_threads"), [(0.9, [2, 1, 2, 1, 1]), (0.11, [2, 1, 2, 1, 2, 1, 2, 1, 1])])
def test_threads_are_measured_on_real_steps(slow, used_threads, monkeypatch):
    used: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    clock = iter(t for step in range(8) for t in (step, step + (slow if step % 2 == 0 else 0.1)))
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    threads = Threads(None, on_cpu=True)
    for _ in range(9):
        with threads.step():
            pass
    assert used == used_threads and threads.count == 1
    assert threads.note == f"1 CPU threads (a step took 100.0 ms with 1, {1000 * slow:.1f} ms with 2)"


def test_a_fixed_thread_count_is_used_and_restored():
    before = torch.get_num_threads()
    with restore_threads():
        assert Threads(1, on_cpu=True).count == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
