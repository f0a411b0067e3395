"""Train a network: the visible loop, from windows to a calibrated forecaster.

With validation windows, training runs twice: a *search* stops early and finds the step count (and calibrates the
intervals, on windows it was not trained on); a *refit* then trains through validation with that count.

Shapes: B windows, H horizon.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lstm_model.compute.device import DeviceChoice
from lstm_model.compute.process_group import ALONE, World
from lstm_model.compute.threads import Threads, restore_threads
from lstm_model.contracts.bundle_card import Start
from lstm_model.contracts.loss_history import LossRecord
from lstm_model.contracts.settings import Plan
from lstm_model.contracts.windows_meta import Scaler
from lstm_model.forecast.calibrate import NOT_CALIBRATED
from lstm_model.forecast.forecaster import Forecaster, find_input_shape
from lstm_model.networks.models import LSTMModel, build_network
from lstm_model.training.checkpoint import Checkpoint, State, TrainingStopped
from lstm_model.training.loop import Loop
from lstm_model.training.microbatch import MicroBatches
from lstm_model.training.optimizers import AdamW
from lstm_model.training.progress import Progress, Reporter, Stage
from lstm_model.training.sampling import draw_batches
from lstm_model.training.tutorial import train_tutorial
from lstm_model.training.validation import Validation, calibrate_forecaster, make_loss_sum
from lstm_model.training.warm_start import Parent, shorten_training
from lstm_model.windows.in_memory import Batch, Windows
from lstm_model.windows.stream import StreamedWindows, join_windows

logger = logging.getLogger(__name__)

EVALUATIONS = 25
"""Looks at the validation loss in a full training; there, a checkpoint is kept."""
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls along a cosine to nearly nothing."""


@dataclass
class Fitted:
    """What a training gives."""

    forecaster: Forecaster
    history: list[LossRecord]
    best_step: int
    notes: list[str] = field(default_factory=list)
    best_loss: float = math.inf
    """The validation loss of the step that was kept."""
    first_loss: float | None = None
    """That of the parent's own weights."""
    searched: Forecaster | None = None
    """The forecaster of the search, which has not seen the validation, where a refit came after it."""
    start: Start = field(default_factory=Start)
    precision: str = "fp32"


@dataclass(frozen=True)
class _Setting:
    """What the stages of a training share; with a parent, they go on from its weights."""

    plan: Plan
    scaler: Scaler
    device: DeviceChoice
    report: Reporter
    threads: Threads
    checkpoint: Checkpoint | None = None
    parent: Parent | None = None
    world: World = ALONE

    def warm(self, parent: Parent) -> _Setting:
        training = shorten_training(self.plan.training)
        plan = self.plan.model_copy(update={"training": training})
        # The parent's weights read covariates on the scale that they were trained on.
        return replace(self, plan=plan, scaler=parent.scaler, parent=parent)

    def name(self, stage: Stage) -> str:
        return f"{stage} from {'the parent' if self.parent else 'scratch'}"

    def make_loss_sum(self, network: nn.Module) -> Callable[[Batch], Tensor]:
        return make_loss_sum(network, self.plan, self.device)

    def score(self, network: nn.Module, validation: Windows | None) -> Validation | None:
        """Return the validation loss of the network as a function; None without validation windows."""
        if validation is None:
            return None
        transform = self.plan.model.transform
        return Validation(validation, self.make_loss_sum(network), self.device, transform=transform, world=self.world)

    def resumes(self, loop: Loop, name: str) -> bool:
        """Restore the loop from the checkpoint; return whether there was something to restore."""
        state = self.checkpoint.progress(name) if self.checkpoint else None
        if state is not None:
            loop.restore(state)
        self.world.check_equal(loop.step, name)
        return state is not None

    def keep(self, loop: Loop, name: str, *, look: bool) -> None:
        """Write a checkpoint if one is due after a look, or before the training stops because it was asked to."""
        if self.checkpoint is None:
            return
        stop = self.world.any(self.checkpoint.should_stop())
        if stop or (look and loop.step < loop.steps and self.checkpoint.is_due()):
            self.checkpoint.choose(self.device, self.threads.count)
            self.checkpoint.keep(name, loop.state())
        if stop:
            logger.info("%s: stopped after step %d of %d", name, loop.step, loop.steps)
            raise TrainingStopped(f"{name}: stopped after step {loop.step} of {loop.steps}")

    def finish(self, loop: Loop, name: str) -> State:
        result = loop.result()
        if self.checkpoint is not None:
            self.checkpoint.choose(self.device, self.threads.count)
            self.checkpoint.finish(name, result)
        return result


