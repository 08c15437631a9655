import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from moist.teachers.dropout_network import DropoutNetworkClassifier


@parametrize_with_checks([DropoutNetworkClassifier(hidden_layer_sizes=(32,), epochs=40, random_state=0)])
def test_keeps_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def test_is_right_on_digits_and_less_certain_with_smoothing():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    plain = DropoutNetworkClassifier((64,), epochs=60, label_smoothing=0.0, random_state=0).fit(X[:1200], y[:1200])
    smooth = clone(plain).set_params(label_smoothing=0.2).fit(X[:1200], y[:1200])

    assert (smooth.predict(X[1200:]) == y[1200:]).mean() > 0.9
    assert smooth.predict_proba(X[:1200]).max(axis=1).mean() < plain.predict_proba(X[:1200]).max(axis=1).mean()
    assert np.allclose(smooth.predict_proba(X).sum(axis=1), 1)
