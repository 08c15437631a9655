"""Fill the pages of docs/ that show what benchmarks and studies measured, and draw; ``--check`` only compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hinton_tables
import specialists_tables
from deferring_tables import deferring
from filling import row, update
from integration_tables import integration
from mutual_tables import mutual

from moist.report.sweep import save_sweep

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "results"
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
MUTUAL = ("mode-tabular", "mode-text", "mode-vision")
DENSITIES = {
    "generating_density": "generating density (a bound)",
    "gaussian_linear": "Gaussian linear regression",
    "gaussian_network": "Gaussian network (one component)",
    "mixture_density": "**mixture density network**",
}


def pages(folder: Path = RESULTS) -> dict[Path, str]:
    """Return the path of each page and what it is to show: a section for every result file that is there."""
    return {PROJECT / "docs" / page: block(sections, folder) for page, sections in PAGES.items()}


def block(sections: Mapping[str, Render], folder: Path) -> str:
    """Return the generated part of one page."""
    documents = {name: folder / name for name in sections if (folder / name).exists()}
    texts = [section(sections[name], json.loads(path.read_text(encoding="utf-8"))) for name, path in documents.items()]
    return "\n\n".join(texts) if texts else "No results are here yet."


def section(render: Render, document: Mapping[str, Any]) -> str:
    """Return what one file shows, what made it, and what a reader must know."""
    return "\n".join([*render(document), "", made_by(document), "", *(f"- {note}" for note in document["notes"])])


def tables(document: Mapping[str, Any]) -> list[str]:
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
    return lines


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


def densities(document: Mapping[str, Any]) -> list[str]:
    """Return the mean log-likelihood of every density on both data sets."""
    lines = ["### Densities", "", document["verdict"], ""]
    lines += [row(["density", "Bishop's inverse problem", "diabetes"]), row(["---", "---:", "---:"])]
    for name, title in DENSITIES.items():
        found = document["systems"][name]["log_likelihood"]
        lines.append(row([title, *(nats(found.get(data)) for data in ("bishop", "diabetes"))]))
    return lines


def speed(document: Mapping[str, Any]) -> list[str]:
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
    return lines


RUNTIME = {
    "teacher_over_int8_mixture_batch_1/one_core": "eager torch teacher / int8 mixture",
    "int8_mixture_over_int8_single_student/one_core": "int8 mixture / int8 single student of its accuracy",
    "routed_over_ideal_batch_1/float32/one_core": "routed graph / ideal, float32",
    "session_over_ideal_batch_1/float32/one_core": "session / ideal, float32",
    "routed_over_ideal_batch_1/int8/one_core": "routed graph / ideal, int8",
    "session_over_ideal_batch_1/int8/one_core": "session / ideal, int8",
    "throughput_over_ideal_batch_256/float32/one_core": "throughput of 256 inputs / ideal, float32",
    "throughput_over_ideal_batch_256/int8/one_core": "throughput of 256 inputs / ideal, int8",
    "throughput_over_ideal_batch_256/float32/all_cores": "the same, float32, on all cores",
    "throughput_over_ideal_batch_256/int8/all_cores": "the same, int8, on all cores",
    "growth_session/4_over_1": "4 specialists / 1",
    "growth_session/16_over_1": "16 specialists / 1",
    "growth_session/64_over_1": "64 specialists / 1",
    "growth_session/256_over_1": "256 specialists / 1",
    "rss_64_specialists_4_resident_over_4": "memory: 64 specialists, 4 resident / 4 specialists",
    "p50_64_specialists_4_resident_over_4_specialists_4_resident": "time: 64 specialists, 4 resident / 4, 4 resident",
    "p50_64_specialists_4_resident_over_4_specialists_any_resident": "time: 64 specialists, 4 resident / 4, all open",
    "cold_start_seconds": "import, open and first answer, s",
}


def runtime(document: Mapping[str, Any]) -> list[str]:
    """Return the ratios of the exported mixture's times."""
    found = document["derived"]
    lines = [row(["one core", "median", "least to greatest"]), row(["---", "---:", "---:"])]
    lines += [row([title, *middle(found[name])]) for name, title in RUNTIME.items() if name in found]
    return lines


