"""The studies of mutual distillation: plans, choices and differences by hand, and a trial on digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from moist.config import ConfigError, load_config
from moist.recipes.mutual import study
from moist.recipes.mutual.catalog import STUDIES
from moist.recipes.mutual.choice import choose, choose_for_all, curve
from moist.recipes.mutual.settings import MutualStudySettings
from moist.recipes.mutual.summary import MODE, compare, paired
from moist.recipes.study import StudyRequest

DIGITS = (
    "data=[digits]",
    "train_rows=200",
    "student={family: mlp, width: 6, sparse: {num_experts: 3, top_k: 2, combine: renormalize}}",
    "training.epochs=3",
    "jobs.workers=2",
)


def request(folder: Path, *overrides: str) -> StudyRequest:
    name = "mode-tabular-small"
    return StudyRequest(name, f"moist reproduce {name}", "small", 2, folder, overrides=overrides, quiet=True)


def score(accuracy: float, own: float = 0.5, disagreement: float = 0.4) -> dict[str, Any]:
    return {"accuracy": accuracy, "own_part": own, "disagreement": disagreement, "sizes": [93, 5, 2]}


# Two data sets, two seeds. Means of the weights: a 0.75 and 0.8, b 0.9 and 0.6; over both 0.825 and 0.7.
SWEEP = {
    "a": {
        0: {"moe": score(0.7), "squared-0.1": score(0.7, 0.6), "squared-1": score(0.8, 0.7, 0.1)},
        1: {"moe": score(0.7), "squared-0.1": score(0.8, 0.8), "squared-1": score(0.8, 0.7, 0.1)},
    },
    "b": {
        0: {"moe": score(0.8), "squared-0.1": score(0.9, 0.6), "squared-1": score(0.6, 0.7, 0.1)},
        1: {"moe": score(0.8), "squared-0.1": score(0.9, 0.8), "squared-1": score(0.6, 0.7, 0.1)},
    },
}


def test_the_weight_is_chosen_by_the_mean_of_the_seeds() -> None:
    assert choose(SWEEP, "squared", [1, 0.1]) == {"a": 1, "b": 0.1}
    assert choose_for_all(SWEEP, "squared", [1, 0.1]) == 0.1


def test_of_equal_weights_the_least_is_chosen() -> None:
    equal = {"a": {0: {"squared-0.1": score(0.7), "squared-1": score(0.7)}}}
    assert choose(equal, "squared", [1, 0.1]) == {"a": 0.1}


def test_the_curve_begins_without_mutual_distillation() -> None:
    plain, little, much = curve(SWEEP, "squared", [1, 0.1])
    assert (plain["weight"], little["weight"], much["weight"]) == (0, 0.1, 1)
    assert plain["accuracy"]["values"] == pytest.approx([0.75, 0.75])
    assert little["accuracy"]["values"] == pytest.approx([0.8, 0.85])
    # A tenth of an equal share of 100 rows among three is 3.3.
    assert much["idle_experts"]["values"] == [1, 1]
    assert much["by_data"]["b"] == pytest.approx({"accuracy": 0.6, "own_part": 0.7, "disagreement": 0.1})


def test_differences_are_paired() -> None:
    gain = paired(SWEEP, "squared-0.1", "moe")
    # 0, 0.1, 0.1, 0.1: mean 0.075, sample deviation 0.05, over the root of four.
    assert (gain["mean"], gain["standard_error"]) == (pytest.approx(0.075), pytest.approx(0.025))
    assert (gain["pairs"], gain["pairs_ahead"], gain["data_ahead"]) == (4, 3, 2)
    assert gain["by_data"]["a"]["values"] == pytest.approx([0.0, 0.1])


def measured(own: list[float | None], sizes: list[int], macs: float) -> dict[str, Any]:
    return {
        **score(0.8),
        "gate_accuracy": 0.9,
        "own": own,
        "sizes": sizes,
        "forward_macs_in_training": macs,
    }


def test_experts_are_compared_with_those_of_the_same_start() -> None:
    moe, mode = measured([0.5, 0.6, None], [50, 40, 0], 100), measured([0.7, 0.5, 0.9], [60, 20, 10], 300)
    derived = compare({"a": {0: {"moe": moe, MODE: mode, "dense_same_cost": score(0.7)}}}, ("moe", MODE))
    # The third expert has too few rows to be compared.
    assert derived["experts_better_on_their_part"]["experts"] == 2
    assert derived["experts_better_on_their_part"]["better"] == 1
    assert derived["experts_better_on_their_part"]["mean"] == pytest.approx(0.05)
    assert derived["training_cost_ratio"] == pytest.approx(3)
    assert "mode_kl_over_moe" not in derived


@pytest.mark.parametrize("name", STUDIES)
def test_networks_of_a_seed_differ_in_mutual_distillation_alone(name: str, tmp_path: Path) -> None:
    settings = load_config(MutualStudySettings, STUDIES[name])
    jobs = {job.name: job.payload for job in study.plan(settings, request(tmp_path))}
    data = settings.data[0]
    plain = jobs[f"{data}/seed-1/moe"]["settings"]
    assert plain["seed"] == plain["data"]["split_seed"] == 1
    assert plain["mutual_distillation"] is None
    for weight in settings.squared_weights:
        other = jobs[f"{data}/seed-1/squared-{weight:g}"]["settings"]
        assert other.pop("mutual_distillation") == {"weight": weight, "form": "squared", "among": "all"}
        assert other == {key: value for key, value in plain.items() if key != "mutual_distillation"}


def test_weights_and_experts_are_needed() -> None:
    values = STUDIES["mode-tabular"]
    with pytest.raises(ConfigError, match="weights must be above 0"):
        load_config(MutualStudySettings, values, ["squared_weights=[0, 1]"])
    with pytest.raises(ConfigError, match=r"set student\.sparse"):
        load_config(MutualStudySettings, values, ["student.sparse=null"])


def test_a_trial_scores_the_chosen_networks_alone_on_the_test_part(tmp_path: Path) -> None:
    document = study.run(request(tmp_path, *DIGITS))
    assert set(document["systems"]) == {
        *("dense_same_cost", "moe", "mode"),
        *("mode_kl", "mode_chosen", "mode_one_weight"),
    }
    moe, mode, dense = (document["systems"][name] for name in ("moe", "mode", "dense_same_cost"))
    assert mode["active_macs"] == moe["active_macs"] <= dense["active_macs"]
    # Three experts run where two serve an input; the gate costs 3 · 64.
    expert = 64 * 6 + 6 * 10
    assert mode["forward_macs_in_training"] == 3 * expert + 3 * 64
    assert moe["forward_macs_in_training"] == 2 * expert + 3 * 64
    assert document["systems"]["mode_chosen"]["forward_macs_in_training"] == moe["forward_macs_in_training"]
    scored = {path.parent.name for path in (tmp_path / "measured").rglob("done.json")}
    assert scored == set(document["systems"])
    weight = document["derived"]["weights"]["mode"]["digits"]
    assert mode["by_data"]["digits"]["weight"] == weight
    assert document["verdict"].startswith("MoDE is ")
    assert study.run(request(tmp_path, *DIGITS))["systems"] == document["systems"]
