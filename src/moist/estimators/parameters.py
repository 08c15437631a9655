"""Checks of an estimator's parameters when it is fitted."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from moist.types import UserError

__all__ = ["check_integer", "check_number"]


def check_integer(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}, got {value!r}; change it")


def check_number(name: str, value: Any, least: float, *, above: bool = False) -> None:
    """Refuse what is not a number of at least ``least``, or above it."""
    rule = "above" if above else "of at least"
    fine = isinstance(value, Real) and not isinstance(value, bool)
    if not fine or not (value > least if above else value >= least):
        raise UserError(f"{name} must be a number {rule} {least:g}, got {value!r}; change it")
