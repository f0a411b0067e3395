"""Save how far a training is, so that a killed one goes on to the very bits that it would have given.

One safetensors file: tensors by their path, everything else as JSON in its header. No pickle: reading one runs no code.
A training is a few stages one after another (search, refit), and is written down as the results of the finished ones
and the state of the running one; whoever runs it again walks through the same stages and is handed both.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lstm_model.compute.device import DeviceChoice
from lstm_model.storage.drafts import open_regular, remove_path, write_atomically

logger = logging.getLogger(__name__)

FORMAT = "1"
STALE_SECONDS = 24 * 3600.0
"""A checkpoint that nobody has gone on from for so long belongs to data or code that are gone."""
SUFFIX = ".safetensors"
SPARING = 20
"""Least time between two routine writes, in times of what the last one took: they cost a twentieth of the training."""

State = dict[str, Any]
"""Nested dicts whose leaves are tensors or JSON: `state_dict` of torch, whose leaves torch does not type either."""


class TrainingStopped(Exception):  # noqa: N818 - nothing is wrong
    """A training ended early because it was asked to; its checkpoint is of the last step that it took."""


class Checkpoint:
    """The file of one training.

    Args:
        path: the file.
        key: a digest of all that the training depends on; a file with another key is another training's.
        should_stop: asked after every step; true ends the training with `TrainingStopped`.
        writes: off where another process of the same training writes the file; this one only reads it.
    """

    def __init__(
        self, path: Path, key: str, *, should_stop: Callable[[], bool] = lambda: False, writes: bool = True
    ) -> None:
        self.path, self.key, self.should_stop, self._writes = path, key, should_stop, writes
        self._state: State = {"finished": {}, "running": {}, "chosen": {}}
        self._rested_at = 0.0
        self.is_written = True
        """Whether the last write has succeeded; where another process writes, that is its matter."""
        if os.path.lexists(path):
            self._read()

    def as_chosen(self, device: DeviceChoice) -> DeviceChoice:
        """Return the device with the precision and thread count of before; measured again, they may differ."""
        chosen = self._state["chosen"]
        if chosen.get("device") != device.torch_device.type:
            return device
        return replace(device, precision=chosen["precision"], threads=chosen["threads"])

    def choose(self, device: DeviceChoice, threads: int | None) -> None:
        """Note what `as_chosen` returns after a restart; `threads` is None while their count is being measured."""
        self._state["chosen"] = {"device": device.torch_device.type, "precision": device.precision, "threads": threads}

    def result(self, stage: str) -> State | None:
        """Return what a finished stage gave, if it is finished."""
        result: State | None = self._state["finished"].get(stage)
        return result

    @property
    def is_finished(self) -> bool:
        """Return whether there are results and no stage is under way."""
        return bool(self._state["finished"]) and not self._state["running"]

    def progress(self, stage: str) -> State | None:
        """Return how far a stage was, if it has begun."""
        state: State | None = self._state["running"].get(stage)
        return state

    def is_due(self) -> bool:
        """Return whether the time since the last write is long enough."""
        return time.monotonic() >= self._rested_at

    def keep(self, stage: str, state: State) -> None:
        """Write how far a stage is."""
        self._state["running"] = {stage: state}
        self._write()

    def finish(self, stage: str, result: State) -> None:
        """Write what a stage gave."""
        self._state["finished"][stage] = result
        self._state["running"] = {}
        self._write()

    def remove(self) -> None:
        """Remove the file: the training is over, and its result is kept elsewhere."""
        remove_path(self.path)

    def _write(self) -> None:
        if not self._writes:
            return
        began = time.monotonic()
        tensors: dict[str, Tensor] = {}
        rest = json.dumps(_without_tensors(self._state, tensors))
        header = {"format": FORMAT, "key": self.key, "state": rest, "sha256": _digest(rest, tensors)}
        try:
            write_atomically(self.path, save(tensors, header), durable=True)
            self.is_written = True
        except OSError as error:  # a full disk: the training itself is well
            self.is_written = False
            logger.warning("the checkpoint could not be written: %s", error)
        ended = time.monotonic()
        self._rested_at = ended + SPARING * (ended - began)

    def _read(self) -> None:
        """Take over the file's state; a file that is not whole, or not this training's, is left alone."""
        try:
            open_regular(self.path).close()
            with safe_open(self.path, "pt") as file:
                header: dict[str, str] = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if (header.get("format"), header.get("key")) != (FORMAT, self.key):
                raise ValueError("it is of another training or another version")
            if header["sha256"] != _digest(header["state"], tensors):
                raise ValueError("its content is not what was written")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            logger.warning("the checkpoint %s is ignored, the training begins anew: %s", self.path, error)
            return
        self._state = _with_tensors(json.loads(header["state"]), tensors)


def open_checkpoint(folder: Path, key: str, *, should_stop: Callable[[], bool]) -> Checkpoint:
    """Open the checkpoint of a training in a folder of checkpoints; remove stale ones from it."""
    youngest = time.time() - STALE_SECONDS
    for file in folder.glob(f"*{SUFFIX}*"):
        with suppress(FileNotFoundError):  # another run sweeps too
            if file.stat().st_mtime < youngest:
                remove_path(file)
    return Checkpoint(folder / f"{key}{SUFFIX}", key, should_stop=should_stop)


def _without_tensors(state: Mapping[str, Any], tensors: dict[str, Tensor], path: str = "") -> State:
    """Return the JSON part of a state; put its tensors into `tensors`, under their paths."""
    rest: State = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            tensors[f"{path}{name}"] = value.detach().cpu().contiguous()
        else:
            inner = isinstance(value, Mapping)
            rest[name] = _without_tensors(value, tensors, f"{path}{name}/") if inner else value
    return rest


def _with_tensors(rest: State, tensors: Mapping[str, Tensor]) -> State:
    for path, tensor in tensors.items():
        *folders, name = path.split("/")
        at = rest
        for folder in folders:
            at = at[folder]
        at[name] = tensor
    return rest


def _digest(rest: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(rest.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
