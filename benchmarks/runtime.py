"""Time the exported mixture against what it should cost, its teacher, and a single student, on one core and on all.

Everything that is compared is timed in turns, in one process; each round gives one figure for each, and the ratios of
these are reported as median, least and greatest over the rounds. Memory and cold start are measured in processes of
their own. What is compared with ideal, teacher and student is a trained mixture; growth and memory are of mixtures with
the sizes of ``eight.yaml``, whose specialists are repeated behind a router of random weights: their answers mean
nothing, their times do.

    moist reproduce cifar10
    python benchmarks/runtime.py --bundle runs/cifar10/seed-0/bundle
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import numpy as np
import torch
from measuring import spread, timed
from torch import nn

from moist.cli.export import export_data
from moist.export import ExportData, MixtureFragments, choose_precision, mixture_fragments, quantize, routed_model
from moist.export.bundle import describe
from moist.export.capture import capture
from moist.export.checking import run_fragment
from moist.export.files import write_export
from moist.export.pieces import example_inputs
from moist.export.routed_graph import router_model, whole_model
from moist.mixture import MixtureOfSpecialists, RouterSettings, build_gate, inspect_bundle, load_bundle
from moist.progress import say
from moist.recipes.results import machine
from moist.runtime import RoutedSession, open_graph
from moist.storage import read_json, write_json
from moist.students import StudentSettings, create_student
from moist.teachers import cifar_resnet
from serve import make_bundle

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "bench-runtime.json"
ROUNDS = 15
CALLS = 24  # turns of each in every round; for batches a twelfth
BURST = 3  # timed calls in a turn, after one that is not
BATCH = 256
GROWTH = (1, 4, 16, 64, 256)
HOT, HOT_SHARE = 4, 0.9  # a skewed load: nine inputs in ten go to four domains
LOAD_CALLS, LOAD_TURN = 2000, 100  # of a round, and of one session before it is another's turn
RESIDENT = ((4, None), (4, 4), (64, None), (64, 4))  # specialists, and how many of them stay in memory
SEED = 0

Call = Callable[[], object]
Grown = Callable[[int], MixtureFragments]
CHILD = """
import json, sys, time
started = time.perf_counter()
import numpy as np
from moist import RoutedSession
path, rows, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]) or None
inputs = np.load(rows)
session = RoutedSession(path, max_resident=limit)
session.predict(inputs[:1])
first = time.perf_counter() - started
for row in range(len(inputs)):
    session.predict(inputs[row : row + 1])
