"""The tables of the studies of integration, for the page that measured_tables.py fills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from filling import row

__all__ = ["integration"]

SYSTEMS = {
    "moe": "**network with experts**",
    "dense_same_epochs": "dense, as many epochs",
    "dense_same_compute": "dense, the same total compute",
    "kd": "distilled from random weights",
}
STAGES = {"gathered_": "{} alone", "integrated_": "**{}, distilled**"}


def integration(document: Mapping[str, Any]) -> list[str]:
    """Return the averages, the benefit kept, every data set, and how much faster the dense student is."""
    systems, derived = dict(_named(document["systems"])), document["derived"]
    latency = derived["moe_over_student_latency"]
    times = " and ".join(f"{value:.1f} at {name.replace('_', ' ')}" for name, value in latency.items())
    gain = derived["gain_of_gathering"]
    return [
        f"### {document['name']}",
        "",
        document["verdict"],
        "",
        row(["system", "accuracy", "MACs", "parameters", "benefit kept"]),
        row(["---", *["---:"] * 4]),
        *(row(_cells(name, title, document)) for name, title in systems.items()),
        "",
        row(["system", *document["systems"]["moe"]["by_data"]]),
        row(["---", *["---:"] * len(document["systems"]["moe"]["by_data"])]),
        *(row([title, *_by_data(document["systems"][name])]) for name, title in systems.items()),
        "",
        f"Gathering by {derived['best_method']} before the distillation is worth {_points(gain)} over random weights. "
        f"The network with experts is {_points(derived['moe_over_dense'])} from the dense one of the same compute and "
        f"{_points(derived['moe_over_best_dense'])} from the better of the two. It takes {times} times as long as the "
        "dense student.",
    ]


def _named(systems: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in systems:
        if name in SYSTEMS:
            yield name, SYSTEMS[name]
        for stage, title in STAGES.items():
            if name.startswith(stage):
                yield name, title.format(name.removeprefix(stage))


def _cells(name: str, title: str, document: Mapping[str, Any]) -> list[str]:
    system, kept = document["systems"][name], document["derived"]["benefit_kept"].get(name)
    share = "-" if kept is None or kept["overall"] is None else f"{kept['overall']:.0%}"
    return [title, _accuracy(system), f"{system['active_macs']:,.0f}", f"{system['total_params']:,.0f}", share]


def _by_data(system: Mapping[str, Any]) -> list[str]:
    return [_accuracy(found) for found in system["by_data"].values()]


def _accuracy(system: Mapping[str, Any]) -> str:
    found = system["accuracy"]
    return f"{100 * found['mean']:.1f}% ± {100 * found['std']:.1f}"


def _points(found: Mapping[str, float]) -> str:
    return f"{100 * found['mean']:+.1f} ± {100 * found['std']:.1f} points"
