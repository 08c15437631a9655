import numpy as np
import pytest
import torch

from moist.data import (
    AugmentSettings,
    DataSettings,
    IndexedDataset,
    Loader,
    TextSchema,
    TransformSettings,
    augment,
    fit_transform,
    load_dataset,
)
from moist.types import UserError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_dataset(DataSettings(name="digits"), tmp_path_factory.mktemp("cache"), quiet=True).train


@pytest.fixture(scope="module")
def transform(digits):
    return fit_transform(digits, TransformSettings())


def loader(digits, transform, **options):
    return Loader(digits, transform, **{"batch_size": 100, "seed": 3, **options})


def test_an_epoch_sees_every_row_at_most_once_and_drops_the_rest(digits, transform):
    batches = list(loader(digits, transform).epoch(0))
    seen = torch.cat([batch.index for batch in batches])
    assert len(batches) == len(loader(digits, transform)) == 1294 // 100
    assert all(len(batch.index) == 100 for batch in batches)
    assert len(seen.unique()) == len(seen)
    for batch in batches:
        assert torch.equal(batch.target, torch.from_numpy(digits.target)[batch.index])
        assert not batch.view.any()
        expected = transform.to_tensor(torch.from_numpy(digits.inputs[batch.index.numpy()]))
        assert torch.equal(batch.inputs, expected)


def test_the_order_depends_on_seed_and_epoch_alone(digits, transform):
    def order(epoch, seed=3, skipped=0):
        made = loader(digits, transform, seed=seed, views=4)
        for earlier in range(skipped):
            list(made.epoch(earlier))
        return [(batch.index.tolist(), batch.view.tolist()) for batch in made.epoch(epoch)]

    assert order(2) == order(2, skipped=2)
    assert order(2) != order(1)
    assert order(2) != order(2, seed=4)


def test_views_are_sampled_evenly_and_change_with_the_epoch(digits, transform):
    made = loader(digits, transform, views=4)
    first, second = (
        {int(i): int(v) for b in made.epoch(e) for i, v in zip(b.index, b.view, strict=True)} for e in (0, 1)
    )
    counts = np.bincount(list(first.values()), minlength=5)
    assert counts[0] == 0
    assert counts[1:].min() > 1200 / 4 * 0.7
    changed = [first[i] != second[i] for i in first if i in second]
    assert 0.6 < np.mean(changed) < 0.9


def test_a_batch_holds_the_very_view_that_its_numbers_name(digits, transform):
    settings = AugmentSettings(crop=1, cutout=2)
    for batch in loader(digits, transform, views=4, augment=settings).epoch(0):
        raw = torch.from_numpy(digits.inputs[batch.index.numpy()])
        assert torch.equal(batch.inputs, transform.to_tensor(augment(raw, batch.index, batch.view, settings)))


def test_mixed_views_take_the_other_image_from_the_whole_data_set_and_have_no_labels(digits, transform):
    settings, rows = AugmentSettings(crop=1, cutmix=0.5), np.arange(200)
    made = loader(digits, transform, views=4, augment=settings, rows=rows)
    for batch in made.epoch(0):
        raw = torch.from_numpy(digits.inputs[batch.index.numpy()])
        varied = augment(raw, batch.index, batch.view, settings, digits.inputs)
        assert torch.equal(batch.inputs, transform.to_tensor(varied))
        assert batch.target is None
    assert all(batch.target is not None for batch in made.plain())


def test_rows_restrict_the_loader_but_keep_their_numbers(digits, transform):
    rows = np.array([5, 900, 17])
    made = loader(digits, transform, rows=rows)
    (batch,) = made.epoch(0)
    assert sorted(batch.index.tolist()) == [5, 17, 900]
    (plain,) = made.plain(10)
    assert plain.index.tolist() == [5, 900, 17]


def test_plain_gives_all_rows_in_order(digits, transform):
    batches = list(loader(digits, transform, views=4, augment=AugmentSettings(crop=1)).plain(500))
    assert [len(batch.index) for batch in batches] == [500, 500, 294]
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(1294))
    assert not any(batch.view.any() for batch in batches)


def test_data_without_labels_and_of_texts():
    data = IndexedDataset("t", "train", "text", np.array(["a b", "c"], dtype=object), None, (), TextSchema())
    transform = fit_transform(data, TransformSettings())
    (batch,) = Loader(data, transform, batch_size=8, seed=0).epoch(0)
    assert batch.target is None
    assert batch.inputs.shape == (2, 3)
    with pytest.raises(UserError, match="augmentation is for images, t is of kind text"):
        Loader(data, transform, batch_size=8, seed=0, augment=AugmentSettings(flip=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 0}, "batch_size must be at least 1"), ({"rows": np.array([], int)}, "at least one row of digits")],
)
def test_impossible_loaders_are_refused(digits, transform, options, message):
    with pytest.raises(UserError, match=message):
        loader(digits, transform, **options)
