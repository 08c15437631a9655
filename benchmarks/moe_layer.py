"""How fast the sparse layer is, against a dense layer of the same active FLOPs and other libraries' layers.

4096 tokens, 512 → 2048 → 512, 8 experts, one or two for each token, on one thread: forward without gradients, and
forward and backward. Every round times each layer once, in an order drawn anew, so that whatever else the machine does,
and what the layer before left in the caches, falls on all alike; a ratio is taken within a round. Layers with a
multiplying gate (three matrices) are compared with a dense layer of that kind. Peers run as they are meant to: with
their own capacity, balance losses and initialisation.

    pip install transformers einops st-moe-pytorch mixture-of-experts
    python benchmarks/moe_layer.py
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import os
import platform
import random
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import torch
from measuring import spread
from mixture_of_experts import MoE as LucidrainsMoE
from st_moe_pytorch import MoE as STMoE
from torch import Tensor, nn
from transformers import MixtralConfig, SwitchTransformersConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersSparseMLP

from moist.moe import GatedMLP, MoELayer, mlp_expert, pack_for_inference
from moist.moe.bias_within import bias_within, can_add_within
from moist.recipes.results import machine
from moist.routing import LinearGate, TopKRouter
from moist.storage import write_json

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "bench-moe-layer.json"
TOKENS, DIM, HIDDEN, EXPERTS = 4096, 512, 2048, 8
SEED = 0
ROUNDS = {"float32": 7, "bfloat16": 21}  # the matrix unit's speed changes by half from one pass to the next
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGEST_BLOCK = -1, -3, 1 << 30  # of GNU's malloc.h
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Every layer, and the dense one of the same kind and active FLOPs.
DENSE = {
    "dense_bias_within": "dense",
    "moist": "dense",
    "moist_packed": "dense",
    "hf_switch_eager": "dense",
    "mixture_of_experts": "dense",
    "moist_gated": "dense_gated",
    "hf_mixtral_eager": "dense_gated",
    "hf_mixtral_grouped_mm": "dense_gated",
    "st_moe_pytorch": "dense",
}
# Every peer, and the layer of ours that does the same work.
OURS = {
    "hf_switch_eager": "moist",
    "mixture_of_experts": "moist",
    "st_moe_pytorch": "moist",
    "hf_mixtral_eager": "moist_gated",
    "hf_mixtral_grouped_mm": "moist_gated",
}

Seconds = dict[str, float]  # by clock
Rounds = dict[str, list[Seconds]]  # by layer


def main() -> None:
    """Measure, print and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, help=f"of every case; by default {ROUNDS}")
    given = parser.parse_args().rounds
    rounds = ROUNDS if given is None else dict.fromkeys(PRECISIONS, given)
    torch.set_num_threads(1)
    keep_memory()
    started = time.perf_counter()
    cases, failures = {}, {}
    for precision in PRECISIONS:
        for top_k in (1, 2):
            for mode in ("forward", "forward_backward"):
                layers = build_layers(top_k, PRECISIONS[precision], serving=mode == "forward")
                name = f"{precision}, top-{top_k}, {mode}"
                taken, failed = measure(layers, PRECISIONS[precision], mode == "forward_backward", rounds[precision])
                cases[name] = compare(taken)
                failures |= {f"{layer} ({name})": error for layer, error in failed.items()}
                print(summary(name, cases[name]), flush=True)
    write_json(TARGET, result(cases, failures, rounds, time.perf_counter() - started))


def keep_memory() -> None:
    """Let the C library keep what is freed, for all layers alike.

    Else it depends on what ran before whether a pass gets its 30 MB from the system anew, and 8,000 page faults, a
    tenth of a dense layer's time, come and go with it.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # GNU's
        for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            library.mallopt(option, LARGEST_BLOCK)


class First(nn.Module):
    """A layer whose output is the first of several, or that wants tokens as one sequence."""

    def __init__(self, layer: nn.Module, *, sequence: bool = False) -> None:
        super().__init__()
        self.layer = layer
        self.sequence = sequence

    def forward(self, tokens: Tensor) -> Tensor:
        output = self.layer(tokens.unsqueeze(0) if self.sequence else tokens)
        output = output[0] if isinstance(output, tuple) else output
        return output.view(tokens.shape)


class BiasWithin(nn.Module):
    """A dense layer served as our experts are: in bfloat16 the bias is part of the product."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        return bias_within(self.layer, tokens) if can_add_within(tokens) else self.layer(tokens)


