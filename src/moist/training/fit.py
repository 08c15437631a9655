"""The fit loop: batches in, a trained task out, resumable after any step."""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from moist.config import Settings
from moist.progress import Advance
from moist.storage import write_atomic
from moist.training.ranks import Ranks
from moist.types import Batch, UserError

__all__ = ["BatchSource", "Task", "TrainingSettings", "fit"]

CHECKPOINT_EVERY_SECONDS = 30.0
SEEDS_APART = 1_000_003
SETTLED = 0.01  # share of the peak learning rate at which training settles


class BatchSource(Protocol):
    """Batches of an epoch, the same ones whenever the same epoch is asked for."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int) -> Iterator[Batch]: ...


class Task(Protocol):
    """What a method is to the loop: a module that maps a batch to ``{"loss": …}`` and parts worth logging.

    ``progress`` is the fraction of training done, in [0, 1), for schedules.
    """

    def __call__(self, batch: Batch, progress: float) -> dict[str, Tensor]: ...


class TrainingSettings(Settings):
    """How a model is trained."""

    epochs: int = Field(30, ge=1, description="passes over the training part")
    batch_size: int = Field(128, ge=1, description="examples in a step")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="`sgd` is with Nesterov momentum")
    learning_rate: float = Field(3e-3, gt=0, description="its peak, after the warm-up; a cosine then takes it to 0")
    weight_decay: float = Field(0.0, ge=0, description="pull of weights towards 0; biases and norms are left alone")
    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step that is kept (sgd only)")
    warmup: float = Field(0.05, ge=0, lt=1, description="fraction of the steps with a rising learning rate")
    settle: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="fraction of the steps at the end at a hundredth of the peak, where the cosine then ends: training "
        "stops when nothing is gained any more",
    )
    gradient_clip: float | None = Field(5.0, gt=0, description="longest gradient; a longer one is scaled down to it")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="`bfloat16` runs the forward pass under autocast; weights and losses stay float32"
    )
    compile: bool = Field(
        False, description="compile the networks first: needs a C++ compiler, pays on long image runs"
    )

    @model_validator(mode="after")
    def _check_schedule(self) -> TrainingSettings:
        if self.warmup + self.settle >= 1:
            raise ValueError(
                f"warmup and settle must leave some of the steps to the cosine, got {self.warmup} and {self.settle}; "
                "lower either"
            )
        return self


def fit(
    task: nn.Module,
    batches: BatchSource,
    settings: TrainingSettings,
    *,
    seed: int,
    checkpoint: Path | None = None,
    advance: Advance | None = None,
    first_step: int = 0,
    max_steps: int | None = None,
    own_schedule: bool = False,
    average: float = 0.0,
) -> list[dict[str, float]]:
    """Train ``task`` in place: backward, clip, step, log, checkpoint.

    The learning rate rises linearly over the warm-up, then falls along a cosine; where weights are averaged (Izmailov
    et al. 2018, arXiv 1803.05407), it does not fall. With ``checkpoint`` the state is saved every half minute, at
    ``max_steps``, and where ``advance`` ends the run; a later call with the same arguments goes on from there, bit for
    bit on a CPU with the same number of threads.

    Where this process has joined others (see :func:`moist.training.joined_ranks`), each trains on its share of every
    batch; the gradient is that of the whole batch, but for what a task computes over a batch: statistics of batch
    normalisation, and balance losses, are of a share.

    Args:
        task: a module that is a :class:`Task`.
        batches: where the batches come from.
        settings: how to train.
        seed: seed of everything random inside the task.
        checkpoint: file to save to and resume from.
        advance: told of every step; it may raise KeyboardInterrupt or SystemExit to end the run there.
        first_step: step to begin at, where an earlier part of the same schedule was trained by another task.
        max_steps: stop after this many steps in all, as an interruption would.
        own_schedule: let learning rate and progress run their whole course between ``first_step`` and ``max_steps``,
            instead of being those of this part of a longer training.
        average: fraction of the steps at the end whose weights are averaged into the trained ones; the learning rate
            then stays at its peak.

    Returns:
        One entry per finished epoch: the mean of every value that the task returned.

    Raises:
        UserError: the loss is not finite, the checkpoint is damaged or of another task, or weights are to be averaged
            though batch normalisation keeps statistics of each step's.
    """
    if average:
        _refuse_batch_norm(task)
    ranks = Ranks.current()
    torch.manual_seed(seed)
    optimizer = _build_optimizer(task, settings)
    run = _Run(task, optimizer, checkpoint, first_step)
    steps_per_epoch = len(batches)
    total = settings.epochs * steps_per_epoch
    last = total if max_steps is None else min(max_steps, total)
    begin, length = (first_step, last - first_step) if own_schedule else (0, total)
    average_from = begin + length - round(average * length)
    run.load()
    ranks.check_same(run.step)
    if not ranks.first:
        torch.manual_seed(seed + SEEDS_APART * ranks.rank + run.step)  # dropout of its own
        run.checkpoint = None
    together = ranks.wrap(task)
    if advance is not None:
        advance(run.step - first_step, total=total)
    task.train()
    while run.step < last:
        epoch, done = divmod(run.step, steps_per_epoch)
        for batch in islice(batches.epoch(epoch), done, done + last - run.step):
            _set_learning_rate(optimizer, settings, run.step - begin, length, constant=average > 0)
            values = _train_step(together, batch, optimizer, settings, (run.step - begin) / length, ranks)
            run.record(values, last_of_epoch=(run.step + 1) % steps_per_epoch == 0)
            if run.step > average_from:
                run.mean.add()
            run.report(advance, f"loss {values['loss']:.3f}")
            run.save_now_and_then()
    if run.step == begin + length:
        run.mean.put()
    if run.step < total:
        run.save()
    else:
        task.eval()
    return run.history


def _refuse_batch_norm(task: nn.Module) -> None:
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in task.modules()):
        raise UserError(
            "average must be 0 for a network with batch normalisation, whose statistics are of each step's weights and "
            "not of their mean; set it to 0, or take a network without"
        )


class _Mean:
    """The mean of a task's trained weights over steps; none before the first."""

    def __init__(self, task: nn.Module) -> None:
        self.weights = [p for p in task.parameters() if p.requires_grad]
        self.values: list[Tensor] = []
        self.count = 0

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights as they are now."""
        self.count += 1
        if not self.values:
            self.values = [weight.detach().clone() for weight in self.weights]
        for value, weight in zip(self.values, self.weights, strict=True):
            value.lerp_(weight, 1 / self.count)

    @torch.no_grad()
    def put(self) -> None:
        """Give the task the mean, if there is one."""
        for value, weight in zip(self.values, self.weights):
            weight.copy_(value)


class _Run:
    """The state of one training run: what a checkpoint holds."""

    def __init__(
        self, task: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path | None, first_step: int
    ) -> None:
        self.task, self.optimizer, self.checkpoint = task, optimizer, checkpoint
        self.step = first_step
        self.mean = _Mean(task)
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}
        self._count = 0
        self._saved_at = time.monotonic()

    def record(self, values: dict[str, float], *, last_of_epoch: bool) -> None:
        self.step += 1
        self._count += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if last_of_epoch:
            self.history.append({name: total / self._count for name, total in self._sums.items()})
            self._sums, self._count = {}, 0

    def report(self, advance: Advance | None, note: str) -> None:
        """Tell of one step; whoever is told may end the run here, where the state is whole."""
        if advance is None:
            return
        try:
            advance(1, note)
        except (KeyboardInterrupt, SystemExit):
            self.save()
            raise

    def save_now_and_then(self) -> None:
        if self.checkpoint is not None and time.monotonic() - self._saved_at > CHECKPOINT_EVERY_SECONDS:
            self.save()

    def save(self) -> None:
        if self.checkpoint is None:
            return
        state = {
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "step": self.step,
            "history": self.history,
            "sums": self._sums,
            "count": self._count,
            "mean": self.mean.values,
            "averaged": self.mean.count,
        }
        write_atomic(self.checkpoint, lambda partial: torch.save(state, partial))
        self._saved_at = time.monotonic()

    def load(self) -> None:
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        try:
            self._restore(torch.load(self.checkpoint, weights_only=True))
        except (RuntimeError, LookupError, TypeError, ValueError, EOFError, OSError, pickle.UnpicklingError) as error:
            raise UserError(
                f"the checkpoint {self.checkpoint} must be whole and of this task, but reading it gave: "
                f"{str(error)[:200]}; delete it to train anew"
            ) from error

    def _restore(self, state: dict[str, Any]) -> None:
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, moments in self.optimizer.state.items():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # Laid out in memory as the parameter is: a fused step reads both as they lie.
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        torch.set_rng_state(state["random"])
        self.step, self.history = state["step"], state["history"]
        self._sums, self._count = state["sums"], state["count"]
        self.mean.values, self.mean.count = state.get("mean", []), state.get("averaged", 0)


def _build_optimizer(task: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Weight decay acts on matrices and kernels, not on biases and norms."""
    params = [p for p in task.parameters() if p.requires_grad]
    decays = [getattr(p, "decays", p.dim() > 1) for p in params]
    groups = [
        {"params": [p for p, d in zip(params, decays) if d], "weight_decay": settings.weight_decay},
        {"params": [p for p, d in zip(params, decays) if not d], "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=settings.momentum > 0, fused=True
        )
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def _set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, step: int, total: int, *, constant: bool
) -> None:
    rate = settings.learning_rate * learning_rate_factor(
        step, total, settings.warmup, settings.settle, constant=constant
    )
    for group in optimizer.param_groups:
        group["lr"] = rate


