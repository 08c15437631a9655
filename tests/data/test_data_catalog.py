from moist.data import data_root, list_datasets
from moist.data.catalog import BUILT_IN, find_built_in


def test_every_built_in_is_listed_and_digits_is_embedded():
    found = {entry.name: entry for entry in list_datasets()}
    assert set(found) == set(BUILT_IN)
    assert found["digits"].where == "embedded"
    assert found["banking77"].kind == "text"


def test_moist_data_names_the_root(tmp_path, monkeypatch):
    (tmp_path / "tabular" / "letter").mkdir(parents=True)
    monkeypatch.setenv("MOIST_DATA", str(tmp_path))
    assert data_root() == tmp_path
    assert find_built_in("letter") == tmp_path / "tabular" / "letter"
    assert find_built_in("mnist") is None
    assert find_built_in("digits") is None
