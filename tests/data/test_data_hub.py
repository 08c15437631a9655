import importlib
import subprocess
import sys

import numpy as np
import pytest

from moist.data import DataSettings, load_dataset
from moist.data.hub import load_from_hub
from moist.types import UserError


def test_a_missing_library_names_the_extra(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UserError, match=r'pip install "moist\[hf\]"'):
        load_from_hub("owner/name")


def test_importing_the_room_does_not_import_the_library():
    code = "import sys, moist.data; assert not {'datasets', 'transformers', 'pandas', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore")
def test_a_folder_read_by_the_library_equals_the_same_by_path(tmp_path, monkeypatch, digit_images, png):
    datasets = pytest.importorskip("datasets", reason='the hub needs pip install "moist[hf]"')
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    images, labels = digit_images
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[f"d{i}" for i in range(10)])}
    )
    values = {"image": [{"bytes": png(x), "path": None} for x in images], "label": labels.tolist()}
    made = datasets.Dataset.from_dict(values, features=features)
    (tmp_path / "set").mkdir()
    made.to_parquet(str(tmp_path / "set" / "train.parquet"))
    by_hub = load_dataset(DataSettings(hub=str(tmp_path / "set")), tmp_path / "cache", quiet=True)
    by_path = load_dataset(DataSettings(path=str(tmp_path / "set")), tmp_path / "cache", quiet=True)
    assert by_hub.train.classes[3] == "d3"
    assert by_hub.train.kind == "vision"
    assert by_hub.train.fingerprint == by_path.train.fingerprint
    np.testing.assert_array_equal(by_hub.test.inputs, by_path.test.inputs)


@pytest.mark.filterwarnings("ignore")
def test_an_unreachable_data_set_names_the_remedies(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason='the hub needs pip install "moist[hf]"')
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"could not be read.*give data.path"):
        load_from_hub(str(tmp_path / "nothing"))
