"""Build a student of any family from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from moist.data import InputShape
from moist.moe import Among, LayerFacts, MoELayer
from moist.students.bag import bag_stages
from moist.students.dscnn import dscnn_stages
from moist.students.encoders import transformer_stages, vit_stages
from moist.students.factory import factory_stages
from moist.students.mlp import mlp_stages
from moist.students.resnet import resnet_stages
from moist.students.settings import StudentSettings
from moist.students.sparse import RoutedStage
from moist.types import UserError

__all__ = ["Student", "build_stages", "check_reads", "create_student"]

FAMILIES: dict[str, Callable[[StudentSettings, InputShape, int], list[nn.Module]]] = {
    "resnet": resnet_stages,
    "dscnn": dscnn_stages,
    "vit": vit_stages,
    "mlp": mlp_stages,
    "bag": bag_stages,
    "transformer": transformer_stages,
    "torch": factory_stages,
}
INPUT_KINDS: dict[str, tuple[str, ...]] = {
    "resnet": ("vision",),
    "dscnn": ("vision",),
    "vit": ("vision",),
    "mlp": ("tabular", "vision"),
    "bag": ("text",),
    "transformer": ("text",),
    "torch": ("vision", "text", "tabular"),
}


class Student(nn.Module):
    """A small model: its stages run one after the other, inputs in, logits (N, C) out."""

    def __init__(self, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (N, C) of inputs (N, ...)."""
        for stage in self.stages:
            inputs = stage(inputs)
        return inputs

    def forward_facts(self, inputs: Tensor, among: Among | None = None) -> tuple[Tensor, list[LayerFacts]]:
        """Return logits (N, C), and what each sparse layer did, in order; a dense student has none."""
        facts = []
        for stage in self.stages:
            if isinstance(stage, RoutedStage):
                inputs, fact = stage.forward_facts(inputs, among)
                facts.append(fact)
            else:
                inputs = stage(inputs)
        return inputs, facts

    @property
    def sparse_layers(self) -> list[MoELayer]:
        """The sparse layers, in the order of :meth:`forward_facts`."""
        return [stage.moe for stage in self.stages if isinstance(stage, RoutedStage)]


def check_reads(settings: StudentSettings, kind: str) -> None:
    """Check that a student's family reads inputs of a kind.

    Args:
        settings: what the student looks like.
        kind: vision, text or tabular.

    Raises:
        UserError: it does not.
    """
    if kind not in INPUT_KINDS[settings.family]:
        fitting = [family for family, kinds in INPUT_KINDS.items() if kind in kinds]
        raise UserError(
            f"student family {settings.family!r} reads {' or '.join(INPUT_KINDS[settings.family])} inputs, "
            f"got {kind} data; choose family: {' or '.join(fitting)}"
        )


def build_stages(settings: StudentSettings, shape: InputShape, num_classes: int) -> list[nn.Module]:
    """Build the stages of a student, freshly initialised from torch's global generator.

    A trunk is ``stages[:t]`` and a specialist's tail ``stages[t:]``.

    Args:
        settings: what the student looks like.
        shape: what it reads.
        num_classes: C.

    Raises:
        UserError: the family does not read inputs of this kind, or a factory fails the checks of its family.
    """
    check_reads(settings, shape.kind)
    return FAMILIES[settings.family](settings, shape, num_classes)


def create_student(settings: StudentSettings, shape: InputShape, num_classes: int) -> Student:
    """Build a whole student; arguments and errors as :func:`build_stages`."""
    return Student(build_stages(settings, shape, num_classes))
