"""Fill README.md and docs/results.md from results/*.json and draw docs/images; ``--check`` only compares the pages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filling import row, update

from moist.recipes.results import short_number
from moist.report import save_frontier

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results"
IMAGES = PROJECT / "docs" / "images"
NONE_YET = "No results are here yet. `moist reproduce NAME` makes them; `moist reproduce --list` gives the names."
# The order of the README's table; any other whole run follows by name.
ORDER = (
    *("digits", "letter", "covtype20k", "optdigits", "pendigits", "satimage", "dry_bean"),
    *("banking77", "clinc150", "trec50", "cifar10"),
)
# What is set side by side: rivals of about the mixture's cost. The first two decide the verdict.
RIVALS = {
    "student_same_cost": "single student, same cost",
    "mixture": "mixture",
    "mixture_class_domains": "class domains",
    "cascade": "cascade",
}
TITLES = {
    "teacher": "teacher",
    "student_same_cost": "single student, same cost",
    "student_same_total": "single student, same total size",
    "generalist": "generalist (one specialist's size)",
    "mixture": "**mixture**",
    "mixture_all_specialists": "mixture, every specialist run",
    "mixture_deferring": "mixture, deferring",
    "mixture_class_domains": "mixture of class domains",
    "mixture_random_partition": "mixture of random domains",
    "mixture_oracle_router": "mixture, oracle router (a bound, not a system)",
    "cascade": "confidence cascade",
}


def load_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the result files of whole runs, in the order of the table; trials (``NAME-small``) are left out."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    whole = [d for d in documents if {"mixture", "student_same_cost"} <= d["systems"].keys() and "mixtures" not in d]
    whole = [document for document in whole if not document["name"].endswith("-small")]
    return sorted(whole, key=lambda d: (ORDER.index(d["name"]) if d["name"] in ORDER else len(ORDER), d["name"]))


def load_frontiers(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Return the result files of mixtures of growing size, by name; trials are left out."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("frontier-*.json"))]
    return [document for document in documents if not document["name"].endswith("-small")]


def summary(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return the README's table: a line per run, the best of the rivals in bold."""
    if not documents:
        return NONE_YET
    head = ["data", "teacher", "MACs per input", *RIVALS.values(), "gap recovered", "MACs saved", "seeds"]
    lines = [row(head), row(["---", *["---:"] * (len(head) - 1)])]
    lines += [row(_summary_cells(document)) for document in documents]
    return "\n".join([*lines, "", *(f"- {d['name']}: {d['verdict']}{_deferring(d)}" for d in documents)])


def _deferring(document: Mapping[str, Any]) -> str:
    """Return a sentence on the mixture that defers to its generalist, where that is better and known for every seed."""
    systems = document["systems"]
    deferring = systems.get("mixture_deferring")
    if deferring is None or len(deferring["accuracy"]["values"]) < len(document["seeds"]):
        return ""
    if _mean(deferring) <= _mean(systems["mixture"]):
        return ""
    macs = short_number(deferring["active_macs"])
    return f" Where it defers to its generalist when unsure: {_accuracy(deferring)} at {macs} MACs per input."


def _summary_cells(document: Mapping[str, Any]) -> list[str]:
    systems, derived = document["systems"], document["derived"]
    best = max(_mean(systems[name]) for name in RIVALS if name in systems)
    cells = [_accuracy(systems.get(name), bold=best) for name in RIVALS]
    recovered, ratio = (_number(derived.get(name)) for name in ("gap_recovered", "cost_ratio_at_equal_accuracy"))
    return [
        document["name"],
        _accuracy(systems["teacher"]),
        short_number(systems["mixture"]["active_macs"]),
        *cells,
        "-" if recovered is None else f"{recovered:.0%}",
        "-" if ratio is None else f"{ratio:.1f}×",
        str(len(document["seeds"])),
    ]


