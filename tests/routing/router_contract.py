"""What every router must do: subclass :class:`RouterContract`, give it ``make_router``, and pytest runs the suite."""

from abc import ABC, abstractmethod

import pytest
import torch
from torch import nn

from moist.routing import Dispatcher, gate_weights, limit_capacity, overflow, unserved

NUM_ROWS, WIDTH, NUM_EXPERTS = 12, 5, 4

# What each way to combine promises of a row's weights: their sum, given the gate's probabilities of the chosen.
SUMS = {
    "renormalize": lambda chosen_probs: torch.ones(len(chosen_probs)),
    "select": lambda chosen_probs: torch.ones(len(chosen_probs)),
    "probability": lambda chosen_probs: chosen_probs.sum(dim=1),
}
# Whether the task's gradient reaches the gate where one expert is chosen.
TRAINS_AT_ONE = {"renormalize": False, "select": False, "probability": True}


def inputs(seed=0):
    return torch.randn(NUM_ROWS, WIDTH, generator=torch.Generator().manual_seed(seed))


def experts(seed=1):
    torch.manual_seed(seed)
    return [nn.Linear(WIDTH, 3) for _ in range(NUM_EXPERTS)]


def run(routing, members, rows):
    dispatcher = Dispatcher(routing)
    return dispatcher.combine([member(part) for member, part in zip(members, dispatcher.dispatch(rows))])


