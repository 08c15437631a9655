import pytest

from moist.config import ConfigError, load_config
from moist.teachers import TeacherSettings


def test_an_option_of_another_kind_is_refused_with_the_own_options() -> None:
    with pytest.raises(ConfigError, match=r"kind 'torch' has no option 'C'; its options are .*checkpoint"):
        load_config(TeacherSettings, {"kind": "torch", "factory": "a:b", "C": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "torch"}, "needs exactly one of factory, got none"),
        ({"kind": "sklearn"}, "needs exactly one of estimator or factory, got none"),
        ({"kind": "sklearn", "estimator": "a.b", "factory": "a:b"}, "got estimator, factory"),
        ({"kind": "ensemble"}, "needs exactly one of members"),
        ({"kind": "torch", "factory": "a:b", "std": [0.0]}, "std above 0; got mean"),
        ({"kind": "lightgbm", "sed": 3}, "unknown key 'sed'. Did you mean 'seed'"),
    ],
)
def test_rules(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(TeacherSettings, values)


def test_members_are_checked_and_a_dump_reads_back() -> None:
    with pytest.raises(ConfigError, match=r"members\.0: kind 'lightgbm' has no option 'model'"):
        load_config(TeacherSettings, {"kind": "ensemble", "members": [{"kind": "lightgbm", "model": "x"}]})
    settings = TeacherSettings(kind="ensemble", members=[TeacherSettings(kind="lightgbm", seed=3)])
    assert load_config(TeacherSettings, settings.model_dump(mode="json")) == settings
