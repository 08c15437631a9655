"""The configurations that come with the package, by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from moist.config import ConfigError, nearest

__all__ = ["find_config", "shipped_configs"]


def shipped_configs() -> dict[str, Path]:
    """Return the name and path of every configuration that comes with the package."""
    folder = Path(str(files(__package__)))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> Path:
    """Return the path of a configuration: a YAML file of the user's, or one that comes with the package.

    Raises:
        ConfigError: there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    raise ConfigError(
        f"CONFIG must be a YAML file or the name of a configuration that comes with moist, got {name!r}. "
        f"{_nearest_file(Path(name), shipped) or nearest(name, shipped)}"
    )


def _nearest_file(typed: Path, shipped: Mapping[str, Path]) -> str:
    """Name the YAML file of the same folder that is closest to what was typed; empty where a shipped name is closer."""
    near = {path.name: path for path in typed.parent.glob("*.y*ml") if path.is_file()}
    closest = difflib.get_close_matches(typed.name, [*shipped, *near], n=1)
    return f"Did you mean {str(near[closest[0]])!r}?" if closest and closest[0] in near else ""
