"""One model over several processes: each takes its share of every batch, and they average their gradients.

``torchrun`` starts the processes, which it calls ranks; they may be on several machines. Rank 0 alone writes files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from moist.types import Batch, UserError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Ranks", "is_first_rank", "joined_ranks"]


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together; without ``torchrun``, this one alone.

    Args:
        rank: the number of this process.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Self:
        """Return the group that this process has joined."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and tells of progress."""
        return self.rank == 0

    def wrap(self, task: nn.Module) -> nn.Module:
        """Return the task with gradients averaged over all ranks; weights become those of rank 0."""
        if self.size == 1:
            return task
        # An expert that no example of a batch goes to has no gradient.
        return DistributedDataParallel(task, find_unused_parameters=True)

    def share(self, batch: Batch) -> tuple[Batch, float]:
        """Return this rank's examples, and the weight of their mean loss: with it, the average is the whole batch's.

        Raises:
            UserError: the batch has fewer examples than there are ranks.
        """
        if self.size == 1:
            return batch, 1.0
        count = len(batch.index)
        if count < self.size:
            raise UserError(
                f"every rank must have an example of each batch, got {count} for {self.size} ranks; raise "
                "training.batch_size or start fewer"
            )
        own = slice(self.rank, None, self.size)
        target = None if batch.target is None else batch.target[own]
        share = Batch(batch.index[own], batch.view[own], batch.inputs[own], target)
        return share, len(share.index) * self.size / count

    def mean(self, values: Mapping[str, float], weight: float) -> dict[str, float]:
        """Return the mean of every rank's values, each with its weight."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor([weight * value for value in values.values()], dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist()))

    def check_same(self, step: int) -> None:
        """Refuse ranks that resume at different steps, which would wait for each other for ever.

        Raises:
            UserError: they have read different checkpoints.
        """
        steps: list[int] = [0] * self.size
        if self.size > 1:
            dist.all_gather_object(steps, step)
            if len(set(steps)) > 1:
                raise UserError(
                    f"every rank must resume from the same checkpoint, got steps {steps}; put the run's folder where "
                    "all machines see it"
                )

    def wait(self) -> None:
        """Wait until every rank has come as far."""
        if self.size > 1:
            dist.barrier()


def is_first_rank() -> bool:
    """Tell whether this process may speak for all that ``torchrun`` started; it may where there are no others."""
    return not _by_torchrun() or os.environ["RANK"] == "0"


def _by_torchrun() -> bool:
    # Schedulers of clusters set RANK and WORLD_SIZE too, for programs that are not started so.
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started with this one, if it did, and leave them at the end."""
    if not _by_torchrun() or dist.is_initialized():
        yield Ranks.current()
        return
    dist.init_process_group("gloo")
    try:
        yield Ranks.current()
    finally:
        dist.destroy_process_group()
