"""The main job from end to end: data and teacher in, bundle, numbers and report out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from moist import load_bundle
from moist.config import ConfigError, load_config
from moist.data import load_dataset
from moist.recipes import DistillSettings, distill, format_table
from moist.storage import default_cache_dir, file_sha256
from moist.types import UserError

Digits = Callable[..., DistillSettings]
CONTROLS = {
    "teacher",
    "student_same_cost",
    "student_same_total",
    "generalist",
    "mixture",
    "mixture_oracle_router",
    "mixture_random_partition",
    "mixture_class_domains",
    "mixture_deferring",
}


def test_digits_run_has_every_control_and_a_bundle_that_repeats_its_numbers(digits: Digits, tmp_path: Path) -> None:
    settings = digits()
    metrics = distill(settings, tmp_path / "run", quiet=True)

    assert set(metrics["systems"]) >= CONTROLS
    assert len(metrics["frontier"]) >= 3
    student, mixture = metrics["systems"]["student_same_cost"], metrics["systems"]["mixture"]
    assert student["active_macs"] >= mixture["active_macs"]  # the control's cost is at least the mixture's
    assert metrics["systems"]["student_same_total"]["total_params"] >= mixture["total_params"]
    assert f"{mixture['accuracy']['mean']:.2%}" in format_table(metrics)
    assert f"{mixture['accuracy']['mean']:.1%}" in metrics["verdict"]
    assert metrics["teacher"]["name"] in (tmp_path / "run" / "report.html").read_text()

    bundle = load_bundle(tmp_path / "run" / "bundle")
    test = load_dataset(settings.data, default_cache_dir(), quiet=True).test
    assert test is not None
    assert test.target is not None
    probabilities = bundle.predict_proba(test.inputs)
    accuracy = (probabilities.argmax(axis=1) == test.target).mean()
    assert accuracy == pytest.approx(mixture["accuracy"]["mean"])
    assert list(bundle.predict(test.inputs[:3])) == [bundle.classes[c] for c in probabilities[:3].argmax(axis=1)]
    loads = np.bincount(bundle.predict_all(test.inputs).routing.expert_indices[:, 0], minlength=3) / len(test)
    assert loads == pytest.approx(mixture["load"])


def test_a_complete_run_is_not_run_again(digits: Digits, tmp_path: Path) -> None:
    first = distill(digits(), tmp_path / "run", quiet=True)
    changed = (tmp_path / "run" / "jobs" / "mixture" / "model.safetensors").stat().st_mtime_ns

    again = distill(digits(), tmp_path / "run", quiet=True)

    assert again["systems"] == first["systems"]
    assert (tmp_path / "run" / "jobs" / "mixture" / "model.safetensors").stat().st_mtime_ns == changed


def test_changing_the_inference_measures_anew_but_trains_nothing(digits: Digits, tmp_path: Path) -> None:
    distill(digits(), tmp_path / "run", quiet=True)
    weights = tmp_path / "run" / "jobs" / "mixture" / "model.safetensors"
    trained = weights.stat().st_mtime_ns

    soft = distill(digits(inference={"top_k": 2, "defer": {"fraction": 0.3}}), tmp_path / "run", quiet=True)

    assert weights.stat().st_mtime_ns == trained
    assert soft["systems"]["mixture"]["active_macs"] > 0
    assert load_bundle(tmp_path / "run" / "bundle").inference.top_k == 2


@pytest.mark.parametrize("method", ["class-domains", "embedding-domains", "random"])
def test_methods_that_cut_domains_first(digits: Digits, tmp_path: Path, method: str) -> None:
    settings = digits(mixture={"method": method, "num_domains": 3, "outside": 0.2}, controls={"enabled": False})
    metrics = distill(settings, tmp_path / "run", quiet=True)

    assert metrics["systems"]["mixture"]["accuracy"]["mean"] > 0.2
    assert ("routed_right" in metrics["systems"]["mixture"]) == (method == "class-domains")


@pytest.mark.parametrize("branching", [{"active": 2}, {"restart": 0.5}], ids=["drawn", "restarted"])
def test_images_with_a_shared_trunk_views_and_branching(
    digits: Digits, tmp_path: Path, branching: dict[str, Any]
) -> None:
    settings = digits(
        augment={"crop": 1},
        signals={"views": 2},
        student={"family": "resnet", "width": 2},
        mixture={
            "num_domains": 3,
            "trunk_stages": 2,
            "router": {"reads": "trunk"},
            "shared_start": 0.4,
            **branching,
        },
        controls={"enabled": False},
    )
    metrics = distill(settings, tmp_path / "run", quiet=True)

    assert metrics["systems"]["mixture"]["accuracy"]["mean"] > 0.1
    history = json.loads((tmp_path / "run" / "jobs" / "mixture" / "history.json").read_text())
    assert len(history) == settings.training.epochs  # one student for one epoch, then the mixture for two


def test_tables_with_categories_and_missing_values(table_csv: Path, tmp_path: Path) -> None:
    settings = load_config(
        DistillSettings,
        {
            "data": {"kind": "tabular", "path": str(table_csv), "label_column": "diagnosis"},
            "teacher": {"kind": "sklearn", "estimator": "sklearn.ensemble.ExtraTreesClassifier"},
            "student": {"family": "mlp", "width": 4},
            "mixture": {"num_domains": 2},
            "training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.02},
            "controls": {"enabled": False},
            "jobs": {"workers": 2},
        },
    )
    metrics = distill(settings, tmp_path / "run", quiet=True)

    assert metrics["systems"]["mixture"]["accuracy"]["mean"] > 0.8
    assert load_bundle(tmp_path / "run" / "bundle").classes == ("benign", "malignant")


TEXTS = {
    "sport": [
        "the match ended in a draw",
        "our striker scored twice",
        "the team won the cup",
        "a penalty in extra time",
    ],
    "food": [
        "bake the bread for an hour",
        "add salt and pepper",
        "the soup needs more garlic",
        "slice the ripe tomatoes",
    ],
    "travel": ["the train leaves at noon", "we flew over the alps", "the hotel has a pool", "pack a light suitcase"],
}


def test_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    lines = [
        {"text": f"{text} {n}", "label": label} for label, texts in TEXTS.items() for text in texts for n in range(12)
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    settings = load_config(
        DistillSettings,
        {
            "data": {"kind": "text", "path": str(path)},
            "transform": {"num_buckets": 512, "max_length": 24},
            "teacher": {"kind": "sklearn", "estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 10}},
            "student": {"family": "bag", "width": 6},
            "mixture": {"num_domains": 2, "router": {"kind": "bag", "width": 3}},
            "training": {"epochs": 20, "batch_size": 16, "learning_rate": 0.03},
            "controls": {"enabled": False},
            "jobs": {"workers": 2},
        },
    )
    metrics = distill(settings, tmp_path / "run", quiet=True)

    assert metrics["systems"]["mixture"]["accuracy"]["mean"] > 0.9
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.predict(np.asarray(["add the garlic to the soup"], dtype=object)).tolist() == ["food"]


def test_without_labels_the_students_learn_from_the_teacher_and_no_accuracy_is_given(
    table_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [line.rsplit(",", 1)[0] for line in table_csv.read_text().splitlines()]
    unlabelled = tmp_path / "unlabelled.csv"
    unlabelled.write_text("\n".join(rows))
    (tmp_path / "thresholds.py").write_text(FITTED_TEACHER)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = load_config(
        DistillSettings,
        {
            "data": {"kind": "tabular", "path": str(unlabelled), "classes": ["benign", "malignant"]},
            "teacher": {"kind": "sklearn", "factory": "thresholds:fitted", "preprocess": False},
            "student": {"family": "mlp", "width": 4},
            "mixture": {"num_domains": 2},
            "training": {"epochs": 3, "batch_size": 32},
            "controls": {"frontier": []},
            "jobs": {"workers": 2},
        },
    )
    metrics = distill(settings, tmp_path / "run", quiet=True)

    assert "accuracy" not in metrics["systems"]["mixture"]
    assert "no labels" in metrics["verdict"]
    assert any("teacher alone" in note for note in metrics["notes"])


FITTED_TEACHER = """
import numpy as np
from sklearn.tree import DecisionTreeClassifier
from sklearn.datasets import load_breast_cancer

