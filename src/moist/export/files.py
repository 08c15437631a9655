"""The files of an export: graphs that share their weights, and the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moist.errors import UserError
from moist.export.fragment import Fragment
from moist.export.onnx_library import ModelProto, TensorProto, checker, numpy_helper
from moist.export.routed_graph import MixtureFragments, routed_model, router_model, whole_model
from moist.folders import record_files
from moist.runtime import EXPORT

__all__ = ["write_export"]

MAPPED_BYTES = 4096  # weights smaller than a page of memory stay in the graph
PAGE = 4096
LARGEST_GRAPH = 2**31 - 1


@dataclass(frozen=True)
class _Stored:
    """The fragments with their larger weights in files, and those files by the part they belong to."""

    parts: MixtureFragments
    files: Mapping[str, str]

    def reads(self, names: Iterable[str]) -> list[str]:
        return [self.files[name] for name in names if name in self.files]


def write_export(folder: Path, parts: MixtureFragments, manifest: Mapping[str, Any]) -> None:
    """Write the graphs of a mixture and its manifest into an empty folder.

    Larger weights lie in files of their own, a file for each part, which the routed graph and the part's own graph
    both refer to: on disk every weight is there once, and memory maps are shared.

    Args:
        folder: where.
        parts: the mixture.
        manifest: what else to say of it.

    Raises:
        UserError: a graph is too large for its format.
    """
    stored = _store(folder, parts)
    whole = stored.parts
    names = [f"specialist-{k:03d}" for k in range(len(whole.specialists))]
    shared = stored.reads(["trunk", "router"])
    graphs: dict[str, Any] = {
        "routed": _write(folder, "routed.onnx", routed_model(whole), stored.reads(stored.files)),
        "router": _write(folder, "router.onnx", router_model(whole), shared),
        "generalist": None,
        "specialists": [
            _write(folder, f"{name}.onnx", specialist.model(name, softmax=True), stored.reads([name]))
            for name, specialist in zip(names, whole.specialists)
        ],
    }
    if whole.generalist is not None:
        model = whole_model(whole.transform, whole.generalist)
        graphs["generalist"] = _write(folder, "generalist.onnx", model, stored.reads(["generalist"]))
    EXPORT.write_manifest(
        folder, {"schema": EXPORT.schema, **manifest, "graphs": graphs, "files": record_files(folder)}
    )


def _store(folder: Path, parts: MixtureFragments) -> _Stored:
    files: dict[str, str] = {}

    def outside(fragment: Fragment, name: str) -> Fragment:
        stored, file = _outside(folder, fragment, f"{name}.weights")
        if file is not None:
            files[name] = file
        return stored

    stored = replace(
        parts,
        trunk=outside(parts.trunk, "trunk"),
        gate=outside(parts.gate, "router"),
        specialists=tuple(outside(each, f"specialist-{k:03d}") for k, each in enumerate(parts.specialists)),
        generalist=None if parts.generalist is None else outside(parts.generalist, "generalist"),
    )
    return _Stored(stored, files)


def _outside(folder: Path, fragment: Fragment, name: str) -> tuple[Fragment, str | None]:
    """Write the larger weights of a fragment into a file, and return it with references to them."""
    weights, content = [], bytearray()
    for weight in fragment.weights:
        data = numpy_helper.to_array(weight).tobytes()
        if len(data) < MAPPED_BYTES:
            weights.append(weight)
            continue
        content.extend(bytes(-len(content) % PAGE))
        weights.append(_reference(weight, name, len(content), len(data)))
        content.extend(data)
    if not content:
        return fragment, None
    (folder / name).write_bytes(content)
    return replace(fragment, weights=tuple(weights)), name


def _reference(weight: TensorProto, file: str, offset: int, length: int) -> TensorProto:
    reference = TensorProto(name=weight.name, data_type=weight.data_type, dims=weight.dims)
    reference.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", str(offset)), ("length", str(length))):
        entry = reference.external_data.add()
        entry.key, entry.value = key, value
    return reference


def _write(folder: Path, name: str, model: ModelProto, reads: list[str]) -> dict[str, Any]:
    if model.ByteSize() > LARGEST_GRAPH:
        raise UserError(
            f"a graph can have at most {LARGEST_GRAPH} bytes, {name} has {model.ByteSize()}; use fewer parts"
        )
    (folder / name).write_bytes(model.SerializeToString())
    checker.check_model(str(folder / name))
    return {"file": name, "reads": reads}
