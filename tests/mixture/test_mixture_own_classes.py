"""Specialists that score only their own classes: what they say, what they cost, and where they start."""

import numpy as np
import pytest
import torch
from tiny_mixtures import make_tiny
from torch import nn

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.mixture import (
    MixtureSettings,
    SpreadClasses,
    build_mixture,
    build_tail,
    load_bundle,
    mixture_cost,
    own_classes,
    save_bundle,
)
from moist.mixture.bundle import inspect_bundle
from moist.mixture.own_classes import ABSENT
from moist.mixture.stacked import LoopedSpecialists, StackedSpecialists, stack_if_possible
from moist.students import StudentSettings, create_student
from moist.types import UserError

TEXT = InputShape("text", (6,), num_buckets=32)
BAG = StudentSettings(family="bag", width=4)
C = 5
GROUPS = [[0, 1, 4], [1, 2, 3]]


def settings(**changes):
    router = {"kind": "linear", "reads": "trunk"}
    values = {"num_domains": 2, "classes_per_specialist": 3, "trunk_stages": 1, "router": router, **changes}
    return MixtureSettings.model_validate(values)


def ids(rows=6):
    return torch.randint(1, 33, (rows, 6))


def test_logits_go_to_their_own_places():
    spread = SpreadClasses([3, 0], 5)
    found = spread(torch.tensor([[1.0, 2.0]]))
    assert found.tolist() == [[2.0, ABSENT, ABSENT, 1.0, ABSENT]]
    assert found.softmax(dim=1)[0, [1, 2, 4]].sum() < 1e-12


def test_a_specialist_pays_for_its_own_classes_alone():
    tail = build_tail(BAG, TEXT, C, 1, [0, 1, 4])
    assert count_cost(tail, torch.randn(7, 4)).macs == 4 * 3
    assert count_cost(tail, torch.randn(7, 4)).params == 4 * 3 + 3


def test_active_cost_worked_by_hand():
    mixture = build_mixture(settings(), BAG, TEXT, C, ids(), groups=GROUPS).deploy()
    active, total = mixture_cost(mixture, ids(), [0.5, 0.5])
    # Six reads of 4 numbers, a gate of 2, one head of 3 classes (in all, two of them).
    assert active.macs == 6 * 4 + 4 * 2 + 4 * 3
    assert total.macs == active.macs + 4 * 3


def test_a_copy_of_the_generalist_says_what_it_says_of_its_classes():
    torch.manual_seed(0)
    generalist = create_student(BAG, TEXT, C).eval()
    inputs = ids()
    with torch.no_grad():
        expected = generalist(inputs)
        mixture = build_mixture(settings(), BAG, TEXT, C, inputs, generalist, GROUPS).deploy()
        _, logits = mixture.forward_all(inputs)
    for k, own in enumerate(GROUPS):
        torch.testing.assert_close(logits[:, k, own], expected[:, own])
        others = [c for c in range(C) if c not in own]
        assert (logits[:, k, others] == ABSENT).all()
        assert own_classes(mixture.specialists[k]).tolist() == own


def test_specialists_of_own_classes_train_stacked_and_come_apart_again():
    torch.manual_seed(0)
    members = [build_tail(BAG, TEXT, C, 1, own) for own in GROUPS]
    features = torch.randn(6, 4)
    together, looped = stack_if_possible(members), LoopedSpecialists(members)
    assert isinstance(together, StackedSpecialists)
    torch.testing.assert_close(together(features), looped(features))
    assert {name for name, _ in together.named_parameters()} == {"stacked.0__weight", "stacked.0__bias"}
    together(features).sum().backward()
    for member, own in zip(together.unstack(), GROUPS):
        assert own_classes(member).tolist() == own


@pytest.mark.parametrize(("size", "least"), [(2, 3), (6, 3)])
def test_groups_that_cannot_hold_all_classes_are_refused(size, least):
    with pytest.raises(UserError, match=f"between {least} and {C}.*got {size}; change it or mixture.num_domains"):
        build_mixture(settings(classes_per_specialist=size), BAG, TEXT, C, ids())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"method": "embedding-domains"}, "method=embedding-domains"), ({"active": 2}, "mixture.active=2")],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"domains made of classes.*{message}; leave out one of the two"):
        settings(**changes)


@pytest.mark.parametrize("case", ["text-own-classes", "image-own-classes"])
def test_a_bundle_keeps_the_classes_of_each_specialist(case, tmp_path):
    tiny = make_tiny(case, num_domains=3)
    known = [own_classes(specialist).tolist() for specialist in tiny.mixture.specialists]
    assert known == [[0, 1], [1, 2], [0, 2]]
    save_bundle(tiny.mixture, tmp_path / "b", student=tiny.student, settings=tiny.settings, measured={})
    names = tiny.mixture.classes
    listed = [domain["classes"] for domain in inspect_bundle(tmp_path / "b")["domains"]]
    assert listed == [[names[c] for c in own] for own in known]
    assert "each scores 2 of the 3 classes" in (tmp_path / "b" / "README.md").read_text(encoding="utf-8")
    loaded = load_bundle(tmp_path / "b", max_resident=1)
    np.testing.assert_array_equal(loaded.predict_proba(tiny.raw), tiny.mixture.predict_proba(tiny.raw))
    assert [own_classes(specialist).tolist() for specialist in loaded.specialists] == known


def test_an_image_student_is_cut_down_too():
    torch.manual_seed(0)
    shape, student = InputShape("vision", (3, 8, 8)), StudentSettings(family="resnet", width=2)
    generalist = create_student(student, shape, C).eval()
    images = torch.randn(4, 3, 8, 8)
    tail = build_tail(student, shape, C, 0, GROUPS[0], generalist).eval()
    with torch.no_grad():
        torch.testing.assert_close(nn.Sequential(tail)(images)[:, GROUPS[0]], generalist(images)[:, GROUPS[0]])
