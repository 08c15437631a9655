import sys
from pathlib import Path

import pytest

from moist.importing import import_callable
from moist.types import UserError


def test_both_spellings() -> None:
    assert import_callable("pathlib:Path", "x") is Path
    assert import_callable("pathlib.Path", "x") is Path


def test_a_module_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_models_of_a_user.py").write_text("def create():\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert import_callable("own_models_of_a_user:create", "x")() == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", "teacher.factory must read module:name, got 'nothing'"),
        ("no_such_module:create", "must name a module that can be imported"),
        ("pathlib:Pth", "must name something in module pathlib, got 'Pth'. Did you mean 'Path'?"),
        ("math:pi", "must name a function or class, math:pi is a float; name another"),
    ],
)
def test_errors(path: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        import_callable(path, "teacher.factory")
