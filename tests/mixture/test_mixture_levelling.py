"""Raising the scores of specialists that hardly any input chooses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moist.mixture import add_to_scores, level_shares
from moist.types import UserError


def scores_of(shares: list[float], num: int = 2000) -> torch.Tensor:
    """Return random scores (N, K) whose specialists come first on about these shares of the inputs."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, len(shares), generator=generator) + torch.tensor(shares).log()


def served(scores: torch.Tensor) -> torch.Tensor:
    return torch.bincount(scores.argmax(dim=1), minlength=scores.shape[1])


@pytest.mark.parametrize("least", [0.3, 0.9])
def test_every_specialist_gets_its_part_and_little_else_changes(least: float):
    scores = scores_of([0.6, 0.25, 0.147, 0.002, 0.001])
    assert served(scores).min() < 10
    added = level_shares(scores, least)
    after = served(scores + added)
    need = least * 2000 / 5
    assert after.min() >= need
    assert (after[3:] <= need + 2).all()  # no more than is needed
    assert added.min() == 0
    moved = (scores.argmax(dim=1) != (scores + added).argmax(dim=1)).sum()
    assert moved <= (need - served(scores)).clamp(min=0).sum() * 1.5


def test_shares_that_suffice_are_left_alone():
    assert level_shares(scores_of([0.25] * 4), 0.5).tolist() == [0, 0, 0, 0]


def test_a_specialist_that_never_came_first_does():
    scores = scores_of([0.5, 0.5, 1e-9])
    assert served(scores + level_shares(scores, 0.0))[2] == 1


def test_the_gate_itself_is_changed():
    gate = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    inputs = torch.randn(5, 4)
    before = gate(inputs)
    add_to_scores(gate, torch.tensor([0.0, 1.5]))
    assert torch.allclose(gate(inputs) - before, torch.tensor([0.0, 1.5]))


def test_a_gate_without_biases_is_refused():
    with pytest.raises(UserError, match=r"mixture\.least_share needs a router that ends in a linear layer"):
        add_to_scores(nn.Linear(3, 2, bias=False), torch.zeros(2))


def test_inputs_that_score_alike_cannot_be_shared_out():
    with pytest.raises(UserError, match=r"every specialist must get 10 of 40 inputs, .* set mixture\.least_share=0"):
        level_shares(torch.tensor([[1.0, 0.0]]).expand(40, 2), 0.5)
