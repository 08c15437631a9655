"""Export a bundle: its graphs, checked against torch, in a folder that is whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import moist
from moist.export.files import write_export
from moist.export.pieces import mixture_fragments
from moist.export.precision import ExportData, choose_precision
from moist.mixture import inspect_bundle, load_bundle
from moist.runtime import EXPORT, EXPORT_FOLDER

__all__ = ["describe", "export_bundle"]


def export_bundle(
    bundle: str | Path,
    out: str | Path | None = None,
    *,
    int8: ExportData | None = None,
    allow_factory: bool = False,
    quiet: bool = True,
) -> dict[str, Any]:
    """Write the mixture in ``bundle`` as ONNX graphs; an export that is there is replaced.

    Args:
        bundle: the folder of the bundle.
        out: the folder to write; by default ``onnx`` inside the bundle.
        int8: what to calibrate static int8 on; None leaves everything in float32.
        allow_factory: whether a student from an own factory may be built, which runs code that the bundle names.
        quiet: show no progress.

    Returns:
        The export's manifest.

    Raises:
        UserError: the bundle is damaged, a part cannot be said in ONNX, or something else is at ``out``.
    """
    folder = Path(bundle) / EXPORT_FOLDER if out is None else Path(out)
    facts = inspect_bundle(bundle)
    with EXPORT.new_folder(folder) as partial:
        mixture = load_bundle(bundle, allow_factory=allow_factory)
        loads = [domain["load"] for domain in facts["domains"]]
        parts = mixture_fragments(mixture, None if None in loads else loads)
        report = None
        if int8 is not None:
            parts, report = choose_precision(parts, int8, quiet=quiet)
        threshold = parts.threshold
        write_export(partial, parts, {**describe(facts, threshold), "int8": report})
    return EXPORT.read_manifest(folder)


def describe(facts: Mapping[str, Any], threshold: float | None) -> dict[str, Any]:
    """Return what a runtime, a server or a reader needs to know of the bundle."""
    costs = facts["costs"]
    specialists = [{key: domain[key] for key in ("macs", "params", "bytes")} for domain in facts["domains"]]
    return {
        "moist": moist.__version__,
        "name": _name(facts),
        "classes": facts["classes"],
        "input": facts["input"],
        "transform": facts["transform"],
        "num_domains": facts["num_domains"],
        "inference": facts["inference"],
        "threshold": threshold,
        "costs": {**costs, "specialists": specialists},
        "load": [domain["load"] for domain in facts["domains"]],
        "measured": facts["measured"],
        "bundle_sha256": facts["sha256"],
    }


def _name(facts: Mapping[str, Any]) -> str:
    config = facts["config"] or {}
    data = config.get("data") or {}
    return str(config.get("name") or data.get("name") or "mixture")
