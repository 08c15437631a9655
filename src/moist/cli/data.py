"""``moist data``."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from moist.cli.output import print_columns, print_json
from moist.data import data_root, list_datasets

__all__ = ["run_list"]


def run_list(arguments: argparse.Namespace) -> None:
    """List the built-in data sets and where they were found."""
    found, root = list_datasets(), data_root()
    if arguments.json:
        print_json({"root": None if root is None else str(root), "datasets": [asdict(entry) for entry in found]})
        return
    print_columns([["NAME", "KIND", "WHERE"], *([e.name, e.kind, e.where or "not found"] for e in found)])
    if any(entry.where is None for entry in found):
        print("\nSet MOIST_DATA to the folder that holds those not found, or give your own: data: {path: ...}")
