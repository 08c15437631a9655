import torch

from moist.data import InputShape
from moist.evaluation import count_cost
from moist.students import StudentSettings, build_stages, create_student


def test_macs_by_hand():
    student = create_student(StudentSettings(family="dscnn", width=8), InputShape("vision", (3, 32, 32)), 10)
    stem = 9 * 3 * 8 * 256  # stride 2: 16×16
    first = (9 * 8 + 8 * 8) * 256
    second = (9 * 8 + 8 * 16) * 64
    third = (9 * 16 + 16 * 32) * 16
    assert count_cost(student, torch.zeros(2, 3, 32, 32)).macs == stem + first + second + third + 320


def test_small_images_keep_their_resolution_in_the_stem():
    stages = build_stages(StudentSettings(family="dscnn", width=4), InputShape("vision", (1, 8, 8)), 10)
    assert stages[0](torch.zeros(2, 1, 8, 8)).shape == (2, 4, 8, 8)
