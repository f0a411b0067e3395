"""A training that is stopped, or really killed, goes on to the very bits that it would have given."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.training import checkpoint as checkpoint_module
from lstm_model.training.checkpoint import Checkpoint, TrainingStopped, open_checkpoint
from lstm_model.training.microbatch import MicroBatches
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows

HERE = Path(__file__)
CPU = DeviceChoice("cpu", "fp32", 1, "a test")
CONTEXT, HORIZON = 24, 6
checkpoint_module.SPARING = 0  # written at every look, here and in the processes that import this
BEST, LAST = 15, 24
"""The search keeps this step, and stops early after this one; it looks, and keeps a checkpoint, every third."""


def plan(**training) -> Plan:
    window = {"context": CONTEXT, "horizon": HORIZON, "season": 12, "frequency": "1", "stride": 1}
    splits = {"evaluation_stride": 1, "test_steps": 6, "validation_steps": 24, "align": "calendar", "pad_short": True}
    network = {"kind": "mixture", "hidden_dim": 8, "layer_dim": 2, "segment": 6, "dropout": 0.3}
    settings = {"seed": 0, "device": "cpu", "precision": "fp32", "threads": 1, "max_steps": 75, "batch_size": 32}
    loop = {"learning_rate": 0.03, "weight_decay": 0.01, "gradient_clip": 1.0, "patience": 3, "refit": True}
    return Plan(
        window=WindowSpec(**window, **splits),
        model=ModelSpec(**network, normalisation="mean_std", levels=(0.8,)),
        training=TrainingSpec(**{**settings, **loop, **training}),
    )


def splits() -> tuple[Windows, Windows]:
    """Random walks: the validation loss soon rises again. An epoch is 13.8 steps."""
    walks = np.random.default_rng(0).normal(size=(2, 280)).cumsum(axis=1)
    cut = {"context": CONTEXT, "horizon": HORIZON}
    train = Windows.from_arrays([y[:250] for y in walks], **cut)
    return train, Windows.from_arrays([y[250 - CONTEXT :] for y in walks], **cut)


def train(checkpoint=None, device=CPU, **training):
    return fit(*splits(), plan=plan(**training), scaler={}, device=device, checkpoint=checkpoint)


def content(fitted) -> list:
    """All that a training leaves."""
    networks = [fitted.forecaster.network, fitted.searched.network]
    weights = [t.numpy().tobytes() for network in networks for t in network.state_dict().values()]
    calibration = fitted.forecaster.calibration
    return [weights, calibration.offsets_JH.tobytes(), calibration.widths, repr(fitted.history), fitted.notes]


def end_in_step(number, end):
    """Call `end` in the middle of the number-th step from now: the gradients are there, the weights not yet."""
    backward, calls = MicroBatches.backward, []

    def failing(self, batch):
        loss = backward(self, batch)
        calls.append(loss)
        if len(calls) == number:
            end()
        return loss

    MicroBatches.backward = failing


class Killed(BaseException):
    pass


def stop():
    raise Killed


@pytest.fixture(scope="module")
def uninterrupted():
    fitted = train()
    assert (fitted.best_step, fitted.history[-1]["step"]) == (BEST, LAST), "dropout on, and stopped early"
    return fitted


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (17, "search from scratch goes on after step 15 of 75"),
        (LAST + 8, "refit from scratch goes on after step 6 of 15"),
        (2, None),
    ],
    ids=["search", "refit", "before the first checkpoint"],
)
def test_it_goes_on_from_where_it_was(step, said, uninterrupted, monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "a.safetensors"
    monkeypatch.setattr(MicroBatches, "backward", MicroBatches.backward)  # put back at the end
    end_in_step(step, stop)
    with pytest.raises(Killed):
        train(Checkpoint(path, "a"))
    monkeypatch.undo()
    assert path.exists() == bool(said)
    resumed = train(Checkpoint(path, "a"))
    assert ("goes on after step" in caplog.text) == bool(said)
    assert (said or "") in caplog.text
    assert content(resumed) == content(uninterrupted)


KILL = f"""
import os, signal, sys, torch
sys.path[:0] = [{str(HERE.parent)!r}, {str(HERE.parents[3])!r}]
import logging; logging.basicConfig(level="INFO", stream=sys.stdout)
import {HERE.stem} as here
path, step = sys.argv[1], int(sys.argv[2])
here.end_in_step(step, lambda: os.kill(os.getpid(), signal.SIGKILL))
fitted = here.train(here.Checkpoint(here.Path(path), "a"))
"""


@pytest.mark.slow
def test_kill_minus_nine_in_the_search_and_in_the_refit_changes_no_bit(uninterrupted, tmp_path, caplog):
    """Processes that are really killed, each in the middle of a step and of an epoch; this one ends what they began."""
    caplog.set_level("INFO")
    path = tmp_path / "a.safetensors"
    for steps_until_killed, said in ((10, ""), (8, "search from scratch goes on after step 9 of 75"), (16, "step 15")):
        command = [sys.executable, "-c", KILL, str(path), str(steps_until_killed)]
        killed = subprocess.run(command, capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert said in killed.stdout
    resumed = train(Checkpoint(path, "a"))
    assert "refit from scratch goes on after step 6 of 15" in caplog.text
    assert content(resumed) == content(uninterrupted)


def test_asked_to_stop_it_keeps_the_very_last_step(uninterrupted, tmp_path):
    path, steps = tmp_path / "a.safetensors", iter(range(1, 20))
    with pytest.raises(TrainingStopped, match="after step 11 of 75"):
        train(Checkpoint(path, "a", should_stop=lambda: next(steps) == 11))
    kept = Checkpoint(path, "a")
    assert kept.progress("search from scratch")["step"] == 11
    assert content(train(kept)) == content(uninterrupted)


def test_a_finished_training_is_not_repeated(uninterrupted, monkeypatch, tmp_path):
    path = tmp_path / "a.safetensors"
    train(Checkpoint(path, "a"))
    monkeypatch.setattr(MicroBatches, "backward", MicroBatches.backward)
    end_in_step(1, stop)
    assert content(train(Checkpoint(path, "a"))) == content(uninterrupted)


def half_trained(path):
    steps = iter(range(1, 20))
    with pytest.raises(TrainingStopped):
        train(Checkpoint(path, "a", should_stop=lambda: next(steps) == 11))


@pytest.mark.parametrize("damage", ["truncated", "empty", "a flipped bit", "another key", "no checkpoint at all"])
def test_a_checkpoint_that_is_not_whole_or_not_its_own_is_ignored(damage, uninterrupted, tmp_path, caplog):
    path = tmp_path / "a.safetensors"
    half_trained(path)
    whole = path.read_bytes()
    flipped = whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:]
    path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "a flipped bit": flipped}.get(damage, whole))
    if damage == "no checkpoint at all":
        path.write_text("{}")
    fitted = train(Checkpoint(path, "b" if damage == "another key" else "a"))
    assert "is ignored, the training begins anew" in caplog.text
    assert content(fitted) == content(uninterrupted)


def test_what_was_measured_is_not_measured_again(tmp_path):
    """Another thread count or precision would give other bits."""
    path = tmp_path / "a.safetensors"
    steps = iter(range(1, 99))
    measured = replace(CPU, threads=None)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # so that there are two counts to choose from
        with pytest.raises(TrainingStopped):
            train(Checkpoint(path, "a", should_stop=lambda: next(steps) == 12), device=measured, threads=None)
    finally:
        torch.set_num_threads(before)
    chosen = Checkpoint(path, "a").as_chosen(replace(measured, precision="bf16"))
    assert chosen.threads in (1, 2) and chosen.precision == "fp32"
    gpu = replace(measured, device="cuda", precision="bf16")
    assert Checkpoint(path, "a").as_chosen(gpu) == gpu, "on another kind of device all is chosen anew"


def test_old_checkpoints_go_and_young_ones_stay(tmp_path):
    (tmp_path / "old.safetensors").write_text("x")
    os.utime(tmp_path / "old.safetensors", (0, 0))
    (tmp_path / "young.safetensors").write_text("x")
    checkpoint = open_checkpoint(tmp_path, "a", should_stop=lambda: False)
    assert [file.name for file in tmp_path.iterdir()] == ["young.safetensors"]
    checkpoint.finish("search", {"weights": {"w": torch.ones(2)}})
    checkpoint.remove()
    assert not (tmp_path / "a.safetensors").exists()


def test_writing_takes_a_small_share_of_the_time(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint_module, "SPARING", 20)
    clock = iter([100.0, 101.0, 110.0, 121.5])
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: next(clock))
    checkpoint = Checkpoint(tmp_path / "a.safetensors", "a")
    checkpoint.keep("search", {})  # takes a second
    assert not checkpoint.is_due()
    assert checkpoint.is_due()


def test_a_full_disk_does_not_end_the_training(uninterrupted, monkeypatch, tmp_path, caplog):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_atomically", full)
    assert content(train(Checkpoint(tmp_path / "a.safetensors", "a"))) == content(uninterrupted)
    assert "could not be written: [Errno 28] No space left" in caplog.text
