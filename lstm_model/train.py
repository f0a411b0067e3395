"""The training loop: windows in, a calibrated forecaster out.

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
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstm_model.calibrate import conformal_offsets
from lstm_model.config import Plan
from lstm_model.device import DeviceChoice, fits_on_device
from lstm_model.forecaster import Forecaster, Scaler, shape_of
from lstm_model.losses import count_targets, pinball_sum
from lstm_model.microbatch import MicroBatches
from lstm_model.models import LSTMModel, build_network, forecast_batch
from lstm_model.progress import Progress, Reporter, Stage, checked_mean
from lstm_model.threads import Threads, restored_threads
from lstm_model.tutorial import train_tutorial
from lstm_model.windows import Batch, Windows, concat

logger = logging.getLogger(__name__)

EVALUATIONS = 25
"""Looks at the validation loss in a full training."""
VALIDATION_WINDOWS = 2048
"""A look takes at most this many windows, evenly spread; calibration takes `CALIBRATION_WINDOWS`."""
CALIBRATION_WINDOWS = 20_000
WARM_UP = 0.1
"""Share of the steps in which the learning rate rises; then it falls along a cosine to nearly nothing."""
AVERAGE_DECAY = 0.99
LARGE = 20_000_000
"""Above this many windows they are drawn with replacement: a permutation would take gigabytes."""


@dataclass
class Fitted:
    """What a training gives: `history` rows have step, train_loss, validation_loss and learning_rate."""

    forecaster: Forecaster
    history: list[dict[str, Any]]
    best_step: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Setting:
    """What both stages of a training share."""

    plan: Plan
    scaler: Scaler
    device: DeviceChoice
    report: Reporter
    threads: Threads


def fit(
    train: Windows,
    validation: Windows | None,
    *,
    plan: Plan,
    scaler: Scaler,
    device: DeviceChoice,
    on_progress: Callable[[Progress], None] | None = None,
) -> Fitted:
    """Train the network of `plan.model` with `plan.training`.

    The same seed on the same device and thread count gives the same weights, bit by bit on a CPU. Torch's global
    random state and thread count are left as they were. An interrupt ends the training at once and leaves nothing.

    Raises:
        ValueError: there are no training windows, or the loss is no longer a number.
    """
    if not len(train):
        raise ValueError("there are no training windows; use a shorter context or horizon, or bring longer series")
    validation = validation if validation is not None and len(validation) else None
    with _own_random_state(device), restored_threads():
        threads = Threads(plan.training.threads or device.threads, on_cpu=device.torch_device.type == "cpu")
        setting = _Setting(plan, scaler, device, Reporter(on_progress), threads)
        fitted = (_fit_tutorial if plan.model.kind == "tutorial" else _fit_direct)(train, validation, setting)
        # Measured times go to the log, not into the notes: equal trainings must leave equal bytes.
        logger.info("%s; %s", device.reason, threads.note)
        return fitted


def _fit_direct(train: Windows, validation: Windows | None, setting: _Setting) -> Fitted:
    spec = setting.plan.training
    fitted = _run(train, validation, setting, steps=spec.max_steps)
    if validation is None:
        fitted.notes.append("no validation windows: all steps were taken, intervals are not calibrated")
        return fitted
    offsets_JH, note = calibration(fitted.forecaster, validation)
    fitted.notes.append(note)
    if spec.refit:
        refitted = _run(concat(train, validation), None, setting, steps=fitted.best_step, stage="refit")
        fitted.forecaster = refitted.forecaster
        fitted.notes.append(f"refitted through validation with {fitted.best_step} steps")
    fitted.forecaster.offsets_JH = offsets_JH
    return fitted


def _run(
    train: Windows, validation: Windows | None, setting: _Setting, *, steps: int, stage: Stage = "search"
) -> Fitted:
    """One training: `steps` steps, or fewer where `validation` is given and no longer improves."""
    spec, model, device = setting.plan.training, setting.plan.model, setting.device.torch_device
    torch.manual_seed(spec.seed)
    shape = shape_of(train, season=setting.plan.window.season)
    network = build_network(model, shape, setting.scaler).to(device)
    average = copy.deepcopy(network).eval()
    optimiser = _optimiser(network, weight_decay=spec.weight_decay)
    loss_sum = _loss(network, setting)
    gradient = MicroBatches(network, loss_sum, horizon=shape.horizon)
    resident = _placed(train, setting.device)
    score = _Validation(validation, _loss(average, setting), setting.device) if validation is not None else None
    every, losses, history = max(1, spec.max_steps // EVALUATIONS), list[Tensor](), list[dict[str, Any]]()
    best_step, best_loss, best_state, validation_loss = steps, math.inf, None, None

    network.train()
    for step, index_B in enumerate(_shuffled(len(train), spec.batch_size, seed=spec.seed, steps=steps), start=1):
        rate = learning_rate(step, spec.max_steps, spec.learning_rate)
        with setting.threads.step():
            losses.append(gradient.backward(_gathered(resident, index_B, device)))
            nn.utils.clip_grad_norm_(network.parameters(), spec.gradient_clip)
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            _average(average, network, step)
        if step % every == 0 or step == steps:
            train_loss, losses = checked_mean(losses, step), []
            if score is not None:
                validation_loss = score()
                if validation_loss < best_loss:
                    best_step, best_loss, best_state = step, validation_loss, copy.deepcopy(average.state_dict())
            history.append(
                {"step": step, "train_loss": train_loss, "validation_loss": validation_loss, "learning_rate": rate}
            )
        if setting.report.due(step, steps):
            latest = checked_mean(losses[-1:], step) if losses else history[-1]["train_loss"]
            setting.report(Progress(step, steps, latest, validation_loss, best_step, stage))
        if score is not None and step - best_step >= spec.patience * every:
            break
    if best_state is not None:
        average.load_state_dict(best_state)
    return Fitted(Forecaster(average, model, shape, setting.scaler), history, best_step)


def _fit_tutorial(train: Windows, validation: Windows | None, setting: _Setting) -> Fitted:
    """The tutorial's run: `max_steps` full-batch epochs on the training windows alone, no refit."""
    spec, model = setting.plan.training, setting.plan.model
    torch.manual_seed(spec.seed)
    shape = shape_of(train, season=setting.plan.window.season)
    network = build_network(model, shape).to(setting.device.torch_device)
    assert isinstance(network, LSTMModel)
    losses = train_tutorial(
        network,
        train.to(setting.device.torch_device),
        normalisation=model.normalisation,
        learning_rate=spec.learning_rate,
        epochs=spec.max_steps,
        report=setting.report,
        threads=setting.threads,
    )
    history: list[dict[str, Any]] = [
        {"step": step, "train_loss": loss, "validation_loss": None, "learning_rate": spec.learning_rate}
        for step, loss in enumerate(losses, start=1)
    ]
    return Fitted(Forecaster(network.eval(), model, shape), history, spec.max_steps, ["the tutorial's own loop"])


