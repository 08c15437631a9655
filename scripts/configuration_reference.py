"""Write docs/configuration.md from the settings classes; with ``--check`` only tell whether it is current."""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from moist.recipes import DistillSettings

TARGET = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
INTRODUCTION = """# Configuration

<!-- Made by scripts/configuration_reference.py from the settings classes: change those, then run it again. -->

A configuration is a YAML file; `moist distill FILE` reads it. Only `data`, `teacher` and `student` must be given, every
other setting has a default. `--set a.b=c` changes a setting from the command line, the value read as YAML:

```bash
moist distill digits --out runs/wide --set student.width=8 --set 'controls.frontier=[0.5,2]' --set inference.top_k=2
```

An unknown key is an error that names the nearest known one. The resolved configuration of a run, defaults filled in, is
saved as `config.yaml` in its folder and can be given to `moist distill` again. The configurations that come with the
package (`digits`, `letter`, `covtype20k`, `banking77`, `clinc150`, `trec50`, `cifar10`) lie in
[src/moist/recipes/configs](../src/moist/recipes/configs) and are good starting points.

What can be tried first, for more accuracy at about the same cost: `mixture.num_domains` (more specialists, only the
router grows), `training.epochs` (a mixture gains more from long training than a single student), `student.width`,
`mixture.trunk_stages` (share the first stages, above all for images and text), `loss.temperature`. Where
there are many classes, let each specialist score only its own (`mixture.classes_per_specialist` with
`joint.sharpen: 0`): what that saves buys a wider trunk.
"""


def render() -> str:
    """Return the whole page."""
    sections = [INTRODUCTION, *_sections(DistillSettings, "", seen=set())]
    return "\n".join(sections)


def _sections(cls: type[BaseModel], path: str, seen: set[type]) -> Iterator[str]:
    seen.add(cls)
    yield _section(cls, path)
    for name, field in cls.model_fields.items():
        for nested in _models(field.annotation):
            if nested not in seen:
                yield from _sections(nested, f"{path}.{name}" if path else name, seen)


def _section(cls: type[BaseModel], path: str) -> str:
    text, meanings = _docstring(cls)
    lines = [f"## {f'`{path}`' if path else 'Top level'}", "", text, "", "| key | value | default | meaning |"]
    lines.append("|---|---|---|---|")
    for name, field in cls.model_fields.items():
        group = _meaning_of_group(field, f"{path}.{name}" if path else name)
        meaning = field.description or meanings.get(name) or group
        lines.append(f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(meaning)} |")
    return "\n".join([*lines, ""])


def _docstring(cls: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return the text before ``Args`` as paragraphs, and the meaning of each argument."""
    body, _, arguments = (cls.__doc__ or "").partition("\n    Args:\n")
    paragraphs = [" ".join(part.split()) for part in body.split("\n\n")]
    found = re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w+: |\Z)", arguments, flags=re.M | re.S)
    return _ticks("\n\n".join(paragraphs)).strip(), {name: _ticks(" ".join(text.split())) for name, text in found}


def _ticks(text: str) -> str:
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _meaning_of_group(field: FieldInfo, path: str) -> str:
    return f"a group of settings, see `{path}` below" if _models(field.annotation) else ""


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings classes that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _type(field: FieldInfo) -> str:
    words = _words(field.annotation)
    bounds = [_bound(constraint) for constraint in field.metadata]
    return _cell(", ".join([words, *filter(None, bounds)]))


def _bound(constraint: Any) -> str:
    for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
        if getattr(constraint, name, None) is not None:
            return f"{sign} {getattr(constraint, name)}"
    return ""


def _words(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in (Union, types.UnionType):
        return " or ".join("none" if part is type(None) else _words(part) for part in parts)
    if origin in (list, tuple):
        return _words_of_sequence(origin, parts)
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "group"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return plain.get(annotation, "any")


def _words_of_sequence(origin: Any, parts: tuple[Any, ...]) -> str:
    if origin is tuple and parts[-1] is not Ellipsis:
        return "[" + ", ".join(_words(part) for part in parts) + "]"
    return f"list of {_words(parts[0])}s"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or (value is None and _models(field.annotation)):
        return "none" if value is None else "its own defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None:
        return "none"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def main(arguments: typing.Sequence[str]) -> int:
    """Write the page, or compare it; returns the exit code."""
    page = render()
    if "--check" in arguments:
        if TARGET.read_text(encoding="utf-8") == page:
            return 0
        print(f"{TARGET} is not current; run scripts/configuration_reference.py", file=sys.stderr)
        return 1
    TARGET.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
