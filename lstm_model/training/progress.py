"""Report how far a training is: to the caller of `fit`, at most twice a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

INTERVAL_SECONDS = 0.5

Stage = Literal["search", "refit"]


@dataclass(frozen=True)
class Progress:
    """One report. `search` finds the step count on validation, `refit` trains through validation with it."""

    step: int
    max_steps: int
    train_loss: float
    validation_loss: float | None
    best_step: int
    stage: Stage = "search"


class TrainingDivergedError(ValueError):
    """The loss is no longer a number."""


class Reporter:
    """Calls `on_progress` for the first and the last step, and in between when the last call is long enough ago."""

    def __init__(self, on_progress: Callable[[Progress], None] | None) -> None:
        self._on_progress = on_progress
        self._next = 0.0

    def due(self, progress_step: int, max_steps: int) -> bool:
        """Whether this step is to be reported; asking first spares a GPU the wait for its loss."""
        return progress_step in (1, max_steps) or time.monotonic() >= self._next

    def __call__(self, progress: Progress) -> None:
        self._next = time.monotonic() + INTERVAL_SECONDS
        if self._on_progress is not None:
            self._on_progress(progress)


def average_losses(losses: list[Tensor], last_step: int) -> float:
    """Return the mean of the losses of the steps up to `last_step`.

    Raises:
        TrainingDivergedError: one is infinite or not a number; the message names its step.
    """
    values = [float(loss) for loss in losses]
    for step, value in enumerate(values, start=last_step - len(values) + 1):
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"the training loss became {value} at step {step}; try a smaller training.learning_rate or "
                "gradient_clip, precision fp32, or look for extreme values in the series"
            )
    return sum(values) / max(1, len(values))
