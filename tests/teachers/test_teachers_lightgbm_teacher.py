from dataclasses import replace

import numpy as np
import pytest
import torch

from moist.data import DataSplits
from moist.teachers import TeacherSettings, load_teacher
from moist.types import UserError

lightgbm = pytest.importorskip("lightgbm")
SETTINGS = TeacherSettings(kind="lightgbm", params={"n_estimators": 20, "min_child_samples": 5})


def test_raw_tables_and_repeatable_fits(table: DataSplits) -> None:
    teacher, again = (load_teacher(SETTINGS, table, quiet=True) for _ in range(2))
    signal = teacher.signal(table.test.inputs)
    assert (signal.logits.argmax(dim=1).numpy() == table.test.target).mean() > 0.75
    assert torch.equal(again.signal(table.test.inputs).logits, signal.logits)
    assert teacher.key == again.key
    assert teacher.macs(table.test.inputs[:1]) is None
    # 20 rounds of 10 trees.
    assert 20 * 10 < teacher.num_params < 20 * 10 * 2 * 31


def test_logits_are_raw_scores(table: DataSplits) -> None:
    teacher = load_teacher(SETTINGS, table, quiet=True)
    probabilities = teacher._booster.predict(table.test.inputs)
    torch.testing.assert_close(
        torch.softmax(teacher.signal(table.test.inputs).logits, dim=1), torch.from_numpy(probabilities).float()
    )


def test_two_classes_of_three(table: DataSplits) -> None:
    rows = np.flatnonzero(np.isin(table.train.target, [2, 5]))
    some = replace(table.train.take(rows), classes=("a", "b", "two", "c", "d", "five"))
    teacher = load_teacher(SETTINGS, replace(table, train=some), quiet=True)
    signal = teacher.signal(some.inputs)
    assert signal.logits.shape == (len(rows), 6)
    assert (signal.logits.argmax(dim=1).numpy() == some.target).mean() > 0.95


def test_errors(digits: DataSplits, table: DataSplits) -> None:
    with pytest.raises(UserError, match="reads tables, got vision data"):
        load_teacher(SETTINGS, digits)
    bad = TeacherSettings(kind="lightgbm", params={"num_leaves": 0})
    with pytest.raises(UserError, match=r"LightGBM refuses teacher.params .*num_leaves"):
        load_teacher(bad, table, quiet=True).signal(table.test.inputs)
