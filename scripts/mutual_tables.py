"""The tables of the studies of mutual distillation, for the page that measured_tables.py fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filling import row

__all__ = ["mutual"]

SYSTEMS = {
    "dense_same_cost": "dense, same cost",
    "moe": "MoE",
    "mode": "**MoDE**",
    "mode_kl": "MoDE, divergence",
    "mode_chosen": "MoDE, among the chosen",
    "mode_one_weight": "MoDE, one weight for all",
}
FORMS = {"squared": "squared distance", "kl": "divergence", "chosen": "squared distance, among the chosen"}


def mutual(document: Mapping[str, Any]) -> list[str]:
    """Return averages, every data set, what probing told, and the sweep of the weight."""
    systems = {name: document["systems"][name] for name in SYSTEMS if name in document["systems"]}
    name = document["name"]
    return [
        f"### {name}",
        "",
        document["verdict"],
        "",
        f"![Accuracy, accuracy of experts on their own part, and disagreement, by the weight](images/{name}.svg)",
        "",
        *averages(systems),
        "",
        *by_data(document, systems),
        "",
        *experts(systems),
        "",
        *sweep(document["derived"]["sweep"]),
    ]


def averages(systems: Mapping[str, Any]) -> list[str]:
    """Return a line for each system: scores on the test part, means over the data sets."""
    head = ["system", "accuracy", "log loss", "ECE", "MACs per input", "MACs per input, training forward"]
    lines = [row(head), row(["---", *["---:"] * (len(head) - 1)])]
    for name, system in systems.items():
        costs = (f"{system[cost]:,.0f}" for cost in ("active_macs", "forward_macs_in_training"))
        lines.append(row([SYSTEMS[name], percent(system["accuracy"]), *scores(system), *costs]))
    return lines


def scores(system: Mapping[str, Any]) -> list[str]:
    """Return log loss and calibration error."""
    return [f"{system['nll']:.3f}", f"{system['ece']:.3f}"]


def by_data(document: Mapping[str, Any], systems: Mapping[str, Any]) -> list[str]:
    """Return the accuracy on each data set, the weight that was chosen, and what MoDE gains."""
    head = ["data", *(SYSTEMS[name].strip("*") for name in systems), "weight", "MoDE - MoE, points"]
    lines = [row(head), row(["---", *["---:"] * (len(head) - 1)])]
    gains = document["derived"]["mode_over_moe"]["by_data"]
    for data, gain in gains.items():
        cells = [percent(system["by_data"][data]["accuracy"]) for system in systems.values()]
        weight = systems["mode"]["by_data"][data]["weight"]
        lines.append(row([data, *cells, f"{weight:g}", points(gain)]))
    return lines


def experts(systems: Mapping[str, Any]) -> list[str]:
    """Return what probing told of the experts, MoE and MoDE side by side."""
    head = ["data", "own part: MoE", "MoDE", "all rows, alone: MoE", "MoDE", "disagree: MoE", "MoDE"]
    lines = [row(head), row(["---", *["---:"] * (len(head) - 1)])]
    pair = [systems[name]["by_data"] for name in ("moe", "mode")]
    for data in pair[0]:
        values = [each[data][value] for value in ("own_part", "whole", "disagreement") for each in pair]
        lines.append(row([data, *(percent(value) for value in values)]))
    return lines


def sweep(forms: Mapping[str, Any]) -> list[str]:
    """Return the averages of every weight on validation rows."""
    head = ["form", "weight", "accuracy", "experts on their own part", "experts disagree on", "idle experts"]
    lines = [row(head), row(["---", *["---:"] * (len(head) - 1)])]
    plain = next(iter(forms.values()))[0]
    lines.append(row(["none", "0", *curve_cells(plain)]))
    for form, curve in forms.items():
        lines += [row([FORMS[form], f"{point['weight']:g}", *curve_cells(point)]) for point in curve[1:]]
    return lines


def curve_cells(point: Mapping[str, Any]) -> list[str]:
    """Return the averages of a point."""
    shares = [percent(point[value]) for value in ("accuracy", "own_part", "disagreement")]
    return [*shares, f"{point['idle_experts']['mean']:.1f}"]


def percent(found: Mapping[str, Any]) -> str:
    """Return a share in per cent with its spread over seeds."""
    return f"{100 * found['mean']:.1f} ± {100 * found['std']:.1f}"


def points(gain: Mapping[str, Any]) -> str:
    """Return a difference in points of accuracy with its standard error."""
    return f"{100 * gain['mean']:+.2f} ± {100 * gain['standard_error']:.2f}"
