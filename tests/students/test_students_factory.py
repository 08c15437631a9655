import sys
import types

import pytest
import torch
from torch import nn

from moist.data import InputShape
from moist.students import StudentSettings, create_student
from moist.types import UserError

TABLE = InputShape("tabular", (6,))


@pytest.fixture(autouse=True)
def models(monkeypatch):
    module = types.ModuleType("own_models")
    module.net = lambda hidden, num_classes: nn.Sequential(
        nn.Linear(6, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, num_classes)
    )
    module.fixed = lambda: nn.Linear(6, 4)
    module.number = lambda: 3
    monkeypatch.setitem(sys.modules, "own_models", module)


def settings(name: str, **values: object) -> StudentSettings:
    return StudentSettings(family="torch", factory=name, factory_settings=values)


def test_a_factory_gets_its_settings_and_the_number_of_classes():
    student = create_student(settings("own_models:net", hidden=5), TABLE, 3)
    # the check ran in eval mode: nothing was counted, and training mode is back
    assert all(part.training for part in student.modules())
    assert student.stages[0][1].num_batches_tracked == 0
    assert student(torch.zeros(2, 6)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("own_models", {}, "student.factory must read module:name, got 'own_models'"),
        ("no_such_models:net", {}, "student.factory must name a module that can be imported, got 'no_such_models:net'"),
        ("own_models:nets", {}, "in module own_models, got 'nets'. Did you mean 'net'"),
        ("own_models:net", {}, "missing a required argument: 'hidden'"),
        ("own_models:net", {"hidden": 5, "depth": 1}, r"takes \(hidden, num_classes\), got .*'depth'"),
        ("own_models:number", {}, "must return a torch.nn.Module, got int"),
        ("own_models:fixed", {}, r"must give logits \(N, 3\), got \(2, 4\) for two inputs"),
    ],
)
def test_a_factory_that_cannot_serve_is_refused(name, values, message):
    with pytest.raises(UserError, match=message):
        create_student(settings(name, **values), TABLE, 3)


def test_a_factory_in_the_working_folder_is_found(tmp_path, monkeypatch):
    # A console script has no entry for the working folder on its path.
    (tmp_path / "own_small_models.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(6, 4)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert create_student(settings("own_small_models:net"), TABLE, 4)(torch.zeros(2, 6)).shape == (2, 4)


def test_a_model_that_cannot_read_the_inputs_is_refused():
    with pytest.raises(UserError, match=r"must read vision inputs \(N, 3, 8, 8\)"):
        create_student(settings("own_models:fixed"), InputShape("vision", (3, 8, 8)), 4)
