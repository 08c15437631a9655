"""Find the smallest student that costs at least as much as something else: the fair comparison's size."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students.settings import ENCODERS, StudentSettings
from moist.students.student import create_student
from moist.types import Cost, UserError

__all__ = ["width_for"]

LARGEST_WIDTH = 4096


def width_for(
    settings: StudentSettings,
    shape: InputShape,
    num_classes: int,
    *,
    macs: float | None = None,
    params: int | None = None,
    example: Tensor,
    tail: bool = False,
) -> StudentSettings:
    """Return the settings with the smallest width whose counted cost is at least the target.

    A separate tail width of ``settings`` is dropped. Torch's global generator is left as it was.

    Args:
        settings: the student to size; its own width is ignored.
        shape: what it reads.
        num_classes: C.
        macs: multiply-accumulates per input to reach; with ``params`` too, both are reached.
        params: parameters to reach.
        example: (N, ...) inputs to count the cost on.
        tail: come closer, where the family allows it, by a student whose last stages alone have that width, and whose
            first ones have a step less: a step of width can be a quarter of the cost. Else there is one width.

    Raises:
        UserError: no target is given, the family has no width, or no width up to 4096 is large enough.
    """
    if macs is None and params is None:
        raise UserError("width_for needs macs or params to reach, got neither; give one")
    if settings.family == "torch":
        raise UserError("family 'torch' has no width to search, got a factory; set its size in factory_settings")
    single = settings.model_copy(update={"tail_width": None, "tail_from": None})
    step = settings.heads if settings.family in ENCODERS else 1

    @cache
    def cost(steps: int) -> Cost:
        return _count(single.model_copy(update={"width": steps * step}), shape, num_classes, example)

    def enough(steps: int) -> bool:
        return cost(steps).macs >= (macs or 0) and cost(steps).params >= (params or 0)

    low, high = 0, 1  # a width of low steps is too small, one of high steps is large enough
    while not enough(high):
        low, high = high, 2 * high
        if high * step > LARGEST_WIDTH:
            raise UserError(
                f"a {settings.family} of width up to {low * step} reaches {cost(low).macs:.4g} MACs and "
                f"{cost(low).params} parameters, got a target of {macs} MACs and {params} parameters; raise depth"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    found = single.model_copy(update={"width": high * step})
    if not tail or low == 0 or settings.family == "transformer":
        return found
    narrow = single.model_copy(update={"width": low, "tail_width": high})
    narrower = [narrow.model_copy(update={"tail_from": stage}) for stage in range(1, single.num_stages - 1)]
    costs = [(_count(student, shape, num_classes, example), student) for student in narrower]
    large = [
        (cost.macs, student) for cost, student in costs if cost.macs >= (macs or 0) and cost.params >= (params or 0)
    ]
    closest = min(large, key=lambda pair: pair[0], default=(cost(high).macs, found))
    return closest[1] if closest[0] < cost(high).macs else found


def _count(settings: StudentSettings, shape: InputShape, num_classes: int, example: Tensor) -> Cost:
    # The meta device has sizes without values, so that a wide candidate costs nothing to build and run; ids of text
    # need their values, since padding is free, and so does whatever is routed.
    device = "cpu" if shape.kind == "text" or settings.sparse is not None else "meta"
    with torch.random.fork_rng(devices=[]), torch.device(device):
        student = create_student(settings, shape, num_classes)
    return count_cost(student, example.to(device))
