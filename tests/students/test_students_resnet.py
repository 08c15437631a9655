import torch

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students import StudentSettings, build_stages, create_student
from moist.students.resnet import BasicBlock


def test_macs_at_width_8_by_hand():
    student = create_student(StudentSettings(family="resnet", width=8), InputShape("vision", (3, 32, 32)), 10)
    stem = 9 * 3 * 8 * 1024
    first = 2 * 9 * 8 * 8 * 1024
    second = (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16) * 256  # two convolutions and the projected shortcut
    third = (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) * 64
    assert count_cost(student, torch.zeros(2, 3, 32, 32)).macs == stem + first + second + third + 320 == 3_236_160


def test_stages_halve_the_resolution_and_double_the_channels():
    stages = build_stages(StudentSettings(family="resnet", width=4, depth=2), InputShape("vision", (1, 8, 8)), 10)
    features, shapes = torch.zeros(2, 1, 8, 8), []
    for stage in stages:
        features = stage(features)
        shapes.append(tuple(features.shape[1:]))
    assert shapes == [(4, 8, 8)] * 3 + [(8, 4, 4)] * 2 + [(16, 2, 2)] * 2 + [(10,)]


def test_a_tail_of_another_width_joins_the_trunk():
    settings = StudentSettings(family="resnet", width=8, tail_width=2, tail_from=2)
    stages = build_stages(settings, InputShape("vision", (3, 16, 16)), 10)
    assert [stage.second[0].out_channels for stage in stages[1:4]] == [8, 4, 8]  # 8, then 2·2 and 4·2
    assert stages[2].first[0].in_channels == 8


def test_a_shortcut_is_projected_only_where_the_shape_changes():
    assert isinstance(BasicBlock(4, 4, 1).shortcut, torch.nn.Identity)
    assert not isinstance(BasicBlock(4, 4, 2).shortcut, torch.nn.Identity)
    assert not isinstance(BasicBlock(4, 6, 1).shortcut, torch.nn.Identity)


def test_channels_last_is_kept_and_gives_the_same():
    shape = InputShape("vision", (3, 16, 16))
    student = create_student(StudentSettings(family="resnet", width=4), shape, 10).eval()
    images = torch.randn(2, 3, 16, 16)
    logits = student(images)
    student = student.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    assert student.stages[1](student.stages[0](images)).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(student(images), logits, rtol=1e-4, atol=1e-5)