def build_layers(top_k: int, dtype: torch.dtype, *, serving: bool) -> dict[str, nn.Module]:
    """Return every layer for one number of active experts; ``serving`` adds ours with packed weights, in bfloat16."""
    torch.manual_seed(SEED)
    layers: dict[str, nn.Module] = {
        "dense": mlp_expert(DIM, top_k * HIDDEN),
        "dense_bias_within": BiasWithin(mlp_expert(DIM, top_k * HIDDEN)),
        "moist": First(ours([mlp_expert(DIM, HIDDEN) for _ in range(EXPERTS)], top_k)),
        "dense_gated": GatedMLP(DIM, top_k * HIDDEN),
        "moist_gated": First(ours([GatedMLP(DIM, HIDDEN) for _ in range(EXPERTS)], top_k)),
        "hf_mixtral_eager": First(mixtral(top_k, "eager"), sequence=True),
        "hf_mixtral_grouped_mm": First(mixtral(top_k, "grouped_mm"), sequence=True),
    }
    if top_k == 1:
        layers["hf_switch_eager"] = First(switch(), sequence=True)
    else:  # these two libraries choose two
        layers["mixture_of_experts"] = First(LucidrainsMoE(DIM, EXPERTS, hidden_dim=HIDDEN), sequence=True)
        layers["st_moe_pytorch"] = First(STMoE(DIM, EXPERTS, gating_top_n=2), sequence=True)
    if serving and dtype == torch.bfloat16:
        layers["moist_packed"] = First(ours([mlp_expert(DIM, HIDDEN) for _ in range(EXPERTS)], top_k))
    layers = {name: layer.to(dtype) for name, layer in layers.items()}
    if "moist_packed" in layers:
        pack_for_inference(layers["moist_packed"])
    return layers


def ours(experts: Sequence[nn.Module], top_k: int) -> MoELayer:
    """Return our layer, without a capacity."""
    return MoELayer(TopKRouter(LinearGate(DIM, EXPERTS), top_k, "probability"), experts)


def switch() -> nn.Module:
    """Return Hugging Face's Switch layer with room for all tokens."""
    return SwitchTransformersSparseMLP(
        SwitchTransformersConfig(
            d_model=DIM,
            d_ff=HIDDEN,
            num_experts=EXPERTS,
            expert_capacity=TOKENS,
            router_jitter_noise=0.0,
            dropout_rate=0.0,
            dense_act_fn="gelu",
        )
    )


def mixtral(top_k: int, implementation: str) -> nn.Module:
    """Return Hugging Face's Mixtral layer."""
    config = MixtralConfig(
        hidden_size=DIM, intermediate_size=HIDDEN, num_local_experts=EXPERTS, num_experts_per_tok=top_k
    )
    config._experts_implementation = implementation
    block = MixtralSparseMoeBlock(config)
    with torch.no_grad():
        for parameter in block.parameters():  # the block leaves them empty for the whole model to fill
            parameter.normal_(std=DIM**-0.5)
    return block


def measure(
    layers: Mapping[str, nn.Module], dtype: torch.dtype, backward: bool, rounds: int
) -> tuple[Rounds, dict[str, str]]:
    """Time every layer once in each round, in any order, after one round that is not kept; name those that fail."""
    shuffle = random.Random(SEED).shuffle
    tokens = torch.randn(TOKENS, DIM, generator=torch.Generator().manual_seed(SEED)).to(dtype)
    taken: Rounds = {name: [] for name in layers}
    failed: dict[str, str] = {}
    for number in range(rounds + 1):
        order = [name for name in layers if name not in failed]
        shuffle(order)
        for name in order:
            try:
                seconds = time_once(layers[name], tokens, backward)
            except Exception as error:  # a peer may not know the precision: say so, and go on
                failed[name] = f"{type(error).__name__}: {str(error)[:160]}"
                del taken[name]
                continue
            if number:
                taken[name].append(seconds)
    return taken, failed


