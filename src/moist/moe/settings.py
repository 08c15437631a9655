"""How a network is made sparse."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from moist.config import Settings

__all__ = ["BalanceSettings", "RouterKind", "SparseSettings"]

RouterKind = Literal["top-k", "noisy-top-k", "gshard", "switch", "expert-choice", "soft", "bias-balanced"]
FIXED_TOP_K: dict[str, int] = {"gshard": 2, "switch": 1}


class BalanceSettings(Settings):
    """Weights of the losses that keep a router balanced and calm."""

    load_balancing: float = Field(
        1e-2, ge=0, description="expert shares times mean probabilities (Switch, GShard); 1 when balanced"
    )
    importance: float = Field(0.0, ge=0, description="squared variation of the experts' summed weights (Shazeer)")
    load: float = Field(
        0.0, ge=0, description="squared variation of the experts' smooth load (Shazeer; router noisy-top-k)"
    )
    z: float = Field(0.0, ge=0, description="squared log of the gate's normaliser (ST-MoE)")


class SparseSettings(Settings):
    """Experts in place of a network's dense blocks."""

    num_experts: int = Field(8, ge=1, description="experts of each sparse layer")
    top_k: int = Field(2, ge=1, description="experts that serve an input; switch has 1, gshard 2")
    router: RouterKind = Field(
        "top-k", description="what chooses; expert-choice and soft depend on the batch or sequence"
    )
    combine: Literal["renormalize", "probability"] = Field(
        "probability",
        description="weights of the chosen (top-k, bias-balanced): `renormalize` makes them sum to 1, which at top_k 1 "
        "hides the task's gradient from the gate",
    )
    capacity_factor: float | None = Field(
        None,
        gt=0,
        description="most rows an expert serves, as a multiple of an equal share; the rest passes by the residual "
        "connection; None drops nothing. For expert-choice the mean number of experts of an input, 2 where None",
    )
    slots: int = Field(1, ge=1, description="slots of each expert (soft)")
    jitter: float = Field(0.0, ge=0, lt=1, description="noise that multiplies what the gate reads in training")
    bias_rate: float = Field(1e-3, gt=0, description="step of the bias after each batch (bias-balanced)")
    expert_dropout: float = Field(0.0, ge=0, lt=1, description="dropout inside experts, against overfit in fine-tuning")
    gated: bool = Field(
        False, description="experts with a multiplying gate (SwiGLU) in place of a plain MLP (transformer)"
    )
    blocks: Literal["all", "alternate", "last"] = Field(
        "all", description="which blocks are sparse: all, every second one from the end, or the last"
    )
    balance: BalanceSettings = BalanceSettings()

    def is_sparse(self, block: int, num_blocks: int) -> bool:
        """Tell whether block number ``block`` of ``num_blocks`` has experts."""
        from_end = num_blocks - 1 - block
        return self.blocks == "all" or (from_end % 2 == 0 if self.blocks == "alternate" else from_end == 0)

    @property
    def balances_itself(self) -> bool:
        """Whether the router is balanced by construction, so that no balancing loss is added."""
        return self.router in ("expert-choice", "soft", "bias-balanced")

    @property
    def active_experts(self) -> float:
        """Mean number of experts that serve an input; a soft layer reads all of them."""
        if self.router == "expert-choice":
            return min(self.capacity_factor or 2.0, float(self.num_experts))
        return float(self.num_experts if self.router == "soft" else self.top_k)

    @model_validator(mode="after")
    def _check_top_k(self) -> SparseSettings:
        fixed = FIXED_TOP_K.get(self.router)
        if fixed is not None and self.top_k != fixed:
            raise ValueError(f"router {self.router!r} has top_k {fixed}, got {self.top_k}; set top_k: {fixed}")
        if self.top_k > self.num_experts:
            raise ValueError(
                f"top_k must be between 1 and num_experts={self.num_experts}, got {self.top_k}; "
                "lower top_k or add experts"
            )
        return self

    @model_validator(mode="after")
    def _check_capacity(self) -> SparseSettings:
        if self.router == "soft" and self.capacity_factor is not None:
            raise ValueError(
                f"router 'soft' drops nothing, got capacity_factor={self.capacity_factor}; leave it out and set slots"
            )
        if self.balance.load and self.router != "noisy-top-k":
            raise ValueError(
                f"balance.load needs the noise of router 'noisy-top-k', got router {self.router!r}; "
                "set router: noisy-top-k or balance.load: 0"
            )
        return self