def serving(document: Mapping[str, Any]) -> list[str]:
    """Return a lone client's times, and what came of twice saturation."""
    lone, overload = document["measured"]["lone_client_p50_ms"], document["measured"]["overload"]
    titles = {"session": "session alone", "http_floor": "empty endpoint", "prediction": "prediction of one picture"}
    lines = [row(["a lone client", "median, ms", "least to greatest"]), row(["---", "---:", "---:"])]
    lines += [row([title, *middle(lone[name])]) for name, title in titles.items()]
    lines.append(
        row(["prediction / (session + endpoint)", *middle(document["derived"]["lone_over_session_plus_floor"])])
    )
    outcomes = ", ".join(f"{count:,} {name}" for name, count in overload["outcomes"].items())
    grew = overload["resident_last_third_over_middle"]
    lines += [
        "",
        f"At {overload['offered_per_second']:,.0f} requests a second, twice the most that was answered before: of "
        f"{overload['sent']:,} requests {outcomes}, {overload['lost']} lost; resident memory in the last third of "
        f"the time {grew:.2f} times that in the middle.",
    ]
    return lines


def scale_out(document: Mapping[str, Any]) -> list[str]:
    """Return the efficiency of several workers, the cost of a job, and the forecast."""
    found, simulated = document["derived"], document["simulated"]
    lines = [row(["16 specialists", "local processes", "Ray"]), row(["---", "---:", "---:"])]
    for name, title in {
        "efficiency/{}/2": "efficiency of 2 workers",
        "efficiency/{}/4": "efficiency of 4 workers",
        "busy/{}/4": "share of 4 workers' time that jobs have",
        "overhead_seconds_per_job/{}": "cost of a job beyond its work, s",
    }.items():
        cells = (middle(found[name.format(backend)]) for backend in ("local", "ray"))
        lines.append(row([title, *(f"{median} ({span})" for median, span in cells)]))
    lines += [
        "",
        row(["1,000 specialists on 100 nodes, simulated", "hours", "efficiency"]),
        row(["---", "---:", "---:"]),
    ]
    lines += [
        row([f"{length} each", f"{entry['hours']:.2f}", f"{entry['efficiency']:.3f}"])
        for length, entry in simulated["by_length"].items()
    ]
    return lines


def middle(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return a median and its span."""
    return f"{found['median']:.3g}", f"{found['min']:.3g} to {found['max']:.3g}"


def made_by(document: Mapping[str, Any]) -> str:
    """Return what made a result file, when and on what."""
    return f"Made by `{document['command']}` on {document['date']}, {document['machine']['cores']} cores."


def accuracy(found: Mapping[str, Any]) -> str:
    """Return an accuracy in per cent with its spread over seeds."""
    return f"{100 * found['mean']:.1f} ± {100 * found['std']:.1f}"


def nats(found: Mapping[str, Any] | None) -> str:
    """Return a log-likelihood with its spread over seeds."""
    return "-" if found is None else f"{found['mean']:.3f} ± {found['std']:.3f}"


Render = Callable[[Mapping[str, Any]], list[str]]
PAGES: dict[str, dict[str, Render]] = {
    "estimators.md": {
        "classic-tables.json": tables,
        "classic-density.json": densities,
        "bench-classic-em.json": speed,
    },
    "early-exit.md": {"deferring-cifar10.json": deferring},
    "runtime.md": {"bench-runtime.json": runtime},
    "serving.md": {"bench-serve.json": serving},
    "scale-out.md": {"bench-scale-out.json": scale_out},
    "integration.md": {f"{name}.json": integration for name in ("ones-text", "ones-vision")},
    "mutual-distillation.md": {f"{name}.json": mutual for name in MUTUAL},
    "hinton.md": {
        "hinton-mnist.json": hinton_tables.table,
        "hinton-missing-digit.json": hinton_tables.missing,
        "hinton-ensemble.json": hinton_tables.errors,
        "hinton-ensemble-cifar10.json": hinton_tables.errors,
        "hinton-soft-targets.json": hinton_tables.course,
        "hinton-soft-targets-cifar10.json": hinton_tables.course,
    },
    "specialists.md": {"hinton-specialists.json": specialists_tables.specialists},
}
PICTURES: dict[str, Callable[[Mapping[str, Any], Path], None]] = {
    **dict.fromkeys(MUTUAL, save_sweep),
    "hinton-mnist": hinton_tables.draw_sweep,
    **dict.fromkeys(("hinton-soft-targets", "hinton-soft-targets-cifar10"), hinton_tables.draw_course),
    "hinton-specialists": specialists_tables.draw_coverage,
}


def draw() -> None:
    """Draw the pictures of the result files that have one into docs/images."""
    for name, picture in PICTURES.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            picture(json.loads(path.read_text(encoding="utf-8")), PROJECT / "docs" / "images" / f"{name}.svg")


def main(arguments: Sequence[str]) -> int:
    """Fill the pages and draw the pictures, or compare the pages; returns the exit code."""
    if "--check" not in arguments:
        draw()
    return update(pages(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