def details(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return a section per run with every system that was measured."""
    return "\n\n".join(_section(document) for document in documents) if documents else NONE_YET


def _section(document: Mapping[str, Any]) -> str:
    data, teacher, versions = document["data"], document["teacher"], document["versions"]
    machine = document["machine"]
    rows = {name: document["systems"][name] for name in TITLES if name in document["systems"]}
    lines = [
        f"### {document['name']}",
        "",
        document["verdict"],
        "",
        f"Made by `{document['command']}` on {document['date']}; {data['train']:,} training, {data['validation']:,} "
        f"validation and {data['test']:,} test examples; teacher: {teacher['name']}; moist {versions['moist']}, "
        f"torch {versions['torch']}, {machine['cores']} cores.",
        "",
        row(["system", "accuracy", "MACs per input", "parameters", "calibration error", "seeds"]),
        row(["---", "---:", "---:", "---:", "---:", "---:"]),
        *(row(_detail_cells(TITLES[name], entry)) for name, entry in rows.items()),
    ]
    if document.get("frontier"):
        lines += ["", "Single students by cost: " + _frontier(document["frontier"]) + "."]
    return "\n".join(lines)


def growth(document: Mapping[str, Any]) -> str:
    """Return a section on one data set's mixtures of growing size."""
    lines = [
        f"### {document['name']}",
        "",
        document["verdict"],
        "",
        f"![Accuracy against cost, by the number of specialists](images/{document['name']}.svg)",
        "",
        row(
            ["specialists", "accuracy", "MACs per input", "parameters", "smallest share, of an equal one", "MACs saved"]
        ),
        row(["---:"] * 6),
        *(row(_growth_cells(entry)) for entry in document["mixtures"]),
        "",
        *_branching(document.get("start")),
        *(f"- {note}" for note in document["notes"]),
    ]
    return "\n".join(lines)


def _branching(start: Mapping[str, Any] | None) -> list[str]:
    """Return a line on the student that all mixtures of a growth branch from, where they do."""
    if start is None:
        return []
    cost = short_number(start["active_macs"])
    return [
        f"- All branch from one finished student a seed, {cost} MACs: {_accuracy(start)}, {start['epochs']} epochs."
    ]


def _growth_cells(entry: Mapping[str, Any]) -> list[str]:
    ratio = entry["cost_ratio_at_equal_accuracy"]
    return [
        str(entry["num_domains"]),
        _accuracy(entry),
        short_number(entry["active_macs"]),
        short_number(entry["total_params"]),
        f"{min(entry['smallest_share']) * entry['num_domains']:.2f}",
        "-" if ratio is None else f"{ratio:.1f}×",
    ]


def _detail_cells(title: str, entry: Mapping[str, Any]) -> list[str]:
    ece, accuracy = entry.get("ece"), entry.get("accuracy")
    return [
        title,
        _accuracy(entry),
        short_number(entry.get("active_macs")),
        short_number(entry.get("total_params")),
        "-" if ece is None else f"{ece:.3f}",
        "-" if accuracy is None else str(len(accuracy["values"])),
    ]


def _frontier(entries: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{short_number(entry['active_macs'])} {_accuracy(entry)}" for entry in entries)


def _mean(entry: Mapping[str, Any]) -> float:
    return float(entry["accuracy"]["mean"])


def _accuracy(entry: Mapping[str, Any] | None, bold: float | None = None) -> str:
    if entry is None or entry.get("accuracy") is None:
        return "-"
    text = f"{100 * _mean(entry):.2f}%"
    if bold is not None and _mean(entry) == bold:
        text = f"**{text}**"
    return text + (f" ± {100 * entry['accuracy']['std']:.2f}" if len(entry["accuracy"]["values"]) > 1 else "")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def pages(folder: Path = RESULTS) -> dict[Path, str]:
    """Return the path and the block of each page that shows results."""
    documents = load_results(folder)
    sections = "\n\n".join([details(documents), *(growth(document) for document in load_frontiers(folder))])
    return {PROJECT / "README.md": summary(documents), PROJECT / "docs" / "results.md": sections}


def draw() -> None:
    """Draw accuracy against cost of every whole run into docs/images."""
    IMAGES.mkdir(exist_ok=True)
    for result in [*load_results(), *load_frontiers()]:
        save_frontier(result, IMAGES / f"{result['name']}.svg")


def main(arguments: Sequence[str]) -> int:
    """Fill the pages and draw the pictures, or compare the pages; returns the exit code."""
    if "--check" not in arguments:
        draw()
    return update(pages(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
