import pytest

from moist.config import ConfigError, dump_config, load_config
from moist.data import DataSettings


def test_a_round_trip_through_yaml_keeps_every_setting(tmp_path):
    settings = DataSettings(path="x.csv", kind="tabular", drop_columns=("id",), image_size=(8, 4), classes=["a", "b"])
    dump_config(settings, tmp_path / "data.yaml")
    assert load_config(DataSettings, tmp_path / "data.yaml") == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "exactly one of name, path and hub must be given, got none.*name: digits"),
        ({"name": "digits", "path": "x"}, "exactly one of name, path and hub.*got name, path"),
        ({"name": "cifar"}, "no built-in data set is called 'cifar'. Did you mean 'cifar10'"),
        ({"name": "digits", "kind": "text"}, "digits is of kind vision"),
        ({"name": "digits", "test_path": "x"}, "test_path goes with path"),
        ({"path": "x", "classes": ["a", "a"]}, "two different names"),
        ({"path": "x", "image_size": 0}, "at least 1 pixel"),
        ({"path": "x", "label_colum": "y"}, "Did you mean 'label_column'"),
    ],
)
def test_wrong_settings_are_refused_with_a_remedy(values, message):
    with pytest.raises(ConfigError, match=message):
        load_config(DataSettings, values)
