"""Networks on labels, from training to one dense student, on real digits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from moist.config import load_config
from moist.moe import SparseSettings
from moist.recipes import NetworkSettings, RefineSettings, integrate, open_network, probe, train_moe, upcycle_run
from moist.types import UserError

QUICK = {
    "name": "quick",
    "data": {"name": "digits", "limit": 600},
    "training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.01},
}
# The package's attribute of this name is the function.
MODULE = sys.modules["moist.recipes.train_moe"]
SPARSE = {"num_experts": 3, "top_k": 2, "combine": "renormalize"}


def settings(sparse: Any = SPARSE, **changes: Any) -> NetworkSettings:
    student = {"family": "mlp", "width": 12, "sparse": sparse}
    return load_config(NetworkSettings, {**QUICK, "student": student, **changes})


def test_from_experts_to_one_student(tmp_path: Path) -> None:
    moe = train_moe(settings(), tmp_path / "moe", quiet=True)
    assert moe["systems"]["moe"]["accuracy"]["mean"] > 0.8
    assert moe["history"][-1]["overflow"] == 0

    found = probe(tmp_path / "moe", quiet=True)
    assert sum(found["sizes"]) == moe["data"]["test"]
    assert found["mixed"] == pytest.approx(moe["systems"]["moe"]["accuracy"]["mean"])
    assert (tmp_path / "moe" / "probe.png").read_bytes().startswith(b"\x89PNG")

    refine = load_config(RefineSettings, {"training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.003}})
    dense = integrate(tmp_path / "moe", "least-squares", tmp_path / "dense", refine=refine, quiet=True)
    systems = dense["systems"]
    assert systems["dense"]["accuracy"]["mean"] > systems["gathered"]["accuracy"]["mean"] > 0.3
    assert systems["dense"]["active_macs"] < systems["moe"]["active_macs"]
    assert dense["derived"]["refining_examples"] == 3 * dense["data"]["train"]
    reopened = open_network(tmp_path / "dense", quiet=True)
    assert reopened.measure()["accuracy"]["mean"] == systems["dense"]["accuracy"]["mean"]


def test_a_dense_network_grows_and_goes_on(tmp_path: Path) -> None:
    dense = train_moe(settings(None), tmp_path / "dense", quiet=True)
    grown = upcycle_run(tmp_path / "dense", SparseSettings(**SPARSE), tmp_path / "grown", quiet=True)
    assert grown["derived"]["largest_change_of_a_logit"] < 1e-4
    assert grown["systems"]["moe"]["accuracy"] == dense["systems"]["dense"]["accuracy"]
    further = train_moe(settings(), tmp_path / "further", start=tmp_path / "grown", quiet=True)
    assert further["history"][0]["accuracy"] > dense["history"][0]["accuracy"] + 0.1


def test_a_finished_run_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train_moe(settings(None), tmp_path, quiet=True)
    monkeypatch.setattr(MODULE, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert train_moe(settings(None), tmp_path, quiet=True) == first


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_moe(settings(mutual_distillation={"weight": 0.1}), tmp_path / "whole", quiet=True)

    def stop(steps: float = 1, note: str = "", total: float | None = None) -> None:
        if note and stop.left == 0:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        stop.left -= bool(note)  # type: ignore[attr-defined]

    stop.left = 40  # type: ignore[attr-defined]

    class Bar:
        def __enter__(self) -> Any:
            return stop

        def __exit__(self, *_: object) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(MODULE, "progress_bar", lambda *_, **__: Bar())
        with pytest.raises(KeyboardInterrupt):
            train_moe(settings(mutual_distillation={"weight": 0.1}), tmp_path / "cut", quiet=True)
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    again = train_moe(settings(mutual_distillation={"weight": 0.1}), tmp_path / "cut", quiet=True)
    assert again["systems"] == whole["systems"]
    assert again["history"] == whole["history"]
    first, second = (open_network(tmp_path / name, quiet=True).student for name in ("whole", "cut"))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values()))


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be the folder of a trained network"):
        open_network(tmp_path)
    with pytest.raises(UserError, match="mutual_distillation needs experts"):
        settings(None, mutual_distillation={"weight": 0.1})
