"""The layer equals Hugging Face's Switch and Mixtral blocks, given their weights: forward and gradients, float32."""

import pytest
import torch
from torch import nn

from moist.moe import GatedMLP, MoELayer, mlp_expert
from moist.routing import LinearGate, SwitchRouter, TopKRouter

pytest.importorskip("transformers")
from transformers import MixtralConfig, SwitchTransformersConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock
from transformers.models.switch_transformers.modeling_switch_transformers import SwitchTransformersSparseMLP

DIM, HIDDEN, NUM_EXPERTS, TOLERANCE = 16, 32, 4, 1e-5


def inputs():
    return torch.randn(3, 10, DIM, generator=torch.Generator().manual_seed(3)).requires_grad_()


def compare(ours, theirs, pairs):
    """Compare outputs, the inputs' gradient, and the gradients of each pair of parameters."""
    own, other = inputs(), inputs()
    mine, result = ours(own)[0], theirs(other)
    torch.testing.assert_close(mine, result, rtol=TOLERANCE, atol=TOLERANCE)
    direction = torch.randn(result.shape, generator=torch.Generator().manual_seed(4))
    (mine * direction).sum().backward()
    (result * direction).sum().backward()
    torch.testing.assert_close(own.grad, other.grad, rtol=TOLERANCE, atol=TOLERANCE)
    for name, grad, expected in pairs():
        assert expected.abs().max() > 0, name
        torch.testing.assert_close(grad, expected, rtol=TOLERANCE, atol=TOLERANCE, msg=name)


def test_switch():
    torch.manual_seed(0)
    config = SwitchTransformersConfig(
        d_model=DIM,
        d_ff=HIDDEN,
        num_experts=NUM_EXPERTS,
        expert_capacity=1000,
        router_jitter_noise=0.0,
        dropout_rate=0.0,
    )
    theirs = SwitchTransformersSparseMLP(config)
    experts = [mlp_expert(DIM, HIDDEN, activation=nn.ReLU) for _ in range(NUM_EXPERTS)]
    for member in experts:
        for linear in (member[0], member[2]):
            linear.bias = None
    ours = MoELayer(SwitchRouter(LinearGate(DIM, NUM_EXPERTS)), experts)
    pair = list(zip(experts, theirs.experts.values()))
    with torch.no_grad():
        ours.router.gate.weight.copy_(theirs.router.classifier.weight)
        for member, other in pair:
            member[0].weight.copy_(other.wi.weight)
            member[2].weight.copy_(other.wo.weight)

    def gradients():
        yield "gate", ours.router.gate.weight.grad, theirs.router.classifier.weight.grad
        for number, (member, other) in enumerate(pair):
            yield f"in of {number}", member[0].weight.grad, other.wi.weight.grad
            yield f"out of {number}", member[2].weight.grad, other.wo.weight.grad

    compare(ours, theirs, gradients)


def test_mixtral():
    torch.manual_seed(0)
    config = MixtralConfig(
        hidden_size=DIM, intermediate_size=HIDDEN, num_local_experts=NUM_EXPERTS, num_experts_per_tok=2
    )
    config._experts_implementation = "eager"
    theirs = MixtralSparseMoeBlock(config)
    experts = [GatedMLP(DIM, HIDDEN) for _ in range(NUM_EXPERTS)]
    ours = MoELayer(TopKRouter(LinearGate(DIM, NUM_EXPERTS), 2, "renormalize"), experts)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2)
        ours.router.gate.weight.copy_(theirs.gate.weight)
        for number, member in enumerate(experts):
            gate, up = theirs.experts.gate_up_proj[number].chunk(2)
            member.gate.weight.copy_(gate)
            member.up.weight.copy_(up)
            member.down.weight.copy_(theirs.experts.down_proj[number])

    def gradients():
        yield "gate", ours.router.gate.weight.grad, theirs.gate.weight.grad
        for number, member in enumerate(experts):
            both = torch.cat([member.gate.weight.grad, member.up.weight.grad])
            yield f"in of {number}", both, theirs.experts.gate_up_proj.grad[number]
            yield f"out of {number}", member.down.weight.grad, theirs.experts.down_proj.grad[number]

    compare(ours, theirs, gradients)