def calibration(forecaster: Forecaster, validation: Windows) -> tuple[Any, str]:
    """Conformal offsets of a forecaster on windows that it has not been trained on, and a note."""
    chosen = _spread(len(validation), CALIBRATION_WINDOWS)
    part = _only(validation, chosen)
    values_WHQ, loc_W1, scale_W1 = forecaster.predict_normalised(part)
    batch = part.batch(torch.arange(len(part)))
    y_WH = batch.target_BW[:, validation.context :].cpu().numpy()
    observed_WH = batch.observed_BW[:, validation.context :].cpu().numpy()
    z_WH = np.nan_to_num((y_WH - loc_W1) / scale_W1)
    return conformal_offsets(values_WHQ, z_WH, observed_WH, forecaster.quantiles)


def learning_rate(step: int, max_steps: int, peak: float) -> float:
    """One cycle: a linear warm-up, then a cosine down to a hundredth."""
    warm = max(1.0, WARM_UP * max_steps)
    if step <= warm:
        return peak * step / warm
    done = (step - warm) / max(1.0, max_steps - warm)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class _Validation:
    """Mean loss over an evenly spread part of the validation windows."""

    def __init__(self, windows: Windows, loss_sum: Callable[[Batch], Tensor], device: DeviceChoice) -> None:
        self._windows = _placed(windows, device)
        self._loss_sum, self._device, self._horizon = loss_sum, device.torch_device, windows.horizon
        self._index = _spread(len(windows), VALIDATION_WINDOWS)

    def __call__(self) -> float:
        total, count = 0.0, 0
        with torch.inference_mode():
            for index_B in torch.split(self._index, 512):
                batch = _gathered(self._windows, index_B, self._device)
                total += float(self._loss_sum(batch))
                count += int(count_targets(batch, self._horizon))
        return total / max(1, count)


def _loss(network: nn.Module, setting: _Setting) -> Callable[[Batch], Tensor]:
    """The summed loss of a batch under a network, in the chosen precision."""
    model, context, device = setting.plan.model, setting.plan.window.context, setting.device.torch_device
    quantiles_Q, season = torch.tensor(model.quantiles, device=device), setting.plan.window.season

    def loss_sum(batch: Batch) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=setting.device.precision == "bf16"):
            forecast = forecast_batch(network, batch, spec=model, context=context)
        return pinball_sum(forecast, batch, quantiles_Q, season=season)

    return loss_sum


def _optimiser(network: nn.Module, *, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW that decays matrices only, not biases."""
    groups = [
        {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, fused=True)


def _average(average: nn.Module, network: nn.Module, step: int) -> None:
    """Exponential moving average of the weights, young at first so that it forgets the start."""
    decay = min(AVERAGE_DECAY, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)


def _shuffled(total: int, batch_size: int, *, seed: int, steps: int) -> Iterator[Tensor]:
    """Indices of each step's windows: permutations end to end, so that no window is left out of an epoch."""
    generator = torch.Generator().manual_seed(seed)
    size = min(batch_size, total)
    pool = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if total > LARGE:
            yield torch.randint(total, (size,), generator=generator)
            continue
        if len(pool) < size:
            pool = torch.cat([pool, torch.randperm(total, generator=generator)])
        yield pool[:size]
        pool = pool[size:]


def _placed(windows: Windows, choice: DeviceChoice) -> Windows:
    """On the device where the data fit there; else they stay here and are streamed."""
    return windows.to(choice.torch_device) if fits_on_device(windows.nbytes, choice) else windows


def _gathered(windows: Windows, index_B: Tensor, device: torch.device) -> Batch:
    batch = windows.batch(index_B)
    if device.type == "cuda" and windows.values_N.device.type == "cpu":
        batch = Batch(*(t.pin_memory() for t in vars(batch).values()))
    return batch.to(device)


def _only(windows: Windows, index: Tensor) -> Windows:
    """The windows with these indices, over the same data."""
    return replace(
        windows,
        starts_W=windows.starts_W[index],
        series_W=windows.series_W[index],
        cutoff_W=windows.cutoff_W[index.numpy()],
    )


def _spread(total: int, most: int) -> Tensor:
    """Indices of at most `most` windows, evenly spread."""
    return torch.linspace(0, total - 1, min(total, most)).round().long()


@contextmanager
def _own_random_state(device: DeviceChoice) -> Iterator[None]:
    """Draw from the seed without touching the caller's random state."""
    at = device.torch_device
    with torch.random.fork_rng(devices=[at.index or 0] if at.type == "cuda" else []):
        yield
