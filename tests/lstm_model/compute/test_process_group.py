"""Two real processes train as one does: gloo, on this machine."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lstm_model.compute.device import DeviceChoice
from lstm_model.compute.process_group import ALONE, World, WorldError
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.training import checkpoint as checkpoint_module
from lstm_model.training.checkpoint import Checkpoint, TrainingStopped
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows

HERE = Path(__file__)
CPU = DeviceChoice("cpu", "fp32", 1, "a test")
CONTEXT, HORIZON = 24, 6
TOLERANCE = 1e-3
"""Relative, of every loss of the curve: the same sums in another order, and 20 steps for the difference to grow."""
checkpoint_module.SPARING = 0  # written at every look, here and in the processes that import this


def plan(dropout: float = 0.0, **training) -> Plan:
    window = {"context": CONTEXT, "horizon": HORIZON, "season": 12, "frequency": "1", "stride": 1}
    splits = {"evaluation_stride": 1, "test_steps": 6, "validation_steps": 24, "align": "calendar", "pad_short": True}
    network = {"kind": "mixture", "hidden_dim": 8, "layer_dim": 2, "segment": 6, "dropout": dropout}
    settings = {"seed": 0, "device": "cpu", "precision": "fp32", "threads": 1, "max_steps": 20, "batch_size": 31}
    loop = {"learning_rate": 0.01, "weight_decay": 0.01, "gradient_clip": 1.0, "patience": 99, "refit": True}
    return Plan(
        window=WindowSpec(**window, **splits),
        model=ModelSpec(**network, normalisation="mean_std", levels=(0.8,)),
        training=TrainingSpec(**{**settings, **loop, **training}),
    )


def splits() -> tuple[Windows, Windows]:
    """With gaps, so that the ranks' shares have different numbers of targets."""
    rng, t = np.random.default_rng(0), np.arange(300)
    series = [10 * np.sin(2 * np.pi * t / 12) + rng.normal(size=300) for _ in range(2)]
    series[0][rng.choice(250, 50, replace=False)] = np.nan
    cut = {"context": CONTEXT, "horizon": HORIZON}
    train = Windows.from_arrays([y[:250] for y in series], **cut)
    return train, Windows.from_arrays([y[250 - CONTEXT :] for y in series], **cut)


def train(checkpoint=None, world: World = ALONE, dropout: float = 0.0):
    return fit(*splits(), plan=plan(dropout), scaler={}, device=CPU, checkpoint=checkpoint, world=world)


def stops_at(step: int | None):
    """Says stop at a step of this process."""
    asked = iter(range(1, 10**6))
    return lambda: next(asked) == step


RANK = f"""
import os, sys
sys.path[:0] = [{str(HERE.parent)!r}, {str(HERE.parents[3])!r}]
import torch, {HERE.stem} as here
rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), here.Path(sys.argv[3])
stop, dropout = map(float, sys.argv[4:])
torch.distributed.init_process_group("gloo", init_method=f"file://{{folder}}/meet{{stop}}", rank=rank, world_size=size)
world = here.World(rank, size)
asked = here.stops_at(stop) if rank == size - 1 else bool
checkpoint = here.Checkpoint(folder / "a.safetensors", "a", should_stop=asked, writes=world.leads)
try:
    here.train(checkpoint, world, dropout)
except here.TrainingStopped as stopped:
    print(stopped)
torch.distributed.destroy_process_group()
sys.stdout.flush()
os._exit(0)  # destructors of torch abort a process that used gloo, now and then, once its work is done
"""


def train_in(size: int, folder: Path, *, stop: int = 0, dropout: float = 0.0) -> list[str]:
    """What each of `size` processes says; the last of them is asked to stop at a step."""
    commands = [
        [sys.executable, "-c", RANK, str(r), str(size), str(folder), str(stop), str(dropout)] for r in range(size)
    ]
    ranks = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    ended = [(*rank.communicate(timeout=120), rank.returncode) for rank in ranks]
    assert all(code == 0 for *_, code in ended), [errors[-2000:] for _, errors, _ in ended]
    return [said for said, *_ in ended]


def result(folder: Path, dropout: float = 0.0):
    """What one process puts together of the checkpoint, in which every stage is finished."""
    kept = Checkpoint(folder / "a.safetensors", "a")
    assert kept.result("search from scratch") and kept.result("refit from scratch")
    return train(kept, dropout=dropout)


def curve(fitted) -> np.ndarray:
    return np.array([[row["train_loss"], row["validation_loss"]] for row in fitted.history])


def weights(fitted) -> torch.Tensor:
    return torch.cat([p.flatten() for p in fitted.forecaster.network.parameters()])


@pytest.fixture(scope="module")
def alone():
    return train()


def test_two_processes_have_the_loss_curve_of_one(alone, tmp_path):
    train_in(2, tmp_path)
    fitted = result(tmp_path)
    assert len(curve(fitted)) == 20
    np.testing.assert_allclose(curve(fitted), curve(alone), rtol=TOLERANCE)
    assert fitted.best_step == alone.best_step
    torch.testing.assert_close(weights(fitted), weights(alone), rtol=0.02, atol=2e-3)
    np.testing.assert_allclose(
        fitted.forecaster.calibration.offsets_JH, alone.forecaster.calibration.offsets_JH, rtol=0.02, atol=0.02
    )


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_training_goes_on_in_another_number_of_processes(before, after, alone, tmp_path):
    """The last of them is asked to stop, and all do."""
    for size, stop in ((before, 7), (after, 0)):
        said = train_in(size, tmp_path, stop=stop) if size > 1 else [stopped_alone(tmp_path, stop)]
        assert all(("stopped after step 7 of 20" in text) == bool(stop) for text in said)
    np.testing.assert_allclose(curve(result(tmp_path)), curve(alone), rtol=TOLERANCE)


def stopped_alone(folder: Path, stop: int) -> str:
    try:
        train(Checkpoint(folder / "a.safetensors", "a", should_stop=stops_at(stop)))
    except TrainingStopped as stopped:
        return str(stopped)
    return ""


def test_stopped_and_going_on_with_dropout_two_processes_give_the_same_bits(tmp_path):
    """Their dropout is drawn from seed, rank and step: no checkpoint holds it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    train_in(2, tmp_path / "a", dropout=0.3)
    train_in(2, tmp_path / "b", dropout=0.3, stop=9)
    train_in(2, tmp_path / "b", dropout=0.3)
    one, other = result(tmp_path / "a", 0.3), result(tmp_path / "b", 0.3)
    assert torch.equal(weights(one), weights(other)) and one.history == other.history


def test_a_batch_smaller_than_the_world_is_an_error_that_says_what_to_do():
    with pytest.raises(WorldError, match=r"2 windows cannot be shared by 3 processes; use fewer \(training.workers\)"):
        World(0, 3).share(torch.arange(2))
    shares = [World(rank, 3).share(torch.arange(10)).tolist() for rank in range(3)]
    assert shares == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


def test_alone_nothing_of_torch_distributed_is_asked(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(HERE.parents[3])!r})\nimport torch\n"
    code += "from lstm_model.compute.process_group import ALONE\n"
    code += "used = set(sys.modules)\nt = torch.ones(2)\nALONE.add_up([t])\n"
    code += "print(t.tolist(), ALONE.total(3.0), ALONE.any(True), set(sys.modules) - used)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[1.0, 1.0] [3.0] True set()\n"
