"""The table of the study of deferring, for docs/early-exit.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from filling import row

SYSTEMS = {
    "mixture": "mixture alone",
    "cascade_of_student": "single student of its cost, then the teacher",
    "cascade_of_generalist": "generalist, then the teacher",
    "chain_of_students": "**mixture**, generalist, teacher",
    "chain_from_student": "single student, generalist, second teacher, teacher",
    "chain": "**mixture**, generalist, second teacher, teacher",
    "teacher": "teacher alone",
}


def deferring(document: Mapping[str, Any]) -> list[str]:
    """Return accuracy and cost of every chain, and what share of the inputs each of its links gets."""
    systems = document["systems"]
    lines = [
        document["verdict"],
        "",
        row(["in this order, as far as chosen", "accuracy", "MMAC", "share of the inputs"]),
    ]
    lines.append(row(["---", "---:", "---:", "---"]))
    for name, title in SYSTEMS.items():
        if name in systems:
            system, found = systems[name], systems[name]["accuracy"]
            accuracy = f"{100 * found['mean']:.2f} ± {100 * found['std']:.2f}"
            lines.append(row([title, accuracy, f"{system['active_macs'] / 1e6:.1f}", _shares(system.get("links", []))]))
    return lines


def _shares(chains: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Return each link's mean share over seeds and halves, 0 where it was not chosen."""
    names = list(dict.fromkeys(link["name"] for links in chains for link in links))
    means = {
        name: fmean(sum(link["share"] for link in links if link["name"] == name) for links in chains) for name in names
    }
    ordered = sorted(means.items(), key=lambda item: -item[1])
    return ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in ordered)
