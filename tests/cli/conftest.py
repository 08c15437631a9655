"""Commands, run in this process; and the bundles that they read."""

import json

import pytest

from moist.cli import main
from small_bundles import digits_bundle, table_bundle, text_bundle  # noqa: F401 fixtures


@pytest.fixture
def run(capsys):
    """Run a command; returns its exit code, stdout and stderr."""

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def run_json(run):
    """Run a command that must succeed and print one JSON object."""

    def call(*arguments):
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return call


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep decoded data out of the user's cache."""
    monkeypatch.setenv("MOIST_CACHE", str(tmp_path / "cache"))
