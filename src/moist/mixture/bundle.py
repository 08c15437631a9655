"""Bundles: a mixture as a folder of safetensors and JSON, checked byte for byte when it is loaded. No pickle."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import moist
from moist.data import InputShape, schema_from_dict, transform_from_dict
from moist.evaluation import count_cost
from moist.mixture.build import build_mixture
from moist.mixture.build_ensemble import build_ensemble
from moist.mixture.bundle_files import (
    SCHEMA,
    FileRecord,
    Manifest,
    WeightFiles,
    check_file,
    new_folder,
    parse_manifest,
    read_manifest,
    record_files,
    write_manifest,
)
from moist.mixture.card import CARD, model_card
from moist.mixture.early_exit import expected_load
from moist.mixture.ensemble import CoverageGate, SpecialistEnsemble
from moist.mixture.gates import build_gate
from moist.mixture.lazy import LazySpecialists, give_weights
from moist.mixture.model import MixtureOfSpecialists
from moist.mixture.own_classes import build_tail, own_classes
from moist.mixture.settings import MixtureSettings
from moist.students import StudentSettings, build_stages, create_student
from moist.types import Cost, UserError

__all__ = ["inspect_bundle", "load_bundle", "save_bundle"]

TRUNK, ROUTER, GENERALIST = "trunk.safetensors", "router.safetensors", "generalist.safetensors"


def save_bundle(
    mixture: MixtureOfSpecialists,
    path: str | Path,
    *,
    student: StudentSettings,
    settings: MixtureSettings,
    measured: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
    example: Tensor | None = None,
) -> None:
    """Write ``mixture`` into the folder ``path``, whole or not at all; a bundle that is there is replaced.

    The weights are put back into modules built from the settings before the folder takes its place, so a bundle that
    is written can be loaded.

    Args:
        mixture: trained, with classes, transform and schema.
        path: the folder.
        student: what trunk and specialists, and the generalist, were built from.
        settings: what the mixture was built from.
        measured: measured systems by name, as in the result files; ``mixture`` may hold each specialist's ``load``.
        config: the run's settings.
        example: (N, ...) inputs, as students read them, to count costs on; by default a blank one, or for text one
            that fills the length.

    Raises:
        UserError: something else than a bundle is at ``path``, or the disk is full.
        ValueError: the mixture lacks something, or was not built from these settings.
    """
    _check_complete(mixture, settings)
    assert mixture.transform is not None
    assert mixture.schema is not None
    with new_folder(Path(path)) as folder:
        weights, files = _write_weights(mixture, folder)
        shape, classes = mixture.transform.input_shape, mixture.classes
        example = _blank(shape) if example is None else example.detach().cpu()
        top_k = len(files) if mixture.inference.top_k == "all" else mixture.inference.top_k
        load = _load(measured, len(files))
        shares = load or expected_load(len(files), settings.exit)
        try:
            costs = _count(folder, weights, files, student, settings, shape, len(classes), example)
        except UserError as error:
            raise ValueError(f"save_bundle needs the settings that the mixture was built from: {error}") from error
        manifest: dict[str, Any] = {
            "schema": SCHEMA,
            "moist": moist.__version__,
            "classes": list(classes),
            "input": mixture.schema.to_dict(),
            "transform": mixture.transform.to_dict(),
            "num_domains": len(files),
            "student": student.model_dump(mode="json"),
            "mixture": settings.model_dump(mode="json"),
            "inference": mixture.inference.model_dump(mode="json"),
            "threshold": mixture.threshold,
            "weights": weights.model_dump(),
            "costs": _summed(costs, [top_k * share for share in shares]),
            "domains": _domains(mixture, files, costs["specialists"], load),
            "measured": dict(measured),
            "config": None if config is None else dict(config),
        }
        (folder / CARD).write_text(model_card(manifest), encoding="utf-8")
        write_manifest(folder, {**manifest, "files": record_files(folder)})


def load_bundle(
    path: str | Path, *, max_resident: int | None = None, verify: bool = True, allow_factory: bool = False
) -> MixtureOfSpecialists:
    """Load the mixture in the folder ``path``; each specialist is opened when an input first needs it.

    Args:
        path: the folder that ``save_bundle`` wrote.
        max_resident: most specialists in memory, those used last; None keeps all that were opened.
        verify: check every file against its SHA-256, a specialist's when it is opened; sizes are always checked.
        allow_factory: whether a student from an own factory may be built, which runs code that the bundle names.

    Raises:
        UserError: a file is missing, damaged, or of another version, or the student needs ``allow_factory``.
    """
    # Whole, so that specialists are found even when the working folder changes.
    folder = Path(path).resolve()
    manifest = parse_manifest(read_manifest(folder, verify=verify), folder)
    specialists = {domain.file for domain in manifest.domains}
    for name, record in manifest.files.items():
        check_file(folder, name, record, content=verify and name not in specialists)
    _check_factory(manifest.student, allow_factory)
    try:
        schema, transform = schema_from_dict(manifest.input), transform_from_dict(manifest.transform)
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder}: the schema of its inputs is damaged ({error!r}); make the bundle again") from None
    with torch.inference_mode(False):
        shape, num_classes = transform.input_shape, len(manifest.classes)
        trunk, gate, tails = _build(manifest.student, manifest.mixture, shape, num_classes)
        _fill(folder, manifest.weights, trunk, gate)
        generalist = _generalist(folder, manifest.weights, manifest.student, shape, num_classes)
        files = _SpecialistFiles(folder, manifest, verify)
        lazy = LazySpecialists(tails, files, len(manifest.domains), max_resident)
    known: dict[str, Any] = {
        "inference": manifest.inference,
        "threshold": manifest.threshold,
        "generalist": generalist,
        "classes": manifest.classes,
        "transform": transform,
        "schema": schema,
    }
    if isinstance(gate, CoverageGate):
        return SpecialistEnsemble(gate, lazy, top_n=manifest.mixture.top_n, **known).eval()
    return MixtureOfSpecialists(trunk, gate, lazy, reads=manifest.mixture.router.reads, **known).eval()


def inspect_bundle(path: str | Path, verify: bool = False) -> dict[str, Any]:
    """Return the content of ``bundle.json`` once every file is there in its size.

    Args:
        path: the bundle.
        verify: also check every file, the specialists' too, against its SHA-256.

    Returns:
        Classes, settings, ``costs``, ``domains`` (file, costs and load of each), ``measured``, ``config``, ``files``;
        and ``path``, ``bytes`` (of all files), ``verified``.

    Raises:
        UserError: as :func:`load_bundle`.
    """
    folder = Path(path).resolve()
    manifest = read_manifest(folder)
    known = parse_manifest(manifest, folder)
    for name, record in known.files.items():
        check_file(folder, name, record, content=verify)
    total = sum(record.bytes for record in known.files.values())
    return {"path": str(folder), "bytes": total, "verified": verify, **manifest}


def _check_complete(mixture: MixtureOfSpecialists, settings: MixtureSettings) -> None:
    missing = [name for name in ("classes", "transform", "schema") if not getattr(mixture, name)]
    if missing:
        raise ValueError(f"a bundle needs the mixture's {', '.join(missing)}, got none; set them before saving")
    if mixture.num_domains != settings.num_domains or mixture.reads != settings.router.reads:
        raise ValueError(
            f"save_bundle needs the settings that the mixture was built from, got num_domains={settings.num_domains} "
            f"and reads={settings.router.reads} for {mixture.num_domains} specialists and reads={mixture.reads}"
        )
    defer = mixture.inference.defer
    if defer is not None and defer.to == "generalist" and mixture.generalist is None:
        raise ValueError("a mixture that defers to its generalist needs one, got none; set mixture.generalist")


def _check_factory(student: StudentSettings, allowed: bool) -> None:
    if student.family == "torch" and not allowed:
        raise UserError(
            f"this bundle's students are built by calling {student.factory}, code outside the bundle, which runs only "
            "on demand; if you trust it, load with allow_factory=True (--allow-factory)"
        )


def _write_weights(mixture: MixtureOfSpecialists, folder: Path) -> tuple[WeightFiles, list[str]]:
    (folder / "specialists").mkdir()
    files = [f"specialists/{k:03d}.safetensors" for k in range(mixture.num_domains)]
    for name, specialist in zip(files, mixture.specialists):
        _write(specialist, folder / name)
    _write(mixture.gate, folder / ROUTER)
    trunk = TRUNK if mixture.trunk.state_dict() else None
    if trunk is not None:
        _write(mixture.trunk, folder / trunk)
    generalist = GENERALIST if mixture.generalist is not None else None
    if generalist is not None and mixture.generalist is not None:
        _write(mixture.generalist, folder / generalist)
    return WeightFiles(trunk=trunk, router=ROUTER, generalist=generalist), files


def _write(module: nn.Module, path: Path) -> None:
    state = module.state_dict()
    foreign = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if foreign:
        raise UserError(f"a bundle holds tensors only, the student also has {', '.join(foreign)}; make them buffers")
    # Each on its own: safetensors refuses tensors that share memory.
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, path)


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, memory-mapped: pages are read when they are used."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path} must be a safetensors file, it is damaged ({error}); make the bundle again") from None


def _build(
    student: StudentSettings, settings: MixtureSettings, shape: InputShape, num_classes: int
) -> tuple[nn.Module, nn.Module, list[nn.Module]]:
    """Return trunk, gate and the first specialists, untrained; torch's global generator is left as it was.

    The last one stands for all that follow, which have the same shape.
    """
    if settings.method == "hinton-specialists":
        with torch.random.fork_rng(devices=[]):
            ensemble = build_ensemble(settings, student, shape, num_classes)
        return ensemble.trunk, ensemble.gate, [ensemble.specialists[0]]
    if settings.exit is not None:
        with torch.random.fork_rng(devices=[]):
            mixture = build_mixture(settings, student, shape, num_classes, _blank(shape)).deploy()
        # Copies, for the gate reads the first one's layer.
        return mixture.trunk, mixture.gate, copy.deepcopy(list(mixture.specialists))
    cut = settings.trunk_stages
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        stages = build_stages(student, shape, num_classes)
        trunk = nn.Sequential(*stages[:cut]) if cut else nn.Identity()
        gate = build_gate(settings.router, shape, settings.num_domains, trunk.eval()(_blank(shape)))
        # Which classes a specialist scores comes with its weights.
        own = None if settings.classes_per_specialist is None else range(settings.classes_per_specialist)
        tail = build_tail(student, shape, num_classes, cut, own)
    return trunk, gate, [tail]


def _blank(shape: InputShape) -> Tensor:
    """One input: zeros, or a text that fills the length (id 0 is padding, which costs nothing)."""
    if shape.kind == "text":
        return torch.ones(1, *shape.shape, dtype=torch.int64)
    return torch.zeros(1, *shape.shape)


def _fill(folder: Path, weights: WeightFiles, trunk: nn.Module, gate: nn.Module) -> None:
    give_weights(trunk, {} if weights.trunk is None else _read(folder / weights.trunk), "the trunk")
    give_weights(gate, _read(folder / weights.router), "the router")


def _generalist(
    folder: Path, weights: WeightFiles, student: StudentSettings, shape: InputShape, num_classes: int
) -> nn.Module | None:
    if weights.generalist is None:
        return None
    with torch.random.fork_rng(devices=[]):
        module = create_student(student, shape, num_classes)
    return give_weights(module, _read(folder / weights.generalist), "the generalist")


class _SpecialistFiles:
    """Opens specialists; a file is hashed when it is first opened, and again when it has changed since."""

    def __init__(self, folder: Path, manifest: Manifest, verify: bool) -> None:
        self._folder = folder
        self._records: list[tuple[str, FileRecord]] = [(d.file, manifest.files[d.file]) for d in manifest.domains]
        self._verify = verify
        self._seen: dict[int, tuple[int, int]] = {}

    def __call__(self, k: int) -> dict[str, Tensor]:
        name, record = self._records[k]
        path = self._folder / name
        known = self._seen.get(k)
        unchanged = known is not None and path.is_file() and known == _stamp(path)
        check_file(self._folder, name, record, content=self._verify and not unchanged)
        self._seen[k] = _stamp(path)
        return _read(path)


def _stamp(path: Path) -> tuple[int, int]:
    facts = os.stat(path)  # noqa: PTH116
    return facts.st_ino, facts.st_mtime_ns


def _load(measured: Mapping[str, Any], num_domains: int) -> list[float] | None:
    """Return the measured share of each specialist."""
    load = measured.get("mixture", {}).get("load")
    return [float(share) for share in load] if load is not None and len(load) == num_domains else None


def _count(
    folder: Path,
    weights: WeightFiles,
    files: Sequence[str],
    student: StudentSettings,
    settings: MixtureSettings,
    shape: InputShape,
    num_classes: int,
    example: Tensor,
) -> dict[str, Any]:
    """Put the weights written into modules built from the settings, and count what each costs."""
    trunk, gate, tails = _build(student, settings, shape, num_classes)
    _fill(folder, weights, trunk, gate)
    with torch.no_grad():
        features = trunk.eval()(example)
    specialists = []
    for k, name in enumerate(files):
        specialist = give_weights(tails[min(k, len(tails) - 1)], _read(folder / name), f"specialist {k}")
        specialists.append(count_cost(specialist, features))
    generalist = _generalist(folder, weights, student, shape, num_classes)
    return {
        "trunk": count_cost(trunk, example),
        "router": count_cost(gate, features if settings.router.reads == "trunk" else example),
        "generalist": None if generalist is None else count_cost(generalist, example),
        "specialists": specialists,
    }


def _summed(costs: Mapping[str, Any], shares: Sequence[float]) -> dict[str, Any]:
    """Costs of the parts, the mean cost of one input (``active``), and of running every specialist (``total``)."""
    every: Sequence[Cost] = costs["specialists"]
    shared: Cost = costs["trunk"] + costs["router"]
    mean = Cost(
        sum(share * cost.macs for share, cost in zip(shares, every)),
        round(sum(share * cost.params for share, cost in zip(shares, every))),
        round(sum(share * cost.bytes for share, cost in zip(shares, every))),
    )
    total = Cost(sum(c.macs for c in every), sum(c.params for c in every), sum(c.bytes for c in every))
    generalist: Cost | None = costs["generalist"]
    return {
        "trunk": asdict(costs["trunk"]),
        "router": asdict(costs["router"]),
        "generalist": None if generalist is None else asdict(generalist),
        "active": asdict(shared + mean),
        "total": asdict(shared + total),
    }


def _domains(
    mixture: MixtureOfSpecialists, files: Sequence[str], costs: Sequence[Cost], load: Sequence[float] | None
) -> list[dict[str, Any]]:
    """Where each specialist is, what it costs and serves, and the names of the classes that it scores if not all."""
    domains = []
    for k, (specialist, name, cost) in enumerate(zip(mixture.specialists, files, costs)):
        entry = {"domain": k, "file": name, **asdict(cost), "load": None if load is None else load[k]}
        own = own_classes(specialist)
        domains.append(entry if own is None else {**entry, "classes": [mixture.classes[c] for c in own.tolist()]})
    return domains
