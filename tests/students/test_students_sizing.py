import pytest
import torch

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students import StudentSettings, create_student, width_for
from moist.types import UserError

IMAGE, TABLE = InputShape("vision", (3, 32, 32)), InputShape("tabular", (16,))
TEXT = InputShape("text", (6,), num_buckets=50)
IDS = torch.tensor([[1, 2, 3, 0, 0, 0]])


def test_the_smallest_width_by_hand():
    # 16 w + 26 w = 42 w: 464 MACs need w = 12 (504)
    found = width_for(StudentSettings(family="mlp"), TABLE, 26, macs=464, example=torch.zeros(2, 16))
    assert found.width == 12
    # exactly reached is enough
    assert width_for(found, TABLE, 26, macs=504, example=torch.zeros(2, 16)).width == 12
    assert width_for(found, TABLE, 26, macs=1, example=torch.zeros(2, 16)).width == 1
    # 17 w + 27 w - w + 26: 43 w + 26 parameters, 200 of them need w = 5 (241)
    assert width_for(found, TABLE, 26, params=200, example=torch.zeros(2, 16)).width == 5
    # both targets: the larger width
    assert width_for(found, TABLE, 26, macs=464, params=200, example=torch.zeros(2, 16)).width == 12


@pytest.mark.parametrize(
    ("settings", "shape", "example", "macs"),
    [
        (StudentSettings(family="resnet"), IMAGE, torch.zeros(1, 3, 32, 32), 3_300_000),
        (StudentSettings(family="dscnn"), IMAGE, torch.zeros(1, 3, 32, 32), 1_000_000),
        (StudentSettings(family="bag", depth=1), TEXT, IDS, 1000),
        (StudentSettings(family="transformer", heads=4), TEXT, IDS, 30_000),
    ],
    ids=lambda value: getattr(value, "family", ""),
)
def test_one_step_less_is_too_small(settings, shape, example, macs):
    def cost(width: int) -> float:
        smaller = settings.model_copy(update={"width": width})
        return count_cost(create_student(smaller, shape, 10), example).macs

    step = 4 if settings.family == "transformer" else 1
    found = width_for(settings, shape, 10, macs=macs, example=example).width
    assert found % step == 0
    assert cost(found) >= macs > cost(found - step)


def test_the_known_resnet_is_found_and_a_tail_width_is_dropped():
    settings = StudentSettings(family="resnet", width=4, tail_width=6, tail_from=2)
    found = width_for(settings, IMAGE, 10, macs=3_236_160, example=torch.zeros(1, 3, 32, 32))
    assert found == StudentSettings(family="resnet", width=8)


def test_a_wider_tail_comes_closer_to_the_target():
    settings, example = StudentSettings(family="resnet", stem_stride=2), torch.zeros(1, 3, 32, 32)

    def cost(student: StudentSettings) -> float:
        return count_cost(create_student(student, IMAGE, 10), example).macs

    target = cost(StudentSettings(family="resnet", stem_stride=2, width=16)) + 1
    found = width_for(settings, IMAGE, 10, macs=target, example=example, tail=True)
    assert (found.width, found.tail_width, found.tail_from) == (16, 17, 3)
    assert target <= cost(found) < 1.04 * target
    assert width_for(settings, IMAGE, 10, macs=target, example=example).width == 17
    # A step of width is the closest where the last stage alone would not reach the target.
    whole = cost(StudentSettings(family="resnet", stem_stride=2, width=17))
    assert width_for(settings, IMAGE, 10, macs=whole, example=example, tail=True).tail_width is None
    # One hidden layer has no tail of its own.
    table = width_for(StudentSettings(family="mlp"), TABLE, 26, macs=464, example=torch.zeros(2, 16), tail=True)
    assert (table.width, table.tail_width) == (12, None)


def test_the_random_generator_is_left_alone():
    before = torch.get_rng_state()
    width_for(StudentSettings(family="bag"), TEXT, 10, params=900, example=IDS)
    width_for(StudentSettings(family="mlp"), TABLE, 10, params=900, example=torch.zeros(1, 16))
    assert torch.equal(before, torch.get_rng_state())


def test_targets_that_cannot_be_reached_are_refused():
    example = torch.zeros(1, 16)
    with pytest.raises(UserError, match="got neither"):
        width_for(StudentSettings(family="mlp"), TABLE, 26, example=example)
    with pytest.raises(UserError, match=r"width up to 4096 reaches .* raise depth"):
        width_for(StudentSettings(family="mlp"), TABLE, 26, macs=1e12, example=example)
    with pytest.raises(UserError, match="has no width to search"):
        width_for(StudentSettings(family="torch", factory="a:b"), TABLE, 26, macs=1, example=example)
