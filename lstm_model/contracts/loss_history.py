"""Describe the losses of a training, step by step, as `history.json` of a model keeps them."""

from __future__ import annotations

from typing import TypedDict


class LossRecord(TypedDict):
    """The losses at one step of the optimiser. A dict, since checkpoints keep it as JSON."""

    step: int
    train_loss: float
    """Mean over the steps since the record before."""
    validation_loss: float | None
    """None without validation windows."""
    learning_rate: float
