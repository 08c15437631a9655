"""The tables of the studies of integration, for the page that measured_tables.py fills."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from filling import row

__all__ = ["integration"]

SYSTEMS = {
    "moe": "**network with experts**",
    "dense_same_epochs": "dense, as many epochs",
    "dense_same_compute": "dense, the same total compute",
    "dense_origin": "dense, from which the experts grow",
    "kd": "distilled from random weights",
    "kd_copied": "distilled from copied weights, random layers for experts",
}
STARTS = {"kd": "random weights", "copied": "copied, random layers for experts"}
STAGES = {"gathered_": "{} alone", "integrated_": "**{}, distilled**"}


def integration(document: Mapping[str, Any]) -> list[str]:
    """Return the averages, the benefit kept, every data set, and how much faster the dense student is."""
    systems, derived = dict(_named(document["systems"])), document["derived"]
    moe, student = (document["systems"][name] for name in ("moe", f"integrated_{derived['best_method']}"))
    return [
        f"### {document['name']}",
        "",
        document["verdict"],
        "",
        row(["system", "accuracy", "MACs", "parameters", "benefit kept"]),
        row(["---", *["---:"] * 4]),
        *(row(_cells(name, title, document)) for name, title in systems.items()),
        "",
        *_every_data_set(document["systems"], systems),
        "What a start is worth, by the length of the distillation that follows:",
        "",
        *_by_length(derived["by_length"]),
        "",
        f"The network with experts is {_points(derived['moe_over_dense'])} from the dense one of the same compute and "
        f"{_points(derived['moe_over_best_dense'])} from the better dense one. It takes {_times(derived['latency'])}, "
        f"at {moe['active_macs'] / student['active_macs']:.1f} times the multiplications.",
    ]


def _times(latency: Mapping[str, Mapping[str, float]]) -> str:
    return " and ".join(
        f"{found['ratio']:.1f} times as long as the dense student at {name.replace('_', ' ')} "
        f"({found['moe_ms']:.2f} and {found['student_ms']:.2f} ms)"
        for name, found in latency.items()
    )


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


def _every_data_set(systems: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    """Yield the table of accuracy by data set; nothing where there is but one."""
    names = list(systems["moe"]["by_data"])
    if len(names) == 1:
        return
    yield row(["system", *names])
    yield row(["---", *["---:"] * len(names)])
    for system, title in titles.items():
        yield row([title, *(_accuracy(systems[system]["by_data"][name]) for name in names)])
    yield ""


def _by_length(lengths: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield row(["start", *(_epochs(length["epochs"]) for length in lengths)])
    yield row(["---", *["---:"] * len(lengths)])
    for start in lengths[-1]["starts"]:
        found = [length["starts"].get(start) for length in lengths]
        yield row([STARTS.get(start, f"**{start}**"), *("-" if each is None else _accuracy(each) for each in found)])
    for title, gain in (("random weights", "over_random"), ("copied", "over_copied")):
        yield row([f"the best gather, over {title}", *(_gain(length, gain) for length in lengths)])


def _epochs(number: int) -> str:
    return "as it is" if number == 0 else "1 epoch" if number == 1 else f"{number} epochs"


def _gain(length: Mapping[str, Any], name: str) -> str:
    return "-" if length[name] is None else f"{_points(length[name])} ({length['best_method']})"


def _accuracy(system: Mapping[str, Any]) -> str:
    found = system["accuracy"]
    return f"{100 * found['mean']:.1f}% ± {100 * found['std']:.1f}"


def _points(found: Mapping[str, float]) -> str:
    return f"{100 * found['mean']:+.1f} ± {100 * found['std']:.1f} points"
