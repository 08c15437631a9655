"""Printing results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["one_line", "print_columns", "print_json", "short"]


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_columns(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Print rows of words in aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        print(indent + "  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip())


def one_line(text: object) -> str:
    """Return ``text`` without tabs and line ends."""
    return " ".join(str(text).split())


def short(value: float | None, digits: int = 3) -> str:
    """Return a count with a k, M or G, or ``-`` for None."""
    if value is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.{digits}g}{unit}"
    return f"{value:.{digits}g}"
