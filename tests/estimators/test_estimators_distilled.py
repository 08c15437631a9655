"""The distilled mixture as a classifier: every method, tables with categories, bundles, pipelines and searches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import moist
from moist.estimators import DistilledMixtureClassifier
from moist.estimators.soft_targets import Crossing, soft_targets
from moist.types import UserError

X, Y = load_wine(return_X_y=True)
QUICK = {"num_specialists": 3, "width": 8, "num_steps": 200, "batch_size": 64, "random_state": 0}


@pytest.fixture(scope="module")
def mixture():
    return DistilledMixtureClassifier(GaussianNB(), **QUICK).fit(X, Y)


@pytest.mark.parametrize("method", ["joint", "class-domains", "embedding-domains", "random"])
def test_every_method_learns_its_teacher(method):
    mixture = DistilledMixtureClassifier(GaussianNB(), method=method, **QUICK).fit(X, Y)
    report = mixture.report(X, Y)
    assert report["agreement"] > 0.9
    assert len(report["load"]) == 3
    assert sum(report["load"]) == pytest.approx(1)


def test_the_fast_answer_is_the_mixtures_own(mixture):
    assert mixture._fast is not None
    slow = mixture.mixture_.predict_proba(X.astype(np.float32))
    assert mixture.predict_proba(X) == pytest.approx(slow, abs=1e-5)
    assert mixture.predict_proba(X[:1])[0] == pytest.approx(slow[0], abs=1e-5)
    routing = mixture.mixture_.predict_all(X.astype(np.float32)).routing
    assert mixture.route(X).tolist() == routing.expert_indices[:, 0].tolist()


def test_arrays_checked_at_a_glance_are_read_as_any_others(mixture):
    assert np.array_equal(mixture.predict_proba(X[:5]), mixture.predict_proba(X[:5].tolist()))
    assert np.array_equal(mixture.predict_proba(np.asfortranarray(X)), mixture.predict_proba(X))
    with pytest.raises(ValueError, match="contains NaN"):
        mixture.predict_proba(np.full((1, X.shape[1]), np.nan))


def test_the_cost_is_router_and_one_specialist(mixture):
    # 13 inputs to 3 scores; 13 to 8 hidden units to 3 classes.
    assert mixture.cost_ == 13 * 3 + 13 * 8 + 8 * 3


def test_a_fitted_teacher_is_used_as_it_is(mixture):
    teacher = GaussianNB().fit(X[:, ::-1], Y)
    fitted = DistilledMixtureClassifier(teacher, **QUICK).fit(X[:, ::-1], Y)
    assert fitted.teacher_ is teacher
    assert mixture.teacher_ is not mixture.teacher


def test_the_default_teacher_reads_missing_numbers():
    holes = X.copy()
    holes[::7, 2] = np.nan
    few = DistilledMixtureClassifier(**{**QUICK, "num_synthetic": 1.0}).fit(holes, Y)
    assert few.score(holes, Y) > 0.9


def test_a_data_frame_with_categories_and_a_pipeline_for_a_teacher(tmp_path):
    random = np.random.RandomState(0)
    frame = pd.DataFrame({"colour": random.choice(["red", "green", "blue"], 300), "size": random.normal(size=300)})
    labels = np.where((frame["colour"] == "red") ^ (frame["size"] > 0), "yes", "no")
    prepare = make_column_transformer((OneHotEncoder(), ["colour"]), (StandardScaler(), ["size"]))
    teacher = make_pipeline(prepare, DecisionTreeClassifier(max_depth=4, random_state=0))
    mixture = DistilledMixtureClassifier(teacher, **{**QUICK, "num_steps": 400}).fit(frame, labels)
    assert mixture._fast is None  # categories have embeddings
    assert mixture.score(frame, labels) > 0.9
    assert set(mixture.predict(frame)) == {"yes", "no"}
    mixture.save(tmp_path / "bundle")
    assert moist.load_bundle(tmp_path / "bundle").schema.columns[0].categories == ("blue", "green", "red")


def test_a_bundle_answers_as_the_estimator(mixture, tmp_path):
    mixture.save(tmp_path / "bundle")
    loaded = moist.load_bundle(tmp_path / "bundle")
    assert loaded.classes == ("0", "1", "2")
    assert loaded.predict_proba(X.astype(np.float32)) == pytest.approx(mixture.predict_proba(X), abs=1e-5)


def test_pipelines_searches_and_cross_validation_work():
    short = {**QUICK, "num_steps": 60, "num_synthetic": 1.0}
    pipeline = make_pipeline(StandardScaler(), DistilledMixtureClassifier(FrozenEstimator(_frozen()), **short))
    assert cross_val_score(pipeline, X, Y, cv=2).mean() > 0.7
    search = GridSearchCV(pipeline, {"distilledmixtureclassifier__num_specialists": [2, 3]}, cv=2).fit(X, Y)
    assert search.best_estimator_[-1].teacher_.classes_.tolist() == [0, 1, 2]


def _frozen():
    return LogisticRegression(max_iter=500).fit(StandardScaler().fit_transform(X), Y)


def test_labels_that_the_teacher_never_saw_are_refused():
    teacher = GaussianNB().fit(X[Y < 2], Y[Y < 2])
    with pytest.raises(UserError, match=r"has never seen \[2\]"):
        DistilledMixtureClassifier(teacher, **QUICK).fit(X, Y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"teacher": Perceptron()}, "must have predict_proba"),
        ({"method": "joined"}, "method must be one of joint, class-domains"),
        ({"num_specialists": 1}, "num_specialists must be a whole number of at least 2"),
        ({"label_weight": 1.5}, "label_weight must be a share"),
    ],
)
def test_what_cannot_work_is_refused(parameters, message):
    with pytest.raises(UserError, match=message):
        DistilledMixtureClassifier(**{**QUICK, "teacher": GaussianNB(), **parameters}).fit(X, Y)


def test_new_rows_take_lent_values_from_their_partner():
    crossing = Crossing(np.array([0, 1]), np.array([1, 0]), np.array([[True, False], [False, False]]))
    assert crossing.of(np.array([[1, 2], [3, 4]])).tolist() == [[3, 2], [3, 4]]
    frame = pd.DataFrame({"a": [1, 3], "b": ["x", "y"]})
    assert crossing.of(frame).values.tolist() == [[3, "x"], [3, "y"]]


def test_targets_are_labels_and_teacher_in_their_shares():
    # A quarter of label 0 and three quarters of (0.2, 0.8); the second row is new and has no label.
    said = np.array([[0.2, 0.8], [0.5, 0.5]])
    targets = np.exp(soft_targets(said, np.array([0]), 0.25))
    assert targets == pytest.approx(np.array([[0.25 + 0.15, 0.6], [0.5, 0.5]]))
