"""The studies of integration: baselines of equal compute, the benefit kept by hand, and a trial on digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moist.config import ConfigError, load_config
from moist.recipes.ones import study
from moist.recipes.ones.catalog import STUDIES
from moist.recipes.ones.settings import OnesSettings
from moist.recipes.ones.summary import benefit_kept, best_method, by_length
from moist.recipes.study import StudyRequest

EXPERTS = "{num_experts: 4, top_k: 2, combine: renormalize}"
DIGITS = (
    "data=[digits]",
    "limit=400",
    "transform={}",
    f"student={{family: mlp, width: 8, depth: 1, sparse: {EXPERTS}}}",
    "training={epochs: 3, batch_size: 64, learning_rate: 0.01}",
    "refine.training={epochs: 2, batch_size: 64, learning_rate: 0.01}",
    "methods=[average, least-squares]",
    "short=[1]",
    "jobs.workers=2",
)


def request(folder: Path, *changes: str, seeds: int = 2) -> StudyRequest:
    overrides = (*DIGITS, *changes)
    return StudyRequest(
        "ones-text-small", "moist reproduce ones-text", "small", seeds, folder, overrides=overrides, quiet=True
    )


def system(overall: float, **by_data: float) -> dict[str, Any]:
    entries = {name: {"accuracy": {"mean": value}} for name, value in by_data.items()}
    return {"accuracy": {"mean": overall}, "by_data": entries}


def test_the_benefit_kept_by_hand() -> None:
    dense, moe = system(0.70, a=0.60, b=0.80), system(0.75, a=0.695, b=0.805)
    kept = benefit_kept(system(0.74, a=0.68, b=0.80), dense, moe)
    assert kept["overall"] == pytest.approx(0.8)
    assert kept["by_data"]["a"] == pytest.approx(0.08 / 0.095)
    assert kept["by_data"]["b"] is None  # half a point is no benefit to speak of


def test_the_best_gather_is_chosen_on_validation() -> None:
    def jobs(sums: float, average: float) -> dict[str, Any]:
        return {"sum": {"after": {"validation": sums}}, "average": {"after": {"validation": average}}}

    found = {"a": {0: jobs(0.9, 0.8), 1: jobs(0.7, 0.8)}, "b": {0: jobs(0.5, 0.6), 1: jobs(0.5, 0.6)}}
    assert best_method(found, ("sum", "average")) == "average"


def test_the_worth_of_a_start_by_length() -> None:
    def result(validation: float, test: float) -> dict[str, dict[str, float]]:
        return {"after": {"validation": validation, "test": test}, "before": {"validation": test, "test": test}}

    def jobs(shift: float) -> dict[str, Any]:
        long = {"kd": result(0.8, 0.80), "copied": result(0.8, 0.81), "sum": result(0.9, 0.82), "svd": result(0.8, 0.9)}
        short = {"kd": 0.50, "copied": 0.60 + shift, "sum": 0.65, "svd": 0.70}
        return long | {f"{start}-2": result(score, score) for start, score in short.items()}

    start, short, long = by_length({"a": {0: jobs(0.0), 1: jobs(0.1)}}, ("sum", "svd"), (2, 6))
    assert (start["epochs"], start["over_random"], "kd" in start["starts"]) == (0, None, False)
    assert (short["epochs"], short["best_method"]) == (2, "svd")
    assert short["over_random"]["values"] == pytest.approx([0.2, 0.2])
    assert short["over_copied"]["values"] == pytest.approx([0.1, 0.0])
    # Of the longest, sum is better on validation, though svd is on the test part.
    assert (long["epochs"], long["best_method"]) == (6, "sum")
    assert long["over_random"]["mean"] == pytest.approx(0.02)


def test_a_short_distillation_is_shorter_than_the_long_one() -> None:
    with pytest.raises(ConfigError, match=r"below refine.training.epochs=12, got \[5, 12\]"):
        load_config(OnesSettings, STUDIES["ones-text"], ["refine.training.epochs=12", "short=[5, 12]"])


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_gathers_linear_experts_and_distils_for_several_lengths(name: str) -> None:
    settings = load_config(OnesSettings, STUDIES[name])
    assert settings.student.family in ("transformer", "vit")
    assert settings.lengths[0] < settings.lengths[-1] == settings.refine.training.epochs


def test_a_dense_student_has_nothing_to_gather() -> None:
    with pytest.raises(ConfigError, match="the study is of experts, got a dense student"):
        load_config(OnesSettings, STUDIES["ones-text"], ["student.sparse=null"])


def test_a_trial_on_digits(tmp_path: Path) -> None:
    document = study.run(request(tmp_path))
    systems, derived = document["systems"], document["derived"]
    assert set(systems) == {
        *("moe", "dense_same_compute", "dense_same_epochs", "kd", "kd_copied"),
        *(f"{stage}_{method}" for stage in ("gathered", "integrated") for method in ("average", "least-squares")),
    }
    # Forward and backward of the experts' network and of the student, and the teacher's forward pass, in dense epochs.
    sparse, dense = systems["moe"]["active_macs"], systems["kd"]["active_macs"]
    spent = 3 * 3 * sparse + 2 * (3 * dense + sparse)
    assert derived["dense_epochs"]["digits"] == -(-spent // (3 * dense))
    assert (
        systems["kd"]["total_params"] == systems["integrated_average"]["total_params"] < systems["moe"]["total_params"]
    )
    assert systems["gathered_least-squares"]["accuracy"] != systems["integrated_least-squares"]["accuracy"]
    assert [length["epochs"] for length in derived["by_length"]] == [0, 1, 2]
    longest = derived["by_length"][-1]
    assert longest["starts"]["kd"]["accuracy"] == systems["kd"]["accuracy"]
    assert longest["starts"]["copied"]["accuracy"] == systems["kd_copied"]["accuracy"]
    assert derived["by_length"][1]["starts"]["average"]["accuracy"] != systems["integrated_average"]["accuracy"]
    assert set(derived["latency"]) == {"batch_1", "batch_64"}
    assert min(derived["latency"]["batch_1"].values()) > 0
    again = study.run(request(tmp_path))  # nothing is trained again
    assert again["seconds"] == document["seconds"]
    assert again["systems"] == systems


def test_experts_that_grow_from_a_dense_network(tmp_path: Path) -> None:
    origin = "origin={epochs: 4, batch_size: 64, learning_rate: 0.01}"
    frozen = "training={epochs: 3, batch_size: 64, learning_rate: 1.0e-12}"
    document = study.run(request(tmp_path, origin, frozen, "methods=[average]", seeds=1))
    systems = document["systems"]
    # Copies that are hardly trained give what they were copied from, and so does their average.
    assert systems["moe"]["accuracy"] == systems["dense_origin"]["accuracy"]
    assert systems["gathered_average"]["accuracy"] == systems["dense_origin"]["accuracy"]
    sparse, dense = systems["moe"]["active_macs"], systems["kd"]["active_macs"]
    spent = 3 * 3 * sparse + 2 * (3 * dense + sparse)
    assert document["derived"]["dense_epochs"]["digits"] == 4 - (-spent // (3 * dense))
