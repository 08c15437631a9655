import json

import numpy as np
import pytest
import torch

from moist.config import ConfigError, load_config
from moist.data import (
    Column,
    DataSettings,
    ImageSchema,
    IndexedDataset,
    TableSchema,
    TextSchema,
    TransformSettings,
    fit_transform,
    load_dataset,
    transform_from_dict,
)
from moist.types import UserError


def dataset(kind, inputs, schema):
    return IndexedDataset("d", "train", kind, inputs, None, (), schema)


def text(settings=None, texts=("Hello big world", "hi")):
    data = dataset("text", np.array(texts, dtype=object), TextSchema())
    return fit_transform(data, settings or TransformSettings())


def test_images_are_normalised_channel_by_channel():
    # Channel 0 holds 0 and 255: mean 0.5, std 0.5. Channel 1 is constant: std 1 by convention.
    pixels = np.zeros((2, 1, 1, 2), np.uint8)
    pixels[1, 0, 0, 0] = 255
    pixels[..., 1] = 51
    transform = fit_transform(dataset("vision", pixels, ImageSchema(1, 1, 2)), TransformSettings())
    np.testing.assert_allclose(transform.mean, [0.5, 0.2], rtol=1e-14)
    np.testing.assert_allclose(transform.std, [0.5, 1.0], rtol=1e-14)
    out = transform.to_tensor(torch.from_numpy(transform.encode(pixels)))
    torch.testing.assert_close(out[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(out[:, 1, 0, 0], torch.tensor([0.0, 0.0]))


def test_images_are_channels_last_float32_and_match_the_plain_formula(tmp_path):
    train = load_dataset(DataSettings(name="digits", image_size=(6, 5)), tmp_path, quiet=True).train
    transform = fit_transform(train, TransformSettings())
    images = torch.from_numpy(np.array(train.inputs[:7]))
    out = transform.to_tensor(images)
    assert out.shape == (7, *transform.input_shape.shape) == (7, 1, 6, 5)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    plain = (images.permute(0, 3, 1, 2).double() / 255 - transform.mean[0]) / transform.std[0]
    torch.testing.assert_close(out.double(), plain, atol=1e-5, rtol=1e-5)
    every = transform.to_tensor(torch.from_numpy(np.array(train.inputs)))
    assert abs(float(every.mean())) < 1e-5
    assert abs(float(every.std()) - 1) < 1e-3


SCHEMA = TableSchema((Column("a", "numeric"), Column("c", "categorical", ("x", "y")), Column("b", "numeric")))
ROWS = np.array([[1, 0, 5], [3, 1, 5], [np.nan, np.nan, 5]], np.float32)


def test_tables_are_standardised_marked_and_coded():
    transform = fit_transform(dataset("tabular", ROWS, SCHEMA), TransformSettings())
    # a: mean 2, std 1, missing once, so it has a mark; b is constant; codes come last, 0 = missing.
    expected = np.array([[-1, 0, 0, 1], [1, 0, 0, 2], [0, 0, 1, 0]], np.float32)
    encoded = transform.encode(ROWS)
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, expected)
    assert transform.input_shape.shape == (4,)
    assert transform.input_shape.num_categories == (3,)
    # A number that lacks only at prediction has no mark, and becomes the mean.
    np.testing.assert_array_equal(transform.encode(np.array([[4, 1, np.nan]], np.float32)), [[2, 0, 0, 2]])


def test_statistics_are_right_where_float32_would_not_be():
    column = (1e6 + np.arange(2000) % 3).astype(np.float32)[:, None]
    transform = fit_transform(dataset("tabular", column, TableSchema((Column("a", "numeric"),))), TransformSettings())
    encoded = transform.encode(column)
    assert abs(float(encoded.mean())) < 1e-3
    assert abs(float(encoded.std()) - 1) < 1e-3


def test_a_column_that_is_always_missing_does_no_harm():
    raw = np.full((3, 1), np.nan, np.float32)
    transform = fit_transform(dataset("tabular", raw, TableSchema((Column("a", "numeric"),))), TransformSettings())
    np.testing.assert_array_equal(transform.encode(raw), [[0, 1], [0, 1], [0, 1]])


def test_text_ids_are_stable_and_in_order():
    transform = text(TransformSettings(num_buckets=1000))
    encoded = transform.encode(np.array(["Hello big world", "hi", ""], dtype=object))
    # 3 words, then 2 bigrams; each id is 1 + crc32 % 1000, the same on every machine for ever.
    # crc32("hello") = 907060870, crc32("big") = 2189024643, crc32("hello big") and so on follow the same rule.
    assert encoded.dtype == np.int32
    assert encoded.shape == (3, 5)
    assert encoded[0, 0] == 1 + 907060870 % 1000
    assert (encoded[0] > 0).all()
    assert encoded[1, 0] > 0
    assert not encoded[1, 1:].any()
    assert not encoded[2].any()
    assert encoded[0, 0] == transform.encode(np.array(["say HELLO"], dtype=object))[0, 1]


def test_words_keep_no_ngrams_and_case_can_be_kept():
    words = text(TransformSettings(text="words", lowercase=False, char_ngrams=(3, 3)))
    assert words.input_shape.shape == (3,)
    first, second = words.encode(np.array(["Hello", "hello"], dtype=object))[:, 0]
    assert first != second


def test_characters_make_ids_inside_words():
    # "hi" marked is <hi>: runs of 3 are <hi and hi>; with the word itself 3 ids.
    transform = text(TransformSettings(char_ngrams=(3, 3)), ("hi",))
    assert transform.input_shape.shape == (3,)
    assert np.count_nonzero(transform.encode(np.array(["hi"], dtype=object))) == 3


def test_ids_stay_in_their_range_and_length():
    transform = text(TransformSettings(num_buckets=3, max_length=4), ("a b c d e f g h",))
    encoded = transform.encode(np.array(["a b c d e f g h i j"], dtype=object))
    assert encoded.shape == (1, 4)
    assert set(encoded.ravel()) <= {1, 2, 3}
    assert transform.to_tensor(torch.from_numpy(encoded)).dtype == torch.int64


@pytest.mark.parametrize("name", ["vision", "tabular", "text", "text-characters"])
def test_every_transform_survives_json_exactly(name, tmp_path):
    if name == "vision":
        train = load_dataset(DataSettings(name="digits"), tmp_path, quiet=True).train
        transform, raw = fit_transform(train, TransformSettings()), train.inputs
    elif name == "tabular":
        rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
        rows[:, 1] = np.arange(50) % 2
        rows[3, 0] = np.nan
        transform, raw = fit_transform(dataset("tabular", rows, SCHEMA), TransformSettings()), rows
    else:
        settings = TransformSettings(char_ngrams=(2, 3) if name == "text-characters" else None)
        transform, raw = text(settings), np.array(["a new world", "x"], dtype=object)
    again = transform_from_dict(json.loads(json.dumps(transform.to_dict())))
    assert again == transform
    assert again.input_shape == transform.input_shape
    assert again.encode(raw).tobytes() == transform.encode(raw).tobytes()


@pytest.mark.parametrize("values", [{"kind": "sound"}, {}, {"kind": "text"}, {"kind": "vision", "schema": {}}])
def test_a_damaged_transform_is_refused(values):
    with pytest.raises(UserError, match="a saved transform must be"):
        transform_from_dict(values)


def test_char_ngrams_must_be_a_range():
    with pytest.raises(ConfigError, match=r"1 <= shortest <= longest, got \(3, 2\)"):
        load_config(TransformSettings, {"char_ngrams": [3, 2]})