def fit(
    train: Windows | StreamedWindows,
    validation: Windows | None,
    *,
    plan: Plan,
    scaler: Scaler,
    device: DeviceChoice,
    newest: Windows | StreamedWindows | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    parent: Parent | None = None,
    checkpoint: Checkpoint | None = None,
    world: World = ALONE,
) -> Fitted:
    """Train the network of `plan.model` with `plan.training`, going on from `parent` and from `checkpoint` if given.

    A refit trains on `newest` too: the validation, at the stride of the training; where it is None, on `validation`.

    The same seed on the same device and thread count gives the same weights, bit by bit on a CPU, however often the
    training was killed and begun again with its checkpoint. Torch's global random state and thread count are left as
    they were. An interrupt ends the training at once and leaves nothing but the checkpoint.

    Several processes, each with its `world`, take the steps that one would have taken, up to rounding and dropout. What
    they leave is the checkpoint, which the first of them writes: the same call in one process finds every stage
    finished there and puts the result together, calibrated. It goes on from theirs and they from its.

    Raises:
        ValueError: there are no training windows, or the loss is no longer a number.
        TrainingStopped: the checkpoint's `should_stop` said so.
    """
    if not len(train):
        raise ValueError("there are no training windows; use a shorter context or horizon, or bring longer series")
    validation = validation if validation is not None and len(validation) else None
    device = checkpoint.as_chosen(device) if checkpoint else device
    with _own_random_state(device), restore_threads():
        threads = Threads(plan.training.threads or device.threads, on_cpu=device.torch_device.type == "cpu")
        setting = _Setting(plan, scaler, device, Reporter(on_progress), threads, checkpoint, world=world)
        if isinstance(train, Windows) and plan.model.kind == "tutorial" and plan.training.batch_size >= len(train):
            fitted = _fit_tutorial(train, setting)
        else:
            fitted = _fit_direct(train, validation, setting, parent, newest)
        # Measured times go to the log, not into the notes: equal trainings must leave equal bytes.
        logger.info("%s; %s", device.reason, threads.note)
        fitted.precision = device.precision
        return fitted


def _fit_direct(
    train: Windows | StreamedWindows,
    validation: Windows | None,
    setting: _Setting,
    parent: Parent | None,
    newest: Windows | StreamedWindows | None,
) -> Fitted:
    fitted, setting = _search(train, validation, setting, parent)
    if validation is None:
        fitted.notes.append(f"no validation windows: all steps were taken, {NOT_CALIBRATED}")
        return fitted
    searched = fitted.forecaster
    if setting.world.size == 1:
        fitted.notes.append(calibrate_forecaster(searched, validation))
    if setting.plan.training.refit:
        fitted.searched = searched
        every = join_windows(train, validation if newest is None else newest)
        refitted = run_stage(every, None, setting, steps=fitted.best_step, stage="refit")
        fitted.forecaster = replace(
            refitted.forecaster, calibration=searched.calibration, mean_share=searched.mean_share
        )
        fitted.notes.append(f"refitted through validation with {fitted.best_step} steps")
    return fitted


def _search(
    train: Windows | StreamedWindows, validation: Windows | None, setting: _Setting, parent: Parent | None
) -> tuple[Fitted, _Setting]:
    """Run the search, warm or from scratch or both; return the better one, and the setting of its refit."""
    if parent is None:
        return run_stage(train, validation, setting, steps=setting.plan.training.max_steps), setting
    warm = setting.warm(parent)
    fitted = run_stage(train, validation, warm, steps=warm.plan.training.max_steps)
    if fitted.first_loss is not None:
        note = f"validation loss {fitted.first_loss:.4g} with the weights it started from, {fitted.best_loss:.4g}"
        fitted.notes.append(f"{note} after {fitted.best_step} steps")
    fitted.start = parent.start()
    if not parent.try_scratch:
        return fitted, warm
    scratch = run_stage(train, validation, setting, steps=setting.plan.training.max_steps)
    start = parent.start((fitted.best_loss, scratch.best_loss))
    fitted.start = scratch.start = start
    return (fitted, warm) if start.parent else (scratch, setting)


