"""MoIST: distil one large teacher into a routed mixture of small specialists.

``moist.load_bundle`` opens a mixture that ``moist distill`` has made, ``moist.RoutedSession`` one that ``moist export``
has written; the rooms below hold everything else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moist.mixture import MixtureOfSpecialists, load_bundle
    from moist.runtime import RoutedSession

    __version__: str

__all__ = ["MixtureOfSpecialists", "RoutedSession", "__version__", "load_bundle"]

# Loaded when first asked for: torch alone takes seconds, and `moist --help` needs none of it.
_HOMES = {
    "MixtureOfSpecialists": "moist.mixture",
    "RoutedSession": "moist.runtime",
    "load_bundle": "moist.mixture",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'moist' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _version() -> str:
    metadata = importlib.import_module("importlib.metadata")
    try:
        found: str = metadata.version("moist")
    except metadata.PackageNotFoundError:
        return "0+unknown"  # run from a source tree that is not installed
    return found
