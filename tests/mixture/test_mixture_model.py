"""The deployed mixture runs only what it routes to, and answers as the whole would."""

import numpy as np
import pytest
import torch
from tiny_mixtures import CASES, CLASSES, make_tiny
from torch import nn

from moist.mixture import DeferSettings, InferenceSettings, MixtureOfSpecialists, MixtureSettings, build_mixture
from moist.types import UserError


def inputs_of(tiny):
    return tiny.mixture.transform.to_tensor(torch.from_numpy(tiny.mixture.transform.encode(tiny.raw)))


def dense_answer(mixture, inputs, top_k):
    """Every specialist's probabilities, weighted by the gate among the best ``top_k``."""
    scores, logits = mixture.forward_all(inputs)
    kept = scores.topk(top_k, dim=1).indices
    weights = torch.zeros_like(scores).scatter(1, kept, scores.softmax(1).gather(1, kept))
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.einsum("nk,nkc->nc", weights, logits.softmax(2))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("top_k", [1, 2, "all"])
def test_the_answer_is_the_gates_combination_of_all_specialists(case, top_k):
    tiny = make_tiny(case, top_k=top_k)
    with torch.no_grad():
        prediction = tiny.mixture(inputs_of(tiny))
        expected = dense_answer(tiny.mixture, inputs_of(tiny), 4 if top_k == "all" else top_k)
    torch.testing.assert_close(prediction.probabilities, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prediction.probabilities.sum(1), torch.ones(40))
    assert prediction.routing.expert_indices.shape == (40, 4 if top_k == "all" else top_k)
    assert not prediction.deferred.any()


@pytest.mark.parametrize("case", CASES)
def test_deploying_a_mixture_changes_no_answer(case):
    tiny = make_tiny(case)
    torch.manual_seed(5)
    trainable = build_mixture(
        tiny.settings, tiny.student, tiny.mixture.transform.input_shape, len(CLASSES), inputs_of(tiny)
    ).eval()
    deployed = trainable.deploy()
    with torch.no_grad():
        scores, logits = trainable.forward_all(inputs_of(tiny))
        prediction = deployed(inputs_of(tiny))
    chosen = logits[torch.arange(40), scores.argmax(1)].softmax(1)
    torch.testing.assert_close(prediction.probabilities, chosen, rtol=1e-4, atol=1e-5)
    assert deployed.trunk is trainable.trunk
    assert not deployed.training


def calls_of(mixture, inputs):
    """Run the mixture and return how many rows each specialist was given, in calls."""
    seen = {k: [] for k in range(mixture.num_domains)}
    hooks = [
        specialist.register_forward_hook(lambda module, given, result, k=k: seen[k].append(len(given[0])))
        for k, specialist in enumerate(mixture.specialists)
    ]
    mixture(inputs)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("top_k", [1, 2, "all"])
def test_only_routed_specialists_run_and_only_on_their_rows(top_k):
    tiny = make_tiny(top_k=top_k)
    inputs = inputs_of(tiny)[:3]
    chosen = tiny.mixture.route(inputs).expert_indices.flatten().tolist()
    expected = {k: [chosen.count(k)] if k in chosen else [] for k in range(4)}
    assert calls_of(tiny.mixture, inputs) == expected


def test_one_input_runs_one_specialist():
    tiny = make_tiny()
    seen = calls_of(tiny.mixture, inputs_of(tiny)[:1])
    assert sorted(len(calls) for calls in seen.values()) == [0, 0, 0, 1]


def test_routing_runs_no_specialist():
    tiny = make_tiny()
    for specialist in tiny.mixture.specialists:
        specialist.register_forward_hook(lambda *_: pytest.fail("a specialist ran"))
    routing = tiny.mixture.route(inputs_of(tiny))
    assert torch.equal(routing.expert_indices[:, 0], routing.logits.argmax(1))


class Says(nn.Module):
    """Answers every input with the same probabilities."""

    def __init__(self, *probabilities):
        super().__init__()
        self.logits = torch.tensor(probabilities).log()
        self.rows = 0

    def forward(self, inputs):
        self.rows += len(inputs)
        return self.logits.expand(len(inputs), -1)


