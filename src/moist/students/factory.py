"""Any model that a function of the user's returns."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from moist.data import InputShape
from moist.importing import import_callable
from moist.students.settings import StudentSettings
from moist.types import UserError

__all__ = ["factory_stages"]


def factory_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Call the factory and return its model as the only stage.

    Arguments called ``num_classes`` and ``input_shape`` are filled in where the factory names them and the settings
    don't.

    Args:
        settings: ``factory`` and ``factory_settings``.
        shape: what the model must read.
        num_classes: C, the width of its output.

    Raises:
        UserError: there is no such function, it does not take these arguments, it does not return a module, or the
            module does not give (N, C) logits.
    """
    name = str(settings.factory)
    factory = import_callable(name, "student.factory")
    known = inspect.signature(factory).parameters
    given = {"num_classes": num_classes, "input_shape": shape}
    arguments = {key: value for key, value in given.items() if key in known} | settings.factory_settings
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        raise UserError(
            f"factory {name} takes ({', '.join(known)}), got {sorted(arguments)}: {error}; mend factory_settings"
        ) from None
    module = factory(**arguments)
    if not isinstance(module, nn.Module):
        raise UserError(f"factory {name} must return a torch.nn.Module, got {type(module).__name__}; return the model")
    _check_output(module, shape, num_classes, name)
    return [module]


def _check_output(module: nn.Module, shape: InputShape, num_classes: int, name: str) -> None:
    training = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            output = module(_blank(shape))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise UserError(
            f"the model of factory {name} must read {shape.kind} inputs (N, {', '.join(map(str, shape.shape))}), "
            f"got an error on two blank ones: {error}; change the model"
        ) from error
    finally:
        for part, was in training.items():
            part.training = was
    if not isinstance(output, Tensor) or tuple(output.shape) != (2, num_classes):
        received = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"the model of factory {name} must give logits (N, {num_classes}), got {received} for two inputs; "
            f"give it {num_classes} outputs"
        )


def _blank(shape: InputShape) -> Tensor:
    return torch.zeros(2, *shape.shape, dtype=torch.int64 if shape.kind == "text" else torch.float32)
