"""The studies ``mode-…``: a dense network, a plain mixture of experts, and every weight of mutual distillation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from moist.config import load_config
from moist.recipes.mutual.catalog import SMALL, SMALL_DATA, STUDIES
from moist.recipes.mutual.choice import MOE, choose, choose_for_all, curve, weight_name
from moist.recipes.mutual.settings import MutualStudySettings
from moist.recipes.mutual.summary import DENSE, MODE, MODE_CHOSEN, MODE_KL, MODE_ONE_WEIGHT, compare, summarize, verdict
from moist.recipes.study import StudyRequest, study_document
from moist.training import Job, JobResult, run_jobs

__all__ = ["measuring", "plan", "run"]

JOBS = "moist.recipes.mutual.train"
# What each form of the sweep sets.
FORMS: dict[str, dict[str, str]] = {
    "squared": {"form": "squared"},
    "kl": {"form": "kl"},
    "chosen": {"form": "squared", "among": "chosen"},
}
# The form of each system, whose weight is chosen for every data set.
FORM_OF = {MODE: "squared", MODE_KL: "kl", MODE_CHOSEN: "chosen"}
Weights = dict[str, dict[str, float]]  # system, data set: the weight that was chosen
Scores = dict[str, dict[int, dict[str, Any]]]  # data set, seed, network


def plan(settings: MutualStudySettings, request: StudyRequest) -> list[Job]:
    """Return the training jobs, named data set/seed/network; whole seeds first."""
    return [
        Job(
            name := f"{data}/seed-{seed}/{network}",
            f"{JOBS}:train_network",
            {"settings": values, "dense": network == DENSE, "version": version("moist")},
            request.out / "jobs" / name,
        )
        for seed in range(request.seeds)
        for data in settings.data
        for network, values in _networks(settings, data, seed)
    ]


def _networks(settings: MutualStudySettings, data: str, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in (DENSE, MOE):
        yield name, settings.network(data, seed).model_dump(mode="json")
    for form, weights in settings.forms.items():
        for weight in weights:
            mutual = settings.network(data, seed, {"weight": weight, **FORMS[form]})
            yield weight_name(form, weight), mutual.model_dump(mode="json")


def measuring(trained: Sequence[Job], weights: Weights, request: StudyRequest) -> list[Job]:
    """Return the jobs that score the chosen networks, and no others, on the test part.

    Args:
        trained: the training jobs.
        weights: of each system with mutual distillation, for each data set.
        request: what was asked.
    """
    jobs = []
    for job in trained:
        data, seed, network = job.name.split("/")
        systems = [network] if network in (DENSE, MOE) else _systems(network, data, weights)
        for system in systems:
            name = f"{data}/{seed}/{system}"
            payload = {"folder": str(job.folder), "trained": job.key}
            jobs.append(Job(name, f"{JOBS}:measure_on_test", payload, request.out / "measured" / name))
    return jobs


def _systems(network: str, data: str, weights: Weights) -> list[str]:
    """Return the systems that a network with mutual distillation was chosen for."""
    form_of = {**FORM_OF, MODE_ONE_WEIGHT: "squared"}
    return [system for system, chosen in weights.items() if weight_name(form_of[system], chosen[data]) == network]


def run(request: StudyRequest) -> dict[str, Any]:
    """Train what is not done yet, choose weights on validation rows, score the chosen networks on the test part."""
    settings = _settings(request)
    training = plan(settings, request)
    trained = run_jobs(training, settings.jobs, quiet=request.quiet)
    sweep = _by_place(trained)
    weights = _chosen(sweep, settings)
    measured = run_jobs(measuring(training, weights, request), settings.jobs, quiet=request.quiet)
    found = _by_place(measured)
    systems = {system: summarize(found, system, weights.get(system)) for system in (DENSE, MOE, *weights)}
    derived = {
        **compare(found, tuple(systems)),
        "sweep": {form: curve(sweep, form, tried) for form, tried in settings.forms.items()},
        "weights": weights,
    }
    return study_document(
        request,
        data=_data(settings, sweep, found),
        teacher={},
        systems=systems,
        seconds=sum(result.seconds for results in (trained, measured) for result in results.values()),
        verdict=verdict(derived, len(settings.data)),
        derived=derived,
        notes=_notes(settings, derived),
    )


def _settings(request: StudyRequest) -> MutualStudySettings:
    values = STUDIES[request.name.removesuffix("-small")]
    if request.budget == "full":
        return load_config(MutualStudySettings, values, request.overrides)
    trial = {**values, "data": values["data"][:SMALL_DATA]}
    return load_config(MutualStudySettings, trial, [*SMALL, *request.overrides])


def _by_place(results: Mapping[str, JobResult]) -> Scores:
    found: Scores = {}
    for name, result in results.items():
        data, seed, network = name.split("/")
        found.setdefault(data, {}).setdefault(int(seed.removeprefix("seed-")), {})[network] = result.value
    return found


def _chosen(sweep: Scores, settings: MutualStudySettings) -> Weights:
    tried = settings.forms
    weights = {system: choose(sweep, form, tried[form]) for system, form in FORM_OF.items() if form in tried}
    one = choose_for_all(sweep, "squared", settings.squared_weights)
    return {**weights, MODE_ONE_WEIGHT: dict.fromkeys(settings.data, one)}


def _data(settings: MutualStudySettings, sweep: Scores, found: Scores) -> dict[str, Any]:
    """Return how many rows every part has, in all and of each data set."""
    by_data = {
        data: {
            "train": sweep[data][0][MOE]["train_rows"],
            "validation": sum(sweep[data][0][MOE]["sizes"]),
            "test": sum(found[data][0][MOE]["sizes"]),
        }
        for data in settings.data
    }
    parts = {part: sum(rows[part] for rows in by_data.values()) for part in ("train", "validation", "test")}
    return {"name": ", ".join(settings.data), **parts, "by_data": by_data}


def _notes(settings: MutualStudySettings, derived: Mapping[str, Any]) -> list[str]:
    sparse = settings.student.sparse
    assert sparse is not None
    return [
        "The method is our interpretation of MoDE (Xie et al. 2024), whose text was not at hand: task loss + weight · "
        "the mean squared distance of every expert's logits to the experts' mean (squared), or the divergence of each "
        "expert from it (kl), over all experts and all inputs; `chosen` is the squared form among the experts that "
        "the gate chose for an input (of two: their mean squared difference, four times as much). None of the paper's "
        "figures is repeated here.",
        f"{sparse.num_experts} experts of {settings.student.width} units, {sparse.top_k} for each input, weights "
        f"{'that sum to 1' if sparse.combine == 'renormalize' else 'by the softmax over all'}; "
        f"{settings.training.epochs} epochs of batches of {settings.training.batch_size}.",
        f"Experts starve on purpose: {settings.train_rows:,} rows of each training part, drawn by the seed; "
        f"{settings.validation:.0%} of the part are for validation, the rest is not used. The test part is whole.",
        "The plain mixture and the one with mutual distillation have the same network, first weights, rows, order of "
        "rows and epochs, seed by seed. The dense network has at least their active cost, router included, and their "
        "epochs.",
        "The weight is chosen for each data set on validation rows, by the mean of the seeds; mode_one_weight has one "
        "weight for all data sets, chosen likewise. The sweep is of validation rows; on the test part only the chosen "
        "networks were scored, once.",
        "Comparing all experts costs training compute: the forward pass takes "
        f"{derived['training_cost_ratio']:.1f} times the multiply-accumulates; comparing the chosen costs none. "
        "Prediction costs the same.",
        "Standard errors are of the differences of all pairs of a data set and a seed, taken as one sample.",
    ]
