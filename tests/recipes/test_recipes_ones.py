"""The studies of integration: baselines of equal compute, the benefit kept by hand, and a trial on digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moist.config import ConfigError, load_config
from moist.recipes.ones import study
from moist.recipes.ones.catalog import STUDIES
from moist.recipes.ones.settings import OnesSettings
from moist.recipes.ones.summary import benefit_kept, best_method
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
    "jobs.workers=2",
)


def request(folder: Path) -> StudyRequest:
    return StudyRequest(
        "ones-text-small", "moist reproduce ones-text", "small", 2, folder, overrides=DIGITS, quiet=True
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


def test_a_dense_student_has_nothing_to_gather() -> None:
    with pytest.raises(ConfigError, match="the study is of experts, got a dense student"):
        load_config(OnesSettings, STUDIES["ones-text"], ["student.sparse=null"])


def test_a_trial_on_digits(tmp_path: Path) -> None:
    document = study.run(request(tmp_path))
    systems, derived = document["systems"], document["derived"]
    assert set(systems) == {
        *("moe", "dense_same_compute", "dense_same_epochs", "kd"),
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
    assert derived["moe_over_student_latency"]["batch_1"] > 0
    again = study.run(request(tmp_path))  # nothing is trained again
    assert again["seconds"] == document["seconds"]
    assert again["systems"] == systems
