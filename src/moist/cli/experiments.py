"""``moist reproduce --list``."""

from __future__ import annotations

import argparse

from moist.cli.output import print_columns, print_json
from moist.experiments import experiments

__all__ = ["run_list"]


def run_list(arguments: argparse.Namespace) -> None:
    """List the experiments: names and what they show."""
    found = experiments()
    if arguments.json:
        print_json({"recipes": found})
    else:
        print_columns([[name, summary] for name, summary in found.items()])
