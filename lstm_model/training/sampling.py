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


def shuffled(total: int, batch_size: int, *, seed: int, steps: int) -> Iterator[Tensor]:
    """Indices of each step's windows: permutations end to end, so that no window is left out of an epoch.

    The seed alone decides them: a training that goes on after N steps drops the first N.
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


def spread(total: int, most: int) -> Tensor:
    """Indices of at most `most` windows, evenly spread."""
    return torch.linspace(0, total - 1, min(total, most)).round().long()


def placed(windows: Windows, choice: DeviceChoice) -> Windows:
    """On the device where the data fit there; else they stay here and are streamed."""
    return windows.to(choice.torch_device) if fits_on_device(windows.nbytes, choice) else windows


def gathered(windows: Windows, index_B: Tensor, device: torch.device) -> Batch:
    """A batch on the device, wherever the windows lie."""
    return _moved(windows.gather_batch(index_B), device)


def _moved(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cuda" and batch.target_BW.device.type == "cpu":
        batch = Batch(*(t.pin_memory() for t in vars(batch).values()))
    return batch.to(device)


def drawn(
    windows: Windows | StreamedWindows,
    spec: TrainingSpec,
    choice: DeviceChoice,
    world: World,
    *,
    first: int,
    steps: int,
) -> Iterator[Batch]:
    """This rank's share of the batches of the steps after `first`, up to `steps`, on the device.

    In memory, the ranks share one order of all windows; streamed, each has an order of its own row groups.
    """
    if isinstance(windows, StreamedWindows):
        for batch in windows.read_batches(len(world.places(spec.batch_size)), seed=spec.seed, first=first, steps=steps):
            yield _moved(batch, choice.torch_device)
        return
    resident = placed(windows, choice)
    order = shuffled(len(windows), spec.batch_size, seed=spec.seed, steps=steps)
    for index_B in islice(order, first, None):
        yield gathered(resident, world.share(index_B), choice.torch_device)
