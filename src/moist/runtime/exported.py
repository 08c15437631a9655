"""The folder of an exported mixture: its manifest, and its graphs, checked before they are opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moist.errors import UserError
from moist.folders import SAFE_NAME, SealedFolder

__all__ = ["EXPORT", "EXPORT_FOLDER", "Exported", "ExportedGraph", "open_export"]

EXPORT = SealedFolder("an export", "manifest.json", 1, "copy the whole folder again, or run moist export again")
EXPORT_FOLDER = "onnx"  # inside a bundle


@dataclass(frozen=True)
class _Facts:
    sha256: str
    bytes: int


@dataclass(frozen=True)
class ExportedGraph:
    """One graph of an export.

    Args:
        file: the graph, a path inside the folder.
        reads: files of weights that it maps into memory.
    """

    file: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Exported:
    """An exported mixture on disk.

    Args:
        folder: where it is.
        manifest: what ``manifest.json`` holds.
        routed: one raw input to probabilities.
        router: raw inputs to features, and which specialists they go to.
        specialists: features to probabilities, one graph each.
        generalist: raw inputs to probabilities, where there is one to defer to.
    """

    folder: Path
    manifest: dict[str, Any]
    routed: ExportedGraph
    router: ExportedGraph
    specialists: tuple[ExportedGraph, ...]
    generalist: ExportedGraph | None

    def checked(self, graph: ExportedGraph) -> Path:
        """Return the path of a graph once it and its weights have the checksums of the manifest.

        Raises:
            UserError: a file is missing or was changed.
        """
        for name in (graph.file, *graph.reads):
            EXPORT.check_file(self.folder, name, _Facts(**self.manifest["files"][name]), content=True)
        return self.folder / graph.file

    def size(self, graph: ExportedGraph) -> int:
        """Return the bytes of a graph and its weights on disk."""
        return sum(int(self.manifest["files"][name]["bytes"]) for name in (graph.file, *graph.reads))

    def check_sizes(self) -> None:
        """Check that every file is there in its size; contents are checked when they are opened.

        Raises:
            UserError: a file is missing or cut short.
        """
        for name, facts in self.manifest["files"].items():
            EXPORT.check_file(self.folder, name, _Facts(**facts), content=False)


def open_export(path: str | Path) -> Exported:
    """Return the export in the folder ``path``, or in the bundle there.

    Raises:
        UserError: there is none, or it is damaged or of another version.
    """
    folder = _find(Path(path).resolve())
    manifest = EXPORT.read_manifest(folder)
    try:
        exported = _parse(folder, manifest)
    except (KeyError, TypeError, ValueError) as error:
        problem = error if isinstance(error, UserError) else repr(error)
        raise UserError(f"{folder / EXPORT.manifest} does not describe an export: {problem}; {EXPORT.remedy}") from None
    exported.check_sizes()
    return exported


def _find(path: Path) -> Path:
    for folder in (path, path / EXPORT_FOLDER, path / "bundle" / EXPORT_FOLDER):
        if (folder / EXPORT.manifest).is_file():
            return folder
    for folder in (path, path / "bundle"):
        if (folder / "bundle.json").is_file():
            raise UserError(f"{folder} is a bundle that was not exported yet; run: moist export {folder}")
    return path  # where reading the manifest says what is wrong


def _parse(folder: Path, manifest: dict[str, Any]) -> Exported:
    graphs = manifest["graphs"]
    generalist = graphs["generalist"]
    exported = Exported(
        folder,
        manifest,
        _graph(graphs["routed"]),
        _graph(graphs["router"]),
        tuple(_graph(entry) for entry in graphs["specialists"]),
        None if generalist is None else _graph(generalist),
    )
    _check_names(exported)
    return exported


def _graph(entry: Mapping[str, Any]) -> ExportedGraph:
    return ExportedGraph(entry["file"], tuple(entry["reads"]))


def _check_names(exported: Exported) -> None:
    files = {name: _Facts(**facts) for name, facts in exported.manifest["files"].items()}
    graphs = [exported.routed, exported.router, *exported.specialists]
    graphs += [] if exported.generalist is None else [exported.generalist]
    for name in [*files, *(name for graph in graphs for name in (graph.file, *graph.reads))]:
        if not SAFE_NAME.fullmatch(name):
            raise UserError(f"a file must be named by a plain path inside the folder, got {name!r}")
        if name not in files:
            raise UserError(f"every file must have a checksum, {name} has none")
