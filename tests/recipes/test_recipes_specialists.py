"""The main job with ``method: hinton-specialists``: from a teacher to a bundle of a generalist and its specialists."""

import numpy as np
import pytest
import torch

from moist import load_bundle
from moist.data import load_dataset
from moist.mixture import SpecialistEnsemble
from moist.recipes import distill
from moist.recipes.train_ensemble import dustbin_correction, half_special
from moist.storage import default_cache_dir, read_json


def test_half_of_the_rows_are_special():
    special = np.arange(100) < 20
    rows = half_special(special, seed=0)
    assert len(rows) == 40
    assert set(range(20)) <= set(rows)
    # 80 other rows, 20 of them drawn: the dustbin is four times as frequent as the specialist saw it.
    assert dustbin_correction(special, rows) == pytest.approx(np.log(4))


def test_fewer_others_than_special_rows_need_no_correction():
    special = np.arange(10) < 8
    rows = half_special(special, seed=0)
    assert len(rows) == 10
    assert dustbin_correction(special, rows) == 0


def test_distill_makes_a_bundle_of_specialists(digits, tmp_path):
    mixture = {"method": "hinton-specialists", "num_domains": 3, "classes_each": 4}
    settings = digits(mixture=mixture, controls={"enabled": False})
    metrics = distill(settings, tmp_path / "run", quiet=True)
    loaded = load_bundle(tmp_path / "run" / "bundle")
    assert isinstance(loaded, SpecialistEnsemble)
    assert loaded.gate.sets.shape == (3, 4)
    system = metrics["systems"]["mixture"]
    test = load_dataset(settings.data, default_cache_dir(), quiet=True).test
    right = (loaded.predict_proba(test.inputs).argmax(axis=1) == test.target).mean()
    assert right == pytest.approx(system["accuracy"]["mean"])
    assert system["active_macs"] > metrics["systems"]["generalist"]["active_macs"]
    done = [
        read_json(tmp_path / "run" / "jobs" / "mixture" / f"specialist-{k}" / "done.json")["value"] for k in range(3)
    ]
    assert sorted(done[0]["classes"]) == loaded.gate.sets[0].tolist()
    published = torch.tensor([value["correction"] for value in done])
    assert (published > 0).all()
    assert not torch.allclose(loaded.gate.correction, published)  # fitted on the validation part
