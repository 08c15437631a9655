"""Small bundles, exported once and copied for every test."""

import shutil

import pytest

from moist.export import export_bundle
from small_bundles import digits_in, texts_in, things_in


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Make and export a bundle once; returns its folder."""
    made = {}

    def call(make):
        if make not in made:
            made[make] = make(tmp_path_factory.mktemp("exported"))
            export_bundle(made[make])
        return made[make]

    return call


@pytest.fixture
def digits_bundle(exported, tmp_path):
    return shutil.copytree(exported(digits_in), tmp_path / "digits")


@pytest.fixture
def text_bundle(exported, tmp_path):
    return shutil.copytree(exported(texts_in), tmp_path / "texts")


@pytest.fixture
def table_bundle(exported, tmp_path):
    return shutil.copytree(exported(things_in), tmp_path / "things")
