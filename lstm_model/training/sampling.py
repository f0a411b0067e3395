"""Draw the windows of each step and move them to the device. Shapes: B windows of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from lstm_model.compute.device import DeviceChoice, fits_on_device
from lstm_model.compute.process_group import World
from lstm_model.contracts.settings import TrainingSpec
from lstm_model.windows.in_memory import Batch, Windows
from lstm_model.windows.stream import StreamedWindows

LARGE = 20_000_000
"""Above this many windows they are drawn with replacement: a permutation would take gigabytes."""


def shuffle_windows(total: int, batch_size: int, *, seed: int, steps: int) -> Iterator[Tensor]:
    """Yield the indices of each step's windows: permutations end to end, so that no window is left out of an epoch.

    Only the seed decides them: a training that goes on after N steps drops the first N.
    """
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


def spread_evenly(total: int, most: int) -> Tensor:
    """Return the indices of at most `most` windows, evenly spread."""
    return torch.linspace(0, total - 1, min(total, most)).round().long()


def place_windows(windows: Windows, choice: DeviceChoice) -> Windows:
    """Move windows to the device if they fit there; else they stay here, and are moved batch by batch."""
    # The GPUs of Apple, and many of Intel, have no float64.
    computable = choice.torch_device.type not in ("mps", "xpu") or not len(windows.exact_K)
    return windows.to(choice.torch_device) if computable and fits_on_device(windows.nbytes, choice) else windows


def gather_batch_on(windows: Windows, index_B: Tensor, device: torch.device) -> Batch:
    """Gather a batch and move it to the device."""
    return _move_batch(windows.gather_batch(index_B), device)


def _move_batch(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cuda" and batch.target_BW.device.type == "cpu":
        batch = Batch(*(t.pin_memory() for t in vars(batch).values()))
    return batch.to(device)


def draw_batches(
    windows: Windows | StreamedWindows,
    spec: TrainingSpec,
    choice: DeviceChoice,
    world: World,
    *,
    first: int,
    steps: int,
) -> Iterator[Batch]:
    """Yield this rank's share of the batch of each step after `first`, up to `steps`, on the device.

    In memory, the ranks share one order of all windows; streamed, each has an order of its own row groups.
    """
    if isinstance(windows, StreamedWindows):
        for batch in windows.read_batches(len(world.places(spec.batch_size)), seed=spec.seed, first=first, steps=steps):
            yield _move_batch(batch, choice.torch_device)
        return
    resident = place_windows(windows, choice)
    order = shuffle_windows(len(windows), spec.batch_size, seed=spec.seed, steps=steps)
    for index_B in islice(order, first, None):
        yield gather_batch_on(resident, world.share(index_B), choice.torch_device)