def radius_alone(X):
    return np.where(np.arange(7) == 0, np.asarray(X, dtype=np.float64), 0.0)

class ByRadius(DecisionTreeClassifier):
    '''Fitted elsewhere, on the radius alone.'''
    def predict_proba(self, X):
        return super().predict_proba(radius_alone(X))

def fitted():
    data = load_breast_cancer()
    names = np.where(data.target, "benign", "malignant")
    return ByRadius(max_depth=3, random_state=0).fit(radius_alone(data.data[:, :7]), names)
"""


def _checksums(bundle: Path) -> dict[str, str]:
    files = sorted(bundle.rglob("*.safetensors"))
    return {str(path.relative_to(bundle)): file_sha256(path) for path in files}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
def test_killed_at_any_moment_and_run_again_gives_the_same_bundle_bit_for_bit(digits: Digits, tmp_path: Path) -> None:
    settings = digits(controls={"enabled": False}, training={"epochs": 12, "batch_size": 32})
    whole = tmp_path / "whole"
    distill(settings, whole, quiet=True)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_defaults=True)))
    command = [sys.executable, "-m", "moist", "distill", str(config), "--out", str(tmp_path / "killed")]
    for delay in (4.0, 6.0):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, env=dict(os.environ))
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))

    assert _checksums(tmp_path / "killed" / "bundle") == _checksums(whole / "bundle")


def test_signals_that_were_damaged_are_made_whole_before_they_are_used(
    digits: Digits, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = digits(controls={"enabled": False})
    distill(settings, tmp_path / "whole", quiet=True)
    shard = next((default_cache_dir() / "signals").rglob("*logits*.npy"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    distill(settings, tmp_path / "again", quiet=True)

    assert "made whole again" in " ".join(capsys.readouterr().err.split())
    assert shard.read_bytes() == whole
    assert _checksums(tmp_path / "again" / "bundle") == _checksums(tmp_path / "whole" / "bundle")


def test_two_runs_may_not_share_a_folder(digits: Digits, tmp_path: Path) -> None:
    from moist.storage import only_one

    with only_one(tmp_path / "run"), pytest.raises(UserError, match="only one process"):
        distill(digits(), tmp_path / "run", quiet=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": {"num_domains": 3000}}, "num_domains must leave at least 2 training examples"),
        (
            {"mixture": {"method": "class-domains", "num_domains": 11}, "controls": {"enabled": False}},
            "num_domains at most the number of classes that have examples, got num_domains=11",
        ),
        ({"mixture": {"trunk_stages": 9}}, "trunk_stages must leave at least one"),
        ({"mixture": {"router": {"reads": "trunk"}}}, "needs a shared trunk"),
        ({"mixture": {"active": 9, "num_domains": 3}}, "mixture.active must be at most"),
    ],
)
def test_errors_give_rule_value_and_remedy(
    digits: Digits, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        distill(digits(**changes), tmp_path / "run", quiet=True)


def test_a_student_that_cannot_read_the_data_is_refused_before_the_teacher_is_asked(
    digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moist.recipes.workspace.load_teacher", None)
    with pytest.raises(UserError, match="student family 'bag' reads text inputs, got vision data; choose family: "):
        distill(digits(student={"family": "bag"}, teacher={"kind": "lightgbm"}), tmp_path / "run", quiet=True)


def test_wrong_data_leave_no_folder_behind(digits: Digits, tmp_path: Path) -> None:
    settings = digits(data={"path": str(tmp_path / "nothing.csv"), "kind": "tabular"})
    with pytest.raises(UserError, match="nothing at"):
        distill(settings, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_unknown_key_names_the_nearest(digits: Digits) -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'num_domain'. Did you mean 'num_domains'\?"):
        digits(mixture={"num_domain": 3})


def test_top_k_beyond_the_domains_is_refused(digits: Digits) -> None:
    with pytest.raises(ConfigError, match=r"top_k must be between 1 and mixture\.num_domains=3, got 4"):
        digits(inference={"top_k": 4})
