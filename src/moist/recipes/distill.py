"""The main job: teacher → mixture, with every control beside it, a bundle, and an honest verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moist.config import dump_config
from moist.mixture import save_bundle
from moist.progress import say
from moist.recipes.budget import check_budget, choose_shape
from moist.recipes.describe import describe
from moist.recipes.measure import Measured, measure
from moist.recipes.plan import Plan, make_plan
from moist.recipes.results import result_document
from moist.recipes.settings import DistillSettings
from moist.recipes.workspace import Workspace, prepare
from moist.report import write_report
from moist.storage import content_key, only_one, read_json, write_json
from moist.training import JobResult, run_jobs
from moist.types import UserError

__all__ = ["distill", "finish_seed", "total_seconds"]


def distill(settings: DistillSettings, out: Path, *, quiet: bool = False) -> Mapping[str, Any]:
    """Turn a teacher into a routed mixture of specialists, and measure it against its controls.

    Writes ``bundle/``, ``metrics.json``, ``report.html`` and ``config.yaml`` into ``out``. The same call goes on where
    an interrupted one stopped; once complete, it only returns the metrics.

    Args:
        settings: what to do.
        out: folder of the run.
        quiet: show no progress.

    Returns:
        The content of ``metrics.json``, with the finding in words under ``verdict``.

    Raises:
        UserError: something in the data, the configuration or the machine that the user can mend.
    """
    key = content_key(settings.model_dump(mode="json", exclude={"jobs"}))
    finished = _finished(out, key)
    if finished is not None:
        _tell(quiet, f"{out} is complete; nothing to do (choose another --out, or delete it, to run again)")
        return finished
    with only_one(out):
        return _distill(settings, out, key, quiet)


def _distill(settings: DistillSettings, out: Path, key: str, quiet: bool) -> Mapping[str, Any]:
    folder, space = prepare(settings, check=_check, quiet=quiet)
    space, search = choose_shape(space, folder, out, quiet=quiet)
    settings = space.settings
    plan = make_plan(space, folder, out, settings.seed)
    # Only now, so that settings that cannot work leave no folder behind.
    dump_config(settings, out / "config.yaml")
    done = run_jobs(plan.jobs, settings.jobs, quiet=quiet)
    _tell(quiet, "measuring")
    measured = finish_seed(space, plan, out)
    command = f"moist distill {settings.name}"
    metrics = result_document(settings.name, command, space, {settings.seed: measured}, total_seconds(done), search)
    write_report(metrics, describe(space, measured, metrics["verdict"]), out / "report.html")
    write_json(out / "metrics.json", {**metrics, "key": key})
    return metrics


def total_seconds(results: Mapping[str, JobResult]) -> float:
    """Return the seconds of work in all jobs, in this call and those before it; side by side they take less."""
    return sum(result.seconds for result in results.values())


def _finished(out: Path, key: str) -> Mapping[str, Any] | None:
    path = out / "metrics.json"
    if not path.exists() or not (out / "bundle" / "bundle.json").exists():
        return None
    metrics: Mapping[str, Any] = read_json(path)
    return metrics if metrics.get("key") == key else None


def finish_seed(space: Workspace, plan: Plan, out: Path) -> Measured:
    """Measure one seed and write its bundle."""
    measured = measure(space, plan, out / "jobs")
    target = None if space.splits.test is None else space.splits.test.target
    save_bundle(
        measured.mixture,
        out / "bundle",
        student=space.settings.student,
        settings=space.settings.mixture,
        measured={name: system.entry(target) for name, system in measured.systems.items()},
        config=space.settings.model_dump(mode="json", exclude={"jobs"}),  # where it was trained does not tell
        example=space.example(512),
    )
    return measured


def _check(space: Workspace) -> None:
    check_budget(space)
    examples, domains = len(space.splits.train), space.settings.mixture.num_domains
    if space.settings.budget.macs is None and examples < 2 * domains:
        raise UserError(
            f"num_domains must leave at least 2 training examples to each specialist, got num_domains={domains} for "
            f"{examples} examples; lower mixture.num_domains"
        )


def _tell(quiet: bool, message: str) -> None:
    if not quiet:
        say(message)
