"""``hinton-specialists``: section 5 of the paper, a generalist and the specialists of what it confuses, on texts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from moist.config import Settings, load_config
from moist.data import DataSettings, TransformSettings, load_dataset
from moist.mixture import MixtureSettings
from moist.recipes.hinton.specialist_networks import CaseSettings
from moist.recipes.hinton.studying import total_seconds
from moist.recipes.results import spread
from moist.recipes.study import StudyRequest, study_document
from moist.storage import default_cache_dir
from moist.students import StudentSettings
from moist.tasks import LossSettings
from moist.training import Job, JobResult, JobsSettings, TrainingSettings, run_jobs

__all__ = ["SpecialistsSettings", "run"]

PUBLISHED = {
    "source": "Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 5, tables 3 and 4 (JFT, 61 specialists)",
    "accuracy": {"generalist": 0.250, "specialists": 0.261},
    "conditional_accuracy": {"generalist": 0.431, "specialists": 0.459},
    "relative_gain": 0.044,
    "relative_gain_by_covering_specialists": {
        "0": 0.0,
        "1": 0.034,
        "2": 0.074,
        "3": 0.088,
        "4": 0.105,
        "5": 0.111,
        "6": 0.113,
        "7": 0.128,
        "8": 0.136,
        "9": 0.166,
        "10 or more": 0.141,
    },
}


def _training(epochs: int, learning_rate: float) -> TrainingSettings:
    return TrainingSettings(epochs=epochs, batch_size=128, learning_rate=learning_rate)


def _case(name: str, **parts: Any) -> CaseSettings:
    transform = TransformSettings.model_validate({"word_ngrams": 2, "max_length": 64, "num_buckets": 16384})
    labels_alone = LossSettings(hard_weight=1.0, temperature=1.0)
    bag = StudentSettings(family="bag", width=8)
    return CaseSettings(data=DataSettings(name=name), transform=transform, student=bag, loss=labels_alone, **parts)


CASES = {
    "clinc150": _case(
        "clinc150",
        mixture=MixtureSettings(method="hinton-specialists", num_domains=10, classes_each=75, top_n=2),
        generalist=_training(15, 0.01),
        specialist=_training(8, 0.01),
    ),
    "tweeteval_emoji": _case(
        "tweeteval_emoji",
        mixture=MixtureSettings(method="hinton-specialists", num_domains=6, classes_each=12, top_n=3),
        generalist=_training(1, 0.01),
        specialist=_training(2, 0.005),
    ),
}


class SpecialistsSettings(Settings):
    """Settings of the study: its data sets, and the processes."""

    cases: dict[str, CaseSettings] = CASES
    jobs: JobsSettings = JobsSettings()


def run(request: StudyRequest) -> dict[str, Any]:
    """Train generalist and specialists on both data sets for every seed; return the result document."""
    settings = load_config(SpecialistsSettings, {}, request.overrides)
    cases = {name: _small(case) if request.budget == "small" else case for name, case in settings.cases.items()}
    jobs = [_job(request, name, case, seed) for name, case in cases.items() for seed in range(request.seeds)]
    results = run_jobs(jobs, settings.jobs, quiet=request.quiet)
    found = {name: [results[f"{name}-{seed}"].value for seed in range(request.seeds)] for name in cases}
    return _document(request, cases, found, results)


def _small(case: CaseSettings) -> CaseSettings:
    short = {"epochs": 1}
    return case.model_copy(
        update={
            "data": case.data.model_copy(update={"limit": 3000}),
            "generalist": case.generalist.model_copy(update=short),
            "specialist": case.specialist.model_copy(update=short),
        }
    )


def _job(request: StudyRequest, name: str, case: CaseSettings, seed: int) -> Job:
    own = case.model_copy(update={"seed": seed})
    payload = {"moist": version("moist"), "case": own.model_dump(mode="json", exclude_defaults=True)}
    function = "moist.recipes.hinton.specialist_networks:train_case"
    return Job(f"{name}-{seed}", function, payload, request.out / f"{name}-{seed}")


def _document(
    request: StudyRequest,
    cases: Mapping[str, CaseSettings],
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    results: Mapping[str, JobResult],
) -> dict[str, Any]:
    systems: dict[str, Any] = {}
    for name, runs in found.items():
        cost = {"active_macs": runs[0]["generalist_macs"]}
        systems[f"{name}_generalist"] = {"accuracy": spread([run["generalist"] for run in runs]), **cost}
        for control in ("longer", "fitted"):
            key = f"generalist_{control}"
            systems[f"{name}_{key}"] = {"accuracy": spread([run[key] for run in runs]), **cost}
        whole = {
            "active_macs": statistics.fmean(run["cost"]["macs"] for run in runs),
            "active_params": runs[0]["cost"]["params"],
            "total_params": runs[0]["cost"]["total_params"],
            "bytes": runs[0]["cost"]["bytes"],
        }
        for key in ("ensemble_as_published", "ensemble"):
            systems[f"{name}_{key}"] = {"accuracy": spread([run[key] for run in runs]), **whole}
    derived = {name: _summary(runs) for name, runs in found.items()}
    return study_document(
        request,
        data=_data(cases),
        teacher={},
        systems=systems,
        seconds=total_seconds(results),
        verdict=_verdict(derived),
        derived=derived,
        published=PUBLISHED,
        notes=[
            "Generalists and specialists learn from labels, as in the paper; numbers and sizes of sets, epochs and "
            "rates were chosen on the validation parts.",
            "ensemble corrects its dustbins on the validation part, ensemble_as_published by the logarithm of how much "
            "rarer other classes were in training; generalist_fitted is the generalist with a bias for each class, "
            "fitted on the same part.",
            "generalist_longer is the generalist trained with the compute of generalist and specialists together.",
        ],
    )


def _data(cases: Mapping[str, CaseSettings]) -> dict[str, Any]:
    sizes = []
    for case in cases.values():
        splits = load_dataset(case.data, default_cache_dir(), quiet=True)
        sizes.append([0 if part is None else len(part) for part in (splits.train, splits.validation, splits.test)])
    train, validation, test = (sum(column) for column in zip(*sizes))
    return {"name": " + ".join(cases), "train": train, "validation": validation, "test": test}


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one data set's gains over the seeds, its table by coverage, and what an answer takes."""
    return {
        "relative_gain": spread([run["ensemble"] / run["generalist"] - 1 for run in runs]),
        "relative_gain_as_published": spread([run["ensemble_as_published"] / run["generalist"] - 1 for run in runs]),
        "relative_gain_over_longer": spread([run["ensemble"] / run["generalist_longer"] - 1 for run in runs]),
        "relative_gain_over_fitted": spread([run["ensemble"] / run["generalist_fitted"] - 1 for run in runs]),
        "by_coverage": _merged([run["by_coverage"] for run in runs]),
        "conditional_accuracy": {
            who: spread([run["conditional"][who] for run in runs]) for who in ("generalist", "specialists")
        },
        "specialists_heard": statistics.fmean(run["heard"] for run in runs),
        "latency_ms": {
            who: statistics.median(run["latency_ms"][who] for run in runs) for who in ("generalist", "ensemble")
        },
        "control_epochs": runs[0]["control_epochs"],
    }


def _merged(tables: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return one table by number of covering specialists, all seeds' examples together."""
    merged = []
    for covering in sorted({row["covering"] for table in tables for row in table}):
        rows = [row for table in tables for row in table if row["covering"] == covering]
        examples, change = sum(row["examples"] for row in rows), sum(row["change"] for row in rows)
        before = sum(row["before"] for row in rows)
        merged.append(
            {"covering": covering, "examples": examples, "change": change, "relative_gain": change / max(before, 1)}
        )
    return merged


def _verdict(derived: Mapping[str, Mapping[str, Any]]) -> str:
    return (
        f"Specialists change the generalist's accuracy by {_gains(derived, 'relative_gain')} (relative; the paper: "
        f"+4.4%); that of a generalist trained with as much compute by {_gains(derived, 'relative_gain_over_longer')}."
    )


def _gains(derived: Mapping[str, Mapping[str, Any]], key: str) -> str:
    found = {name: summary[key] for name, summary in derived.items()}
    return " and ".join(f"{100 * g['mean']:+.1f}% ± {100 * g['std']:.1f} on {name}" for name, g in found.items())