class RouterContract(ABC):
    """The shared suite.

    ``combines`` lists the ways to combine that the router knows, ``top_ks`` the numbers of experts that it can choose.
    A router whose score is no softmax says how a row's weights follow from the scores by ``probs``.
    """

    combines: tuple[str, ...] = ("renormalize", "select", "probability")
    top_ks: tuple[int, ...] = tuple(range(1, NUM_EXPERTS + 1))
    checks_top_k = True

    @staticmethod
    def probs(logits):
        return logits.softmax(1)

    @abstractmethod
    def make_router(self, gate: nn.Module, top_k: int, combine: str) -> nn.Module:
        """Return a router over the gate's experts."""

    def pytest_generate_tests(self, metafunc):
        for name, values in (("combine", self.combines), ("top_k", self.top_ks)):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values)

    @pytest.fixture
    def gate(self):
        torch.manual_seed(2)
        return nn.Linear(WIDTH, NUM_EXPERTS)

    @pytest.fixture
    def router(self, gate, top_k, combine):
        return self.make_router(gate, top_k, combine).eval()

    def test_shapes(self, router, top_k):
        routing = router(inputs())
        assert routing.logits.shape == (NUM_ROWS, NUM_EXPERTS)
        assert routing.expert_indices.shape == routing.expert_weights.shape == (NUM_ROWS, top_k)
        assert routing.expert_indices.dtype == torch.int64
        assert routing.expert_weights.dtype == torch.float32

    def test_the_chosen_are_different_and_best_first(self, router, top_k):
        routing = router(inputs())
        assert all(len(set(row.tolist())) == top_k for row in routing.expert_indices)
        scores = routing.logits.gather(1, routing.expert_indices)
        assert (scores.diff(dim=1) <= 0).all()
        left_out = routing.logits.scatter(1, routing.expert_indices, -torch.inf).amax(dim=1)
        assert (scores[:, -1] >= left_out).all()

    def test_weights_are_positive_and_sum_as_promised(self, router, combine):
        routing = router(inputs())
        assert (routing.expert_weights > 0).all()
        chosen_probs = self.probs(routing.logits).gather(1, routing.expert_indices)
        torch.testing.assert_close(routing.expert_weights.sum(dim=1), SUMS[combine](chosen_probs))

    @pytest.mark.parametrize("wrong", [0, -1, NUM_EXPERTS + 1])
    def test_top_k_out_of_bounds(self, gate, combine, wrong):
        if not self.checks_top_k:
            pytest.skip("the number of experts is the router's own")
        with pytest.raises(ValueError, match=f"top_k must be between 1 and num_experts={NUM_EXPERTS}, got {wrong}"):
            self.make_router(gate, wrong, combine)(inputs())

    def test_evaluation_is_deterministic(self, router):
        first, second = router(inputs()), router(inputs())
        assert torch.equal(first.logits, second.logits)
        assert torch.equal(first.expert_indices, second.expert_indices)
        assert torch.equal(first.expert_weights, second.expert_weights)

    def test_rows_are_routed_each_by_itself(self, router):
        order = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(3))
        whole, mixed = router(inputs()), router(inputs()[order])
        assert torch.equal(mixed.expert_indices, whole.expert_indices[order])
        torch.testing.assert_close(mixed.expert_weights, whole.expert_weights[order])

    def test_all_experts_equal_the_dense_sum(self, gate, combine):
        if NUM_EXPERTS not in self.top_ks:
            pytest.skip("never chooses all")
        routing = self.make_router(gate, NUM_EXPERTS, combine).eval()(inputs())
        members = experts()
        weights = torch.full((NUM_ROWS, NUM_EXPERTS), 1 / NUM_EXPERTS)
        if combine != "select":
            weights = self.probs(gate(inputs()))
            if combine == "renormalize":
                weights = weights / weights.sum(dim=1, keepdim=True)
        dense = torch.einsum("ne,nec->nc", weights, torch.stack([member(inputs()) for member in members], dim=1))
        torch.testing.assert_close(run(routing, members, inputs()), dense)

    def test_the_task_gradient_at_one_expert(self, gate, combine):
        if 1 not in self.top_ks:
            pytest.skip("never chooses one alone")
        members = experts()
        routing = self.make_router(gate, 1, combine)(inputs())
        run(routing, members, inputs()).square().sum().backward()
        served = set(routing.expert_indices.flatten().tolist())
        assert {e for e, member in enumerate(members) if member.weight.grad is not None} == served
        reached = 0.0 if gate.weight.grad is None else gate.weight.grad.abs().max().item()
        if TRAINS_AT_ONE[combine]:
            assert reached > 1e-2
        else:
            # The weight is the constant 1; what is left of p / p is rounding.
            assert reached < 1e-5

    def test_the_task_gradient_at_two_experts(self, gate, combine):
        if combine == "select":
            pytest.skip("constant weights carry no gradient")
        if 2 not in self.top_ks:
            pytest.skip("never chooses two")
        run(self.make_router(gate, 2, combine)(inputs()), experts(), inputs()).square().sum().backward()
        assert gate.weight.grad.abs().max() > 1e-2

    def test_training_is_repeated_by_its_seed(self, gate, top_k, combine):
        router = self.make_router(gate, top_k, combine).train()
        torch.manual_seed(5)
        first = router(inputs())
        torch.manual_seed(5)
        second = router(inputs())
        assert torch.equal(first.expert_indices, second.expert_indices)
        assert torch.equal(gate_weights(first), gate_weights(second))

    def test_capacity_is_kept_and_overflow_counted(self, router, top_k):
        free = router(inputs())
        limited = limit_capacity(free, capacity_factor=1.0)
        served = Dispatcher(limited).counts
        room = -(-NUM_ROWS * top_k // NUM_EXPERTS)
        asked = Dispatcher(free).counts
        assert served == [min(count, room) for count in asked]
        dropped = sum(asked) - sum(served)
        assert overflow(limited).item() == pytest.approx(dropped / (NUM_ROWS * top_k))
        rows_served = {int(row) for rows in Dispatcher(limited).rows() for row in rows}
        assert unserved(limited).item() == pytest.approx(1 - len(rows_served) / NUM_ROWS)

    def test_room_for_all_drops_nothing(self, router):
        free = router(inputs())
        roomy = limit_capacity(free, capacity_factor=float(NUM_EXPERTS))
        assert overflow(roomy).item() == 0
        members = experts()
        torch.testing.assert_close(run(roomy, members, inputs()), run(free, members, inputs()))
