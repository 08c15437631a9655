import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss

from moist.evaluation import calibration_curve, evaluate
from moist.types import UserError


def test_evaluate_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    target = np.array([0, 1, 1, 1])
    result = evaluate(probabilities, target)
    assert result.num_examples == 4
    assert result.accuracy == 0.75  # the third is wrong
    # -(ln 0.9 + ln 0.6 + ln 0.3 + ln 0.8) / 4
    assert result.nll == pytest.approx(-(np.log([0.9, 0.6, 0.3, 0.8]).mean()))
    # four bins of one example each: |1 - 0.9|, |1 - 0.6|, |0 - 0.7|, |1 - 0.8|, each weighing a quarter
    assert result.ece == pytest.approx((0.1 + 0.4 + 0.7 + 0.2) / 4)


def test_examples_of_one_bin_are_averaged_before_the_distance_is_taken():
    # both confidences lie in (14/15, 1]: mean 0.96, accuracy 1/2
    probabilities = np.array([[0.95, 0.05], [0.97, 0.03]])
    curve = calibration_curve(probabilities, np.array([0, 1]))
    np.testing.assert_allclose(curve.confidence, [0.96])
    np.testing.assert_allclose(curve.accuracy, [0.5])
    assert curve.count.tolist() == [2]
    assert curve.ece == pytest.approx(0.46)


def test_a_certain_mistake_costs_a_finite_likelihood():
    result = evaluate(np.array([[1.0, 0.0]]), np.array([1]))
    assert result.nll == pytest.approx(-np.log(1e-12))
    assert result.ece == 1.0


def test_agrees_with_scikit_learn_on_digits():
    images, target = load_digits(return_X_y=True)
    model = LogisticRegression(C=0.001, max_iter=300).fit(images[:900], target[:900])
    probabilities = model.predict_proba(images[900:])
    result = evaluate(probabilities.astype(np.float32), target[900:])
    assert result.accuracy == accuracy_score(target[900:], probabilities.argmax(1))
    assert result.nll == pytest.approx(log_loss(target[900:], probabilities), rel=1e-4)
    assert 0 < result.ece < 0.3


@pytest.mark.parametrize(
    ("probabilities", "target", "message"),
    [
        (np.ones((2, 3)) / 3, np.array([0]), "score equally many rows"),
        (np.ones((0, 3)), np.array([], dtype=int), "N at least 1"),
        (np.array([[np.nan, 1.0]]), np.array([0]), "1 of 1 rows"),
        (np.ones((2, 3)) / 3, np.array([0, 3]), "between 0 and 2, got 0 to 3"),
    ],
)
def test_what_cannot_be_scored_is_refused(probabilities, target, message):
    with pytest.raises(UserError, match=message):
        evaluate(probabilities, target)
