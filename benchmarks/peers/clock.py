"""Time a peer in PyTorch Lightning's own loop, and write its results."""

from __future__ import annotations

import copy
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

VERSIONS = ("torch", "pytorch-lightning", "pandas", "numpy")
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
"""Lightning without its logs and bars, which cost time and are not what is measured."""


class Shared(pl.Callback):
    """neuralforecast copies its models with all they hold; what watches them must stay one object."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


class Marks(Shared):
    """Keeps the weights at given step counts, and the seconds of training up to there; keeping them is not counted.

    The learning rate of both peers is constant, so the weights after N steps of a longer training are those of a
    training of N steps.
    """

    def __init__(self, steps: list[int], *, budget_seconds: float) -> None:
        self.kept: list[dict[str, Any]] = []
        self.trained = 0.0
        """Seconds of the whole training, keeping not counted."""
        self._steps, self._budget, self._done = set(steps), budget_seconds, 0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start, self.cpu_start = time.perf_counter(), time.process_time()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self._done += 1
        now = time.perf_counter()
        if self._done in self._steps:
            cpu = time.process_time() - self.cpu_start
            row = {"steps": self._done, "seconds": now - self.start, "cpu_seconds": cpu}
            self.kept.append({**row, "weights": copy.deepcopy(module.state_dict())})
            self.start += time.perf_counter() - now
        self.trained = now - self.start
        if now - self.start > self._budget:
            trainer.should_stop = True


class Stopwatch(Shared):
    """Seconds from the end of one training step to the end of the next, after some to warm up."""

    def __init__(self, *, warm_up: int) -> None:
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self._skip, self._last = warm_up, (0.0, 0.0)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        now = (time.perf_counter(), time.process_time())
        self._skip -= 1
        if self._skip < 0:
            self.seconds.append(now[0] - self._last[0])
            self.cpu.append(now[1] - self._last[1])
        self._last = now


def write_result(path: Path, library: str, result: dict[str, Any]) -> None:
    """As JSON, with the versions that made it."""
    versions = {name: version(name) for name in (library, *VERSIONS)}
    path.write_text(json.dumps({"library": library, "versions": versions, **result}, indent=1))
