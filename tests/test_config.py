"""Typed configuration: overrides, unknown keys, and errors that say what to change."""

from typing import Literal

import pytest
import yaml
from pydantic import Field

from moist.config import ConfigError, Settings, dump_config, load_config, nearest
from moist.types import UserError


class Inner(Settings):
    rate: float = Field(0.1, gt=0)
    kind: Literal["fast", "slow"] = "fast"
    widths: tuple[int, ...] = (1, 2)


class Outer(Settings):
    name: str
    inner: Inner = Inner()
    extra: dict[str, object] = Field(default_factory=dict)
    limit: int | None = None


def test_a_file_is_read_and_overridden(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: größer\ninner: {rate: 3e-4, kind: slow}\n", encoding="utf-8")
    config = load_config(Outer, path, ["inner.widths=[4, 5]", "limit=7"])
    assert config == Outer(name="größer", inner=Inner(rate=3e-4, kind="slow", widths=(4, 5)), limit=7)


def test_a_mapping_is_read_and_left_as_it_was():
    given = {"name": "a", "inner": {"rate": 1}}
    assert load_config(Outer, given, ["inner.rate=2", "name=b"]) == Outer(name="b", inner=Inner(rate=2))
    assert given == {"name": "a", "inner": {"rate": 1}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("-1E5", -1e5),
        ("2.5e3", 2.5e3),
        ("true", True),
        ("null", None),
        ("", None),
        ("nan", "nan"),
        ("infinity", "infinity"),
        ("e5", "e5"),
        ("a=b", "a=b"),
        ("'x: y'", "x: y"),
        ("[1, two]", [1, "two"]),
    ],
)
def test_the_values_of_overrides(text, value):
    assert load_config(Outer, {"name": "a"}, [f"extra.key={text}"]).extra["key"] == value


def test_a_group_may_begin_with_an_override():
    assert load_config(Outer, {"name": "a"}, ["inner.kind=slow"]).inner.kind == "slow"


@pytest.mark.parametrize(
    ("values", "overrides", "message"),
    [
        ({"name": "a", "inner": {"rte": 1}}, [], r"inner: unknown key 'rte'\. Did you mean 'rate'\?"),
        ({"name": "a", "zzzzzz": 1}, [], r"unknown key 'zzzzzz'\. Known: extra, inner, limit, name\."),
        ({"name": "a"}, ["inner.rat=1"], r"Did you mean 'rate'\?"),
        ({"name": "a", "inner": {"rate": -1}}, [], r"inner\.rate: .*greater than 0, got -1"),
        ({"name": "a", "inner": {"kind": "quick"}}, [], r"inner\.kind: .*'fast' or 'slow', got 'quick'"),
        ({"inner": {}}, [], r"name: required, and not given; set it$"),
        ({"name": "a"}, ["inner=fast"], r"inner: must be a group of settings, such as \{key: value\}, got 'fast'"),
        ({"name": "a"}, ["limit"], r"dotted\.key=value, got 'limit'"),
        ({"name": "a"}, ["=3"], r"dotted\.key=value, got '=3'"),
        ({"name": "a"}, ["name.first=b"], r"'name' is not a group of settings but 'a'"),
        ({"name": "a"}, ["limit=[1"], r"the value is not valid YAML"),
    ],
)
def test_errors_name_the_place_and_the_remedy(values, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(Outer, values, overrides)


def test_an_error_names_the_overrides_too_since_it_may_be_theirs(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("name: a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.yaml with limit=3, inner\.rat=1: inner: unknown key 'rat'"):
        load_config(Outer, path, iter(["limit=3", "inner.rat=1"]))


def test_several_errors_come_together():
    with pytest.raises(ConfigError, match=r"(?s)inner\.rate.*; limit"):
        load_config(Outer, {"name": "a", "inner": {"rate": 0}, "limit": "many"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n- 2\n", "must hold a mapping of settings, got list"),
        (b"", "must hold a mapping of settings, got NoneType"),
        (b"a: [1", "is not valid YAML"),
        (b"\xff\xfe\x00", "cannot be read as a UTF-8 text file"),
    ],
)
def test_files_that_hold_no_settings(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_config(Outer, path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no configuration file at"):
        load_config(Outer, tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(Outer, tmp_path)


def test_what_is_written_is_read_back_equal(tmp_path):
    config = Outer(name="größer", inner=Inner(rate=1e-5, widths=(3,)), extra={"a": [1, "x"]})
    dump_config(config, tmp_path / "config.yaml")
    assert load_config(Outer, tmp_path / "config.yaml") == config
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["inner"]["widths"] == [3]


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Outer(name="a").name = "b"


def test_errors_of_configuration_are_errors_of_the_user():
    assert issubclass(ConfigError, UserError)
    assert issubclass(UserError, ValueError)


def test_nearest():
    assert nearest("digit", ["digits", "letter"]) == "Did you mean 'digits'?"
    assert nearest("xyz", ["letter", "digits"]) == "Known: digits, letter."
