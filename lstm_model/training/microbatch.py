"""Compute the gradient of one batch in as many parts as memory needs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lstm_model.compute.process_group import ALONE, World
from lstm_model.networks.losses import count_targets
from lstm_model.windows.in_memory import Batch

logger = logging.getLogger(__name__)

WORKSPACE = 16 * 2**20
"""Bytes of gate values (four an LSTM unit and step) that a CPU computes at once. Torch allocates its workspace, a few
times this, anew at every step. What is larger than 32 MB the C library asks of the system each time, which clears it
page by page: a third of a step of 256 windows x 168 steps x 128 units. What is smaller it keeps."""


class OutOfMemoryError(ValueError):
    """Not even one window at a time fits."""


class MicroBatches:
    """Accumulates a batch's gradient; when memory runs out, halves the part and starts the batch again.

    On a CPU a batch with a large workspace is cut into parts from the beginning, because that is faster.

    The loss of every part is divided by the number of targets of the whole batch, so the gradient is that of the
    undivided batch up to rounding; a batch of several processes is divided by that of all of them, and their gradients
    are added. The smaller size is kept for the batches that follow.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_sum: Callable[[Batch], Tensor],
        *,
        horizon: int,
        transform: str = "none",
        world: World = ALONE,
    ) -> None:
        self._network = network
        self._loss_sum = loss_sum
        self._horizon, self._transform, self._world = horizon, transform, world
        self.size: int | None = None
        """Windows a part; None while whole batches fit."""

    def backward(self, batch: Batch) -> Tensor:
        """Set the gradients to those of the batch's mean loss, and return that loss.

        Raises:
            OutOfMemoryError: a single window does not fit.
        """
        count = count_targets(batch, self._horizon, transform=self._transform)
        self._world.add_up([count])  # before any part: a rank whose memory runs out begins its parts anew, alone
        loss = self._in_parts(batch, count.clamp(min=1))
        gradients = [p.grad for p in self._network.parameters() if p.grad is not None]
        self._world.add_up([*gradients, loss])
        return loss

    def _in_parts(self, batch: Batch, count: Tensor) -> Tensor:
        while True:
            try:
                return self.accumulate(batch, count)
            except RuntimeError as error:  # torch.OutOfMemoryError is one; cuBLAS and the CPU allocator raise others
                if not _out_of_memory(error):
                    raise
            # Outside the handler: the exception's traceback would keep the activations alive.
            self._halve(len(batch.target_BW))

    def accumulate(self, batch: Batch, count: Tensor) -> Tensor:
        self._network.zero_grad(set_to_none=True)
        windows = len(batch.target_BW)
        size = min(self.size or windows, self.choose_fast_size(batch))
        total = torch.zeros((), device=batch.target_BW.device)
        for start in range(0, windows, size):
            part = batch if size == windows else Batch(*(t[start : start + size] for t in vars(batch).values()))
            loss = self._loss_sum(part) / count
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def choose_fast_size(self, batch: Batch) -> int:
        """Windows a part: all of them, or on a CPU equal parts of at most `WORKSPACE`."""
        windows, width = batch.target_BW.shape
        if batch.target_BW.device.type != "cpu":
            return windows
        steps = getattr(self._network, "reads", width - self._horizon)
        units = sum(m.hidden_size for m in self._network.modules() if isinstance(m, nn.LSTM))
        most = max(1, WORKSPACE // max(1, 16 * units * steps))
        return math.ceil(windows / math.ceil(windows / most))

    def _halve(self, windows: int) -> None:
        size = min(self.size or windows, windows)
        if size == 1:
            raise OutOfMemoryError(
                "out of memory with a single window; use a smaller model.hidden_dim, a larger model.segment or a "
                "smaller context"
            )
        self.size = (size + 1) // 2
        logger.warning("out of memory: batches of %d windows now run in parts of %d", windows, self.size)
        self._network.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    marks = ("out of memory", "alloc_failed", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(mark in text for mark in marks)
