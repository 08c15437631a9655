"""Specialists of unequal size: who leaves early, what that costs, how it is trained."""

import pytest
import torch

from moist.data import InputShape
from moist.errors import UserError
from moist.evaluation import count_cost
from moist.mixture import MixtureSettings, build_mixture, calibrate_exit, expected_load, mixture_cost
from moist.recipes.plan import _training_macs
from moist.students import StudentSettings, create_student

VISION = InputShape("vision", (3, 16, 16))
EXIT = {"num_domains": 3, "trunk_stages": 2, "router": {"reads": "trunk"}, "exit": {"width": 2, "share": 0.75}}
STUDENT = StudentSettings(family="resnet", width=4, tail_width=6, tail_from=2)


@pytest.fixture
def images():
    return torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def trainable(images):
    torch.manual_seed(0)
    return build_mixture(MixtureSettings.model_validate(EXIT), STUDENT, VISION, 5, images[:4])


def test_the_exit_is_heard_exactly_where_its_margin_is_over_the_threshold(trainable, images):
    mixture = trainable.deploy()
    calibrate_exit(mixture.trunk, mixture.gate, images.split(16), 0.75)
    answer = mixture(images)
    chosen = answer.routing.expert_indices[:, 0]
    assert (chosen == 0).sum() == 48
    logits = mixture.forward_all(images)[1]
    best = logits[:, 0].softmax(dim=1).topk(2, dim=1).values
    margin = best[:, 0] - best[:, 1]
    assert torch.equal(chosen == 0, margin > mixture.gate.threshold)
    # The rest go where the learned scores say, and every answer is that of the one chosen.
    assert set(chosen.tolist()) <= {0, 1, 2}
    exits_own = mixture.trunk(images)[:, -8:]
    among = mixture.gate.among(exits_own).argmax(dim=1) + 1
    assert torch.equal(chosen[chosen > 0], among[chosen > 0])
    expected = logits[torch.arange(64), chosen].softmax(dim=1)
    torch.testing.assert_close(answer.probabilities, expected)


def test_one_large_specialist_needs_no_learned_scores(images):
    settings = MixtureSettings.model_validate({**EXIT, "num_domains": 2})
    mixture = build_mixture(settings, STUDENT, VISION, 5, images[:4]).deploy()
    calibrate_exit(mixture.trunk, mixture.gate, [images], 0.5)
    assert mixture.gate.among is None
    assert torch.bincount(mixture(images).routing.expert_indices[:, 0]).tolist() == [32, 32]


def test_an_easy_input_costs_a_narrow_student_and_a_hard_one_a_wide_student_too(trainable, images):
    mixture = trainable.deploy()
    narrow = STUDENT.model_copy(update={"tail_width": 2})
    small = count_cost(create_student(narrow, VISION, 5), images[:1]).macs
    large = count_cost(create_student(STUDENT, VISION, 5), images[:1]).macs
    shared = count_cost(mixture.trunk.stages, images[:1]).macs
    head, among = 8 * 5, 8 * 2  # the margin reads the exit's head once more
    easy, _ = mixture_cost(mixture, images[:1], [1, 0, 0])
    assert easy.macs == small + head + among
    hard, _ = mixture_cost(mixture, images[:1], [0, 1, 0])
    assert hard.macs == small + among + large - shared
    load = expected_load(3, MixtureSettings.model_validate(EXIT).exit)
    assert load == [0.75, 0.125, 0.125]
    mean, total = mixture_cost(mixture, images[:1], load)
    assert mean.macs == pytest.approx(0.75 * easy.macs + 0.25 * hard.macs)
    assert _training_macs(MixtureSettings.model_validate(EXIT), mean, total, mean) == total.macs


def test_a_large_specialist_goes_on_from_the_shared_features(trainable, images):
    mixture = trainable.deploy()
    features = mixture.trunk(images)
    own = mixture.specialists[1].stages(mixture.trunk.stages(images))
    torch.testing.assert_close(mixture.specialists[1](features), own)
    torch.testing.assert_close(mixture.forward_all(images)[1][:, 1], own)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "random"}, "method=random"),
        ({"active": 2}, "active=2"),
        ({"shared_start": 0.5}, "shared_start=0.5"),
        ({"classes_per_specialist": 3}, "classes_per_specialist=3"),
        ({"trunk_stages": 0}, "trunk_stages=0"),
        ({"router": {"reads": "inputs"}}, "router.reads=inputs"),
    ],
)
def test_what_does_not_go_with_an_exit_is_named(change, words):
    with pytest.raises(ValueError, match=r"mixture\.exit") as error:
        MixtureSettings.model_validate({**EXIT, **change})
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("student", "shape", "stages", "words"),
    [
        (STUDENT, VISION, 4, "a stage of its own"),
        (StudentSettings(family="vit", width=4, stem_stride=4), VISION, 1, "one width throughout"),
    ],
)
def test_a_student_without_room_for_an_exit_is_refused(student, shape, stages, words, images):
    settings = MixtureSettings.model_validate({**EXIT, "trunk_stages": stages})
    with pytest.raises(UserError, match=words):
        build_mixture(settings, student, shape, 5, images[:4])
