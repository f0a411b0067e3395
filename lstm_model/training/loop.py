"""Hold all of a training that changes from step to step, and save and restore it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lstm_model.contracts.loss_history import LossRecord
from lstm_model.training.checkpoint import State
from lstm_model.training.microbatch import MicroBatches
from lstm_model.training.progress import Progress, Stage, average_losses

AVERAGE_DECAY = 0.99
PLAIN = ("step", "history", "best_step", "best_loss", "validation_loss", "first_loss")
"""The fields of a loop that are JSON."""


@dataclass
class Loop:
    """One stage under way. The sampler needs nothing here: its seed and the step say where it is."""

    network: nn.Module
    average: nn.Module
    """The exponential moving average of the weights: what is looked at and kept."""
    optimiser: torch.optim.Optimizer
    gradient: MicroBatches
    steps: int
    """To take at most."""
    step: int = 0
    losses: list[Tensor] = field(default_factory=list)
    """Of the steps since the last look."""
    history: list[LossRecord] = field(default_factory=list)
    best_step: int = -1
    best_loss: float = math.inf
    best: dict[str, Tensor] | None = None
    validation_loss: float | None = None
    first_loss: float | None = None
    """The validation loss before the first step, where it was asked for."""

    def __post_init__(self) -> None:
        self.best_step = self.steps  # until a look says otherwise

    def update_average(self) -> None:
        """Move the average towards the weights; faster in the first steps, so that it forgets the start."""
        decay = min(AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - decay)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def look(self, rate: float, score: Callable[[], float] | None) -> None:
        """Note the losses since the last look, and the validation loss if there is a `score`."""
        train_loss, self.losses = average_losses(self.losses, self.step), []
        if score is not None:
            self.judge(score())
        self.history.append(
            LossRecord(step=self.step, train_loss=train_loss, validation_loss=self.validation_loss, learning_rate=rate)
        )

    def progress(self, stage: Stage) -> Progress:
        """Return the progress for a report; waits for the latest loss."""
        loss = average_losses(self.losses[-1:], self.step) if self.losses else self.history[-1]["train_loss"]
        return Progress(self.step, self.steps, loss, self.validation_loss, self.best_step, stage)

    def judge(self, validation_loss: float) -> None:
        """Keep a copy of the averaged weights if they are the best so far."""
        self.validation_loss = validation_loss if math.isfinite(validation_loss) else None
        if self.step == 0:
            self.first_loss = validation_loss
        if validation_loss < self.best_loss:
            self.best_step, self.best_loss = self.step, validation_loss
            self.best = copy.deepcopy(self.average.state_dict())

    def state(self) -> State:
        """Return all that a checkpoint needs."""
        tensors: State = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": {str(i): moments for i, moments in self.optimiser.state_dict()["state"].items()},
            "random": self._random(),
            "losses": torch.stack(self.losses) if self.losses else torch.empty(0),
        }
        if self.best is not None:
            tensors["best"] = self.best
        return {**tensors, **{name: getattr(self, name) for name in PLAIN}, "size": self.gradient.size}

    def result(self) -> State:
        """Return the result of the finished stage: the best weights, or the last ones without validation."""
        weights = self.average.state_dict() if self.best is None else self.best
        return {"weights": weights, **{name: getattr(self, name) for name in PLAIN}}

    def restore(self, state: State) -> None:
        """Restore the state of a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        groups = self.optimiser.state_dict()["param_groups"]
        moments = {int(i): values for i, values in state["optimiser"].items()}
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.losses = list(state["losses"].to(self.device))
        self.best = {name: t.to(self.device) for name, t in state["best"].items()} if "best" in state else None
        for name in PLAIN:
            setattr(self, name, state[name])
        self.gradient.size = state["size"]
        torch.set_rng_state(state["random"]["cpu"])
        if "device" in state["random"] and self.device.type != "cpu":
            torch.get_device_module(self.device).set_rng_state(state["random"]["device"], *self._which())

    def _random(self) -> State:
        """Return the random states: dropout draws from the generator of the device that it runs on."""
        state: State = {"cpu": torch.get_rng_state()}
        if self.device.type != "cpu":
            state["device"] = torch.get_device_module(self.device).get_rng_state(*self._which())
        return state

    def _which(self) -> tuple[torch.device, ...]:
        """Return the device as an argument; none for MPS, which has one device only."""
        return () if self.device.type == "mps" else (self.device,)
