"""Share one training among several processes, through Ray Train.

Ray starts the processes, connects them (gloo on CPUs, NCCL on GPUs), and starts them anew when one dies; each runs the
same `fit`. What they leave is the training's checkpoint, which the first of them writes: a group that is started anew
goes on from it, and so does a training alone.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from lstm_model.contracts.settings import Plan
from lstm_model.training.progress import Progress
from tasks.runtime.executors import connect, is_connected

if TYPE_CHECKING:
    from lstm_model.compute.device import DeviceChoice
    from lstm_model.training.warm_start import Parent

logger = logging.getLogger(__name__)

MAX_FAILURES = 2
"""So often a group of processes is started anew after one of them died."""
MAX_STARTS = 5
"""So often the processes may find no room in the cluster, each time for half a minute."""
STOP, PROGRESS = "stop", "progress.json"
"""In the folder of a shared training: asks it to stop; says how far it is."""
LOOK_SECONDS = 1.0


class DistributedTrainingError(RuntimeError):
    """The processes died more often than is forgiven, or could not be started; the message says why."""


@dataclass(frozen=True)
class SharedTraining:
    """What every process is told. The folders must be reachable on every machine that takes part."""

    folders: tuple[Path, ...]
    """Of the windows."""
    plan: Plan
    scaler: dict[str, list[list[float]]]
    device: DeviceChoice
    path: Path
    """Of the checkpoint."""
    key: str
    parent: Parent | None = None


def fit_on_workers(
    job: SharedTraining,
    folder: Path,
    *,
    stop: Event,
    on_progress: Callable[[Progress], None] | None = None,
    address: str = "local",
) -> None:
    """Train in `job.plan.training.workers` processes, until the checkpoint holds every stage's result.

    Args:
        job: the training.
        folder: for what they tell each other; on all machines that take part.
        stop: set, the processes keep where they are and end.
        on_progress: told how far they are.
        address: of a Ray cluster; local starts one on this machine, for as long as the training takes.

    Raises:
        TrainingStopped: `stop` was set.
        DistributedTrainingError: too few CPUs, the processes died too often, or what they made is not where this
            process looks for it; the checkpoint stays.
        ValueError: Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """
    from lstm_model.training.checkpoint import Checkpoint, TrainingStopped

    job = _resolved(job)
    with _ray(job, address), _watching(folder, stop, on_progress):
        _run(job, folder)
    if stop.is_set():
        raise TrainingStopped("the shared training was stopped; its checkpoint is of the last step")
    if not Checkpoint(job.path, job.key).is_finished:
        raise DistributedTrainingError(
            f"the training in {job.plan.training.workers} processes has ended, but {job.path} does not hold its "
            "result: they ran on machines that do not share this folder. Keep the store where all machines reach it "
            "under this path, or set training.workers to 1"
        )


def _resolved(job: SharedTraining) -> SharedTraining:
    """With what this machine decides: the others must not decide otherwise."""
    from lstm_model.training.dataset import compute_memory_limit

    training = job.plan.training
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = training.threads or max(1, cores // training.workers)
    training = training.model_copy(update={"memory_mib": compute_memory_limit(training) // 2**20})
    plan = job.plan.model_copy(update={"training": training})
    return replace(job, plan=plan, device=replace(job.device, threads=threads))


def _run(job: SharedTraining, folder: Path) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer

    workers = job.plan.training.workers
    patience: dict[str, Any] = {"controller_failure_limit": MAX_STARTS}
    trainer = TorchTrainer(
        train_on_worker,
        train_loop_config={"job": job, "folder": folder},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=job.device.torch_device.type == "cuda"),
        run_config=RunConfig(
            name="ray",
            storage_path=str(folder),
            # Left out, Ray waits for ever for processes that the cluster has no room for.
            failure_config=FailureConfig(max_failures=MAX_FAILURES, **patience),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise DistributedTrainingError(
            f"the training in {workers} processes failed {MAX_FAILURES + 1} times, at last with: {error}. What they "
            f"reached is kept in {job.path}: start it again, or with training.workers 1, and it goes on from there"
        ) from error


def train_on_worker(told: dict[str, Any]) -> None:
    """What each process runs."""
    import ray.train.torch

    from lstm_model.compute.process_group import World
    from lstm_model.training.checkpoint import Checkpoint, TrainingStopped
    from lstm_model.training.dataset import load_training
    from lstm_model.training.train import fit

    job, folder = told["job"], told["folder"]
    context = ray.train.get_context()
    device = replace(job.device, device=str(ray.train.torch.get_device()))
    world = World(context.get_world_rank(), context.get_world_size(), device.device)
    data = load_training(job.folders, job.plan.window, job.plan.training, world=world)
    asked = (folder / STOP).exists if world.leads else bool
    checkpoint = Checkpoint(job.path, job.key, should_stop=asked, writes=world.leads)
    try:
        fit(
            data.train,
            data.validation,
            newest=data.newest,
            plan=job.plan,
            scaler=job.scaler,
            device=device,
            on_progress=_Written(folder) if world.leads else None,
            parent=job.parent,
            checkpoint=checkpoint,
            world=world,
        )
    except TrainingStopped as stopped:
        logger.info("%s", stopped)
        return
    if not checkpoint.is_written:
        raise OSError(f"the result of the training could not be written to {job.path}; free some space on its disk")


class _Written:
    """Tells how far a training is to whoever reads the file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, progress: Progress) -> None:
        draft = self._folder / f".{PROGRESS}"
        draft.write_text(json.dumps(asdict(progress)))
        draft.replace(self._folder / PROGRESS)


@contextmanager
def _watching(folder: Path, stop: Event, on_progress: Callable[[Progress], None] | None) -> Iterator[None]:
    """While inside, `stop` reaches the processes and their progress reaches `on_progress`."""
    over = Event()

    def watch() -> None:
        shown = ""
        while not over.wait(LOOK_SECONDS):
            try:
                if stop.is_set():
                    (folder / STOP).touch()
                text = (folder / PROGRESS).read_text() if (folder / PROGRESS).exists() else ""
                if on_progress is not None and text != shown:
                    shown = text
                    on_progress(Progress(**json.loads(text)))
            except Exception as error:  # a disk or a server that is away must not make the training deaf to `stop`
                logger.warning("the progress could not be shown, or a stop not be told, and is tried again: %s", error)

    watcher = Thread(target=watch, name="shared training", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@contextmanager
def _ray(job: SharedTraining, address: str) -> Iterator[None]:
    """Ray, connected, with a CPU for each process, and a GPU where they train on GPUs: it would wait for them.

    A cluster that was started for this training ends with it; one that the flow's stages use stays.
    """
    workers, before = job.plan.training.workers, is_connected()
    kinds = ("CPU", "GPU") if job.device.torch_device.type == "cuda" else ("CPU",)
    connect(address, cpus=max(workers, os.cpu_count() or 1))
    import ray

    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        for kind in kinds:
            if resources.get(kind, 0) < workers:
                raise DistributedTrainingError(
                    f"training.workers is {workers}, but the Ray cluster has {resources.get(kind, 0):g} {kind}s; use "
                    "fewer, or add a node"
                )
        yield
    finally:
        if not before:
            ray.shutdown()
