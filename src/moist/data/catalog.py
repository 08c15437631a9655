"""The built-in data sets by name, and where they are found on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BUILT_IN", "BuiltIn", "FoundDataset", "data_root", "find_built_in", "find_file", "list_datasets"]


@dataclass(frozen=True)
class BuiltIn:
    """One built-in data set.

    Args:
        kind: vision, text or tabular.
        folder: its folder under the data root; None where a library carries it.
        hub: its name on the public hub, where the very same data are there.
    """

    kind: str
    folder: str | None
    hub: str | None = None


BUILT_IN: dict[str, BuiltIn] = {
    "digits": BuiltIn("vision", None),
    "mnist": BuiltIn("vision", "mnist", "ylecun/mnist"),
    "cifar10": BuiltIn("vision", "cifar10", "uoft-cs/cifar10"),
    "letter": BuiltIn("tabular", "tabular/letter"),
    "adult": BuiltIn("tabular", "tabular/adult"),
    "covtype20k": BuiltIn("tabular", "tabular/covtype20k"),
    "dry_bean": BuiltIn("tabular", "tabular/dry_bean"),
    "satimage": BuiltIn("tabular", "tabular/satimage"),
    "pendigits": BuiltIn("tabular", "tabular/pendigits"),
    "optdigits": BuiltIn("tabular", "tabular/optdigits"),
    "magic": BuiltIn("tabular", "tabular/magic"),
    "banking77": BuiltIn("text", "text/banking77"),
    "clinc150": BuiltIn("text", "text/clinc150"),
    "trec50": BuiltIn("text", "text/trec50"),
    "sst2": BuiltIn("text", "text/sst2", "stanfordnlp/sst2"),
    "tweeteval_emoji": BuiltIn("text", "text/tweeteval_emoji", "cardiffnlp/tweet_eval:emoji"),
}


@dataclass(frozen=True)
class FoundDataset:
    """One line of ``moist data list``: ``where`` is a folder, ``embedded``, or None where it is not on this machine."""

    name: str
    kind: str
    where: str | None


def data_root() -> Path | None:
    """Return the folder of the built-in data: ``$MOIST_DATA``, else ``../shared/data`` beside the project, or None."""
    named = os.environ.get("MOIST_DATA")
    if named:
        return Path(named).expanduser()
    project = Path(__file__).resolve().parents[3]
    beside = project.parent / "shared" / "data"
    return beside if (project / "pyproject.toml").is_file() and beside.is_dir() else None


def find_built_in(name: str) -> Path | None:
    """Return the folder of the built-in data set ``name``, or None where it is not on this machine."""
    root, folder = data_root(), BUILT_IN[name].folder
    if root is None or folder is None or not (root / folder).is_dir():
        return None
    return root / folder


def find_file(path: str) -> Path:
    """Return ``path`` where it is a file, else the file of that name under the data root, else ``path`` itself."""
    given = Path(path).expanduser()
    root = data_root()
    if given.is_absolute() or given.is_file() or root is None:
        return given
    return root / given if (root / given).is_file() else given


def list_datasets() -> list[FoundDataset]:
    """Return every built-in data set with its kind and where it was found."""
    found = []
    for name, entry in BUILT_IN.items():
        place = find_built_in(name)
        where = "embedded" if entry.folder is None else str(place) if place else None
        found.append(FoundDataset(name, entry.kind, where))
    return found
