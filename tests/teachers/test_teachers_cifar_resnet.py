from collections.abc import Callable

import pytest
import torch

from moist.data import DataSplits, IndexedDataset
from moist.teachers import TeacherSettings, cifar_resnet, load_teacher
from moist.types import UserError


def test_parameters_are_those_of_the_paper_s_family() -> None:
    # He et al. (2016), table 6: 0.27, 0.46, 0.66, 0.85 and 1.7 million.
    counts = [sum(p.numel() for p in cifar_resnet(depth).parameters()) / 1e6 for depth in (20, 32, 44, 56, 110)]
    assert [round(count, 2) for count in counts] == [0.27, 0.46, 0.66, 0.85, 1.73]


def test_another_depth_is_refused() -> None:
    with pytest.raises(UserError, match="must be one of 20, 32, 44, 56, 110, got 50"):
        cifar_resnet(50)


def test_the_shortcut_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    shortcut = cifar_resnet(20).layer2[0]._shortcut
    x = torch.arange(16 * 4 * 4, dtype=torch.float32).view(1, 16, 4, 4)
    out = shortcut(x)
    assert out.shape == (1, 32, 2, 2)
    assert not out[:, :8].any()
    assert not out[:, 24:].any()
    # Channel 0 of the input holds 0..15 in rows of four; every second pixel of every second row is 0, 2, 8, 10.
    assert out[0, 8].flatten().tolist() == [0, 2, 8, 10]


def test_forward_is_embed_then_classify_and_fusing_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    model = cifar_resnet(20)
    x = torch.randn(8, 3, 32, 32)
    model.train()(x)  # so that the running statistics are not 0 and 1
    model.eval()
    with torch.no_grad():
        before = model(x)
        assert torch.equal(model.classify(model.embed(x)), before)
        assert model.embed(x).shape == (8, 64)
        model.fuse()
        model.fuse()
        torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())


def num_right(settings: TeacherSettings, data: IndexedDataset) -> int:
    signal = load_teacher(settings, DataSplits(data, data, data)).signal(data.inputs)
    return int((signal.logits.argmax(dim=1).numpy() == data.target).sum())


@pytest.mark.parametrize(("depth", "right"), [(20, 365), (56, 369)])
def test_the_public_checkpoint_is_right_on_the_first_images(
    depth: int, right: int, cifar10_test: Callable[[int], IndexedDataset], public_resnet: Callable[..., TeacherSettings]
) -> None:
    assert num_right(public_resnet(depth), cifar10_test(400)) == right


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "right"), [(20, 9173), (56, 9339)])
def test_the_public_checkpoint_reaches_exactly_its_published_accuracy(
    depth: int, right: int, cifar10_test: Callable[[int], IndexedDataset], public_resnet: Callable[..., TeacherSettings]
) -> None:
    data = cifar10_test(10_000)
    assert num_right(public_resnet(depth), data) == right
    assert abs(num_right(public_resnet(depth, precision="bfloat16"), data) - right) <= 15
