"""The model card of a bundle: what it is, what it costs, how good it is beside its controls, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["CARD", "model_card"]

CARD = "README.md"
MANY_CLASSES = 50
TITLES = {
    "teacher": "teacher",
    "mixture": "**this mixture**",
    "student_same_cost": "single student of the same cost",
    "student_same_total": "single student of the same total size",
    "generalist": "generalist (one specialist's size)",
    "mixture_random_partition": "mixture of random domains",
    "mixture_class_domains": "mixture of class domains",
    "cascade": "confidence cascade",
    "mixture_deferring": "this mixture, deferring",
}


def model_card(manifest: Mapping[str, Any]) -> str:
    """Return the card, as Markdown, of the bundle that ``manifest`` describes."""
    sections = [
        _what(manifest),
        _measured(manifest),
        _costs(manifest),
        _classes(manifest),
        _limits(manifest),
        _use(manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _what(manifest: Mapping[str, Any]) -> str:
    mixture, router = manifest["mixture"], manifest["mixture"]["router"]
    trunk = f" behind {mixture['trunk_stages']} shared stages" if mixture["trunk_stages"] else ""
    config = manifest["config"] or {}
    data = config.get("data", {})
    source = data.get("name") or data.get("path") or data.get("hub") or "not recorded"
    teacher = manifest["measured"].get("teacher", {}).get("name") or config.get("teacher", {}).get("kind")
    gate = f"A router ({router['kind']}, reads {router['reads']})"
    how = f"{gate} sends each input to one of several small students{trunk}."
    if mixture["method"] == "hinton-specialists":
        how = "A generalist answers; the specialists of confusable classes that know its best guess are heard with it."
    return f"""# A mixture of {manifest["num_domains"]} specialists

{how}
All were distilled from one large teacher with MoIST {manifest["moist"]}.

| | |
|---|---|
| data | {_cell(source)} |
| teacher | {_cell(teacher or "not recorded")} |
| reads | {_input(manifest["input"])} |
| method | {mixture["method"]} |
| specialists | {_specialists(manifest)} |
| answers with | {_inference(manifest)} |"""


def _specialists(manifest: Mapping[str, Any]) -> str:
    student, own = manifest["student"], manifest["mixture"]["classes_per_specialist"]
    scores = "" if own is None else f"; each scores {own} of the {len(manifest['classes'])} classes"
    return f"{manifest['num_domains']} × {student['family']}, width {student['width']}{scores}"


def _input(schema: Mapping[str, Any]) -> str:
    if schema["kind"] == "vision":
        return f"images, {schema['height']}×{schema['width']} pixels, {schema['channels']} channel(s)"
    if schema["kind"] == "text":
        return "texts"
    names = ", ".join(_cell(column["name"]) for column in schema["columns"])
    return f"rows of a table with the columns {names}"


def _inference(manifest: Mapping[str, Any]) -> str:
    inference = manifest["inference"]
    if manifest["mixture"]["method"] == "hinton-specialists":
        return f"the generalist and the specialists that know its best {manifest['mixture']['top_n']} of the classes"
    chosen = "all specialists" if inference["top_k"] == "all" else f"the best {inference['top_k']} of the specialists"
    if inference["defer"] is None:
        return chosen
    return f"{chosen}; under a confidence of {manifest['threshold']:.3f} it defers to the {inference['defer']['to']}"


def _measured(manifest: Mapping[str, Any]) -> str:
    rows = []
    for name, title in TITLES.items():
        entry = manifest["measured"].get(name)
        if entry is not None:
            shown = [_percent(entry.get("accuracy")), _number(entry.get("active_macs")), _decimal(entry.get("ece"))]
            rows.append(f"| {title} | {' | '.join(shown)} |")
    if not rows:
        return "## Measured\n\nNothing was measured."
    head = "| system | accuracy | MACs per input | calibration error |\n|---|---:|---:|---:|"
    note = "On the test part, which no choice was made on. The single student of the same cost is the fair rival."
    return f"## Measured\n\n{note}\n\n{head}\n" + "\n".join(rows)


def _costs(manifest: Mapping[str, Any]) -> str:
    costs = manifest["costs"]
    parts = [("one input (mean)", costs["active"]), ("router", costs["router"])]
    if manifest["mixture"]["trunk_stages"]:
        parts.append(("shared trunk", costs["trunk"]))
    parts += [(f"specialist {d['domain']}{_share(d['load'])}", d) for d in manifest["domains"]]
    if costs["generalist"] is not None:
        parts.append(("generalist", costs["generalist"]))
    parts.append(("everything but the generalist" if costs["generalist"] else "everything", costs["total"]))
    rows = [f"| {name} | {_number(c['macs'])} | {c['params']:,} | {c['bytes']:,} |" for name, c in parts]
    return "## Costs\n\n| part | MACs | parameters | bytes |\n|---|---:|---:|---:|\n" + "\n".join(rows)


def _share(load: float | None) -> str:
    return "" if load is None else f" (serves {load:.1%})"


def _classes(manifest: Mapping[str, Any]) -> str:
    classes = manifest["classes"]
    more = f", and {len(classes) - MANY_CLASSES} more in bundle.json" if len(classes) > MANY_CLASSES else ""
    return f"## Classes\n\n{len(classes)}: {', '.join(_cell(name) for name in classes[:MANY_CLASSES])}{more}."


def _limits(manifest: Mapping[str, Any]) -> str:
    lines = [
        "- It knows these classes only: any other input gets one of them too, perhaps with high confidence.",
        "- The numbers hold for data like the test part; measure on your own with `moist evaluate`.",
        "- It learned from its teacher, mistakes and biases included.",
    ]
    if "accuracy" not in manifest["measured"].get("mixture", {}):
        lines.append("- Its accuracy was not measured.")
    shares = [(d["domain"], d["load"]) for d in manifest["domains"] if d["load"] is not None]
    idle = [str(domain) for domain, load in shares if load < 1 / (4 * len(shares))]
    if idle:
        lines.append(f"- Specialists that serve hardly any input: {', '.join(idle)}.")
    return "## Limits\n\n" + "\n".join(lines)


def _use(manifest: Mapping[str, Any]) -> str:
    source = {"vision": "picture.png", "text": "a text to classify", "tabular": "rows.csv"}[manifest["input"]["kind"]]
    allow = ", allow_factory=True" if manifest["student"]["family"] == "torch" else ""
    return f"""## Use

```python
import moist
from moist.data import read_inputs

mixture = moist.load_bundle("path/of/this/folder"{allow})
print(mixture.predict(read_inputs(["{source}"], mixture.schema)))
```

or `moist predict path/of/this/folder "{source}"`, `moist evaluate path/of/this/folder`."""


def _cell(value: object) -> str:
    """A name on one line, without what would end a table's cell."""
    return " ".join(str(value).replace("|", "\\|").split())


def _percent(accuracy: Any) -> str:
    mean = accuracy.get("mean") if isinstance(accuracy, Mapping) else accuracy
    return "–" if mean is None else f"{mean:.2%}"


def _decimal(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:,.0f}"
