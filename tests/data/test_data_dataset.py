import numpy as np

from moist.data import Column, IndexedDataset, TableSchema, TextSchema

TEXTS = np.array(["ab", "c", "d", "e"], dtype=object)
TARGET = np.array([0, 1, 1, 0])


def texts(inputs=TEXTS, target=TARGET, name="n", classes=("x", "y")):
    return IndexedDataset(name, "train", "text", inputs, target, classes, TextSchema())


def test_equal_content_has_an_equal_fingerprint_whatever_its_name():
    assert texts().fingerprint == texts(TEXTS.copy(), TARGET.copy(), "other").fingerprint
    others = [
        texts(np.array(["a", "bc", "d", "e"], dtype=object)),
        texts(target=np.array([0, 1, 1, 1])),
        texts(target=None),
        texts(classes=("y", "x")),
        texts().take(np.array([0, 1, 2])),
    ]
    assert len({texts().fingerprint, *(other.fingerprint for other in others)}) == 6


def test_a_fingerprint_covers_every_number():
    schema = TableSchema((Column("a", "numeric"),))
    values = np.zeros((5000, 1), np.float32)
    changed = values.copy()
    changed[4999] = 1
    first, second = (
        IndexedDataset("n", "train", "tabular", x, None, (), schema).fingerprint for x in (values, changed)
    )
    assert first != second


def test_take_keeps_the_order_of_rows():
    taken = texts().take(np.array([2, 0]))
    assert list(taken.inputs) == ["d", "ab"]
    assert list(taken.target) == [1, 0]
    assert len(texts().take(np.array([], dtype=np.int64))) == 0


def test_a_run_of_rows_stays_a_view():
    data = texts()
    assert np.shares_memory(data.take(np.arange(1, 3)).inputs, data.inputs)
