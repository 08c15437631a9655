import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from moist.data import InputShape
from moist.students import Student, StudentSettings, build_stages, create_student
from moist.types import UserError

IMAGE = InputShape(kind="vision", shape=(3, 32, 32))
DIGIT = InputShape(kind="vision", shape=(1, 8, 8))
TABLE = InputShape(kind="tabular", shape=(6,), num_categories=(3, 20))
TEXT = InputShape(kind="text", shape=(7,), num_buckets=50)

CASES = [
    (StudentSettings(family="resnet", width=4), IMAGE),
    (StudentSettings(family="resnet", width=4, depth=2, tail_width=3, tail_from=3), DIGIT),
    (StudentSettings(family="dscnn", width=4), IMAGE),
    (StudentSettings(family="dscnn", width=4, depth=2, tail_width=6, tail_from=2), DIGIT),
    (StudentSettings(family="mlp", width=5), TABLE),
    (StudentSettings(family="mlp", width=5, depth=0), DIGIT),
    (StudentSettings(family="mlp", width=5, depth=2, tail_width=3, tail_from=2), TABLE),
    (StudentSettings(family="bag", width=5), TEXT),
    (StudentSettings(family="bag", width=5, depth=2, pooling="sum", tail_width=3, tail_from=1), TEXT),
    (StudentSettings(family="transformer", width=6, depth=2), TEXT),
]
NAMES = [f"{settings.family}-{shape.kind}-{number}" for number, (settings, shape) in enumerate(CASES)]


def inputs_of(shape: InputShape, rows: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    if shape.kind == "text":
        return torch.randint(0, shape.num_buckets + 1, (rows, *shape.shape), generator=generator)
    inputs = torch.randn(rows, *shape.shape, generator=generator)
    for column, count in enumerate(shape.num_categories, start=-len(shape.num_categories)):
        inputs[:, column] = torch.randint(0, count, (rows,), generator=generator).float()
    return inputs


@pytest.mark.parametrize(("settings", "shape"), CASES, ids=NAMES)
def test_a_student_is_its_stages_and_any_cut_gives_the_same(settings, shape):
    student = create_student(settings, shape, 10).eval()
    assert len(student.stages) == settings.num_stages
    inputs = inputs_of(shape)
    logits = student(inputs)
    assert logits.shape == (4, 10)
    assert torch.isfinite(logits).all()
    for cut in range(1, settings.num_stages):
        trunk, tail = nn.Sequential(*student.stages[:cut]), nn.Sequential(*student.stages[cut:])
        torch.testing.assert_close(tail(trunk(inputs)), logits, rtol=0, atol=0)


@pytest.mark.parametrize(("settings", "shape"), CASES, ids=NAMES)
def test_the_seed_decides_the_weights_and_every_one_gets_a_gradient(settings, shape):
    def build() -> Student:
        torch.manual_seed(3)
        return create_student(settings, shape, 10)

    student, again = build(), build()
    for name, value in student.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    student(inputs_of(shape, 64)).logsumexp(1).sum().backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("settings", "shape"), CASES, ids=NAMES)
def test_an_output_depends_on_its_own_input_alone_in_eval_mode(settings, shape):
    student = create_student(settings, shape, 10).eval()
    inputs = inputs_of(shape)
    torch.testing.assert_close(student(inputs)[2:3], student(inputs[2:3]), rtol=1e-4, atol=1e-5)


def test_a_family_that_cannot_read_the_data_is_refused():
    with pytest.raises(
        UserError, match="'resnet' reads vision inputs, got text data; choose family: bag or transformer"
    ):
        build_stages(StudentSettings(family="resnet"), TEXT, 3)
    with pytest.raises(UserError, match="'bag' reads text inputs, got tabular data; choose family: mlp"):
        build_stages(StudentSettings(family="bag"), TABLE, 3)


@pytest.mark.parametrize("family", ["resnet", "dscnn", "mlp"])
def test_a_student_learns_digits(family):
    images, target = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    target = torch.tensor(target)
    torch.manual_seed(0)
    student = create_student(StudentSettings(family=family, width=16), DIGIT, 10)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    for step in range(150):
        rows = torch.arange(step * 64, step * 64 + 64) % 1200
        loss = nn.functional.cross_entropy(student(inputs[rows]), target[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    student.eval()
    assert (student(inputs[1200:]).argmax(1) == target[1200:]).float().mean() > 0.85
