"""A training that Ray Train shares among real processes, one of which is really killed."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.settings import Covariates, ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.contracts.windows_meta import write_windows_meta
from lstm_model.series.series_table import make_empty_covariates
from lstm_model.training.checkpoint import Checkpoint, TrainingStopped
from lstm_model.training.dataset import load_training
from lstm_model.training.train import fit
from lstm_model.windows import segments
from lstm_model.windows.layout import Segment
from tasks.runtime.distributed_training import DistributedTrainingError, SharedTraining, fit_on_workers
from tests.factories import windows_meta

CPU = DeviceChoice("cpu", "fp32", 1, "a test")
CONTEXT, HORIZON = 24, 6


def plan(**training) -> Plan:
    window = {"context": CONTEXT, "horizon": HORIZON, "season": 12, "frequency": "1", "stride": 1}
    splits = {"evaluation_stride": 1, "test_steps": 6, "validation_steps": 24, "align": "calendar", "pad_short": True}
    network = {"kind": "mixture", "hidden_dim": 8, "layer_dim": 1, "segment": 6, "dropout": 0.0, "levels": (0.8,)}
    settings = {"seed": 0, "device": "cpu", "precision": "fp32", "threads": 1, "max_steps": 50, "batch_size": 32}
    loop = {"learning_rate": 0.01, "weight_decay": 0.01, "gradient_clip": 1.0, "patience": 99, "refit": True}
    return Plan(
        window=WindowSpec(**window, **splits),
        model=ModelSpec(**network, normalisation="mean_std"),
        training=TrainingSpec(**{**settings, **loop, "workers": 2, **training}),
    )


def job(folder: Path, **training) -> SharedTraining:
    """On four short series."""
    rng, t = np.random.default_rng(0), np.arange(200)
    opened = [segments.SplitWriter(folder, split, plan().window, Covariates()) for split in ("train", "validation")]
    with opened[0] as train, opened[1] as validation:
        for name in "abcd":
            y = np.asarray(10 * np.sin(t / 2) + rng.normal(size=200), np.float32)
            for writer, first, last in ((train, 0, 176), (validation, 152, 200)):
                part, none = y[first:last], make_empty_covariates(last - first)
                writer.add(Segment(name, first, 0, part, np.isfinite(part), none, none))
    each = {split: segments.make_layout(plan().window, split) for split in ("train", "validation")}
    by_split = {name: {s: getattr(at, name) for s, at in each.items()} for name in ("stride", "lead", "min_context")}
    geometry = {"context": CONTEXT, "horizon": HORIZON, "frequency": "1"}
    write_windows_meta(folder, windows_meta(**geometry, **by_split))
    path = folder / "checkpoints" / "a.safetensors"
    return SharedTraining((folder,), plan(**training), {}, CPU, path, "a" * 16)


def fitted(told: SharedTraining, checkpoint: Checkpoint | None = None):
    data = load_training(told.folders, told.plan.window, told.plan.training)
    return fit(
        data.train, data.validation, newest=data.newest, plan=told.plan, scaler={}, device=CPU, checkpoint=checkpoint
    )


def curve(training) -> np.ndarray:
    return np.array([[row["train_loss"], row["validation_loss"]] for row in training.history])


def workers() -> list[int]:
    """Ray's training workers among this process' own descendants: those of other runs on the machine are not ours."""
    found, parents = [], {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            parents[int(status.parent.name)] = int(fields["PPid"])
            if b"TrainWorker" in (status.parent / "cmdline").read_bytes():
                found.append(int(status.parent.name))
        except OSError:  # it has ended
            continue

    def is_ours(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return sorted(filter(is_ours, found))


@pytest.fixture
def ray():
    return pytest.importorskip("ray", reason="Ray is not installed: pip install 'evergreen-forecast[ray]'")


@pytest.mark.slow
def test_two_workers_train_as_one_process_and_survive_that_one_is_killed(ray, tmp_path):
    told, seen, killed = job(tmp_path, max_steps=150), [], []

    def kill(progress) -> None:
        """Once the training is well under way."""
        seen.append(progress.step)
        if not killed and told.path.exists() and (ours := workers()):
            killed.append(ours[-1])
            os.kill(killed[0], signal.SIGKILL)

    began = time.monotonic()
    fit_on_workers(told, tmp_path, stop=threading.Event(), on_progress=kill)
    print(f"{time.monotonic() - began:.1f} s with a killed worker; killed {killed}")
    assert killed and seen[-1] > 0
    checkpoint = Checkpoint(told.path, told.key)
    assert checkpoint.result("search from scratch") and checkpoint.result("refit from scratch")
    np.testing.assert_allclose(curve(fitted(told, checkpoint)), curve(fitted(told)), rtol=0.02)
    assert not ray.is_initialized()


@pytest.mark.slow
def test_asked_to_stop_they_keep_where_they_are(ray, tmp_path):
    told, stop = job(tmp_path, max_steps=100_000), threading.Event()
    with pytest.raises(TrainingStopped, match="the shared training was stopped"):
        fit_on_workers(told, tmp_path, stop=stop, on_progress=lambda progress: stop.set())
    assert Checkpoint(told.path, told.key).progress("search from scratch")["step"] > 0


@pytest.mark.slow
def test_what_fails_again_and_again_is_an_error_that_says_where_all_is_kept(ray, tmp_path):
    told = job(tmp_path, batch_size=1)
    with pytest.raises(DistributedTrainingError, match=r"(?s)failed 3 times.*1 windows cannot be shared.*is kept in"):
        fit_on_workers(told, tmp_path, stop=threading.Event())


def test_without_ray_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match=r"training.workers asks for Ray.*pip install 'evergreen-forecast\[ray\]'"):
        fit_on_workers(job(tmp_path), tmp_path, stop=threading.Event())