def two_minded(defer, threshold=0.7, generalist=None):
    """Inputs are themselves the scores of two specialists: a doubtful and a certain one."""
    return MixtureOfSpecialists(
        nn.Identity(),
        nn.Identity(),
        nn.ModuleList([Says(0.6, 0.4), Says(0.1, 0.9)]),
        inference=InferenceSettings(defer=defer),
        threshold=threshold,
        generalist=generalist,
    )


SCORES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])


def test_doubtful_answers_are_averaged_with_the_generalists():
    generalist = Says(0.2, 0.8)
    prediction = two_minded(DeferSettings(), generalist=generalist)(SCORES)
    # Rows 0 and 2 are doubtful (0.6 < 0.7): ((0.6 + 0.2) / 2, (0.4 + 0.8) / 2)
    expected = torch.tensor([[0.4, 0.6], [0.1, 0.9], [0.4, 0.6]])
    torch.testing.assert_close(prediction.probabilities, expected)
    assert prediction.deferred.tolist() == [True, False, True]
    assert generalist.rows == 2


def test_inputs_for_the_teacher_are_marked_and_not_changed():
    prediction = two_minded(DeferSettings(to="teacher"))(SCORES)
    assert prediction.deferred.tolist() == [True, False, True]
    torch.testing.assert_close(prediction.probabilities[0], torch.tensor([0.6, 0.4]))


@pytest.mark.parametrize(("defer", "threshold"), [(None, 0.7), (DeferSettings(), 0.0)])
def test_nobody_is_asked_where_nothing_is_doubtful(defer, threshold):
    generalist = Says(0.2, 0.8)
    assert not two_minded(defer, threshold, generalist)(SCORES).deferred.any()
    assert generalist.rows == 0


def test_more_specialists_than_there_are_cannot_answer():
    mixture = two_minded(None)
    mixture.inference = InferenceSettings(top_k=3)
    with pytest.raises(ValueError, match="between 1 and num_experts=2, got 3"):
        mixture(SCORES)


@pytest.mark.parametrize("case", ["table-mlp", "image-resnet", "text-bag"])
def test_raw_inputs_are_answered_in_batches_and_in_order(case):
    tiny = make_tiny(case, top_k=2, defer=True)
    whole, parts = tiny.mixture.predict_all(tiny.raw), tiny.mixture.predict_all(tiny.raw, batch_size=7)
    torch.testing.assert_close(whole.probabilities, parts.probabilities, rtol=1e-4, atol=1e-6)
    assert torch.equal(whole.routing.expert_indices, parts.routing.expert_indices)
    assert torch.equal(whole.deferred, parts.deferred)
    assert np.array_equal(tiny.mixture.predict_proba(tiny.raw), whole.probabilities.numpy())
    names = tiny.mixture.predict(tiny.raw)
    assert names.tolist() == [CLASSES[k] for k in whole.probabilities.argmax(1)]


def test_inputs_that_may_not_be_written_to_are_read():
    tiny = make_tiny("image-resnet")
    expected = tiny.mixture.predict_proba(tiny.raw)
    tiny.raw.setflags(write=False)
    assert np.array_equal(tiny.mixture.predict_proba(tiny.raw), expected)


def test_predicting_without_a_transform_or_without_inputs_is_refused():
    with pytest.raises(UserError, match=r"predict needs the mixture's transform.*load_bundle"):
        two_minded(None).predict(np.zeros((1, 2)))
    tiny = make_tiny()
    with pytest.raises(UserError, match="at least one input, got none"):
        tiny.mixture.predict(tiny.raw[:0])


def test_settings_know_what_they_take():
    with pytest.raises(ValueError, match="num_domains"):
        MixtureSettings(num_domains=1)
    with pytest.raises(ValueError, match="fraction"):
        DeferSettings(fraction=1.5)
    assert InferenceSettings(top_k="all").top_k == "all"
