"""Fill docs/estimators.md from results/classic-*.json and results/bench-classic-em.json; ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results"
PAGE = PROJECT / "docs" / "estimators.md"
START, END = "<!-- estimators:start -->", "<!-- estimators:end -->"
TITLES = {
    "logistic_regression": "logistic regression",
    "cart": "CART",
    "cart_same_leaves": "CART, 8 leaves",
    "stacking": "stacking",
    "boosting": "boosting (the teacher)",
    "knora_e": "KNORA-E",
    "meta_des": "META-DES",
    "mixture_of_experts": "**mixture of experts**",
    "hierarchical_mixture": "**tree of gates, 8 leaves**",
    "distilled_mixture": "**distilled mixture**",
}
DENSITIES = {
    "generating_density": "generating density (a bound)",
    "gaussian_linear": "Gaussian linear regression",
    "gaussian_network": "Gaussian network (one component)",
    "mixture_density": "**mixture density network**",
}


def block(folder: Path = RESULTS) -> str:
    """Return the generated part of the page: a section for every result file that is there."""
    sections = [
        render(json.loads((folder / name).read_text(encoding="utf-8")))
        for name, render in {
            "classic-tables.json": tables,
            "classic-density.json": densities,
            "bench-classic-em.json": speed,
        }.items()
        if (folder / name).exists()
    ]
    return "\n\n".join(sections) if sections else "No results are here yet."


def tables(document: Mapping[str, Any]) -> str:
    """Return averages over the tables, then the accuracy on each of them."""
    systems = {name: document["systems"][name] for name in TITLES if name in document["systems"]}
    lines = [
        "### On tables",
        "",
        document["verdict"],
        "",
        row(["system", "accuracy", "log loss", "ECE", "fit, s", "one row, ms", "10,000 rows, ms", "size, kB"]),
        row(["---", *["---:"] * 7]),
        *(row(average_cells(TITLES[name], system)) for name, system in systems.items()),
        "",
        row(["table", *(TITLES[name].strip("*") for name in systems)]),
        row(["---", *["---:"] * len(systems)]),
    ]
    names = next(iter(systems.values()))["by_data"]
    lines += [
        row([data, *(accuracy(system["by_data"][data]["accuracy"]) for system in systems.values())]) for data in names
    ]
    return "\n".join([*lines, "", made_by(document), "", *(f"- {note}" for note in document["notes"])])


def average_cells(title: str, system: Mapping[str, Any]) -> list[str]:
    """Return the cells of a system's averages."""
    latency = system["latency_ms"]
    numbers = [system["nll"], system["ece"], system["fit_seconds"], latency["batch_1"], latency["batch_10000"]]
    return [
        title,
        accuracy(system["accuracy"]),
        *(f"{value:.3g}" for value in numbers),
        f"{system['bytes'] / 1e3:,.0f}",
    ]


def densities(document: Mapping[str, Any]) -> str:
    """Return the mean log-likelihood of every density on both data sets."""
    lines = ["### Densities", "", document["verdict"], ""]
    lines += [row(["density", "Bishop's inverse problem", "diabetes"]), row(["---", "---:", "---:"])]
    for name, title in DENSITIES.items():
        found = document["systems"][name]["log_likelihood"]
        lines.append(row([title, *(nats(found.get(data)) for data in ("bishop", "diabetes"))]))
    return "\n".join([*lines, "", made_by(document), "", *(f"- {note}" for note in document["notes"])])


def speed(document: Mapping[str, Any]) -> str:
    """Return the times of EM by number of rows."""
    threads = document["machine"]["threads"]
    lines = ["### Speed of EM", "", f"50 inputs, 8 experts, n_jobs={threads}, at most 100 iterations.", ""]
    lines += [row(["mixture", "rows", "iterations", "seconds", "CPU seconds"]), row(["---", *["---:"] * 4])]
    for kind, fits in document["measured"].items():
        lines += [
            row([kind, f"{f['rows']:,}", str(f["iterations"]), f"{f['seconds']:.1f}", f"{f['cpu_seconds']:.1f}"])
            for f in fits
        ]
    grows = ", ".join(f"{kind} {c['growth_exponent_cpu']:.2f}" for kind, c in document["computed"].items())
    lines += ["", f"CPU seconds per iteration grow as the rows to the power of: {grows} (1 is linear)."]
    return "\n".join([*lines, "", made_by(document), "", *(f"- {note}" for note in document["notes"])])


def made_by(document: Mapping[str, Any]) -> str:
    """Return what made a result file, when and on what."""
    return f"Made by `{document['command']}` on {document['date']}, {document['machine']['cores']} cores."


def accuracy(found: Mapping[str, Any]) -> str:
    """Return an accuracy in per cent with its spread over seeds."""
    return f"{100 * found['mean']:.1f} ± {100 * found['std']:.1f}"


def nats(found: Mapping[str, Any] | None) -> str:
    """Return a log-likelihood with its spread over seeds."""
    return "-" if found is None else f"{found['mean']:.3f} ± {found['std']:.3f}"


def row(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def fill(page: str, text: str) -> str:
    """Return ``page`` with ``text`` between its two markers."""
    before, _, rest = page.partition(START)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page must hold the lines {START} and {END}, in this order; add them")
    return f"{before}{START}\n{text}\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Fill the page, or compare it; returns the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    filled = fill(page, block())
    if "--check" not in arguments:
        PAGE.write_text(filled, encoding="utf-8")
    elif filled != page:
        print("estimators.md does not show results/*.json; run scripts/estimators_table.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
