from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pixel_teacher import PixelTeacher

from moist.data import AugmentSettings, DataSplits, IndexedDataset, Loader, TransformSettings, fit_transform
from moist.teachers import CachedTeacher, OnlineTeacher, TeacherSettings, cache_teacher, load_teacher
from moist.types import Batch, UserError

VARIED = AugmentSettings(crop=2, flip=True, cutout=3)


def below_top(logits: torch.Tensor) -> torch.Tensor:
    """Logits less the largest of their row, as caches keep them."""
    return logits - logits.amax(dim=1, keepdim=True)


@pytest.mark.parametrize("varied", [VARIED, VARIED.model_copy(update={"cutmix": 0.5})])
def test_cached_and_live_signals_agree_and_are_of_the_student_s_own_view(
    pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path, varied: AugmentSettings
) -> None:
    data = digits.train
    transform = fit_transform(data, TransformSettings())
    loader = Loader(data, transform, batch_size=64, seed=5, views=3, augment=varied)
    cache = cache_teacher(
        pixel_teacher, data, [0, 1, 2, 3], cache_dir=tmp_path, augment=varied, embedding=True, quiet=True
    )
    live, cached = OnlineTeacher(pixel_teacher, data, varied), CachedTeacher(cache)
    seen = set()
    for epoch in range(2):
        for batch in loader.epoch(epoch):
            one, other = live(batch), cached(batch)
            torch.testing.assert_close(below_top(other.logits), below_top(one.logits), rtol=2**-10, atol=0)
            # This teacher's embedding is the picture that it saw; the student's input is made from the same pixels.
            assert torch.equal(other.embedding, one.embedding)
            pixels = one.embedding.view(-1, 8, 8, 1).to(torch.uint8)
            assert torch.equal(transform.to_tensor(pixels), batch.inputs)
            seen |= set(batch.view.tolist())
    assert seen == {1, 2, 3}
    # The views do vary the picture.
    index = torch.arange(50)
    views = [cached(Batch(index, torch.full_like(index, view), index, None)).embedding for view in range(4)]
    assert all(not torch.equal(views[0], other) for other in views[1:])


def test_top_k_signals_rank_the_same(pixel_teacher: PixelTeacher, digits: DataSplits, tmp_path: Path) -> None:
    data = digits.validation
    cache = cache_teacher(pixel_teacher, data, [0], cache_dir=tmp_path, top_k=4, quiet=True)
    index = torch.arange(len(data))
    batch = Batch(index, torch.zeros_like(index), index, None)
    live, cached = OnlineTeacher(pixel_teacher, data)(batch), CachedTeacher(cache)(batch)
    torch.testing.assert_close(
        below_top(cached.logits).topk(2).values, below_top(live.logits).topk(2).values, rtol=2**-10, atol=0
    )
    assert cached.embedding is None
    assert cached.logits.shape == live.logits.shape


def test_signals_of_tables_and_texts(table: DataSplits, texts: DataSplits, tmp_path: Path) -> None:
    settings = TeacherSettings(
        kind="sklearn", estimator="sklearn.linear_model.LogisticRegression", params={"max_iter": 500}
    )
    for splits in (table, texts):
        teacher = load_teacher(settings, splits, quiet=True)
        cache = cache_teacher(teacher, splits.train, [0], cache_dir=tmp_path, quiet=True)
        batch = next(
            iter(Loader(splits.train, fit_transform(splits.train, TransformSettings()), batch_size=8, seed=0).plain())
        )
        live = OnlineTeacher(teacher, splits.train)(batch)
        torch.testing.assert_close(CachedTeacher(cache)(batch).logits, below_top(live.logits), rtol=2**-10, atol=1e-6)


def test_a_view_without_augmentation_is_an_error(pixel_teacher: PixelTeacher, digits: DataSplits) -> None:
    index = torch.arange(4)
    with pytest.raises(UserError, match="views above 0 need images and augment settings"):
        OnlineTeacher(pixel_teacher, digits.train)(Batch(index, torch.ones_like(index), index, None))


def test_a_real_network_s_signals_agree(
    cifar10_test: Callable[[int], IndexedDataset], public_resnet: Callable[..., TeacherSettings], tmp_path: Path
) -> None:
    data = cifar10_test(96)
    teacher = load_teacher(public_resnet(20, batch_size=32), DataSplits(data, data, None))
    varied = AugmentSettings(crop=4, flip=True)
    cache = cache_teacher(teacher, data, [1, 2], cache_dir=tmp_path, augment=varied, embedding=True, quiet=True)
    index = torch.randperm(96, generator=torch.Generator().manual_seed(0))[:40]
    batch = Batch(index, 1 + index % 2, index, None)
    live, cached = OnlineTeacher(teacher, data, varied)(batch), CachedTeacher(cache)(batch)
    torch.testing.assert_close(cached.logits, below_top(live.logits), rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(cached.embedding, live.embedding, rtol=1e-3, atol=2e-3)