def time_once(layer: nn.Module, tokens: Tensor, backward: bool) -> Seconds:
    """Return the time of one pass."""
    layer.train(backward)
    layer.zero_grad(set_to_none=True)
    inputs = tokens.clone().requires_grad_(backward)
    before = {name: clock() for name, clock in CLOCKS.items()}
    with torch.set_grad_enabled(backward):
        output = layer(inputs)
        if backward:
            output.float().square().mean().backward()
    return {name: clock() - before[name] for name, clock in CLOCKS.items()}


def compare(taken: Rounds) -> dict[str, Any]:
    """Return times, ratios to the dense layer, and ours to each peer, over the rounds."""
    return {
        "ms": {name: spread([1000 * each["wall"] for each in rounds]) for name, rounds in taken.items()},
        "over_dense": {name: ratios(taken, name, DENSE[name]) for name in taken if name in DENSE},
        "ours_over_peer": {peer: ratios(taken, OURS[peer], peer) for peer in taken if peer in OURS},
    }


def ratios(taken: Rounds, above: str, below: str) -> dict[str, Any]:
    """Return the ratio of two layers within each round, by either clock."""
    pairs = list(zip(taken[above], taken[below]))
    return {clock: spread([a[clock] / b[clock] for a, b in pairs]) for clock in CLOCKS}


def result(
    cases: Mapping[str, Any], failures: Mapping[str, str], rounds: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    """Put everything into one document."""
    return {
        "schema": 1,
        "name": "bench-moe-layer",
        "command": "python benchmarks/moe_layer.py",
        "date": datetime.date.today().isoformat(),
        "versions": {
            "moist": version("moist"),
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: version_of(name) for name in ("transformers", "st-moe-pytorch", "mixture-of-experts", "tutel")},
        },
        "machine": {**machine(), "threads": torch.get_num_threads(), "load": [round(x, 1) for x in os.getloadavg()]},
        "seconds": round(seconds, 1),
        "systems": {},  # no accuracy is measured here: the table of results passes over this file
        "settings": {
            "tokens": TOKENS,
            "dim": DIM,
            "hidden": HIDDEN,
            "experts": EXPERTS,
            "rounds": dict(rounds),
            "seed": SEED,
        },
        "measured": dict(cases),
        "failed": dict(failures),
        "notes": [
            "Ratios are taken within a round, in which the layers run in an order drawn anew; their median and "
            "extremes are given. `cpu` is the process's own CPU time, which other processes disturb less than the "
            "clock on the wall.",
            "The dense layer has top_k times the hidden units, so it multiplies as much; the gate comes on top.",
            "dense_bias_within is the dense layer served as our experts are: in bfloat16 oneDNN adds the bias within "
            "the product, where torch's own linear layer writes it first and adds to it. In float32 the two are the "
            "same.",
            "moist_packed is our layer after pack_for_inference: its weights are frozen and kept a second time, in the "
            "order that oneDNN's product reads.",
            "The C library keeps the memory that is freed, so that no pass pays for page faults which depend on what "
            "ran before it.",
            "st-moe-pytorch and mixture-of-experts choose two experts and have a capacity of 1.25 in training and 2 in "
            "evaluation; st-moe-pytorch's experts are gated with two thirds of the units, as many FLOPs as plain ones.",
            "Tutel is not among the packages that the index offers for this platform, so it was not measured.",
        ],
    }


def version_of(package: str) -> str | None:
    """Return the version of a package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def summary(name: str, case: Mapping[str, Any]) -> str:
    """Return one case as lines for the terminal."""
    lines = [name]
    for layer, times in case["ms"].items():
        over = case["over_dense"].get(layer)
        ratio = f"{over['wall']['median']:.2f} of dense (by CPU time {over['cpu']['median']:.2f})" if over else ""
        lines.append(f"  {layer:24s} {times['median']:8.1f} ms  {ratio}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
