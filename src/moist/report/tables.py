"""The numbers of a page as plain rows for the template: key figures, the table of systems, how the run was made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import Any

import numpy as np

from moist.report.figures import dead_specialists
from moist.report.systems import System, describe_system, order_systems
from moist.report.wording import (
    ABSENT,
    bytes_text,
    count_text,
    mean_std,
    milliseconds_text,
    number,
    percent_text,
    plain_text,
    seconds_text,
    shorten,
)

__all__ = [
    "Cell",
    "KeyNumber",
    "ResultsTable",
    "Row",
    "has_accuracy",
    "key_numbers",
    "other_numbers",
    "provenance",
    "results_table",
]

Metrics = Mapping[str, Any]
_SHOWN_DERIVED = ("gap_recovered", "cost_ratio_at_equal_accuracy")


@dataclass(frozen=True)
class KeyNumber:
    """One figure to remember: its value, what it is, and what to compare it with."""

    value: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """One value of the table; ``mark`` is ``best``, ``tie`` (not told apart from the best) or nothing."""

    text: str
    spread: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Row:
    """One system of the table."""

    title: str
    explanation: str
    part: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class ResultsTable:
    """The table of systems, and of single students of other sizes.

    Args:
        columns: headings of the cells.
        rows: the named systems.
        frontier: single students of other sizes; they are not in the running for the best value.
        note: how the best values were marked.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    frontier: Sequence[Row]
    note: str


def has_accuracy(metrics: Metrics) -> bool:
    """Return whether any system was measured against labels."""
    return any(number(entry.get("accuracy")) is not None for entry in _systems(metrics).values())


def _systems(metrics: Metrics) -> Mapping[str, Mapping[str, Any]]:
    return metrics.get("systems") or {}


# Key numbers


def key_numbers(metrics: Metrics, load: np.ndarray) -> list[KeyNumber]:
    """Return the figures to remember; what was not measured is left out."""
    systems = _systems(metrics)
    mixture, student, teacher = (systems.get(name, {}) for name in ("mixture", "student_same_cost", "teacher"))
    found = [
        _accuracy(mixture, teacher),
        _agreement(mixture),
        _advantage(mixture, student),
        _gap(metrics),
        _cost_ratio(metrics),
        _active_cost(mixture, teacher),
        _size(mixture, teacher),
        _latency(mixture, teacher),
        _in_use(load),
    ]
    return [figure for figure in found if figure is not None]


def _accuracy(mixture: Metrics, teacher: Metrics) -> KeyNumber | None:
    mean, std = mean_std(mixture.get("accuracy"))
    if mean is None:
        return None
    spread = f" ±\u00a0{100 * std:.1f}" if std is not None else ""
    best = number(teacher.get("accuracy"))
    return KeyNumber(percent_text(mean), f"mixture accuracy{spread}", f"teacher {percent_text(best)}" if best else "")


def _agreement(mixture: Metrics) -> KeyNumber | None:
    agreement = number(mixture.get("agreement"))
    return None if agreement is None else KeyNumber(percent_text(agreement), "agreement with the teacher")


def _advantage(mixture: Metrics, student: Metrics) -> KeyNumber | None:
    mean, base = number(mixture.get("accuracy")), number(student.get("accuracy"))
    if mean is None or base is None:
        return None
    difference = 100 * (mean - base)
    pairs = _paired(mixture, student)
    spread = f"; ± {100 * float(np.std(pairs, ddof=1)):.1f} over {len(pairs)} seeds" if len(pairs) > 1 else ""
    return KeyNumber(
        f"{difference:+.1f}".replace("-", "−"),
        "points against one student of the same cost",
        f"that student: {percent_text(base)}{spread}",
    )


def _paired(one: Metrics, other: Metrics) -> list[float]:
    values = [entry.get("accuracy") for entry in (one, other)]
    lists = [value.get("values") or [] if isinstance(value, Mapping) else [] for value in values]
    return [a - b for a, b in zip(*lists)] if len(lists[0]) == len(lists[1]) else []


def _gap(metrics: Metrics) -> KeyNumber | None:
    gap = number((metrics.get("derived") or {}).get("gap_recovered"))
    if gap is None:
        return None
    value = percent_text(gap, 0).replace("-", "−")
    return KeyNumber(value, "of the gap to the teacher closed", "starting from the student of the same cost")


