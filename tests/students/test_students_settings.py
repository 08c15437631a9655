import pytest

from moist.config import ConfigError, load_config
from moist.students import StudentSettings


def test_stages_and_widths():
    settings = StudentSettings(family="resnet", width=8, depth=2, tail_width=4, tail_from=3)
    assert settings.num_stages == 8
    assert [settings.width_at(stage) for stage in range(8)] == [8, 8, 8, 4, 4, 4, 4, 4]
    assert StudentSettings(family="bag").num_stages == 2
    assert StudentSettings(family="torch", factory="a:b").num_stages == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"family": "resnet", "depth": 0}, "depth of family 'resnet' must be at least 1, got 0"),
        ({"family": "mlp", "tail_width": 4}, "go together, got 4 and None"),
        ({"family": "mlp", "tail_width": 4, "tail_from": 2}, "1 to 1 here, got 2"),
        ({"family": "bag", "tail_width": 4, "tail_from": 1}, "raise depth"),
        ({"family": "transformer", "tail_width": 4, "tail_from": 1}, "one width throughout"),
        ({"family": "transformer", "width": 9, "heads": 2}, "multiple of heads=2, got 9"),
        ({"family": "torch"}, "needs factory: module:function"),
        ({"family": "mlp", "factory": "a:b"}, "belong to family 'torch', got family 'mlp'"),
        ({"family": "mlp", "width": 0}, "width"),
        ({"family": "mlp", "widht": 3}, "Did you mean 'width'"),
        ({"family": "lstm"}, "family"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        load_config(StudentSettings, values)
