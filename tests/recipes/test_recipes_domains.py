"""Domains made of classes, and the specialists that score only these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moist import load_bundle
from moist.config import ConfigError
from moist.mixture import inspect_bundle
from moist.partition import domain_rows
from moist.recipes import DistillSettings, distill
from moist.recipes.domains import class_groups, make_partition
from moist.recipes.workspace import prepare
from moist.types import Partition

Digits = Callable[..., DistillSettings]
OWN = {
    "student": {"family": "mlp", "width": 12},
    "mixture": {
        "num_domains": 3,
        "classes_per_specialist": 5,
        "trunk_stages": 2,  # pixels, and the hidden layer
        "router": {"reads": "trunk"},
        "shared_start": 0.4,
    },
    "joint": {"sharpen": 0, "balance": 0},
}


def test_rows_from_outside_a_domain_worked_by_hand() -> None:
    partition = Partition(2, np.array([0, 1, 1, 0, 1, 1]))
    assert domain_rows(partition, 0, 0.0, seed=0).tolist() == [0, 3]
    mixed = domain_rows(partition, 0, 0.5, seed=0)
    assert {0, 3} < set(mixed.tolist())
    assert len(mixed) == 4  # as many others as its own


def test_groups_hold_their_domains_and_random_ones_are_drawn_anew_for_each_seed(digits: Digits) -> None:
    _, space = prepare(digits(**OWN), quiet=True)
    settings = space.settings.mixture
    partition = make_partition(space, settings, 0)
    assert partition.class_to_domain is not None
    np.testing.assert_array_equal(partition.assignment, partition.class_to_domain[space.splits.train.target])
    groups = class_groups(space, settings, 0)
    assert groups is not None
    assert [len(group) for group in groups] == [5, 5, 5]
    assert all(c in groups[domain] for c, domain in enumerate(partition.class_to_domain))
    chance = settings.model_copy(update={"method": "random"})
    assert class_groups(space, chance, 0) != class_groups(space, chance, 1)
    assert class_groups(space, settings.model_copy(update={"classes_per_specialist": None}), 0) is None


def test_specialists_of_own_classes_from_data_to_bundle(digits: Digits, tmp_path: Path) -> None:
    metrics = distill(digits(**OWN), tmp_path / "run", quiet=True)

    systems = metrics["systems"]
    for name in ("mixture", "mixture_random_partition", "mixture_class_domains"):
        # 64 pixels to 12 units for all of them, a gate of 3, a head of 5 classes: the controls have the same shape.
        assert systems[name]["active_macs"] == pytest.approx(64 * 12 + 12 * 3 + 12 * 5)
        assert systems[name]["accuracy"]["mean"] > 0.2
    assert systems["generalist"]["active_macs"] == 64 * 12 + 12 * 10
    domains = inspect_bundle(tmp_path / "run" / "bundle", verify=True)["domains"]
    assert {name for domain in domains for name in domain["classes"]} == set(map(str, range(10)))
    mixture = load_bundle(tmp_path / "run" / "bundle")
    answer = mixture.predict_all(np.zeros((1, 8, 8, 1), dtype=np.uint8))
    chosen = domains[int(answer.routing.expert_indices[0, 0])]["classes"]
    unknown = [c for c, name in enumerate(mixture.classes) if name not in chosen]
    assert float(answer.probabilities[0, unknown].max()) < 1e-9


def test_the_loss_of_one_draw_is_refused(digits: Digits) -> None:
    with pytest.raises(ConfigError, match=r"classes_per_specialist=5 with joint.sharpen=1; set joint.sharpen=0"):
        digits(**{**OWN, "joint": {}})
