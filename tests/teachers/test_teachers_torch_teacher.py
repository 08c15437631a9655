from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from moist.data import DataSplits
from moist.teachers import TeacherSettings, load_teacher
from moist.types import UserError

HERE = "test_teachers_torch_teacher"


class Flat(nn.Module):
    """Linear on flattened inputs, without an embedding."""

    def __init__(self, outputs: int, wrapped: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.LazyLinear(outputs)
        self.wrapped = wrapped

    def forward(self, x: Tensor) -> object:
        logits = self.layer(x.flatten(1))
        return SimpleNamespace(logits=logits) if self.wrapped else logits


def flat(outputs: int = 10, wrapped: bool = False, features: int = 64) -> nn.Module:
    module = Flat(outputs, wrapped)
    module(torch.zeros(1, features))
    return module


def embedding_net() -> nn.Module:
    module = flat(10)
    module.embed = lambda x: x.flatten(1)[:, :5]
    module.classify = lambda e: torch.cat([e, e], dim=1)
    return module


def not_a_module() -> int:
    return 3


def settings(**values: object) -> TeacherSettings:
    return TeacherSettings(**({"kind": "torch", "factory": f"{HERE}:flat"} | values))


def test_images_are_scaled_normalised_and_put_channels_first(digits: DataSplits) -> None:
    teacher = load_teacher(settings(mean=[0.5], std=[0.25], batch_size=7), digits)
    raw = digits.test.inputs[:20]
    expected = teacher.module(((torch.from_numpy(raw).permute(0, 3, 1, 2) / 255) - 0.5) / 0.25)
    signal = teacher.signal(raw)
    torch.testing.assert_close(signal.logits, expected)
    assert signal.embedding is None
    assert teacher.num_params == 650
    assert teacher.macs(raw) == 640


def test_signals_can_be_saved_for_a_backward_pass(digits: DataSplits) -> None:
    logits = load_teacher(settings(), digits).signal(digits.test.inputs[:4]).logits
    student = torch.zeros(4, 10, requires_grad=True)
    (student * logits).sum().backward()
    assert torch.equal(student.grad, logits)


def test_outputs_are_put_into_the_data_s_order(digits: DataSplits) -> None:
    names = list(digits.train.classes)
    plain = load_teacher(settings(), digits)
    turned = load_teacher(settings(classes=names[::-1]), digits)
    raw = digits.test.inputs[:5]
    assert torch.equal(turned.signal(raw).logits, plain.signal(raw).logits.flip(1))
    assert turned.classes == plain.classes
    assert turned.key != plain.key


def test_an_output_that_has_logits(digits: DataSplits) -> None:
    raw = digits.test.inputs[:5]
    wrapped = load_teacher(settings(kwargs={"wrapped": True}), digits)
    assert torch.equal(wrapped.signal(raw).logits, load_teacher(settings(), digits).signal(raw).logits)


def test_embed_and_classify_give_an_embedding(digits: DataSplits) -> None:
    signal = load_teacher(settings(factory=f"{HERE}:embedding_net"), digits).signal(digits.test.inputs[:5])
    assert signal.embedding is not None
    assert signal.embedding.shape == (5, 5)
    assert torch.equal(signal.logits[:, :5], signal.embedding)


def test_tables_reach_the_module_as_they_are(table: DataSplits) -> None:
    teacher = load_teacher(settings(kwargs={"features": 25}), table)
    raw = np.nan_to_num(table.test.inputs[:6])
    torch.testing.assert_close(teacher.signal(raw).logits, teacher.module(torch.from_numpy(raw)))


def test_bfloat16_is_near_float32(digits: DataSplits) -> None:
    raw = digits.test.inputs[:20]
    exact = load_teacher(settings(), digits).signal(raw).logits
    rough = load_teacher(settings(precision="bfloat16"), digits).signal(raw).logits
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.02)


def test_the_key_names_the_weights(digits: DataSplits, tmp_path: Path) -> None:
    torch.save({k: v + 1 for k, v in flat().state_dict().items()}, tmp_path / "other.pt")
    first, again = load_teacher(settings(), digits), load_teacher(settings(name="x", batch_size=3), digits)
    other = load_teacher(settings(checkpoint=str(tmp_path / "other.pt")), digits)
    assert first.key == again.key
    assert first.key != other.key
    assert again.name == "x"


def test_threads_are_put_back(digits: DataSplits) -> None:
    before = torch.get_num_threads()
    load_teacher(settings(threads=2), digits).signal(digits.test.inputs[:2])
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kwargs": {"outputs": 7}}, "'flat' has 7 outputs for the 10 classes"),
        ({"classes": ["a", "b"]}, "has 10 outputs for the 2 classes"),
        ({"classes": list("abcdefghij")}, "the data have 10: .zero, one"),
        ({"factory": f"{HERE}:not_a_module"}, "must return a torch nn.Module, .* returned a int"),
        ({"mean": [0.1, 0.2, 0.3]}, "one number per channel; the images have 1, got 3"),
    ],
)
def test_errors(values: dict[str, object], message: str, digits: DataSplits) -> None:
    with pytest.raises(UserError, match=message):
        load_teacher(settings(**values), digits)


def test_texts_are_refused(texts: DataSplits) -> None:
    with pytest.raises(UserError, match="reads images or tables, got texts"):
        load_teacher(settings(), texts)
