import subprocess
import sys
from typing import get_args

import pytest

from moist.data import DataSplits
from moist.teachers import TeacherSettings, load_teacher
from moist.teachers.loading import BUILDERS
from moist.teachers.settings import OPTIONS, REQUIRED
from moist.types import UserError


def test_every_kind_has_a_builder_and_options() -> None:
    kinds = set(get_args(TeacherSettings.model_fields["kind"].annotation))
    assert kinds == set(BUILDERS) == set(OPTIONS) == set(REQUIRED)


def test_the_room_is_light_to_import() -> None:
    code = (
        "import sys, moist.teachers; print([m for m in ('transformers', 'lightgbm', 'matplotlib') if m in sys.modules])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "library", "module", "extra"),
    [("lightgbm", "lightgbm", "lightgbm_teacher", "tabular"), ("sentence-encoder", "transformers", "sentence", "hf")],
)
def test_a_missing_library_names_the_extra(
    kind: str, library: str, module: str, extra: str, table: DataSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in (module, "transformers_models", "huggingface"):
        monkeypatch.delitem(sys.modules, f"moist.teachers.{loaded}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    settings = TeacherSettings(kind=kind, **({"model": "x"} if kind == "sentence-encoder" else {}))
    with pytest.raises(UserError, match=rf'pip install "moist\[{extra}\]"'):
        load_teacher(settings, table)