def _cost_ratio(metrics: Metrics) -> KeyNumber | None:
    ratio = number((metrics.get("derived") or {}).get("cost_ratio_at_equal_accuracy"))
    if ratio is None:
        return None
    note = "read off the measured frontier" if ratio >= 1 else "below 1: the single student is cheaper"
    return KeyNumber(f"{ratio:.2g}×", "the MACs in one student of equal accuracy", note)


def _active_cost(mixture: Metrics, teacher: Metrics) -> KeyNumber | None:
    macs = number(mixture.get("active_macs"))
    if macs is None:
        return None
    return KeyNumber(
        count_text(macs), "multiply-accumulates per input", _times(number(teacher.get("active_macs")), macs)
    )


def _size(mixture: Metrics, teacher: Metrics) -> KeyNumber | None:
    size, params = number(mixture.get("bytes")), number(mixture.get("total_params"))
    if size is None and params is None:
        return None
    note = _times(number(teacher.get("total_params")), params)
    if size is None:
        return KeyNumber(count_text(params), "parameters in all", note)
    return KeyNumber(bytes_text(size), f"stored, {count_text(params)} parameters" if params else "stored", note)


def _latency(mixture: Metrics, teacher: Metrics) -> KeyNumber | None:
    latency = number(mixture.get("latency_ms"))
    if latency is None:
        return None
    return KeyNumber(milliseconds_text(latency), "for one input", _times(number(teacher.get("latency_ms")), latency))


def _times(teacher: float | None, own: float | None) -> str:
    if teacher is None or not own:
        return ""
    ratio = teacher / own
    return f"the teacher takes {ratio:,.0f}×" if ratio >= 10 else f"the teacher takes {ratio:.2g}×"


def _in_use(load: np.ndarray) -> KeyNumber | None:
    if len(load) == 0:
        return None
    dead = dead_specialists(load)
    names = ", ".join(map(str, dead))
    note = f"dead: {names}" if dead else f"busiest {percent_text(float(np.max(load)), 0)} of the inputs"
    return KeyNumber(f"{len(load) - len(dead)} of {len(load)}", "specialists in use", note)


# The table


@dataclass(frozen=True)
class _Column:
    title: str
    key: str
    text: Callable[[float | None], str]
    largest: bool = False


_COLUMNS = (
    _Column("Accuracy", "accuracy", percent_text, largest=True),
    _Column("Agreement with teacher", "agreement", percent_text, largest=True),
    _Column("Active MACs", "active_macs", count_text),
    _Column("Parameters", "total_params", count_text),
    _Column("Bytes", "bytes", bytes_text),
    _Column("ECE", "ece", percent_text),
    _Column("Latency, batch 1", "latency_ms", milliseconds_text),
)


def results_table(metrics: Metrics) -> ResultsTable:
    """Return the table of all systems.

    The best value of a column is marked among systems that could be deployed in the teacher's place. An accuracy that
    the measurement can't tell from the best one is marked as a tie: nearer than the spread of the two over seeds or,
    where one seed was run, than the standard error of a share of the test inputs.
    """
    systems = _systems(metrics)
    names = order_systems(systems)
    frontier = [entry for entry in metrics.get("frontier") or () if isinstance(entry, Mapping)]
    measured = [*systems.values(), *frontier]
    columns = [column for column in _COLUMNS if any(number(one.get(column.key)) is not None for one in measured)]
    running = [name for name in names if describe_system(name).part not in ("bound", "teacher")]
    test = number((metrics.get("data") or {}).get("test"))
    marks = {column.key: _marks(column, {name: systems[name] for name in running}, test) for column in columns}
    rows = []
    for name in names:
        cells = [replace(_cell(column, systems[name]), mark=marks[column.key].get(name, "")) for column in columns]
        system = describe_system(name)
        rows.append(Row(_title(system, systems[name]), system.explanation, system.part, cells))
    return ResultsTable(
        [column.title for column in columns], rows, _frontier_rows(frontier, columns), _note(systems, running)
    )


def _title(system: System, entry: Metrics) -> str:
    name = entry.get("name") if system.part == "teacher" else None
    return f"{system.title} ({shorten(name, 60)})" if name else system.title


def _frontier_rows(frontier: Iterable[Metrics], columns: Sequence[_Column]) -> list[Row]:
    ordered = sorted(frontier, key=lambda entry: number(entry.get("active_macs")) or 0.0)
    return [
        Row(
            shorten(str(entry.get("name", "student")), 60), "", "frontier", [_cell(column, entry) for column in columns]
        )
        for entry in ordered
    ]


