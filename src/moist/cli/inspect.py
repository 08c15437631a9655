"""``moist inspect``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moist.cli.output import one_line, print_columns, print_json, short
from moist.mixture import inspect_bundle
from moist.teachers import inspect_signal_cache

__all__ = ["run_inspect"]

SHOWN_CLASSES = 20


def run_inspect(arguments: argparse.Namespace) -> None:
    """Show what is inside a bundle, or a signal cache."""
    if any(Path(arguments.bundle).glob("view-*")):
        _show_signals(inspect_signal_cache(Path(arguments.bundle), verify=arguments.verify), arguments.json)
        return
    facts = inspect_bundle(arguments.bundle, verify=arguments.verify)
    if arguments.json:
        print_json(facts)
        return
    _print_summary(facts)
    _print_costs(facts)
    _print_measured(facts)
    _print_files(facts)


def _show_signals(facts: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    print_columns(
        [
            ["signal cache", facts["path"]],
            ["teacher", one_line(facts["teacher"]["name"])],
            ["data", f"{one_line(facts['data']['name'])}, {facts['data']['split']}, {facts['num_rows']:,} rows"],
            ["views", ", ".join(map(str, facts["views"]))],
            ["classes", str(facts["num_classes"])],
        ]
    )
    _print_files(facts)


def _print_summary(facts: Mapping[str, Any]) -> None:
    classes, student, mixture = facts["classes"], facts["student"], facts["mixture"]
    router, inference = mixture["router"], facts["inference"]
    more = " ..." if len(classes) > SHOWN_CLASSES else ""
    defer = inference["defer"]
    deferring = "" if defer is None else f", defers to the {defer['to']} under {facts['threshold']:.3f}"
    print_columns(
        [
            ["bundle", facts["path"]],
            ["written by", f"moist {facts['moist']}, schema {facts['schema']}"],
            ["reads", _described(facts["input"])],
            ["classes", f"{len(classes)}: {', '.join(one_line(name) for name in classes[:SHOWN_CLASSES])}{more}"],
            [
                "mixture",
                f"{mixture['method']}, {facts['num_domains']} specialists, {mixture['trunk_stages']} shared stages",
            ],
            ["student", f"{student['family']}, width {student['width']}{_scored(mixture)}"],
            ["router", f"{router['kind']}, reads {router['reads']}"],
            ["answers with", f"top_k {inference['top_k']}{deferring}"],
        ]
    )


def _scored(mixture: Mapping[str, Any]) -> str:
    own = mixture.get("classes_per_specialist")  # bundles of earlier versions have none
    return "" if own is None else f"; a specialist scores {own} of the classes"


def _described(schema: Mapping[str, Any]) -> str:
    if schema["kind"] == "vision":
        return f"images {schema['height']}×{schema['width']}×{schema['channels']}"
    return "texts" if schema["kind"] == "text" else f"table rows, {len(schema['columns'])} columns"


def _print_costs(facts: Mapping[str, Any]) -> None:
    costs = facts["costs"]
    rows = [["COST", "LOAD", "MACS", "PARAMETERS", "BYTES"]]
    parts = {"per input": costs["active"], "router": costs["router"], "trunk": costs["trunk"]}
    parts |= {f"domain {domain['domain']}": domain for domain in facts["domains"]}
    parts |= {"generalist": costs["generalist"], "all specialists": costs["total"]}
    for name, cost in parts.items():
        if cost is not None:
            load = "-" if cost.get("load") is None else f"{cost['load']:.1%}"
            rows.append([name, load, short(cost["macs"]), short(cost["params"]), short(cost["bytes"])])
    print()
    print_columns(rows)


def _print_measured(facts: Mapping[str, Any]) -> None:
    rows = [["MEASURED", "ACCURACY", "MACS/INPUT", "ECE"]]
    for name, entry in facts["measured"].items():
        if not isinstance(entry, Mapping):
            continue
        accuracy = entry.get("accuracy")
        mean = accuracy["mean"] if isinstance(accuracy, Mapping) else accuracy
        ece = entry.get("ece")
        shown = ["-" if mean is None else f"{mean:.2%}", short(entry.get("active_macs"))]
        rows.append([name, *shown, "-" if ece is None else f"{ece:.4f}"])
    if len(rows) > 1:
        print()
        print_columns(rows)


def _print_files(facts: Mapping[str, Any]) -> None:
    print()
    print_columns([["FILE", "BYTES", "SHA-256"], *_file_rows(facts["files"])])
    checked = "every checksum is right" if facts["verified"] else "sizes are right; --verify checks every checksum too"
    print(f"\n{len(facts['files'])} files, {facts['bytes']:,} bytes: {checked}")


def _file_rows(files: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    return [[name, f"{record['bytes']:,}", record["sha256"]] for name, record in files.items()]
