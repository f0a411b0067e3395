"""Train on the device that is there, and keep the forecaster as a bundle; a killed training goes on where it was."""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from prefect import task
from prefect.logging import get_run_logger

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.bundle_card import ModelCard, Start, read_bundle_card
from lstm_model.contracts.settings import ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.contracts.stage_meta import ModelMeta
from lstm_model.contracts.windows_meta import WindowsMeta, read_windows_meta
from lstm_model.lifecycle.registry import BUNDLE
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import STAGE_POLICY, stage_key
from tasks.runtime.distributed_training import SharedTraining, fit_on_workers
from tasks.runtime.logs import forwarded_logs
from tasks.runtime.progress import shown_progress
from tasks.stages.stage_outputs import HISTORY, folders_of

if TYPE_CHECKING:
    from lstm_model.compute.device import DeviceChoice
    from lstm_model.training.checkpoint import Checkpoint
    from lstm_model.training.dataset import TrainingData
    from lstm_model.training.leakage import Seen
    from lstm_model.training.progress import Progress
    from lstm_model.training.train import Fitted
    from lstm_model.training.warm_start import Parent
    from lstm_model.windows.in_memory import Windows

Result = TypeVar("Result")

LOCKS = Path(tempfile.gettempdir()) / "evergreen-gpu-locks"
"""One place for the whole machine: two stores must not share a GPU either."""
LISTEN_SECONDS = 1.0


@task(name="train", task_run_name="train", cache_policy=STAGE_POLICY)
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
    from lstm_model.compute.device import select_device
    from lstm_model.training.checkpoint import open_checkpoint
    from lstm_model.training.dataset import load_training
    from lstm_model.training.leakage import Seen

    folders, plan = folders_of(windows, store), Plan(window=spec, model=model, training=training)
    meta = read_windows_meta(store.path(windows))
    data = load_training(folders, spec, training)
    # However many processes train: a training that some began goes on in others.
    alone = training.model_copy(update={"workers": 1})
    key = stage_key(train, {"windows": windows, "spec": spec, "model": model, "training": alone})
    digest = hashlib.sha256(f"{key} {parent.sha256 if parent else None}".encode()).hexdigest()
    with forwarded_logs("lstm_model"):
        parent = _before(parent, windows, plan, store)
        origin, start = _origin(parent, store, plan=plan, meta=meta, splits=data.covers)
        device = select_device(training.device, training.precision, lock_folder=LOCKS)
        with _held(device, training), shown_progress("training") as on_progress:
            stop = Event()
            checkpoint = open_checkpoint(store.root / "checkpoints", digest, should_stop=stop.is_set)
            job = SharedTraining(tuple(folders), plan, meta.scaler, device, checkpoint.path, checkpoint.key, origin)
            fitted = listening(partial(_fit, job, data, checkpoint, on_progress, stop, ray_address, store), stop)
    fitted.notes += data.notes
    start = fitted.start if origin else start
    fitted.notes += [start.in_words()] if parent else []
    with store.create("model") as draft:
        ancestor = origin.seen if origin and start.parent else None
        seen = Seen.in_windows(*data.covers, by_series=spec.align == "end", ancestor=ancestor)
        card = card_of(windows, meta, fitted, device, seen=seen, start=start)
        _save(draft.folder, fitted, card)
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


@contextmanager
def _held(device: DeviceChoice, training: TrainingSpec) -> Iterator[None]:
    """The GPU that trains; all of this machine's, in one order, where several processes train."""
    import torch

    from lstm_model.compute.device import exclusive

    several = training.workers > 1 and device.torch_device.type == "cuda"
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if several else [device.device]
    with ExitStack() as locks:
        for name in names:
            locks.enter_context(exclusive(replace(device, device=name), LOCKS))
        yield


def listening(work: Callable[[], Result], stop: Event) -> Result:
    """Do the work in a thread beside this one, which so hears signals and timeouts at once and sets `stop` for it.

    An exception that a signal's handler raises would end a step half-way; here it waits until the work has kept where
    it is. The handler itself stays: Prefect ends a cancelled run gracefully only while that of SIGTERM is its own.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="training") as pool:
        pool.submit(int).result()  # the thread is there: an exception in its start would leave it behind
        try:
            future = pool.submit(copy_context().run, work)
            while not wait([future], timeout=LISTEN_SECONDS).done:
                pass
            return future.result()
        finally:
            stop.set()


def _before(bundle: Artifact | None, windows: Artifact, plan: Plan, store: Store) -> Artifact | None:
    """The bundle to go on from; or, where this training has made it, what that went on from: the same bytes again."""
    try:
        card = read_bundle_card(store.path(bundle)) if bundle else None
    except ValueError:
        return bundle  # what is wrong with it is told where it is read
    if card is None or (card.windows_sha256, card.plan) != (windows.sha256, plan.model_dump(mode="json")):
        return bundle
    sha256 = card.warm and card.warm.parent
    return Artifact(kind=BUNDLE, sha256=sha256, num_rows=0) if sha256 else None


def _origin(
    bundle: Artifact | None, store: Store, *, plan: Plan, meta: WindowsMeta, splits: tuple[Windows, Windows]
) -> tuple[Parent | None, Start]:
    """The weights to go on from, or why there are none."""
    from lstm_model.training.warm_start import ColdStartError, find_parent

    if bundle is None:
        return None, Start()
    parent: Parent | None
    try:
        parent = find_parent(bundle, store, plan=plan, meta=meta, splits=splits)
    except ColdStartError as error:
        parent, start = None, Start(reason=str(error))
    else:
        start = parent.start()
    get_run_logger().info("%s", start.in_words())
    return parent, start


def _save(folder: Path, fitted: Fitted, card: ModelCard) -> None:
    from safetensors.torch import save_file

    from lstm_model.forecast.bundle import save_bundle
    from lstm_model.training.warm_start import SEARCHED

    save_bundle(folder, fitted.forecaster, card)
    (folder / HISTORY).write_text(json.dumps(fitted.history, indent=1))
    if fitted.searched is not None:
        weights = fitted.searched.network.state_dict()
        save_file({name: t.detach().cpu().contiguous() for name, t in weights.items()}, folder / SEARCHED)


def card_of(
    windows: Artifact, meta: WindowsMeta, fitted: Fitted, device: DeviceChoice, *, seen: Seen, start: Start
) -> ModelCard:
    """Return where a model comes from: what it was trained on, how, and what it has seen."""
    return ModelCard(
        **dict(seen.card()),
        windows_sha256=windows.sha256,
        cutoffs=meta.cutoffs,
        frequency=meta.frequency,
        covariates=meta.covariates,
        best_step=fitted.best_step,
        notes=fitted.notes,
        device=device.torch_device.type,
        precision=fitted.precision,
        versions={"python": platform.python_version(), **{name: version(name) for name in ("torch", "numpy")}},
        warm=start,
    )
