"""Tables and the plot of the study of Hinton's specialists, for docs/specialists.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filling import row

from moist.report.canvas import drawing, new_figure, standalone_svg
from moist.report.theme import COLOURS
from moist.storage import write_atomic

SYSTEMS = {
    "generalist": "generalist",
    "generalist_longer": "generalist, as much compute as all together",
    "generalist_fitted": "generalist, a bias for each class fitted on validation",
    "ensemble_as_published": "with specialists, dustbins as published",
    "ensemble": "**with specialists, dustbins fitted on validation**",
}
GAINS = {
    "relative_gain": "the generalist",
    "relative_gain_over_longer": "the generalist of as much compute",
    "relative_gain_over_fitted": "the generalist with fitted biases",
    "relative_gain_as_published": "the generalist, dustbins as published",
}
LEAST_EXAMPLES = 100  # fewer say nothing about a gain
LEAST_ACCURACY = 0.5  # nor do relative gains where the generalist is seldom right


def specialists(document: Mapping[str, Any]) -> list[str]:
    """Return accuracies, gains, what an answer takes, and the table by covering specialists, for each data set."""
    lines = [document["verdict"]]
    for data, summary in document["derived"].items():
        lines += ["", f"### {data}", "", row(["system", "accuracy", "MACs"]), row(["---", "---:", "---:"])]
        for name, title in SYSTEMS.items():
            system = document["systems"][f"{data}_{name}"]
            lines.append(row([title, _percent(system["accuracy"], 2), f"{system['active_macs']:,.0f}"]))
        lines += ["", row(["gain over", "relative"]), row(["---", "---:"])]
        lines += [row([title, _percent(summary[key], 1, sign="+")]) for key, title in GAINS.items()]
        within, latency = summary["conditional_accuracy"], summary["latency_ms"]
        lines += [
            "",
            f"Among a specialist's own classes: generalist {_percent(within['generalist'], 1)}, specialists "
            f"{_percent(within['specialists'], 1)} (the paper: 43.1% and 45.9%). {summary['specialists_heard']:.1f} "
            f"specialists are heard on average; one answer takes {latency['ensemble']:.2f} ms instead of "
            f"{latency['generalist']:.2f}.",
        ]
        lines += ["", row(["specialists that know the class", "examples", "change", "relative gain", "the paper"])]
        lines.append(row(["---:"] * 5))
        lines += [row(_by_coverage(found, document["published"])) for found in summary["by_coverage"]]
    return [
        *lines,
        "",
        "![Relative gain by the number of specialists that know the class](images/hinton-specialists.svg)",
    ]


def _by_coverage(found: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    paper = published["relative_gain_by_covering_specialists"].get(str(found["covering"]))
    theirs = "-" if paper is None else f"{paper:+.1%}"
    return [str(found["covering"]), f"{found['examples']:,}", f"{found['change']:+,}", _gain(found), theirs]


def _gain(found: Mapping[str, Any]) -> str:
    return f"{found['relative_gain']:+.1%}"


def _percent(found: Mapping[str, float], digits: int, sign: str = "") -> str:
    return f"{100 * found['mean']:{sign}.{digits}f}% ± {100 * found['std']:.{digits}f}"


def draw_coverage(document: Mapping[str, Any], path: Path) -> None:
    """Draw the relative gain by the number of specialists that know the class, beside the paper's."""
    lines = {
        data: summary["by_coverage"]
        for data, summary in document["derived"].items()
        if document["systems"][f"{data}_generalist"]["accuracy"]["mean"] >= LEAST_ACCURACY
    }
    published = document["published"]["relative_gain_by_covering_specialists"]
    with drawing():
        figure = new_figure(6.4, 3.6)
        axes = figure.subplots()
        for colour, (data, found) in zip(("mixture", "single"), lines.items()):
            kept = [entry for entry in found if entry["examples"] >= LEAST_EXAMPLES]
            numbers, gains = [entry["covering"] for entry in kept], [100 * entry["relative_gain"] for entry in kept]
            axes.plot(numbers, gains, color=COLOURS[colour], marker="o", label=data)
        theirs = {int(number): 100 * gain for number, gain in published.items() if number.isdigit()}
        axes.plot(list(theirs), list(theirs.values()), color=COLOURS["cascade"], marker="o", label="the paper, JFT")
        axes.set_xlabel("specialists that know the class")
        axes.set_ylabel("relative gain in accuracy, %")
        axes.grid(True)
        axes.legend()
        text = standalone_svg(figure)
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))
