"""Exports of tiny mixtures, made once."""

import sys
from pathlib import Path

import pytest

for room in ("mixture", "export"):
    sys.path.append(str(Path(__file__).parents[1] / room))

from export_examples import make_example, write_bundle  # noqa: E402

from moist.export import export_bundle  # noqa: E402


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return a tiny mixture of a case and the bundle that holds its export; neither is to be changed."""
    made = {}

    def get(case):
        if case not in made:
            tiny = make_example(case)
            made[case] = tiny, write_bundle(tiny, tmp_path_factory.mktemp(case) / "bundle")
            export_bundle(made[case][1])
        return made[case]

    return get
