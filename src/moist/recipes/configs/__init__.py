"""The configurations that come with the package, by name."""

from __future__ import annotations

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
        f"{nearest(name, shipped)}"
    )