def run_stage(
    train: Windows | StreamedWindows,
    validation: Windows | None,
    setting: _Setting,
    *,
    steps: int,
    stage: Stage = "search",
) -> Fitted:
    """Run one stage, or read it from the checkpoint: `steps` steps, fewer if `validation` no longer improves."""
    spec, model = setting.plan.training, setting.plan.model
    shape = find_input_shape(train.outline, season=setting.plan.window.season)
    torch.manual_seed(spec.seed)
    network = build_network(model, shape, setting.scaler).to(setting.device.torch_device)
    if setting.parent is not None:
        network.load_state_dict(setting.parent.weights(stage))
    average = copy.deepcopy(network).eval()
    name = setting.name(stage)
    result = setting.checkpoint.result(name) if setting.checkpoint else None
    if result is None:
        score = setting.score(average, validation)
        loop = Loop(
            network=network,
            average=average,
            optimiser=_make_optimiser(network, weight_decay=spec.weight_decay),
            gradient=MicroBatches(
                network,
                setting.make_loss_sum(network),
                horizon=shape.horizon,
                transform=model.transform,
                world=setting.world,
            ),
            steps=steps,
        )
        _train(loop, train, setting, score=score, stage=stage)
        result = setting.finish(loop, name)
    average.load_state_dict(result["weights"])
    kept = {key: result[key] for key in ("history", "best_step", "best_loss", "first_loss")}
    return Fitted(Forecaster(average, model, shape, setting.scaler), **kept)


def _train(
    loop: Loop, train: Windows | StreamedWindows, setting: _Setting, *, score: Callable[[], float] | None, stage: Stage
) -> None:
    """Train from the step that `loop` is at."""
    spec, world, name = setting.plan.training, setting.world, setting.name(stage)
    every = max(1, spec.max_steps // EVALUATIONS)
    if setting.resumes(loop, name):
        logger.info("%s goes on after step %d of %d", name, loop.step, loop.steps)
    elif score is not None and setting.parent is not None:
        loop.judge(score())  # the parent's own weights stay where no step improves on them
    loop.network.train()
    for batch in draw_batches(train, spec, setting.device, world, first=loop.step, steps=loop.steps):
        loop.step += 1
        world.draw(spec.seed, loop.step)
        rate = compute_learning_rate(loop.step, spec.max_steps, spec.learning_rate)
        with setting.threads.step():
            loop.losses.append(loop.gradient.backward(batch))
            nn.utils.clip_grad_norm_(loop.network.parameters(), spec.gradient_clip)
            for group in loop.optimiser.param_groups:
                group["lr"] = rate
            loop.optimiser.step()
            loop.update_average()
        look = loop.step % every == 0 or loop.step == loop.steps
        if look:
            loop.look(rate, score)
        if setting.report.due(loop.step, loop.steps):
            setting.report(loop.progress(stage))
        if score is not None and loop.step - loop.best_step >= spec.patience * every:
            break
        setting.keep(loop, name, look=look)


def _fit_tutorial(train: Windows, setting: _Setting) -> Fitted:
    """Run the tutorial: `max_steps` full-batch epochs on the training windows only, no refit.

    Its hundred epochs take seconds: it keeps no checkpoint, and a killed one starts again.
    """
    spec, model = setting.plan.training, setting.plan.model
    torch.manual_seed(spec.seed)
    shape = find_input_shape(train, season=setting.plan.window.season)
    network = build_network(model, shape).to(setting.device.torch_device)
    assert isinstance(network, LSTMModel)
    losses = train_tutorial(
        network,
        train.to(setting.device.torch_device),
        normalisation=model.normalisation,
        learning_rate=spec.learning_rate,
        epochs=spec.max_steps,
        report=setting.report,
    )
    history = [
        LossRecord(step=step, train_loss=loss, validation_loss=None, learning_rate=spec.learning_rate)
        for step, loss in enumerate(losses, start=1)
    ]
    return Fitted(Forecaster(network.eval(), model, shape), history, spec.max_steps, ["the tutorial's own loop"])


def compute_learning_rate(step: int, max_steps: int, peak: float) -> float:
    """Return the rate of a step in one cycle: a linear warm-up, then a cosine down to a hundredth."""
    warm = max(1.0, WARM_UP * max_steps)
    if step <= warm:
        return peak * step / warm
    done = (step - warm) / max(1.0, max_steps - warm)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _make_optimiser(network: nn.Module, *, weight_decay: float) -> torch.optim.Optimizer:
    """Make an AdamW that decays matrices only, not biases."""
    groups = [
        {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, fused=True)


@contextmanager
def _own_random_state(device: DeviceChoice) -> Iterator[None]:
    """Draw from the seed without touching the caller's random state."""
    at = device.torch_device
    with torch.random.fork_rng(devices=[at.index or 0] if at.type == "cuda" else []):
        yield
