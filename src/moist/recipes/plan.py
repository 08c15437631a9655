"""Decide what to train: the mixture, and every control at its size and with its share of compute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any

import torch

from moist.evaluation import count_cost
from moist.mixture import MixtureSettings, build_ensemble, classes_each, expected_load, mixture_cost
from moist.recipes.train import new_mixture
from moist.recipes.workspace import Workspace
from moist.students import StudentSettings, create_student, width_for
from moist.training import Job
from moist.types import Cost, UserError

__all__ = ["Plan", "PlannedMixture", "Single", "make_plan"]

TRAIN, ENSEMBLE = "moist.recipes.train", "moist.recipes.train_ensemble"


@dataclass(frozen=True)
class Single:
    """One single distilled student: its job, its size, and the roles that it plays in the comparison."""

    job: str
    student: StudentSettings
    cost: Cost
    roles: tuple[str, ...]


@dataclass(frozen=True)
class PlannedMixture:
    """One mixture: the job that leaves it whole, its settings, and the student that it is made of."""

    job: str
    settings: MixtureSettings
    student: StudentSettings


@dataclass(frozen=True)
class Plan:
    """The jobs of one seed and what they stand for.

    Args:
        jobs: in the order to start them.
        singles: the single students, the generalist among them.
        mixtures: by the names of their systems.
        epochs: epochs that give the single student of the mixture's cost the mixture's training compute.
        train_macs: forward multiply-accumulates per training example spent on each job, over all epochs.
    """

    jobs: list[Job]
    singles: list[Single]
    mixtures: dict[str, PlannedMixture]
    epochs: int
    train_macs: dict[str, float]

    def single(self, role: str) -> Single | None:
        """Return the single student that plays ``role``."""
        return next((single for single in self.singles if role in single.roles), None)

    @property
    def names(self) -> set[str]:
        """Names of the jobs."""
        return {job.name for job in self.jobs}

    def restricted_to(self, systems: tuple[str, ...]) -> Plan:
        """Return the part of the plan that trains the given systems, and what they start from."""
        singles = [single for single in self.singles if set(systems) & set(single.roles)]
        mixtures = {name: value for name, value in self.mixtures.items() if name in systems}
        kept = {single.job for single in singles} | set(mixtures)
        needed = {name for job in self.jobs if job.name.split("/")[0] in kept for name in job.after}
        jobs = [job for job in self.jobs if job.name.split("/")[0] in kept or job.name in needed]
        return replace(self, jobs=jobs, singles=singles, mixtures=mixtures)


def make_plan(space: Workspace, workspace_folder: Path, out: Path, seed: int, starts: Path | None = None) -> Plan:
    """Plan one seed of a run.

    Singles train for as many epochs as give the student of the mixture's cost the mixture's training compute (all
    specialists that run on an example while a joint mixture trains are counted), within ``controls.max_epochs``; larger
    ones, which cost more per epoch, for as many within ``controls.max_compute``. The specialists of domain methods,
    which start from such a single, train for half the mixture's epochs on top of it.

    Args:
        space: data, teacher and settings.
        workspace_folder: from which jobs open it.
        out: folder of the seed.
        seed: of everything that is trained.
        starts: folder, for several plans, of the finished students from which mixtures with ``mixture.restart`` branch:
            plans that agree on such a student share its job. None: every mixture trains its own.
    """
    return _Planner(space, workspace_folder, out, seed, starts).plan()


class _Planner:
    def __init__(self, space: Workspace, workspace_folder: Path, out: Path, seed: int, starts: Path | None) -> None:
        self.space, self.out, self.seed, self.starts = space, out, seed, starts
        self.settings = space.settings
        self.shape = space.transform.input_shape
        self.example = space.example(64)
        # Only what training depends on, so that asking for another report or more workers trains nothing anew.
        unused = {"name", "seed", "mixture", "budget", "joint", "inference", "controls", "jobs"}
        settings = self.settings.model_dump(mode="json", exclude=unused, exclude_defaults=True)
        settings.get("training", {}).pop("epochs", None)  # each job has its own
        self.base: dict[str, Any] = {
            "moist": version("moist"),
            "workspace": str(workspace_folder),
            "settings": settings,
            "seed": seed,
        }
        self.jobs: list[Job] = []
        self.train_macs: dict[str, float] = {}

    def plan(self) -> Plan:
        main = self.settings.mixture
        active, total, joint_macs = self._mixture_size(main)
        generalist = self._cost(self.settings.student)
        epochs = self._single_epochs(active, generalist, joint_macs)
        singles = self._singles(active, total, generalist)
        mixtures = self._mixtures(singles)
        for name, (settings, _) in mixtures.items():
            if settings.method == "joint":
                self._add_joint(name, settings, joint_macs)
        most = self.settings.controls.max_compute * epochs * active.macs
        for single in sorted(singles, key=lambda single: ("generalist" not in single.roles, -single.cost.macs)):
            self._add_single(single, max(1, min(epochs, round(most / single.cost.macs))))
        planned = {}
        for name, (settings, start) in mixtures.items():
            if settings.method != "joint":
                self._add_domains(name, settings, start)
            whole = self._whole(name, settings)
            planned[name] = PlannedMixture(whole, settings, start.student)
        return Plan(self.jobs, singles, planned, epochs, self.train_macs)

    def _mixture_size(self, settings: MixtureSettings) -> tuple[Cost, Cost, float]:
        """Return active cost, total cost, and what one training example costs a joint mixture."""
        if settings.method == "hinton-specialists":
            return *self._ensemble_size(settings), 0.0
        with torch.random.fork_rng(devices=[]):
            mixture = new_mixture(self.space, settings).deploy()
        load = expected_load(settings.num_domains, settings.exit)
        active, total = mixture_cost(mixture, self.example, load)
        return active, total, _training_macs(settings, active, total, self._cost(self.settings.student))

    def _ensemble_size(self, settings: MixtureSettings) -> tuple[Cost, Cost]:
        """Return active and total cost where every class is as frequent and no specialist knows more of them."""
        classes = self.space.num_classes
        with torch.random.fork_rng(devices=[]):
            ensemble = build_ensemble(settings, self.settings.student, self.shape, classes)
        share = classes_each(settings, classes) / classes
        return mixture_cost(ensemble, self.example, [share] * settings.num_domains)

    def _share(self, settings: MixtureSettings) -> float:
        """Return the share of the training part that one domain's specialist trains on."""
        if settings.method == "hinton-specialists":
            return min(1.0, 2 * classes_each(settings, self.space.num_classes) / self.space.num_classes)
        return 1 / settings.num_domains / max(1 - settings.outside, 1 / settings.num_domains)

    def _cost(self, student: StudentSettings) -> Cost:
        with torch.random.fork_rng(devices=[]):
            return count_cost(create_student(student, self.shape, self.space.num_classes), self.example)

    def _single_epochs(self, active: Cost, generalist: Cost, joint_macs: float) -> int:
        epochs, most = self.settings.training.epochs, self.settings.controls.max_epochs
        if self.settings.mixture.method == "joint":
            budget = epochs * joint_macs
        elif self.settings.mixture.method == "hinton-specialists":
            main = self.settings.mixture
            budget = epochs * generalist.macs * (1 + main.num_domains * self._share(main))
        else:  # the generalist, then every specialist on its own part of the data
            budget = epochs * generalist.macs * (1 + 1 / max(1 - self.settings.mixture.outside, 1e-9))
        return max(epochs, min(most, ceil(budget / active.macs)))

    def _singles(self, active: Cost, total: Cost, generalist: Cost) -> list[Single]:
        """Return the distinct single students, each with all its roles."""
        wanted: list[tuple[str, StudentSettings, Cost]] = [("generalist", self.settings.student, generalist)]
        if self.settings.controls.enabled and self.settings.student.family != "torch":
            wanted += self._sized("student_same_cost", macs=active.macs, tail=True)
            if self.settings.controls.same_total:
                wanted += self._sized("student_same_total", params=total.params)
            for factor in self.settings.controls.frontier:
                wanted += self._sized("frontier", macs=factor * active.macs)
        merged: dict[str, Single] = {}
        for role, student, cost in wanted:
            name = "generalist" if role == "generalist" else _name(student)
            roles = merged[name].roles if name in merged else ()
            merged[name] = Single(name, student, cost, (*roles, role))
        return list(merged.values())

    def _sized(self, role: str, **target: Any) -> Iterator[tuple[str, StudentSettings, Cost]]:
        classes = self.space.num_classes
        try:
            student = width_for(self.settings.student, self.shape, classes, example=self.example, **target)
        except UserError:
            if role == "student_same_cost":
                raise
            return  # no student of the family is that large: the frontier ends earlier
        yield role, student, self._cost(student)

    def _mixtures(self, singles: list[Single]) -> dict[str, tuple[MixtureSettings, Single]]:
        """Return each mixture with the single student of its specialists' shape.

        Controls of a mixture with an early exit have specialists of one size: that of the same cost as the mixture.
        """
        main, controls = self.settings.mixture, self.settings.controls
        mixtures = {"mixture": (main, singles[0])}
        role = "generalist" if main.exit is None else "student_same_cost"
        start = next((single for single in singles if role in single.roles), singles[0])
        if controls.enabled and controls.random_partition and main.method != "random":
            random = main.model_copy(update={"method": "random", "exit": None})
            mixtures["mixture_random_partition"] = random, start
        if controls.enabled and controls.class_domains and main.method != "class-domains":
            fewer = min(main.num_domains, self.space.num_classes)
            by_class = main.model_copy(update={"method": "class-domains", "num_domains": fewer, "exit": None})
            mixtures["mixture_class_domains"] = by_class, start
        return mixtures

    def _add(
        self, name: str, function: str, epochs: int, macs: float, after: tuple[str, ...] = (), **more: Any
    ) -> None:
        payload = {**self.base, "epochs": epochs, **more}
        module = ENSEMBLE if function in ("train_class_specialist", "assemble_ensemble") else TRAIN
        self.jobs.append(Job(name, f"{module}:{function}", payload, self.folder(name), after))
        self.train_macs[name] = macs * epochs

    def folder(self, job: str) -> Path:
        return self.out / "jobs" / job

    def _add_joint(self, name: str, settings: MixtureSettings, macs: float) -> None:
        start = self._start(settings)
        if start is not None:
            self.jobs.append(start)
            self.train_macs[start.name] = 0.0  # the mixture's own count has them
        self._add(
            name,
            "train_joint",
            self.settings.training.epochs,
            macs,
            after=() if start is None else (start.name,),
            mixture=settings.model_dump(mode="json", exclude_defaults=True, exclude={"least_share"}),
            joint=self.settings.joint.model_dump(mode="json", exclude_defaults=True),
            **({} if start is None else {"start": str(start.folder)}),
        )
        if settings.least_share:
            self._add_level(self.jobs[-1], settings)

    def _add_level(self, trained: Job, settings: MixtureSettings) -> None:
        """Level the gate of a trained mixture, in a job of its own: another share trains nothing anew."""
        mixture = settings.model_dump(mode="json", exclude_defaults=True)
        where = {"trained": str(trained.folder), "key": trained.key}
        self._add(f"{trained.name}/level", "level_gate", 0, 0.0, (trained.name,), mixture=mixture, **where)

    def _whole(self, name: str, settings: MixtureSettings) -> str:
        """Return the job that leaves a mixture whole."""
        if settings.method != "joint":
            return f"{name}/gate"
        return f"{name}/level" if settings.least_share else name

    def _start(self, settings: MixtureSettings) -> Job | None:
        """Return the job, its key in its folder, of the student that a mixture branches from; None if not shared."""
        epochs = settings.shared_epochs(self.settings.training.epochs)
        if self.starts is None or settings.restart is None or not epochs:
            return None
        student = self.settings.student.model_dump(mode="json", exclude_defaults=True)
        payload = {**self.base, "epochs": epochs, "student": student}
        job = Job("start", f"{TRAIN}:train_student", payload, self.starts)
        return replace(job, folder=self.starts / f"seed-{self.seed}-{job.key[:8]}")

    def _add_single(self, single: Single, epochs: int) -> None:
        student = single.student.model_dump(mode="json", exclude_defaults=True)
        self._add(single.job, "train_student", epochs, single.cost.macs, student=student)

    def _add_domains(self, name: str, settings: MixtureSettings, start: Single) -> None:
        """Every specialist from a single student on its own domain, then the gate."""
        student = start.student.model_dump(mode="json", exclude_defaults=True)
        common = {
            "settings": {**self.base["settings"], "student": student},
            "mixture": settings.model_dump(mode="json", exclude_defaults=True),
            "generalist": str(self.folder(start.job)),
            "partition_seed": self.seed,
        }
        main = self.settings.training.epochs
        epochs = ceil(main / 2) if self.settings.mixture.method == "joint" else main
        names = [f"{name}/specialist-{k}" for k in range(settings.num_domains)]
        ensemble = settings.method == "hinton-specialists"
        function = "train_class_specialist" if ensemble else "train_specialist"
        for k, specialist in enumerate(names):
            macs = start.cost.macs * self._share(settings)
            self._add(specialist, function, epochs, macs, (start.job,), domain=k, **common)
        folders = [str(self.folder(specialist)) for specialist in names]
        after = (start.job, *names)
        function = "assemble_ensemble" if ensemble else "train_gate"
        self._add(f"{name}/gate", function, epochs, 0.0, after, specialists=folders, **common)


def _name(student: StudentSettings) -> str:
    tail = "" if student.tail_width is None else f"-{student.tail_width}-from-{student.tail_from}"
    return f"student-w{student.width}{tail}"


def _training_macs(settings: MixtureSettings, active: Cost, total: Cost, generalist: Cost) -> float:
    """Return the mean forward cost of one example while a joint mixture trains."""
    if settings.exit is not None:
        return total.macs  # all run on every example
    tail = (total.macs - active.macs) / (settings.num_domains - 1)
    shared = active.macs - tail
    running = settings.num_domains if settings.active is None else settings.active
    # While all specialists are still one, it is a whole student; one that scores all classes, whatever they will score.
    one = shared + tail if settings.classes_per_specialist is None else generalist.macs
    return settings.shared_start * one + (1 - settings.shared_start) * (shared + tail * running)
