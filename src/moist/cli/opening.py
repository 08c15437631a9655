"""Open the bundle that a command names."""

from __future__ import annotations

import argparse
import os

import torch

from moist.mixture import MixtureOfSpecialists, load_bundle

__all__ = ["open_bundle"]


def open_bundle(arguments: argparse.Namespace) -> MixtureOfSpecialists:
    """Return the mixture, to run on one thread unless OMP_NUM_THREADS says otherwise.

    Small models gain nothing from more threads, and on a busy machine lose a great deal by them.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    return load_bundle(arguments.bundle, max_resident=arguments.max_resident, allow_factory=arguments.allow_factory)
