"""The tables of Hinton's studies, from small documents."""

import pytest


def spread(*values):
    return {"mean": sum(values) / len(values), "std": 1.0, "values": list(values)}


@pytest.fixture
def document():
    sweep = {"30": {"1": 420, "8": 380, "20": 400}}
    findings = {"30": {"best_temperature": 8.0, "range_from_8": 20, "alike_from_8": True}}
    return {
        "name": "hinton-mnist",
        "verdict": "It works.",
        "systems": {"teacher": {"errors": spread(70, 72)}, "student_distilled_mixed": {"errors": spread(80)}},
        "derived": {"sweep_errors": sweep, "findings": findings},
        "published": {"errors": {"teacher": 67, "distilled_800": 74}},
    }


def test_errors_stand_beside_the_papers(script, document):
    lines = script("hinton_tables").table(document)
    assert "| teacher, 2 × 1200, dropout, max-norm, jitter | 71.0 ± 1.0 | 70, 72 | 67 |" in lines
    assert "| **the same, on mixes of two images** | 80.0 ± 1.0 | 80 | 74 |" in lines
    assert "| 30 | 420 | 380 | 400 | 8 | 20 (within noise) |" in lines


def test_each_study_of_few_labels_shows_its_own_picture(script, document):
    lost = {"accuracy_lost": spread(0.01, 0.02), "nll_gained": spread(0.5)}
    document |= {"name": "hinton-soft-targets-cifar10", "systems": {"hard_few": {"errors": spread(5000)}}}
    document["derived"] = {"course": {"hard_few": lost}}
    lines = script("hinton_tables").course(document)
    assert "| few rows, labels | 1.50 points | 0.500 |" in lines
    assert lines[-1].endswith("(images/hinton-soft-targets-cifar10.svg)")


def test_the_sweep_is_drawn(script, document, tmp_path):
    script("hinton_tables").draw_sweep(document, tmp_path / "sweep.svg")
    assert "2 × 30 units" in (tmp_path / "sweep.svg").read_text(encoding="utf-8")


def test_the_course_of_training_is_drawn_as_the_mean_over_seeds(script, tmp_path):
    points = [{"epoch": epoch, "accuracy": 0.9, "nll": 0.3} for epoch in (1, 2)]
    document = {"derived": {"curves": {"hard_few": [points, points], "soft_few": [points, points]}}}
    script("hinton_tables").draw_course(document, tmp_path / "course.svg")
    assert "few rows, soft targets" in (tmp_path / "course.svg").read_text(encoding="utf-8")
