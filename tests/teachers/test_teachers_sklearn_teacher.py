from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from moist.data import DataSplits
from moist.teachers import TeacherSettings, load_teacher
from moist.teachers.labels import LOG_FLOOR
from moist.types import UserError

HERE = "test_teachers_sklearn_teacher"
SVC = {
    "estimator": "sklearn.calibration.CalibratedClassifierCV",
    "params": {"estimator": {"estimator": "sklearn.svm.SVC", "params": {"C": 10}}, "ensemble": False, "cv": 3},
}
MLP = {"estimator": "sklearn.neural_network.MLPClassifier", "params": {"hidden_layer_sizes": [32], "max_iter": 60}}
LINEAR = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 500}}


def fitted_bayes(turned: bool = False) -> GaussianNB:
    # On flattened digits 0 to 255: class "seven" is all bright, all others differ in one pixel.
    names = np.array(["seven", "zero", "one", "two", "three", "four", "five", "six", "eight", "nine"])
    rows = np.eye(10, 64) * 50
    rows[0] = 255
    order = slice(None, None, -1 if turned else 1)
    return GaussianNB(var_smoothing=1e-3).fit(np.repeat(rows, 2, axis=0)[order], np.repeat(names, 2)[order])


def create_forest_without_features() -> LogisticRegression:
    return LogisticRegression(max_iter=500)


def load(splits: DataSplits, **values: object):
    return load_teacher(TeacherSettings(**({"kind": "sklearn"} | values)), splits, quiet=True)


def accuracy(teacher, data) -> float:
    return float((teacher.signal(data.inputs).logits.argmax(dim=1).numpy() == data.target).mean())


def test_images(digits: DataSplits) -> None:
    machine, perceptron = load(digits, **SVC), load(digits, **MLP)
    assert accuracy(machine, digits.test) > 0.93
    assert accuracy(perceptron, digits.test) > 0.88
    signal = perceptron.signal(digits.test.inputs)
    assert signal.embedding is not None
    assert signal.embedding.shape == (300, 32)
    # The last layer on the embedding gives the logits, but for a constant and the floor.
    last = perceptron._fitted[-1]
    scores = torch.from_numpy(signal.embedding.numpy() @ last.coefs_[-1] + last.intercepts_[-1]).float()
    torch.testing.assert_close(
        signal.logits, torch.log_softmax(scores, dim=1).clamp_min(LOG_FLOOR), rtol=1e-4, atol=1e-4
    )


def test_costs_and_sizes(digits: DataSplits) -> None:
    perceptron, machine = load(digits, **MLP), load(digits, **SVC)
    assert perceptron.macs(digits.test.inputs[:1]) == 64 * 32 + 32 * 10
    assert perceptron.num_params == 64 * 32 + 32 + 32 * 10 + 10
    assert machine.macs(digits.test.inputs[:1]) > 10_000
    assert machine.num_params > 10_000
    assert load(digits, estimator="sklearn.tree.DecisionTreeClassifier").macs(digits.test.inputs[:1]) is None


def test_tables_with_missing_values_and_categories(table: DataSplits) -> None:
    teacher = load(table, **LINEAR)
    assert accuracy(teacher, table.test) > 0.75
    # 24 numbers, and three categories and "missing" as one-hot codes.
    assert teacher.macs(table.test.inputs[:1]) == 28 * 10
    unknown = table.test.inputs[:2].copy()
    unknown[:, -1] = 7
    assert torch.isfinite(teacher.signal(unknown).logits).all()


def test_without_preprocessing_the_estimator_reads_raw_values(table: DataSplits) -> None:
    trees = load(
        table, estimator="sklearn.ensemble.HistGradientBoostingClassifier", params={"max_iter": 5}, preprocess=False
    )
    assert accuracy(trees, table.test) > 0.6


def test_texts(texts: DataSplits) -> None:
    teacher = load(texts, **LINEAR)
    assert accuracy(teacher, texts.train) == 1.0


def test_a_class_without_training_rows_is_at_the_floor(digits: DataSplits) -> None:
    fewer = digits.train.take(np.flatnonzero(digits.train.target != 4))
    logits = (
        load(replace(digits, train=fewer), factory=f"{HERE}:create_forest_without_features").signal(fewer.inputs).logits
    )
    assert logits.shape[1] == 10
    torch.testing.assert_close(logits[:, 4], torch.full((len(fewer),), LOG_FLOOR))
    assert (logits >= LOG_FLOOR - 1e-6).all()


@pytest.mark.parametrize("turned", [False, True])
def test_a_fitted_estimator_is_used_as_it_is_and_matched_by_name(turned: bool, digits: DataSplits) -> None:
    teacher = load(digits, factory=f"{HERE}:fitted_bayes", kwargs={"turned": turned})
    bright = np.full((1, 8, 8, 1), 255, dtype=np.uint8)
    two = np.zeros((1, 8, 8, 1), dtype=np.uint8)
    two.reshape(-1)[3] = 50
    assert teacher.signal(np.concatenate([bright, two])).logits.argmax(dim=1).tolist() == [7, 2]


def test_a_fitted_estimator_needs_no_labels(digits: DataSplits) -> None:
    unlabelled = DataSplits(*(replace(part, target=None) for part in (digits.train, digits.validation, digits.test)))
    teacher = load(unlabelled, factory=f"{HERE}:fitted_bayes")
    assert teacher.classes == digits.train.classes
    bright = np.full((1, 8, 8, 1), 255, dtype=np.uint8)
    assert teacher.signal(bright).logits.argmax(dim=1).tolist() == [7]
    # Where the data do not name the classes either, its own names stand.
    nameless = replace(unlabelled, train=replace(unlabelled.train, classes=()))
    assert load(nameless, factory=f"{HERE}:fitted_bayes").classes == tuple(fitted_bayes().classes_)


def test_the_fit_waits_and_is_repeatable(digits: DataSplits, capsys: pytest.CaptureFixture[str]) -> None:
    first = load_teacher(TeacherSettings(kind="sklearn", **MLP), digits)
    assert "Fitting" not in capsys.readouterr().err
    raw = digits.test.inputs[:5]
    signal = first.signal(raw)
    assert "Fitting MLPClassifier on 600 examples" in capsys.readouterr().err
    again, other = load(digits, **MLP), load(digits, **MLP, seed=1)
    assert torch.equal(again.signal(raw).logits, signal.logits)
    assert not torch.equal(other.signal(raw).logits, signal.logits)
    assert first.key == again.key != other.key


def test_errors(digits: DataSplits) -> None:
    with pytest.raises(UserError, match=r"must have predict_proba, sklearn.svm.SVC gives a SVC without; wrap it"):
        load(digits, estimator="sklearn.svm.SVC")
    with pytest.raises(UserError, match=r"teacher.params must be parameters of .*MLPClassifier, got {'hidden': 3}"):
        load(digits, estimator="sklearn.neural_network.MLPClassifier", params={"hidden": 3})
    with pytest.raises(UserError, match="fitted on labels, and 'digits' has none"):
        load(replace(digits, train=replace(digits.train, target=None)), **MLP)
    with pytest.raises(UserError, match="at least two classes"):
        load(replace(digits, train=digits.train.take(np.flatnonzero(digits.train.target == 1))), **MLP)
