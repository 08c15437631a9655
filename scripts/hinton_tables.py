"""Tables and plots of Hinton's studies, for docs/hinton.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from filling import row

from moist.report.canvas import drawing, new_figure, standalone_svg
from moist.report.theme import COLOURS
from moist.storage import write_atomic

SYSTEMS = {
    "teacher": "teacher, 2 × 1200, dropout, max-norm, jitter",
    "student_plain": "2 × 800 from labels",
    "student_distilled": "**2 × 800 from the teacher**",
    "student_distilled_mixed": "**the same, on mixes of two images**",
    "student_units": "2 × 800 of the teacher's units, not trained further",
    "student_started": "**these units, then from the teacher**",
    "without_3": "without 3s",
    "without_3_corrected": "**without 3s, bias corrected**",
    "without_3_corrected_by_training": "the same, by the training images' labels",
    "without_3_corrected_by_test": "the same, the paper's way, by the test images' labels",
    "only_78": "7s and 8s alone",
    "only_78_corrected": "**7s and 8s alone, biases corrected**",
    "only_78_corrected_by_training": "the same, by the training images' labels",
    "only_78_corrected_by_test": "the same, the paper's way, by the test images' labels",
    "single": "one network",
    "ensemble": "ensemble",
    "distilled": "**one network from the ensemble**",
    "distilled_from_one": "one network from one member",
    "hard_few": "few rows, labels",
    "soft_few": "**few rows, soft targets**",
    "hard_all": "all rows, labels",
}
PAPERS = {
    "student_plain": "plain_800",
    **dict.fromkeys(("student_distilled", "student_distilled_mixed", "student_started"), "distilled_800"),
}
LINES = ("single", "mixture")


def errors(document: Mapping[str, Any]) -> list[str]:
    """Return each system's errors on the test part beside the paper's."""
    published = document["published"].get("errors", {})
    lines = [_heading(document), "", document["verdict"], ""]
    lines += [row(["network", "errors of 10,000", "by seed", "the paper"]), row(["---", "---:", "---", "---:"])]
    for name, system in document["systems"].items():
        found = system["errors"]
        paper = published.get(PAPERS.get(name, name))
        values = ", ".join(f"{value:g}" for value in found["values"])
        lines.append(row([SYSTEMS[name], f"{found['mean']:.1f} ± {found['std']:.1f}", values, f"{paper or '-'}"]))
    return lines


def table(document: Mapping[str, Any]) -> list[str]:
    """Return section 3's table, then the sweep over temperatures and widths."""
    sweep, findings = document["derived"]["sweep_errors"], document["derived"]["findings"]
    temperatures = list(next(iter(sweep.values())))
    head = ["units", *(f"T = {temperature}" for temperature in temperatures), "best T", "range from T = 8 on"]
    lines = [*errors(document), "", row(head), row(["---:"] * len(head))]
    for units, found in sweep.items():
        seen = findings[units]
        high = f"{seen['range_from_8']} ({'within' if seen['alike_from_8'] else 'beyond'} noise)"
        lines.append(row([units, *(str(found[t]) for t in temperatures), f"{seen['best_temperature']:g}", high]))
    return [*lines, "", "![Errors against the temperature, by width](images/hinton-mnist.svg)"]


def missing(document: Mapping[str, Any]) -> list[str]:
    """Return the errors, those among the 3s, and the shifts that were found."""
    lines = [*errors(document), ""]
    lines += [row(["network", "errors on the 1,010 3s", "3s right", "the paper"]), row(["---", *["---:"] * 3])]
    papers = document["published"]["errors_on_3"]
    for name, system in document["systems"].items():
        if name.startswith("without_3"):
            wrong, right = system["errors_on_3"]["mean"], system["accuracy_on_3"]["mean"]
            lines.append(row([SYSTEMS[name], f"{wrong:.1f}", f"{right:.1%}", str(papers.get(name, "-"))]))
    lines += ["", row(["shift of the biases", "without labels", "training labels", "test labels", "the paper"])]
    lines.append(row(["---", *["---:"] * 4]))
    for name, shifts in document["derived"]["shift"].items():
        cells = [f"{shifts[rule]['mean']:+.1f}" for rule in ("share", "training", "test")]
        lines.append(row([SYSTEMS[name], *cells, f"{document['published']['shift'][name]:+.1f}"]))
    return lines


def course(document: Mapping[str, Any]) -> list[str]:
    """Return the accuracies, and what becomes of each network between its best point and the end of training."""
    lines = [*errors(document), "", row(["network", "accuracy lost after its best point", "nats lost"])]
    lines.append(row(["---", "---:", "---:"]))
    for name, found in document["derived"]["course"].items():
        lost, gained = found["accuracy_lost"]["mean"], found["nll_gained"]["mean"]
        lines.append(row([SYSTEMS[name], f"{100 * lost:.2f} points", f"{gained:.3f}"]))
    picture = f"images/{document['name']}.svg"
    return [*lines, "", f"![Validation accuracy and log loss in the course of training]({picture})"]


def _heading(document: Mapping[str, Any]) -> str:
    return f"## {document['name']}"


def draw_sweep(document: Mapping[str, Any], path: Path) -> None:
    """Draw errors against the temperature, a panel for each width."""
    sweep = document["derived"]["sweep_errors"]
    with drawing():
        figure = new_figure(9.2, 3.2)
        for axes, (units, found) in zip(figure.subplots(1, len(sweep), squeeze=False)[0], sweep.items(), strict=True):
            axes.plot([float(t) for t in found], list(found.values()), color=COLOURS["mixture"], marker="o")
            axes.set_title(f"2 × {units} units")
            axes.set_xlabel("temperature")
            axes.grid(True)
        figure.axes[0].set_ylabel("errors among 10,000 test images")
        _save(standalone_svg(figure), path)


def draw_course(document: Mapping[str, Any], path: Path) -> None:
    """Draw validation accuracy and log loss against training done, the mean over seeds, a line for each network."""
    with drawing():
        figure = new_figure(9.2, 3.4)
        for axes, key in zip(figure.subplots(1, 2), ("accuracy", "nll"), strict=True):
            for colour, (name, curves) in zip(LINES, document["derived"]["curves"].items(), strict=True):
                points = [fmean(point[key] for point in together) for together in zip(*curves, strict=True)]
                done = [point["epoch"] / curves[0][-1]["epoch"] for point in curves[0]]
                axes.plot(done, points, color=COLOURS[colour], label=SYSTEMS[name].strip("*"))
            axes.set_xlabel("share of the training done")
            axes.set_ylabel({"accuracy": "validation accuracy", "nll": "validation log loss, nats"}[key])
            axes.grid(True)
        figure.axes[0].legend()
        _save(standalone_svg(figure), path)


def _save(text: str, path: Path) -> None:
    write_atomic(path, lambda partial: partial.write_text(text, encoding="utf-8"))
