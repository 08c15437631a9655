"""The studies of the classic estimators: folds, plans, averages by hand, and a trial of each."""

from __future__ import annotations

import numpy as np
import pytest

from moist.config import ConfigError, load_config
from moist.recipes.classic import density, study
from moist.recipes.classic.measure import deslib_python
from moist.recipes.classic.summary import compare, gather, summarize, verdict
from moist.recipes.classic.systems import SYSTEMS
from moist.recipes.classic.tables import load_fold
from moist.recipes.study import StudyRequest
from moist.types import UserError


def request(tmp_path, *overrides):
    return StudyRequest("classic-small", "moist reproduce classic", "small", 1, tmp_path, overrides, quiet=True)


def test_folds_share_all_rows_out_and_are_standardised_on_training_rows():
    folds = [load_fold("iris", 0, fold, 3) for fold in range(3)]
    assert sum(len(fold.test) for fold in folds) == 150
    assert folds[0].train.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-6)
    assert folds[0].num_classes == 3


def test_drawn_rows_are_the_seeds():
    a, b, c = (load_fold("iris", seed, 0, 3, 60) for seed in (0, 0, 1))
    assert len(a.train) + len(a.test) == 60
    assert np.array_equal(a.train, b.train)
    assert not np.array_equal(a.train, c.train)


def test_the_distilled_mixture_waits_for_its_teacher(tmp_path):
    settings = load_config(study.TablesSettings, {"data": ["iris"], "folds": 2})
    jobs = {job.name: job for job in study.plan(settings, request(tmp_path))}
    assert len(jobs) == 2 * (len(SYSTEMS) - 2) + 1  # both of DESlib's selections run in one job
    assert jobs["iris/seed-0/fold-1/distilled_mixture"].after == ("iris/seed-0/fold-1/boosting",)


def test_a_student_without_its_teacher_is_refused():
    with pytest.raises(ConfigError, match="is taught by boosting"):
        load_config(study.TablesSettings, {"systems": ["distilled_mixture"]})


def test_deslib_needs_an_environment_of_its_own(monkeypatch):
    monkeypatch.setenv("MOIST_DESLIB_PYTHON", "/nowhere/python")
    with pytest.raises(UserError, match="MOIST_DESLIB_PYTHON must name its interpreter, got '/nowhere/python'"):
        deslib_python()


def cell(accuracy, **more):
    return {
        "accuracy": accuracy,
        "nll": 1.0,
        "ece": 0.1,
        "fit_seconds": 2.0,
        "bytes": 10,
        "batch_1_ms": 4.0,
        "batch_10000_ms": 8.0,
        **more,
    }


def test_averages_and_comparisons_by_hand():
    fast = {"macs": 5, "teacher_batch_1_ms": 80.0, "teacher_batch_10000_ms": 24.0}
    values = {
        "a/seed-0/fold-0/boosting": cell(0.9),
        "a/seed-0/fold-1/boosting": cell(0.8),
        "b/seed-0/fold-0/boosting": cell(0.7),
        "b/seed-0/fold-1/boosting": cell(0.7),
        "a/seed-0/fold-0/distilled_mixture": cell(0.85, **fast),
        "a/seed-0/fold-1/distilled_mixture": cell(0.85, **fast),
        "b/seed-0/fold-0/distilled_mixture": cell(0.6, **fast),
        "b/seed-0/fold-1/distilled_mixture": cell(0.6, **fast),
        "a/seed-0/deslib": {"knora_e": [cell(0.5)], "meta_des": [cell(0.5)]},
        "b/seed-0/deslib": {"knora_e": [cell(0.7)], "meta_des": [cell(0.5)]},
    }
    found = gather(values, ["boosting", "distilled_mixture", "knora_e"])
    systems = {name: summarize(cells) for name, cells in found.items()}
    # Table a: 0.85 each; table b: 0.7 and 0.6. Means 0.775 and 0.725; KNORA-E 0.6.
    assert systems["boosting"]["accuracy"]["mean"] == pytest.approx(0.775)
    assert systems["knora_e"]["accuracy"]["mean"] == pytest.approx(0.6)
    derived = compare(systems)
    assert derived["distilled_over_teacher"]["mean"] == pytest.approx(-0.05)
    assert derived["distilled_within_a_point"] == ["a"]
    assert derived["faster_than_teacher"]["batch_1"]["least"] == pytest.approx(20)
    assert derived["faster_than_teacher"]["batch_10000"]["least"] == pytest.approx(3)
    text = verdict(derived, 2)
    assert "the distilled mixture over its boosting teacher -5.0 points" in text
    assert "within a point of its teacher on 1 of 2, and at least 20.0 times as fast at batch 1, 3.0 times" in text


@pytest.mark.slow
def test_a_trial_of_the_tables_measures_every_system(tmp_path):
    document = study.run(request(tmp_path, "jobs.workers=1", "data=[iris]"))
    assert set(document["systems"]) == set(study.SMALL["systems"])
    assert all(system["accuracy"]["mean"] > 0.5 for system in document["systems"].values())


def test_bishops_density_is_one_over_the_possible_length():
    # Far below the bends the problem is single-valued: dx/dy = 1 + 0.6 π at y = 0, so at x = 0.1, whose noise reaches
    # from 0 to 0.2, y may lie between 0 and the solution of y + 0.3 sin 2πy = 0.2.
    y = np.linspace(0, 1, 100_001)
    possible = (np.abs(density.forward(y) - 0.1) <= 0.1).mean()
    assert density.bishop_log_density(np.array([0.1]))[0] == pytest.approx(-np.log(possible), abs=0.01)


def test_bishops_draws_have_the_noise_they_say():
    x, y = density.draw_bishop(1000, 0)
    noise = x[:, 0] - density.forward(y)
    assert np.abs(noise).max() <= 0.1
    assert noise.std() == pytest.approx(0.2 / np.sqrt(12), rel=0.05)


@pytest.mark.slow
def test_a_trial_of_the_densities_runs(tmp_path):
    document = density.run(request(tmp_path, "jobs.workers=1"))
    assert document["systems"]["mixture_density"]["log_likelihood"]["bishop"]["values"]