def _cell(column: _Column, entry: Metrics) -> Cell:
    mean, std = mean_std(entry.get(column.key))
    if column.key not in ("accuracy", "agreement"):
        std = None
    return Cell(column.text(mean), f"± {100 * std:.1f}" if mean is not None and std is not None else "")


def _marks(column: _Column, entries: Mapping[str, Metrics], num_test: float | None) -> dict[str, str]:
    values = {name: mean_std(entry.get(column.key)) for name, entry in entries.items()}
    known = {name: mean for name, (mean, _) in values.items() if mean is not None}
    if len(known) < 2:
        return {}
    best = max(known.values()) if column.largest else min(known.values())
    winners = [name for name, mean in known.items() if column.text(mean) == column.text(best)]
    marks = dict.fromkeys(winners, "best")
    if column.key == "accuracy":
        winner = max(known, key=known.__getitem__)
        for name in known.keys() - marks.keys():
            if best - known[name] <= _resolution(values[winner], values[name], num_test):
                marks[name] = "tie"
    return marks


def _resolution(
    one: tuple[float | None, float | None], other: tuple[float | None, float | None], num_test: float | None
) -> float:
    (mean, std), (_, other_std) = one, other
    if std is not None and other_std is not None:
        return hypot(std, other_std)
    if num_test and mean is not None:
        return sqrt(max(mean * (1 - mean), 0.0) / num_test)
    return 0.0


def _note(systems: Mapping[str, Metrics], running: Sequence[str]) -> str:
    note = (
        "Bold: best of its column among systems that could be deployed in the teacher's place; the oracle router and "
        "the teacher are shown for comparison only. A low cost counts only beside the accuracy it buys."
    )
    if not any(number(systems[name].get("accuracy")) is not None for name in running):
        return note
    note += " ≈ marks an accuracy that this measurement can't tell from the best."
    if all(mean_std(systems[name].get("accuracy"))[1] is None for name in running):
        note += " One seed was run, so the spread over seeds is not known."
    return note


# The rest


def other_numbers(metrics: Metrics) -> list[tuple[str, str]]:
    """Return derived and published figures that have no place of their own."""
    derived = {key: value for key, value in (metrics.get("derived") or {}).items() if key not in _SHOWN_DERIVED}
    rows = [(_words(key), plain_text(value)) for key, value in derived.items()]
    rows += [
        (f"Published: {_words(key).lower()}", plain_text(value))
        for key, value in (metrics.get("published") or {}).items()
    ]
    return rows


def _words(key: str) -> str:
    words = str(key).replace("_", " ")
    return words[:1].upper() + words[1:]


def provenance(metrics: Metrics) -> list[tuple[str, str]]:
    """Return how the run was made: data, teacher, seeds, versions, machine, date and time taken."""
    data = metrics.get("data") or {}
    sizes = [
        f"{plain_text(data[part])} {part}" for part in ("train", "validation", "test") if data.get(part) is not None
    ]
    rest = {key: value for key, value in data.items() if key not in ("name", "train", "validation", "test")}
    described = [str(data.get("name") or ""), ", ".join(sizes), plain_text(rest) if rest else ""]
    rows = [
        ("Data", "; ".join(part for part in described if part)),
        ("Teacher", _teacher_text(metrics.get("teacher"))),
        ("Seeds", ", ".join(map(str, metrics.get("seeds") or ()))),
        ("Versions", plain_text(metrics.get("versions") or None)),
        ("Machine", plain_text(metrics.get("machine") or None)),
        ("Date", str(metrics.get("date") or "")),
        ("Time taken", seconds_text(number(metrics.get("seconds")))),
    ]
    return [(title, text) for title, text in rows if text and text != ABSENT]


def _teacher_text(teacher: Any) -> str:
    if not isinstance(teacher, Mapping):
        return plain_text(teacher)
    counts = {"params": "parameters", "num_params": "parameters", "macs": "MACs per input"}
    parts = [str(teacher["name"])] if teacher.get("name") else []
    for key, value in teacher.items():
        if key in counts and number(value) is not None:
            parts.append(f"{count_text(number(value))} {counts[key]}")
        elif key not in counts and key != "name" and value is not None:
            parts.append(f"{key.replace('_', ' ')} {plain_text(value)}")
    return ", ".join(parts)
