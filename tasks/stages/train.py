"""Train on the device that is there, and keep the forecaster as a bundle; a killed training goes on where it was."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.compute.interrupts import run_interruptibly
from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.contracts.stage_meta import ModelMeta
from lstm_model.contracts.windows_meta import read_windows_meta
from lstm_model.lifecycle.stage_outputs import list_folders
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import stage_key
from tasks.runtime.distributed_training import SharedTraining, fit_on_workers
from tasks.runtime.logs import forwarded_logs
from tasks.runtime.progress import shown_progress

if TYPE_CHECKING:
    from lstm_model.training.checkpoint import Checkpoint
    from lstm_model.training.dataset import TrainingData
    from lstm_model.training.progress import Progress
    from lstm_model.training.train import Fitted

LOCKS = Path(tempfile.gettempdir()) / "evergreen-gpu-locks"
"""One place for the whole machine: two stores must not share a GPU either."""


@task(name="train", task_run_name="train", cache_policy=NO_CACHE)
def train(
    windows: Artifact,
    spec: WindowSpec,
    model: ModelSpec,
    training: TrainingSpec,
    store: Store,
    parent: Artifact | None = None,
    ray_address: str = "local",
) -> Artifact:
    """A model as an Artifact, with the loss curve beside it; `num_rows` is the number of training windows.

    Args:
        windows: what to train on.
        spec: how they were cut.
        model: the network.
        training: the loop.
        store: of this problem.
        parent: the bundle to go on from where it fits; outside the cache key.
        ray_address: of the cluster where `training.workers` run, or local; outside the cache key.
    """
    from lstm_model.compute.device import hold_gpus, select_device
    from lstm_model.training.checkpoint import open_checkpoint
    from lstm_model.training.dataset import load_training
    from lstm_model.training.leakage import Seen
    from lstm_model.training.trained_model import describe_model, save_model
    from lstm_model.training.warm_start import choose_start, find_ancestor

    folders, plan = list_folders(windows, store), Plan(window=spec, model=model, training=training)
    meta = read_windows_meta(store.path(windows))
    data = load_training(folders, spec, training)
    # However many processes train: a training that some began goes on in others.
    alone = training.model_copy(update={"workers": 1})
    key = stage_key(train, {"windows": windows, "spec": spec, "model": model, "training": alone})
    digest = hashlib.sha256(f"{key} {parent.sha256 if parent else None}".encode()).hexdigest()
    with forwarded_logs("lstm_model"):
        parent = find_ancestor(parent, windows, plan, store)
        origin, start = choose_start(parent, store, plan=plan, meta=meta, splits=data.covers)
        device = select_device(training.device, training.precision, lock_folder=LOCKS)
        with hold_gpus(device, LOCKS, every=training.workers > 1), shown_progress("training") as on_progress:
            stop = Event()
            checkpoint = open_checkpoint(store.root / "checkpoints", digest, should_stop=stop.is_set)
            job = SharedTraining(tuple(folders), plan, meta.scaler, device, checkpoint.path, checkpoint.key, origin)
            fitted = run_interruptibly(
                partial(_fit, job, data, checkpoint, on_progress, stop, ray_address, store), stop
            )
    fitted.notes += data.notes
    start = fitted.start if origin else start
    fitted.notes += [start.in_words()] if parent else []
    with store.create("model") as draft:
        ancestor = origin.seen if origin and start.parent else None
        seen = Seen.in_windows(*data.covers, by_series=spec.align == "end", ancestor=ancestor)
        card = describe_model(windows.sha256, meta, fitted, device, seen=seen, start=start)
        save_model(draft.folder, fitted, card)
        draft.num_rows = len(data.train)
        draft.meta = ModelMeta.model_validate(card.model_dump()).to_json()
    checkpoint.remove()
    return draft.artifact


def _fit(
    job: SharedTraining,
    data: TrainingData,
    checkpoint: Checkpoint,
    on_progress: Callable[[Progress], None],
    stop: Event,
    ray_address: str,
    store: Store,
) -> Fitted:
    """Train here; where several processes share the training, put together what they have left in the checkpoint."""
    from lstm_model.training.checkpoint import Checkpoint
    from lstm_model.training.train import fit

    # The tutorial's own loop takes whole epochs as one batch, one after the other.
    if job.plan.training.workers > 1 and job.plan.model.kind != "tutorial":
        with store.scratch("ray") as folder:
            fit_on_workers(job, folder, stop=stop, on_progress=on_progress, address=ray_address)
        checkpoint = Checkpoint(job.path, job.key, should_stop=stop.is_set)
    return fit(
        data.train,
        data.validation,
        newest=data.newest,
        plan=job.plan,
        scaler=job.scaler,
        device=job.device,
        on_progress=on_progress,
        parent=job.parent,
        checkpoint=checkpoint,
    )
