"""What a student looks like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from moist.config import Settings
from moist.moe import SparseSettings

__all__ = ["Family", "StudentSettings"]

Family = Literal["resnet", "dscnn", "vit", "mlp", "bag", "transformer", "torch"]

DEFAULT_DEPTH: dict[str, int] = {"resnet": 1, "dscnn": 1, "vit": 2, "mlp": 1, "bag": 0, "transformer": 2, "torch": 1}
SMALLEST_DEPTH: dict[str, int] = {"resnet": 1, "dscnn": 1, "vit": 1, "mlp": 0, "bag": 0, "transformer": 1, "torch": 1}
ENCODERS = ("transformer", "vit")
SPARSE_HEADS = ("mlp", "bag")  # the last hidden layer and the head become experts
CAN_BE_SPARSE = (*SPARSE_HEADS, "resnet", *ENCODERS)
NUM_CONVOLUTION_STAGES = 3


class StudentSettings(Settings):
    """One small model.

    Args:
        family: ``resnet``, ``dscnn`` or ``vit`` for images, ``mlp`` for tables and small images, ``bag`` or
            ``transformer`` for text, ``torch`` for an own factory.
        width: channels of the first stage (doubled twice further on), hidden units, or embedding dimensions.
        depth: blocks in each of the three stages (resnet, dscnn), hidden layers (mlp, bag), or blocks (transformer,
            vit); None takes the family's default: 1, 1, 1, 0, 2, 2.
        tail_width: another width, used from stage ``tail_from`` on; the two go together.
        tail_from: number of the first stage (0 is the input's) that has the tail's width.
        stem_stride: step of the first convolution (resnet, dscnn); 2 halves the resolution at once, which buys wider
            layers at the same cost. None takes the family's default: 1 for resnet; 2 for dscnn, from 24 pixels on. For
            vit the side of a patch, 4 by default.
        embedding_dim: dimensions of each categorical column's embedding (mlp); None gives min(8, ⌈√categories⌉).
        pooling: how a bag combines its n-grams.
        heads: attention heads; the width must be a multiple of it (transformer, vit).
        sparse: experts in place of dense blocks (mlp, bag, resnet, transformer, vit); None for a dense student.
        factory: ``module:function`` that returns an ``nn.Module`` (torch).
        factory_settings: the factory's keyword arguments.
    """

    family: Family
    width: int = Field(default=16, ge=1)
    depth: int | None = Field(default=None, ge=0)
    tail_width: int | None = Field(default=None, ge=1)
    tail_from: int | None = Field(default=None, ge=1)
    stem_stride: int | None = Field(default=None, ge=1)
    embedding_dim: int | None = Field(default=None, ge=1)
    pooling: Literal["mean", "sum"] = "mean"
    heads: int = Field(default=2, ge=1)
    sparse: SparseSettings | None = None
    factory: str | None = None
    factory_settings: dict[str, Any] = Field(default_factory=dict)

    @property
    def blocks(self) -> int:
        """The depth, the family's default filled in."""
        return DEFAULT_DEPTH[self.family] if self.depth is None else self.depth

    @property
    def num_stages(self) -> int:
        """How many stages the student has, input and head included."""
        if self.family == "torch":
            return 1
        sparse_head = self.family in SPARSE_HEADS and self.sparse is not None
        return 2 + self.blocks * (NUM_CONVOLUTION_STAGES if self.family in ("resnet", "dscnn") else 1) - sparse_head

    def width_at(self, stage: int) -> int:
        """The width that stage number ``stage`` is built from."""
        if self.tail_width is not None and self.tail_from is not None and stage >= self.tail_from:
            return self.tail_width
        return self.width

    @model_validator(mode="after")
    def _check_depth(self) -> StudentSettings:
        smallest = SMALLEST_DEPTH[self.family]
        if self.blocks < smallest:
            raise ValueError(
                f"depth of family {self.family!r} must be at least {smallest}, got {self.blocks}; raise it"
            )
        return self

    @model_validator(mode="after")
    def _check_tail(self) -> StudentSettings:
        if self.tail_width is None and self.tail_from is None:
            return self
        if self.tail_width is None or self.tail_from is None:
            raise ValueError(
                f"tail_width and tail_from go together, got {self.tail_width} and {self.tail_from}; set both or none"
            )
        if self.family in (*ENCODERS, "torch"):
            raise ValueError(
                f"family {self.family!r} has one width throughout, got tail_width={self.tail_width}; drop it"
            )
        last = self.num_stages - 2
        if self.tail_from > last:
            raise ValueError(
                f"tail_from must be a stage between input and head, 1 to {last} here, got {self.tail_from}; "
                "lower it or raise depth"
            )
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> StudentSettings:
        if self.family in ENCODERS and self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads={self.heads}, got {self.width}; change either")
        return self

    @model_validator(mode="after")
    def _check_sparse(self) -> StudentSettings:
        if self.sparse is None:
            return self
        if self.family not in CAN_BE_SPARSE:
            raise ValueError(
                f"sparse is for families {', '.join(CAN_BE_SPARSE)}, got {self.family!r}; choose one of them or drop it"
            )
        if self.family not in ENCODERS and self.sparse.router in ("expert-choice", "soft"):
            raise ValueError(
                f"router {self.sparse.router!r} decides over the tokens of a sequence, and family {self.family!r} has "
                "none; take another router"
            )
        if self.family not in ENCODERS and self.sparse.gated:
            raise ValueError(f"gated experts are for {' and '.join(ENCODERS)}, got family {self.family!r}; drop gated")
        if self.family in SPARSE_HEADS and (self.sparse.capacity_factor is not None or not self.blocks):
            raise ValueError(
                f"a sparse {self.family} needs a hidden layer for its experts and no capacity (nothing passes by "
                f"them), got depth={self.blocks} and capacity_factor={self.sparse.capacity_factor}; mend them"
            )
        return self

    @model_validator(mode="after")
    def _check_factory(self) -> StudentSettings:
        if self.family == "torch" and self.factory is None:
            raise ValueError("family 'torch' needs factory: module:function, got none; name the function to call")
        if self.family != "torch" and (self.factory is not None or self.factory_settings):
            raise ValueError(
                f"factory and factory_settings belong to family 'torch', got family {self.family!r}; "
                "set family: torch or drop them"
            )
        return self
