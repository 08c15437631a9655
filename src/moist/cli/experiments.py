"""``moist reproduce``: its list, and the check of a name, without what takes seconds to import."""

from __future__ import annotations

import argparse

from moist.cli.output import print_columns, print_json
from moist.errors import UserError, nearest
from moist.experiments import experiments

__all__ = ["run_list", "run_reproduce"]


def run_list(arguments: argparse.Namespace) -> None:
    """List the experiments: names and what they show."""
    found = experiments()
    if arguments.json:
        print_json({"recipes": found})
    else:
        print_columns([[name, summary] for name, summary in found.items()])


def run_reproduce(arguments: argparse.Namespace) -> None:
    """Run a named experiment.

    Raises:
        UserError: no experiment has that name.
    """
    known = experiments()
    if arguments.name not in known:
        raise UserError(
            f"reproduce needs the name of an experiment, got {arguments.name or 'none'}. "
            f"{nearest(arguments.name or '', known)} (moist reproduce --list)"
        )
    from moist.cli.recipes import run_experiment

    run_experiment(arguments)
