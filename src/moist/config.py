"""Typed configuration: frozen pydantic classes, YAML files, and ``a.b=c`` overrides.

Every room keeps its settings class beside what it configures and derives it from :class:`Settings`; recipes nest them.
Unknown keys are refused with the nearest known name, so a typing error never becomes a silent default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from moist.errors import UserError, nearest

__all__ = ["ConfigError", "Settings", "dump_config", "load_config", "nearest"]

S = TypeVar("S", bound="Settings")
# What YAML 1.1 takes for text, though a user means a number: 3e-4, 1E5, 2.5e3.
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


class ConfigError(UserError):
    """A configuration that cannot be used; the message gives the rule, the value received and the remedy."""


class Settings(BaseModel):
    """Base of every settings class: frozen, and unknown keys are an error that names the nearest key."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            for key in values:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}. {nearest(str(key), cls.model_fields)}")
        return values


def load_config(cls: type[S], source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> S:
    """Read a configuration of class ``cls`` from a YAML file or a mapping, then apply ``a.b=c`` overrides.

    Args:
        cls: the settings class to build.
        source: path of a YAML file, or a mapping already read.
        overrides: strings ``dotted.key=value``; the value is parsed as YAML, so ``true``, ``3e-4`` and lists work.

    Raises:
        ConfigError: the file is missing or not YAML, an override is malformed, or a value breaks a rule.
    """
    if isinstance(source, Mapping):
        values, where = _copy(source), "the configuration"
    else:
        values, where = _read_yaml(Path(source)), str(source)
    for override in (given := list(overrides)):
        _apply(values, override)
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        changed = f" with {', '.join(given)}" if given else ""
        raise ConfigError(f"{where}{changed}: {_explain(error)}") from None


def dump_config(settings: Settings, path: Path) -> None:
    """Write the resolved configuration as YAML, so that a run can be repeated from its own folder."""
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"no configuration file at {path}; give the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a UTF-8 text file: {error}") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a mapping of settings, got {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"an override must read dotted.key=value, got {override!r}")
    *parents, last = key.strip().split(".")
    node = values
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"override {override!r}: {parent!r} is not a group of settings but {child!r}")
        node = child
    try:
        node[last] = _number(yaml.safe_load(text))
    except yaml.YAMLError:
        raise ConfigError(f"override {override!r}: the value is not valid YAML") from None


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "top level"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing":
            parts.append(f"{place}: required, and not given; set it")
            continue
        if item["type"] == "model_type":
            message = "must be a group of settings, such as {key: value}"
        received = "" if item["type"] == "value_error" else f", got {item['input']!r}"
        parts.append(f"{place}: {message}{received}")
    return "; ".join(parts)
