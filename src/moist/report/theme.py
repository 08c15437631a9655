"""Colours of the page and its plots, for light and dark screens; hues after Okabe and Ito (colour-blind safe).

Plots are drawn in the light colours. On the page each colour of a plot becomes the CSS variable of the same name, so
that one drawing is legible on both backgrounds. Every light colour is therefore distinct.
"""

from __future__ import annotations

import re

__all__ = ["COLOURS", "DARK", "as_variables", "style_variables"]

COLOURS = {
    "ink": "#1c2430",
    "muted": "#5c6675",
    "grid": "#dde3ea",
    "card": "#ffffff",
    "onheat": "#fefefe",
    "heat": "#0b5c96",
    "mixture": "#d55e00",
    "single": "#0072b2",
    "deferring": "#a34700",
    "cascade": "#00805c",
    "classes": "#b57b00",
    "random": "#b0578d",
    "oracle": "#7a8391",
    "teacher": "#1d2531",
    "other": "#4a8fb5",
}
DARK = {
    "ink": "#e7ebf1",
    "muted": "#9ba7b6",
    "grid": "#2d3744",
    "card": "#171d26",
    "onheat": "#0c1118",
    "heat": "#6bbcf5",
    "mixture": "#ff8b47",
    "single": "#5fb3ef",
    "deferring": "#ffb489",
    "cascade": "#3fcba2",
    "classes": "#f2bd4a",
    "random": "#e6a2cb",
    "oracle": "#8e98a6",
    "teacher": "#e6eaf0",
    "other": "#9fcbe3",
}
_NAMES = {colour: name for name, colour in COLOURS.items()}


def style_variables(colours: dict[str, str]) -> str:
    """Return CSS declarations of the colours."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def as_variables(svg: str) -> str:
    """Replace the theme's colours inside ``style`` attributes of a drawing by CSS variables."""

    def in_style(match: re.Match[str]) -> str:
        return re.sub(r"#[0-9a-f]{6}\b", lambda hexes: _variable(hexes.group()), match.group())

    return re.sub(r'style="[^"]*"', in_style, svg)


def _variable(colour: str) -> str:
    return f"var(--{_NAMES[colour]})" if colour in _NAMES else colour
