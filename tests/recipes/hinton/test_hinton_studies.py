"""Hinton's studies: findings by hand, curves that survive an interruption, and a trial of each study."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from moist.recipes.hinton import ensemble, missing_digit, mnist, soft_targets
from moist.recipes.hinton.few_rows import ARMS, course
from moist.recipes.hinton.networks import SoftTargets, log_mean_probabilities, train_network
from moist.recipes.study import StudyRequest
from moist.types import Batch

OVERRIDES = ("jobs.workers=1", "limit=1000", "teacher_epochs=2", "student_epochs=2")
PICTURES = ("jobs.workers=1", "limit=1000")


def request(tmp_path, name, overrides=OVERRIDES):
    out = tmp_path / "runs" / f"{name}-small"
    return StudyRequest(f"{name}-small", f"moist reproduce {name}", "small", 1, out, overrides=overrides, quiet=True)


def test_findings_of_a_sweep_by_hand():
    findings = mnist.sweep_findings({"30": {"1": 420, "2.5": 380, "8": 400, "20": 480}, "800": {"8": 72, "20": 74}})
    # The mean is 420, so a difference has a standard error of √840, about 29; 80 are more than twice that.
    assert findings["30"]["best_temperature"] == 2.5
    assert findings["30"]["standard_error"] == pytest.approx(840**0.5)
    assert findings["30"]["range_from_8"] == 80
    assert not findings["30"]["alike_from_8"]
    assert findings["800"]["alike_from_8"]


def test_the_course_of_training_by_hand():
    curve = [{"accuracy": 0.90, "nll": 0.5}, {"accuracy": 0.95, "nll": 0.3}, {"accuracy": 0.93, "nll": 0.7}]
    found = course([curve])
    assert found["accuracy_lost"]["mean"] == pytest.approx(0.02)
    assert found["nll_gained"]["mean"] == pytest.approx(0.4)


def test_an_ensembles_mean_is_of_probabilities():
    sure, unsure = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.4, 0.6]]).log()
    torch.testing.assert_close(log_mean_probabilities([sure + 3, unsure]).exp(), torch.tensor([[0.6, 0.4]]))


def test_soft_targets_are_those_of_the_batchs_views(tmp_path):
    logits = torch.arange(12.0).view(2, 3, 2)  # two views of three rows
    save_file({"logits": logits}, tmp_path / "signals.safetensors")
    batch = Batch(torch.tensor([2, 0]), torch.tensor([0, 1]), torch.zeros(2, 1), None)
    assert SoftTargets([tmp_path])(batch).logits.tolist() == [[4, 5], [6, 7]]


def test_a_resumed_curve_is_the_same_and_every_step_is_reported_once(tmp_path):
    network = {
        "data": {"name": "digits"},
        "whole": False,
        "student": {"family": "mlp", "width": 8, "depth": 1},
        "training": {"epochs": 4, "batch_size": 256},
        "curve": 4,
    }
    payload = {"network": network, "teachers": []}
    told = []
    unbroken = train_network(payload, tmp_path / "unbroken", lambda done=1, note="", total=None: told.append(done))
    assert sum(told) == 4 * (1293 // 256)
    steps = []

    def interrupt(done: int, note: str = "", total: int | None = None) -> None:
        if total is None:
            steps.append(note)
        if len(steps) == 8:  # in the second of four epochs
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_network(payload, tmp_path / "resumed", interrupt)
    resumed = train_network(payload, tmp_path / "resumed", lambda *args, **kwargs: None)
    assert len(resumed["curve"]) == 4
    assert resumed == unbroken


def test_a_network_starts_from_weights_that_a_job_left(tmp_path):
    network = {
        "data": {"name": "digits"},
        "student": {"family": "mlp", "width": 8, "depth": 1},
        "training": {"epochs": 1, "learning_rate": 1e-9},
    }
    first, second = tmp_path / "first", tmp_path / "second"
    train_network({"network": network, "teachers": []}, first, lambda *args, **kwargs: None)
    again = {"network": {**network, "seed": 1}, "teachers": [], "start": str(first)}
    train_network(again, second, lambda *args, **kwargs: None)
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_trial_of_the_table(tmp_path):
    document = mnist.run(request(tmp_path, "hinton-mnist"))
    assert list(document["systems"]) == list(mnist.JOBS)
    for name in ("student_distilled", "student_distilled_mixed"):
        assert document["systems"][name]["accuracy"]["mean"] > 0.6
    wrong = {name: system["errors"]["mean"] for name, system in document["systems"].items()}
    assert wrong["student_units"] < wrong["student_distilled"]  # after so few steps a teacher's units know more
    assert set(document["derived"]["sweep_errors"]) == {"30", "300", "800"}


@pytest.mark.slow
def test_a_trial_of_the_missing_digits(tmp_path):
    systems = missing_digit.run(request(tmp_path, "hinton-missing-digit"))["systems"]
    for name in missing_digit.CASES:
        best = systems[f"{name}_corrected_by_test"]["errors"]["mean"]
        assert best <= systems[f"{name}_corrected"]["errors"]["mean"]
        assert best < systems[name]["errors"]["mean"]


@pytest.mark.slow
def test_a_trial_of_the_ensemble(tmp_path):
    document = ensemble.run(request(tmp_path, "hinton-ensemble"))
    single, whole = (document["systems"][name] for name in ("single", "ensemble"))
    assert whole["active_macs"] == 3 * single["active_macs"]
    assert [len(group) for group in document["derived"]["errors_of_each"]["member"]] == [3]


@pytest.mark.slow
def test_a_trial_of_the_soft_targets(tmp_path):
    document = soft_targets.run(request(tmp_path, "hinton-soft-targets"))
    assert {len(curve) for name in ARMS for curve in document["derived"]["curves"][name]} <= {2, 4, 5}


@pytest.mark.slow
def test_a_trial_of_the_ensemble_on_pictures(tmp_path):
    document = ensemble.run_cifar10(request(tmp_path, "hinton-ensemble-cifar10", PICTURES))
    single, whole = (document["systems"][name] for name in ("single", "ensemble"))
    assert whole["active_macs"] == 3 * single["active_macs"] > 3e5
    assert document["data"] == {"name": "cifar10", "train": 1000, "validation": 5000, "test": 10000}
    told = load_file(tmp_path / "runs/hinton-ensemble-cifar10-small/member-0-0/signals.safetensors")["logits"]
    assert told.shape == (3, 1000, 10)  # the plain view and two others, of all rows and not the member's alone


@pytest.mark.slow
def test_a_trial_of_the_soft_targets_on_pictures(tmp_path):
    document = soft_targets.run_cifar10(request(tmp_path, "hinton-soft-targets-cifar10", PICTURES))
    assert list(document["systems"]) == ["hard_all", *ARMS]
    assert document["data"]["validation"] == 5000  # whose rows no network has seen
    assert {len(curves[0]) for curves in document["derived"]["curves"].values()} == {5}
