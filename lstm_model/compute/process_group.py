"""Train one network in several processes: each takes its share of every batch, all take the same step.

Whoever starts them opens torch's process group (Ray Train does, and so may a test); here it is only used. A world of
one is a training as ever: nothing is sent, and torch.distributed is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class WorldError(ValueError):
    """The processes cannot train together; the message says why."""


@dataclass(frozen=True)
class World:
    """One of `size` processes. `device` is where numbers of all are added up: NCCL adds on GPUs only."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Return whether this process writes for all."""
        return self.rank == 0

    def share(self, index_B: Tensor) -> Tensor:
        """Return this rank's windows of a batch that all ranks know.

        Raises:
            WorldError: there are fewer windows than processes.
        """
        share = self.places(len(index_B))
        return index_B if self.size == 1 else index_B[share.start :: share.step]

    def places(self, batch_size: int) -> range:
        """Return the places of this rank's windows in a batch.

        Raises:
            WorldError: there are fewer windows than processes.
        """
        if batch_size < self.size:
            raise WorldError(
                f"a batch of {batch_size} windows cannot be shared by {self.size} processes; use fewer "
                "(training.workers) or a larger training.batch_size"
            )
        return range(self.rank, batch_size, self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks: one call, however many they are."""
        if self.size == 1:
            return
        import torch.distributed as dist

        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def total(self, *numbers: float) -> list[float]:
        """Return the sum of each number over all ranks."""
        if self.size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        self.add_up([sums])
        return [float(number) for number in sums]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return flag if self.size == 1 else self.total(flag)[0] > 0

    def check_equal(self, step: int, what: str) -> None:
        """Raise WorldError if ranks are at different steps: each would wait for the others without end."""
        if self.size == 1:
            return
        steps = [0.0] * self.size
        steps[self.rank] = step
        steps = self.total(*steps)
        if len(set(steps)) > 1:
            at = ", ".join(f"{int(s)}" for s in steps)
            raise WorldError(
                f"{what}: the processes begin at the steps {at}; they read different checkpoints. Keep the store in "
                "a folder that all machines share"
            )

    def draw(self, seed: int, step: int) -> None:
        """Set the random state of dropout for a step. The first rank keeps its own, as a training in one process does.

        That of the others depends on seed, rank and step only, so that no checkpoint needs to hold it.
        """
        if self.rank:
            torch.manual_seed(hash((seed, self.rank, step)) % 2**62)


ALONE = World()
