"""Numbers as a reader wants them, and the values of ``metrics.json`` that may be absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = [
    "ABSENT",
    "bytes_text",
    "count_text",
    "mean_std",
    "milliseconds_text",
    "number",
    "percent_text",
    "plain_text",
    "seconds_text",
    "shorten",
]

ABSENT = "–"


def number(value: Any) -> float | None:
    """Return a finite number, the ``mean`` (or ``batch_1``, or ``median``) of a mapping, or None."""
    if isinstance(value, Mapping):
        found = (number(value[key]) for key in ("mean", "batch_1", "median") if key in value)
        return next((one for one in found if one is not None), None)
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def mean_std(value: Any) -> tuple[float | None, float | None]:
    """Return the mean and the spread of a measured value; the spread is None where one seed (or none) was run."""
    if not isinstance(value, Mapping):
        return number(value), None
    values = value.get("values")
    if values is not None and len(values) < 2:
        return number(value), None
    return number(value), number(value.get("std"))


def percent_text(fraction: float | None, digits: int = 1) -> str:
    """Return ``97.4%``."""
    return ABSENT if fraction is None else f"{100 * fraction:.{digits}f}%"


def count_text(value: float | None) -> str:
    """Return a count with three significant digits and a unit: ``804``, ``3.24 M``."""
    return _scaled(value, 1000, ("", "k", "M", "G", "T"))


def bytes_text(value: float | None) -> str:
    """Return a size: ``312 kB``."""
    text = _scaled(value, 1000, ("B", "kB", "MB", "GB", "TB"))
    return text if text == ABSENT else text.strip()


def _scaled(value: float | None, base: int, units: tuple[str, ...]) -> str:
    if value is None:
        return ABSENT
    step = 0
    # 999.5 and not 1000: what would be rounded up to four digits goes to the next unit.
    while abs(value) >= base - 0.5 and step < len(units) - 1:
        value, step = value / base, step + 1
    digits = max(0, 2 - (int(math.log10(abs(value))) if abs(value) >= 1 else 0))
    text = f"{value:.{digits}f}"
    if step == 0 or "." in text:
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {units[step]}".rstrip()


def milliseconds_text(value: float | None) -> str:
    """Return a latency: ``0.79 ms``, or microseconds where it is under a tenth of that."""
    if value is None:
        return ABSENT
    return f"{1000 * value:.0f} µs" if value < 0.1 else f"{value:.3g} ms"


def seconds_text(value: float | None) -> str:
    """Return a duration: ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if value is None:
        return ABSENT
    whole = round(value)
    if whole < 60:
        return f"{value:.1f} s" if value < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plain_text(value: Any) -> str:
    """Return any value of a result file in words."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() or abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain_text(one)}" for key, one in value.items() if one is not None) or ABSENT
    if isinstance(value, list | tuple):
        return ", ".join(plain_text(one) for one in value) or ABSENT
    return str(value)


def shorten(text: str, length: int) -> str:
    """Return ``text`` on one line, without control characters, cut to ``length`` characters with an ellipsis."""
    line = " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())
    return line if len(line) <= length else line[: max(1, length - 1)].rstrip() + "…"