def learning_rate_factor(step: int, total: int, warmup: float, settle: float = 0.0, *, constant: bool = False) -> float:
    """Return the share of the peak learning rate at ``step``.

    A linear warm-up, then a cosine to zero; where training is to settle, to a hundredth, which then holds. A constant
    rate is the peak's after the warm-up.
    """
    rise, end = max(1, round(total * warmup)), total - round(total * settle)
    if step < rise:
        return (step + 1) / rise
    if constant:
        return 1.0
    lowest = SETTLED if settle else 0.0
    done = min(1.0, (step - rise) / max(1, end - rise))
    return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * done))


def _train_step(
    task: nn.Module,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    progress: float,
    ranks: Ranks,
) -> dict[str, float]:
    batch, weight = ranks.share(batch)
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
        values: dict[str, Tensor] = task(batch, progress)
    loss = values["loss"]
    if not torch.isfinite(loss):
        raise UserError(
            f"the training loss must be finite, got {loss.item()} at progress {progress:.1%}; lower "
            f"training.learning_rate (now {settings.learning_rate:g}) or look for NaNs in the data"
        )
    (weight * loss).backward()  # type: ignore[no-untyped-call]
    if settings.gradient_clip is not None:
        nn.utils.clip_grad_norm_(task.parameters(), settings.gradient_clip)
    optimizer.step()
    return ranks.mean({name: value.item() for name, value in values.items()}, weight)
