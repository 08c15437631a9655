"""Functions and classes that a configuration names: ``module:function`` and dotted paths."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moist.config import nearest
from moist.types import UserError

__all__ = ["import_callable"]


def import_callable(path: str, option: str) -> Callable[..., Any]:
    """Import the function or class ``module:name`` or ``module.name``; modules in the working folder are found too.

    Args:
        path: what to import.
        option: the setting that it comes from, for errors.

    Raises:
        UserError: there is no such module or name, or what it names cannot be called.
    """
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not name:
        raise UserError(f"{option} must read module:name, got {path!r}; write it like my_models:create_model")
    # A console script, unlike `python -m`, does not look into the working folder.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(
            f"{option} must name a module that can be imported, got {path!r} ({error}); install it, or run from the "
            "folder that holds it"
        ) from error
    if not hasattr(module, name):
        public = [key for key in vars(module) if not key.startswith("_")]
        raise UserError(f"{option} must name something in module {module_name}, got {name!r}. {nearest(name, public)}")
    found = getattr(module, name)
    if not callable(found):
        raise UserError(f"{option} must name a function or class, {path} is a {type(found).__name__}; name another")
    return found  # type: ignore[no-any-return]
