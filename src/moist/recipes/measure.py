"""Turn what the jobs left behind into measured systems: every choice on validation, the test part read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from moist.evaluation import (
    choose_threshold_for_cost,
    count_cost,
    evaluate,
    measure_latency,
    routing_report,
)
from moist.mixture import (
    InferenceSettings,
    MixtureOfSpecialists,
    MixtureSettings,
    SpecialistEnsemble,
    build_ensemble,
    mixture_cost,
)
from moist.recipes.plan import Plan, Single
from moist.recipes.train import load_generalist, new_mixture
from moist.recipes.workspace import Workspace
from moist.routing import select_top_k
from moist.storage import read_json
from moist.students import create_student

__all__ = ["Measured", "System", "combine", "load_mixture", "measure"]


@dataclass(frozen=True)
class System:
    """One row of the comparison: probabilities on the test part, and the cost of an input.

    Args:
        probabilities: (N, C) on the test part, None where it has no rows.
        macs: mean active multiply-accumulates per input; None where they cannot be counted.
        active_params: parameters read for one input.
        total_params: parameters of the whole system.
        num_bytes: size of the whole system.
        extra: further facts for the result file.
    """

    probabilities: np.ndarray | None
    macs: float | None
    active_params: int | None
    total_params: int | None
    num_bytes: int | None
    extra: dict[str, Any] = field(default_factory=dict)

    def entry(self, target: np.ndarray | None) -> dict[str, Any]:
        """Return the system as the result file shows it (one seed)."""
        entry: dict[str, Any] = {
            "active_macs": self.macs,
            "active_params": self.active_params,
            "total_params": self.total_params,
            "bytes": self.num_bytes,
            **self.extra,
        }
        if target is not None and self.probabilities is not None:
            score = evaluate(self.probabilities, target)
            entry |= {"accuracy": score.accuracy, "nll": score.nll, "ece": score.ece}
        return entry


@dataclass(frozen=True)
class Measured:
    """Everything measured of one seed.

    Args:
        systems: by the names of the result file.
        frontier: single students by rising cost.
        routing: the deployed mixture's routing report on the test part.
        mixture: the deployed mixture itself, its threshold calibrated.
        scores: (N, K) and (N, K, C) of the mixture on the test part.
        histories: training curves by job.
    """

    systems: dict[str, System]
    frontier: list[System]
    routing: dict[str, Any]
    mixture: MixtureOfSpecialists
    scores: tuple[np.ndarray, np.ndarray]
    histories: dict[str, list[dict[str, float]]]


def measure(space: Workspace, plan: Plan, jobs_folder: Path) -> Measured:
    """Measure all systems of one seed."""
    return _Measurement(space, plan, jobs_folder).all()


def combine(scores_NK: Tensor, logits_NKC: Tensor, top_k: int | str = 1) -> tuple[Tensor, Tensor]:
    """Return (probabilities (N, C), chosen specialists (N, k)) as the deployed mixture would answer."""
    routing = select_top_k(scores_NK, scores_NK.shape[1] if top_k == "all" else int(top_k))
    rows = torch.arange(len(scores_NK))[:, None]
    chosen_NKC = logits_NKC.softmax(dim=2)[rows, routing.expert_indices]
    return (routing.expert_weights[:, :, None] * chosen_NKC).sum(dim=1), routing.expert_indices


def load_mixture(space: Workspace, settings: MixtureSettings, folder: Path) -> MixtureOfSpecialists:
    """Load the mixture that a job trained, ready to be deployed."""
    mixture: MixtureOfSpecialists
    with torch.random.fork_rng(devices=[]):
        if settings.method == "hinton-specialists":
            shape = space.transform.input_shape
            mixture = build_ensemble(settings, space.settings.student, shape, space.num_classes)
        else:
            mixture = new_mixture(space, settings).deploy()
    mixture.load_state_dict(load_file(folder / "model.safetensors"))
    mixture.inference = space.settings.inference
    mixture.classes, mixture.transform = space.splits.train.classes, space.transform
    mixture.schema = space.splits.train.schema
    return mixture.eval()


class _Measurement:
    def __init__(self, space: Workspace, plan: Plan, jobs_folder: Path) -> None:
        self.space, self.plan, self.jobs_folder = space, plan, jobs_folder
        test, validation = space.part("test"), space.part("validation")
        self.target = None if test is None else test.target
        self.validation_target = None if validation is None else validation.target
        # A text's cost varies with its length, so it is the mean over the test part; of other inputs a few will do.
        split = "train" if test is None else "test"
        limit = None if space.splits.train.kind == "text" else 512
        self.example = space.transform.to_tensor(space.inputs(split, limit))

    def all(self) -> Measured:
        systems = {"teacher": self._teacher()}
        singles = {single.job: self._single(single) for single in self.plan.singles}
        for role in ("student_same_cost", "student_same_total", "generalist"):
            single = self.plan.single(role)
            if single is not None:
                systems[role] = singles[single.job]
        mixture, routing = self._add_mixtures(systems)
        if (cascade := self._cascade(systems["mixture"])) is not None:
            systems["cascade"] = cascade
        if (deferring := self._deferring(mixture, systems)) is not None:
            systems["mixture_deferring"] = deferring
        frontier = sorted(singles.values(), key=lambda system: system.macs or 0.0)
        return Measured(
            systems,
            frontier,
            routing,
            mixture,
            tuple(tensor.numpy() for tensor in self._scores("mixture", "test")),  # type: ignore[arg-type]
            self._histories(),
        )

    def _folder(self, job: str) -> Path:
        return self.jobs_folder / job

    def _outputs(self, job: str, split: str) -> dict[str, Tensor]:
        return load_file(self._folder(job) / f"{split}.safetensors")

    def _scores(self, name: str, split: str) -> tuple[Tensor, Tensor]:
        outputs = self._outputs(self.plan.mixtures[name].job, split)
        return outputs["scores"], outputs["logits"]

    def _answers(self, name: str, split: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return a mixture's probabilities (N, C), the specialist heard first (N,), and how often each was (K,)."""
        outputs = self._outputs(self.plan.mixtures[name].job, split)
        if "heard" in outputs:
            first = torch.where(outputs["heard"] > 0, outputs["scores"], -torch.inf).argmax(dim=1)
            return outputs["probabilities"], first, outputs["heard"].mean(dim=0)
        top_k = self.space.settings.inference.top_k
        probabilities, chosen = combine(outputs["scores"], outputs["logits"], top_k)
        load = torch.bincount(chosen.flatten(), minlength=outputs["scores"].shape[1]) / len(chosen)
        return probabilities, chosen[:, 0], load

    def _teacher(self) -> System:
        known = self.space.teacher
        probabilities = torch.from_numpy(self.space.teacher_logits("test")).softmax(dim=1).numpy()
        return System(probabilities, known["macs"], known["params"], known["params"], None, {"name": known["name"]})

    def _single(self, single: Single) -> System:
        probabilities = self._outputs(single.job, "test")["logits"].softmax(dim=1).numpy()
        cost = single.cost
        with torch.random.fork_rng(devices=[]):
            student = create_student(single.student, self.space.transform.input_shape, self.space.num_classes).eval()
        macs = count_cost(student, self.example).macs
        extra = {"name": single.job, "width": single.student.width, "train_macs": self.plan.train_macs[single.job]}
        if "student_same_cost" in single.roles:
            one = self.example[:1]
            with torch.inference_mode():
                extra["latency_ms"] = {"batch_1": measure_latency(lambda: student(one))["median"]}
        return System(probabilities, macs, cost.params, cost.params, cost.bytes, extra)

    def _add_mixtures(self, systems: dict[str, System]) -> tuple[MixtureOfSpecialists, dict[str, Any]]:
        deployed: MixtureOfSpecialists | None = None
        routing: dict[str, Any] = {}
        for name, planned in self.plan.mixtures.items():
            settings = self.space.settings.model_copy(update={"student": planned.student})
            space = replace(self.space, settings=settings)
            mixture = load_mixture(space, planned.settings, self._folder(planned.job))
            classes = self._class_to_domain(planned.job)
            systems[name], report = self._mixture(name, mixture, classes)
            if name == "mixture":
                deployed, routing = mixture, report
                systems["mixture_oracle_router"] = self._oracle(systems[name], classes)
                if not isinstance(mixture, SpecialistEnsemble):
                    systems["mixture_all_specialists"] = self._every_specialist(name, mixture)
        assert deployed is not None
        defer = self.space.settings.inference.defer
        if defer is not None and defer.to == "generalist":
            generalist = self.plan.single("generalist")
            assert generalist is not None
            deployed.generalist = load_generalist(self.space, self._folder(generalist.job))
        return deployed, routing

    def _class_to_domain(self, job: str) -> np.ndarray | None:
        found = read_json(self._folder(job) / "done.json")["value"].get("class_to_domain")
        return None if found is None else np.asarray(found)

    def _mixture(
        self, name: str, mixture: MixtureOfSpecialists, classes: np.ndarray | None
    ) -> tuple[System, dict[str, Any]]:
        probabilities, chosen, load = self._answers(name, "test")
        true_domain = None if classes is None or self.target is None else classes[self.target]
        report = routing_report(
            chosen.numpy(),
            mixture.num_domains,
            target=self.target,
            num_classes=self.space.num_classes,
            true_domain=true_domain,
        )
        active, total = mixture_cost(mixture, self.example, load.tolist())
        extra: dict[str, Any] = {
            "num_domains": mixture.num_domains,
            "load": load.tolist() if isinstance(mixture, SpecialistEnsemble) else report["load"],
            "dead": report["dead"],
            "train_macs": sum(macs for job, macs in self.plan.train_macs.items() if job.split("/")[0] == name),
        }
        if "routed_right" in report:
            extra["routed_right"] = report["routed_right"]
        if name == "mixture":
            one = self.example[:1]
            with torch.inference_mode():
                extra["latency_ms"] = {"batch_1": measure_latency(lambda: mixture(one))["median"]}
        return System(probabilities.numpy(), active.macs, active.params, total.params, total.bytes, extra), report

    def _oracle(self, mixture: System, classes: np.ndarray | None) -> System:
        """Serve each input by its true domain's specialist, or else by any specialist that is right."""
        _, logits = self._scores("mixture", "test")
        extra = {"note": "routing by the label: not a system that can be deployed"}
        if self.target is None:
            return System(None, mixture.macs, mixture.active_params, mixture.total_params, mixture.num_bytes, extra)
        target = torch.from_numpy(self.target)
        if classes is not None:
            best = torch.from_numpy(classes)[target]
        else:
            extra["note"] = "upper bound: any specialist that is right"
            best = logits.log_softmax(dim=2)[torch.arange(len(target)), :, target].argmax(dim=1)
            right = logits.argmax(dim=2) == target[:, None]
            best = torch.where(right.any(dim=1), right.int().argmax(dim=1), best)
        probabilities = logits[torch.arange(len(target)), best].softmax(dim=1).numpy()
        return System(
            probabilities, mixture.macs, mixture.active_params, mixture.total_params, mixture.num_bytes, extra
        )

    def _every_specialist(self, name: str, mixture: MixtureOfSpecialists) -> System:
        """The soft mixture that runs all specialists: what is lost by choosing one."""
        probabilities, _ = combine(*self._scores(name, "test"), "all")
        _, total = mixture_cost(mixture, self.example, [1.0] * mixture.num_domains)
        return System(probabilities.numpy(), total.macs, total.params, total.params, total.bytes)

    def _cascade(self, mixture: System) -> System | None:
        """The best pair of single students at the mixture's mean cost, small first, chosen on validation."""
        if self.validation_target is None or mixture.macs is None:
            return None
        singles = sorted(self.plan.singles, key=lambda single: single.cost.macs)
        best: tuple[float, Single, Single, float] | None = None
        for first in singles:
            for second in singles:
                if first.cost.macs > mixture.macs or second.cost.macs <= first.cost.macs:
                    continue
                small = self._outputs(first.job, "validation")["logits"].softmax(dim=1).numpy()
                large = self._outputs(second.job, "validation")["logits"].softmax(dim=1).numpy()
                threshold = choose_threshold_for_cost(
                    small.max(axis=1), first.cost.macs, second.cost.macs, mixture.macs
                )
                answer = np.where((small.max(axis=1) < threshold)[:, None], large, small)
                accuracy = evaluate(answer, self.validation_target).accuracy
                if best is None or accuracy > best[0]:
                    best = (accuracy, first, second, threshold)
        if best is None:
            return None
        _, first, second, threshold = best
        small = self._outputs(first.job, "test")["logits"].softmax(dim=1).numpy()
        large = self._outputs(second.job, "test")["logits"].softmax(dim=1).numpy()
        doubtful = small.max(axis=1) < threshold
        share = float(doubtful.mean())
        cost, more = first.cost, second.cost
        return System(
            np.where(doubtful[:, None], large, small),
            cost.macs + share * more.macs,
            round(cost.params + share * more.params),
            cost.params + more.params,
            cost.bytes + more.bytes,
            {"first": first.job, "second": second.job, "threshold": threshold, "deferred": share},
        )

    def _deferring(self, mixture: MixtureOfSpecialists, systems: Mapping[str, System]) -> System | None:
        """Defer the doubtful part: to the teacher or the generalist, by a threshold calibrated on validation."""
        inference = self.space.settings.inference
        defer = inference.defer or InferenceSettings.model_validate({"defer": {}}).defer
        assert defer is not None
        target_split = "test" if self.space.part("validation") is None else "validation"
        calibration = self._answers("mixture", target_split)[0]
        mixture.threshold = choose_threshold_for_cost(calibration.amax(dim=1).numpy(), 0.0, 1.0, defer.fraction)
        probabilities = self._answers("mixture", "test")[0]
        doubtful = (probabilities.amax(dim=1) < mixture.threshold).numpy()
        base, second = systems["mixture"], systems.get(defer.to)
        if second is None or second.probabilities is None:
            return None
        answer = second.probabilities
        if defer.to == "generalist":
            answer = (answer + probabilities.numpy()) / 2
        share = float(doubtful.mean())
        macs = None if second.macs is None or base.macs is None else base.macs + share * second.macs
        return System(
            np.where(doubtful[:, None], answer, probabilities.numpy()),
            macs,
            None if second.active_params is None else round((base.active_params or 0) + share * second.active_params),
            None if second.total_params is None else (base.total_params or 0) + second.total_params,
            None if second.num_bytes is None else (base.num_bytes or 0) + second.num_bytes,
            {"to": defer.to, "threshold": mixture.threshold, "deferred": share},
        )

    def _histories(self) -> dict[str, list[dict[str, float]]]:
        return {
            job.name: read_json(job.folder / "history.json") for job in self.plan.jobs if "/specialist-" not in job.name
        }
