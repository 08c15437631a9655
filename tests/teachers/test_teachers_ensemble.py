import numpy as np
import pytest
import torch

from moist.data import DataSplits
from moist.teachers import EnsembleTeacher, TeacherSettings, load_teacher
from moist.types import TeacherSignal


class Fixed:
    """Says the same of everything."""

    classes = ("a", "b")
    num_params = 3

    def __init__(self, probabilities: list[float], width: int | None, macs: float | None) -> None:
        self.name = self.key = str(probabilities)
        self.probabilities, self.width, self._macs = probabilities, width, macs

    def signal(self, raw: np.ndarray) -> TeacherSignal:
        logits = torch.tensor([self.probabilities]).log().repeat(len(raw), 1)
        return TeacherSignal(logits, None if self.width is None else torch.ones(len(raw), self.width))

    def macs(self, raw: np.ndarray) -> float | None:
        return self._macs


def test_probabilities_are_averaged() -> None:
    ensemble = EnsembleTeacher([Fixed([0.9, 0.1], 2, 5.0), Fixed([0.5, 0.5], 3, 6.0)])
    signal = ensemble.signal(np.zeros(4))
    # (0.9 + 0.5) / 2 and (0.1 + 0.5) / 2
    torch.testing.assert_close(signal.logits.exp(), torch.tensor([[0.7, 0.3]]).repeat(4, 1))
    assert signal.embedding is not None
    assert signal.embedding.shape == (4, 5)
    assert ensemble.num_params == 6
    assert ensemble.macs(np.zeros(1)) == 11
    assert ensemble.classes == ("a", "b")


def test_what_one_member_lacks_the_ensemble_lacks() -> None:
    ensemble = EnsembleTeacher([Fixed([0.9, 0.1], 2, 5.0), Fixed([0.5, 0.5], None, None)])
    assert ensemble.signal(np.zeros(1)).embedding is None
    assert ensemble.macs(np.zeros(1)) is None


def test_the_key_names_the_members() -> None:
    one, two = Fixed([0.9, 0.1], None, None), Fixed([0.5, 0.5], None, None)
    assert EnsembleTeacher([one, two]).key != EnsembleTeacher([one, one]).key


def test_perceptrons_by_settings(digits: DataSplits) -> None:
    member = {"kind": "sklearn", "estimator": "sklearn.neural_network.MLPClassifier", "params": {"max_iter": 20}}
    settings = TeacherSettings(kind="ensemble", members=[member | {"seed": seed} for seed in range(2)])
    teacher = load_teacher(settings, digits, quiet=True)
    signal = teacher.signal(digits.test.inputs)
    assert (signal.logits.argmax(dim=1).numpy() == digits.test.target).mean() > 0.85
    assert signal.embedding is not None
    assert signal.embedding.shape == (300, 200)
    assert teacher.name == "ensemble of 2"
    assert signal.logits.exp().sum(dim=1).numpy() == pytest.approx(np.ones(300), abs=1e-4)