pages = {line.split(":")[0]: int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")}
print(json.dumps({"first": first, "rss": pages["VmRSS"] * 1024, "torch": "torch" in sys.modules}))
"""


@dataclass(frozen=True)
class Subject:
    """The mixture in one precision, exported, and each input's own straight graph: the same without any choice."""

    parts: MixtureFragments
    folder: Path
    straight: list[Any]


def main() -> None:
    """Measure everything, print, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True, help="the bundle of a run on CIFAR-10")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", default=str(TARGET))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(arguments.bundle), Path(folder), arguments.rounds)
    document["seconds"] = round(time.perf_counter() - started, 1)
    write_json(Path(arguments.out), document)
    print(json.dumps(document["derived"], indent=2))


def measure(bundle: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Return the whole result."""
    facts, mixture = inspect_bundle(bundle), load_bundle(bundle)
    data = export_data(None, facts)
    parts = mixture_fragments(mixture, [domain["load"] for domain in facts["domains"]])
    quantised, report = choose_precision(parts, data)
    described = {**describe(facts, None), "int8": report}
    subjects = {
        "float32": make_subject(parts, described, folder / "float32"),
        "int8": make_subject(quantised, described, folder / "int8"),
    }
    raw = test_rows(data)
    student = equal_student(facts["config"]["name"])
    rival = None if student is None else int8_student(student, facts, parts, mixture, data)
    equal = inspect_bundle(make_bundle(folder / "equal"))
    router = RouterSettings.model_validate(equal["mixture"]["router"])
    equals, sizes = partial(grown, load_bundle(folder / "equal"), router), {**describe(equal, None), "int8": None}
    measured: dict[str, Any] = {"load": shares(subjects["float32"], raw[:BATCH])}
    with pinned(1):
        measured["one_core"] = compare(subjects, rival, raw, 1, rounds)
        measured["growth"] = growth(equals, sizes, folder, raw, rounds)
        measured["memory"] = memory(equals, sizes, folder, raw, rounds)
        measured["cold_start"] = cold_start(subjects["int8"].folder, folder, raw)
    cores = os.cpu_count() or 1
    with pinned(cores):
        measured["all_cores"] = compare(subjects, rival, raw, cores, rounds)
    return result(facts, measured, report, student)


def shares(subject: Subject, raw: np.ndarray) -> list[float]:
    """Return the share of the inputs that each specialist serves."""
    served = np.bincount(RoutedSession(subject.folder).predict(raw).domain, minlength=len(subject.straight))
    return [float(count) / len(raw) for count in served]


def compare(
    subjects: Mapping[str, Subject], rival: bytes | None, raw: np.ndarray, threads: int, rounds: int
) -> dict[str, Any]:
    """Return the milliseconds of everything that is compared with so many threads, and the load of the machine."""
    say(f"{threads} threads")
    return {
        "batch_1": in_turns(batch_1_calls(subjects, rival, raw, threads), rounds),
        "batch_256": in_turns(batch_256_calls(subjects, raw, threads), rounds, CALLS // 12),
    }


def make_subject(parts: MixtureFragments, described: Mapping[str, Any], folder: Path) -> Subject:
    """Write a mixture's export and keep the straight graph of each specialist."""
    export(parts, described, folder)
    alone = [replace(parts, specialists=(specialist,), load=(1.0,)) for specialist in parts.specialists]
    return Subject(parts, folder, [routed_model(each).SerializeToString() for each in alone])


def export(parts: MixtureFragments, described: Mapping[str, Any], folder: Path) -> Path:
    """Write an export with as many specialists as there are fragments."""
    count, costs = len(parts.specialists), described["costs"]
    given = costs["specialists"]
    costs = {**costs, "specialists": [given[k % len(given)] for k in range(count)]}
    folder.mkdir(parents=True)
    write_export(folder, parts, {**described, "num_domains": count, "costs": costs, "load": list(parts.load)})
    return folder


def test_rows(data: ExportData) -> np.ndarray:
    """Return images of the test part, in a random order."""
    assert data.test is not None
    rows = np.random.default_rng(SEED).permutation(len(data.test.inputs))[:4096]
    return np.ascontiguousarray(data.test.inputs[rows])


def equal_student(recipe: str) -> Mapping[str, Any] | None:
    """Return the cheapest single student of a recipe that is at least as accurate as its mixture."""
    results = read_json(PROJECT / "results" / f"{recipe}.json")
    goal = results["systems"]["mixture"]["accuracy"]["mean"]
    enough = [entry for entry in results["frontier"] if entry["accuracy"]["mean"] >= goal and "width" in entry]
    return min(enough, key=lambda entry: entry["active_macs"], default=None)


def int8_student(
    entry: Mapping[str, Any],
    facts: Mapping[str, Any],
    parts: MixtureFragments,
    mixture: MixtureOfSpecialists,
    data: ExportData,
) -> bytes:
    """Return a single student of that width in int8; its weights are untrained, which changes no time."""
    assert mixture.transform is not None
    plain = {name: entry.get(name) for name in ("width", "tail_width", "tail_from")}
    settings = StudentSettings.model_validate({**facts["student"], **plain})
    module = create_student(settings, mixture.transform.input_shape, len(mixture.classes)).eval()
    fragment = capture(module, example_inputs(mixture.transform), "the single student")
    read = run_fragment(parts.transform, data.train.inputs[:512])
    content: bytes = whole_model(parts.transform, quantize(fragment, read)).SerializeToString()
    return content


class pinned:
    """Keep the process on so many cores."""

    def __init__(self, cores: int) -> None:
        self.cores = cores

    def __enter__(self) -> None:
        self.before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, set(sorted(self.before)[-self.cores :]))

    def __exit__(self, *_: object) -> None:
        os.sched_setaffinity(0, self.before)


class Turning:
    """Answers the next row at every turn: some calls in a row, ``BURST`` of them timed."""

    def __init__(self, answer: Callable[[int, np.ndarray], object], raw: np.ndarray, size: int) -> None:
        self.answer, self.raw, self.size, self.calls = answer, raw, size, 0

    def __call__(self) -> None:
        start = (self.calls // (1 + BURST)) * self.size % (len(self.raw) - self.size)
        self.calls += 1
        self.answer(start, self.raw[start : start + self.size])


def batch_1_calls(
    subjects: Mapping[str, Subject], rival: bytes | None, raw: np.ndarray, threads: int
) -> dict[str, Call]:
    """Return what is compared at one input: everything reads the same rows in the same order."""
    calls: dict[str, Call] = {}
    for name, subject in subjects.items():
        session = RoutedSession(subject.folder, threads=threads)
        domains = session.predict(raw).domain
        routed = open_graph(subject.folder / "routed.onnx", threads=threads)
        straight = [open_graph(content, threads=threads) for content in subject.straight]
        limited = RoutedSession(subject.folder, threads=threads, max_resident=len(straight))
        calls[f"{name}/straight"] = Turning(lambda i, x, s=straight, d=domains: s[d[i]].run([x]), raw, 1)
        calls[f"{name}/routed"] = Turning(lambda _, x, g=routed: g.run([x]), raw, 1)
        calls[f"{name}/session"] = Turning(lambda _, x, s=session: s.predict(x), raw, 1)
        calls[f"{name}/session_grouped"] = Turning(lambda _, x, s=limited: s.predict(x), raw, 1)
    if rival is not None:
        single = open_graph(rival, threads=threads)
        calls["int8/single_student"] = Turning(lambda _, x: single.run([x]), raw, 1)
    if threads == 1:  # with more, eager torch crawls as soon as another process has work for a core
        teacher, image = cifar_resnet(depth=56, num_classes=10).eval(), torch.zeros(1, 3, 32, 32)
        calls["teacher_eager"] = lambda: ask(teacher, image)
    return calls


def ask(teacher: nn.Module, image: torch.Tensor) -> None:
    """Run the teacher in eager torch."""
    with torch.inference_mode():
        teacher(image)


def batch_256_calls(subjects: Mapping[str, Subject], raw: np.ndarray, threads: int) -> dict[str, Call]:
    """Return what is compared at 256 inputs: the session, the router with trunk, and each specialist alone."""
    calls: dict[str, Call] = {}
    rows = raw[:BATCH]
    for name, subject in subjects.items():
        session = RoutedSession(subject.folder, threads=threads)
        router = open_graph(router_model(subject.parts).SerializeToString(), threads=threads)
        features = router.run([rows])[0]
        calls[f"{name}/session"] = lambda s=session: s.predict(rows)
        calls[f"{name}/router"] = lambda g=router: g.run([rows])
        for k, specialist in enumerate(subject.parts.specialists):
            graph = open_graph(specialist.model("alone", softmax=True).SerializeToString(), threads=threads)
            calls[f"{name}/specialist-{k:03d}"] = lambda g=graph, f=features: g.run([f])
    return calls


def in_turns(calls: Mapping[str, Call], rounds: int, count: int = CALLS) -> dict[str, list[float]]:
    """Return the milliseconds of each call in each round, the mean over its turns; within a round calls take turns.

    Of each turn's timed calls the median counts: inputs cost unequally, but a pause of the machine is none's cost.
    """
    means: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(count):
            for name, call in calls.items():
                call()  # what ran before has taken the caches
                times[name].append(statistics.median(timed(call) for _ in range(BURST)))
        if number:  # the first round warms up
            for name, taken in times.items():
                means[name].append(1000 * statistics.fmean(taken))
    return means


def grown(mixture: MixtureOfSpecialists, router: RouterSettings, count: int) -> MixtureFragments:
    """Return a mixture of another number of specialists, the given ones over and over, behind an untrained router."""
    assert mixture.transform is not None
    inputs = example_inputs(mixture.transform)
    with torch.no_grad():
        features = mixture.trunk(inputs)
        torch.manual_seed(SEED)
        gate = build_gate(router, mixture.transform.input_shape, count, features)
    parts = mixture_fragments(mixture, [1 / len(mixture.specialists)] * len(mixture.specialists))
    return replace(
        parts,
        gate=capture(gate, features if mixture.reads == "trunk" else inputs, "the router"),
        specialists=tuple(parts.specialists[k % len(parts.specialists)] for k in range(count)),
        load=(1 / count,) * count,
    )


def growth(
    make: Grown,
    described: Mapping[str, Any],
    folder: Path,
    raw: np.ndarray,
    rounds: int,
) -> dict[str, list[float]]:
    """Return milliseconds at one input by the number of specialists, float32, for both ways to answer it."""
    say("growth")
    calls: dict[str, Call] = {}
    for count in GROWTH:
        path = export(make(count), described, folder / f"growth-{count}")
        for name, limit in (("session", None), ("session_grouped", count)):
            session = RoutedSession(path, max_resident=limit)
            calls[f"{name}/{count}"] = Turning(lambda _, x, s=session: s.predict(x), raw, 1)
    return in_turns(calls, rounds)


def memory(
    make: Grown,
    described: Mapping[str, Any],
    folder: Path,
    raw: np.ndarray,
    rounds: int,
) -> dict[str, dict[str, list[float]]]:
    """Return memory and median time under a skewed load: of 4 specialists, and of 64 of which 4 stay.

    Bytes are those of processes of their own; milliseconds those of sessions in one process, that take turns.
    """
    say("memory")
    loads = {}
    for count in sorted({count for count, _ in RESIDENT}):
        path = export(make(count), described, folder / f"memory-{count}")
        loads[count] = path, skewed(path, raw)
        np.save(folder / f"memory-{count}.npy", loads[count][1])
    names = {(count, limit): f"{count} specialists, {limit or 'any'} resident" for count, limit in RESIDENT}
    found: dict[str, dict[str, list[float]]] = {name: {"rss": [], "p50_ms": []} for name in names.values()}
    sessions = {
        name: (RoutedSession(loads[count][0], max_resident=limit), loads[count][1])
        for (count, limit), name in names.items()
    }
    for number in range(rounds + 1):
        medians = medians_in_turns(sessions)
        if number:  # the first round opens what stays open
            for name, median in medians.items():
                found[name]["p50_ms"].append(median)
    for _ in range(rounds):
        for (count, limit), name in names.items():
            arguments = [str(loads[count][0]), str(folder / f"memory-{count}.npy"), str(limit or 0)]
            found[name]["rss"].append(child(arguments)["rss"])
    return found


def medians_in_turns(sessions: Mapping[str, tuple[RoutedSession, np.ndarray]]) -> dict[str, float]:
    """Return the median milliseconds of each session's answers to its rows, one at a time, a hundred in a turn."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for start in range(0, LOAD_CALLS, LOAD_TURN):
        for name, (session, rows) in sessions.items():
            turn = range(start, start + LOAD_TURN)
            times[name] += [timed(partial(session.predict, rows[row : row + 1])) for row in turn]
    return {name: 1000 * statistics.median(taken) for name, taken in times.items()}


def skewed(path: Path, raw: np.ndarray) -> np.ndarray:
    """Return rows of which nine in ten go to four domains, the others anywhere else."""
    domains = RoutedSession(path).predict(raw).domain
    hottest = np.argsort(-np.bincount(domains), kind="stable")[:HOT]
    hot, cold = np.flatnonzero(np.isin(domains, hottest)), np.flatnonzero(~np.isin(domains, hottest))
    random = np.random.default_rng(SEED)
    is_hot = random.random(LOAD_CALLS) < HOT_SHARE
    rows = np.where(is_hot, random.choice(hot, LOAD_CALLS), random.choice(cold if len(cold) else hot, LOAD_CALLS))
    return raw[rows]


def cold_start(path: Path, folder: Path, raw: np.ndarray) -> list[float]:
    """Return seconds from the first import to the first answer, in processes of their own."""
    np.save(folder / "first.npy", raw[:1])
    return [float(child([str(path), str(folder / "first.npy"), "0"])["first"]) for _ in range(10)]


def child(arguments: Sequence[str]) -> dict[str, Any]:
    """Run the small program above in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def over(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """Return the ratio of two measurements, round by round."""
    return spread([a / b for a, b in zip(above, below)])


def derive(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the figures of the table from the times."""
    derived: dict[str, Any] = {}
    for cores in ("one_core", "all_cores"):
        one, many = measured[cores]["batch_1"], measured[cores]["batch_256"]
        for name in ("float32", "int8"):
            key = f"{name}/{cores}"
            derived[f"routed_over_ideal_batch_1/{key}"] = over(one[f"{name}/routed"], one[f"{name}/straight"])
            derived[f"session_over_ideal_batch_1/{key}"] = over(one[f"{name}/session"], one[f"{name}/straight"])
            ideal = np.array(many[f"{name}/router"])
            for k, load in enumerate(measured["load"]):
                ideal = ideal + load * np.array(many[f"{name}/specialist-{k:03d}"])
            derived[f"throughput_over_ideal_batch_256/{key}"] = over(ideal.tolist(), many[f"{name}/session"])
        if "teacher_eager" in one:
            derived[f"teacher_over_int8_mixture_batch_1/{cores}"] = over(one["teacher_eager"], one["int8/session"])
        if "int8/single_student" in one:
            single = over(one["int8/session"], one["int8/single_student"])
            derived[f"int8_mixture_over_int8_single_student/{cores}"] = single
            bare = over(one["int8/routed"], one["int8/single_student"])
            derived[f"int8_routed_graph_over_int8_single_student/{cores}"] = bare
    for name in ("session", "session_grouped"):
        for count in GROWTH[1:]:
            grew = over(measured["growth"][f"{name}/{count}"], measured["growth"][f"{name}/1"])
            derived[f"growth_{name}/{count}_over_1"] = grew
    told = measured["memory"]
    few, most = told["4 specialists, any resident"], told["64 specialists, 4 resident"]
    derived["rss_64_specialists_4_resident_over_4"] = over(most["rss"], few["rss"])
    for few_name in ("any", "4"):
        times = told[f"4 specialists, {few_name} resident"]["p50_ms"]
        derived[f"p50_64_specialists_4_resident_over_4_specialists_{few_name}_resident"] = over(most["p50_ms"], times)
    derived["cold_start_seconds"] = spread(measured["cold_start"])
    return derived


def result(
    facts: Mapping[str, Any], measured: dict[str, Any], report: Mapping[str, Any], student: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Put measured and derived numbers into one document."""
    derived = derive(measured)
    return {
        "schema": 1,
        "name": "bench-runtime",
        "command": "python benchmarks/runtime.py --bundle runs/cifar10/seed-0/bundle",
        "date": datetime.date.today().isoformat(),
        "bundle": {
            "name": facts["config"]["name"],
            "sha256": facts["sha256"],
            "num_domains": facts["num_domains"],
            "student": facts["student"],
            "costs": facts["costs"],
        },
        "single_student": None if student is None else {k: student[k] for k in ("name", "active_macs", "accuracy")},
        "versions": {
            **{name: version(name) for name in ("moist", "torch", "onnxruntime", "numpy")},
            "python": platform.python_version(),
        },
        "machine": {**machine(), "load": [round(x, 1) for x in os.getloadavg()]},
        "systems": {},  # no accuracy of a recipe is measured here: the table of results passes over this file
        "settings": {
            "rounds": len(measured["one_core"]["batch_1"]["teacher_eager"]),
            "turns_per_round": CALLS,
            "timed_calls_per_turn": BURST,
        },
        "int8": report,
        "derived": derived,
        "measured_ms": {
            key: {name: spread(values) for name, values in measured[key][size].items() if "specialist-" not in name}
            for key in ("one_core", "all_cores")
            for size in ("batch_1",)
        },
        "measured_ms_batch_256": {
            key: {name: spread(values) for name, values in measured[key]["batch_256"].items()}
            for key in ("one_core", "all_cores")
        },
        "growth_ms": {name: spread(values) for name, values in measured["growth"].items()},
        "memory": {
            name: {"rss_bytes": spread(told["rss"]), "p50_ms": spread(told["p50_ms"])}
            for name, told in measured["memory"].items()
        },
        "notes": [
            "Ideal at one input: the same runtime on a straight graph of transform, trunk, router and the specialist "
            "that the input goes to, without If. Ideal at 256 inputs: router and trunk on the batch, and the mean "
            "specialist on the whole batch, weighted by load.",
            "Times are of calls in turns, in each of which the first call is not timed, since what ran before has "
            "taken the caches; each value is one round's mean over inputs. Other processes may have used the cores "
            "meanwhile (machine.load): read the ratios.",
            f"Under a skewed load ({HOT_SHARE:.0%} of the inputs for {HOT} domains) sessions of one process answer "
            f"{LOAD_CALLS} inputs a round one by one, {LOAD_TURN} in a turn; p50 is the median of a round.",
            "session_grouped and limited memory answer one input by two graphs, router and specialist, instead of one.",
        ],
    }


if __name__ == "__main__":
    main()
