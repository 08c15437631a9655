"""Finding a configuration by what was typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from moist.config import ConfigError
from moist.recipes import find_config


@pytest.fixture(autouse=True)
def _own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cells.yaml").touch()
    Path("deep").mkdir()
    Path("deep", "moles.yml").touch()


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("cells.yml", "Did you mean 'cells.yaml'?"),
        ("cells", "Did you mean 'cells.yaml'?"),
        ("deep/moles.yaml", f"Did you mean {str(Path('deep', 'moles.yml'))!r}?"),
        ("digit", "Did you mean 'digits'?"),
        ("nowhere/letters", "Did you mean 'letter'?"),
        ("zzzzzz", "Known: banking77, cifar10,"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is_near(typed: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(typed)
    assert f"got {typed!r}. {hint}" in str(caught.value)
