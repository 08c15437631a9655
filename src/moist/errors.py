"""The error that a user can mend, and the hint that helps; needs nothing but the standard library."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UserError", "nearest"]


class UserError(ValueError):
    """An error that the user can mend: its message gives the rule, the value received and the remedy."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name closest to ``name``, or a list of what is known."""
    known = sorted(known)
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {match[0]!r}?" if match else f"Known: {', '.join(known)}."
