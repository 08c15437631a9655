"""Runs commands as a user would, in an empty folder, quickly."""

import importlib.util
import os
import subprocess
import sys

import pytest
from docs_pages import PROJECT


@pytest.fixture
def run(tmp_path):
    """Run a Python program with arguments in ``tmp_path`` (or a folder below it); returns what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MOIST_CACHE": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])

    def call(*arguments, folder=tmp_path):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (
            f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
        return done.stdout

    return call


@pytest.fixture
def script(monkeypatch):
    """Import a program of scripts/ by name."""
    monkeypatch.syspath_prepend(PROJECT / "scripts")

    def load(name):
        spec = importlib.util.spec_from_file_location(name, PROJECT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
