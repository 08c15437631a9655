import numpy as np
import pytest

from moist.evaluation import Chain, Link, fit_chain
from moist.types import UserError


def sure(classes, confidence, num_classes=3):
    """Probabilities (N, C) that give each class its confidence, and the others the rest in equal parts."""
    rest = (1 - np.asarray(confidence, dtype=float)) / (num_classes - 1)
    made = np.repeat(rest[:, None], num_classes, axis=1)
    made[np.arange(len(classes)), classes] = confidence
    return made


def example(n=300, seed=0):
    """Three links: the first knows what it does not know, the second half of that, the third everything."""
    random = np.random.default_rng(seed)
    target = random.integers(0, 3, n)
    hard, harder = random.random(n) < 0.4, random.random(n) < 0.5
    first = sure(np.where(hard, (target + 1) % 3, target), np.where(hard, 0.4 + 0.1 * random.random(n), 0.9))
    wrong = hard & harder
    second = sure(np.where(wrong, (target + 1) % 3, target), np.where(wrong, 0.45, 0.95))
    return [
        Link("small", 1, first),
        Link("middle", 10, second),
        Link("large", 100, sure(target, np.full(n, 0.99))),
    ], target


def accuracy(answer, target):
    return (answer.probabilities.argmax(axis=1) == target).mean()


def test_an_input_runs_only_the_links_that_it_reaches():
    links, target = example()
    answer = Chain(("small", "middle", "large"), (0.5, 0.5), (1.0, 1.0)).answer(links)
    assert accuracy(answer, target) == 1.0
    first = (links[0].probabilities.max(axis=1) < 0.6).mean()
    second = ((links[0].probabilities.max(axis=1) < 0.6) & (links[1].probabilities.max(axis=1) < 0.6)).mean()
    assert answer.shares == (1.0, first, second)
    assert answer.macs == pytest.approx(1 + 10 * first + 100 * second)
    assert 0 < second < first < 1


def test_an_answer_is_the_weighted_mean_of_what_was_said():
    links = [Link("a", 1, np.array([[0.6, 0.4], [0.9, 0.1]])), Link("b", 2, np.array([[0.0, 1.0], [0.0, 1.0]]))]
    answer = Chain(("a", "b"), (0.5,), (0.25,)).answer(links)
    np.testing.assert_allclose(answer.probabilities, [[0.45, 0.55], [0.9, 0.1]])
    assert answer.macs == 2.0
    np.testing.assert_allclose(links[0].probabilities, [[0.6, 0.4], [0.9, 0.1]])  # as they were


@pytest.mark.parametrize("budget", [8, 20, 60])
def test_a_fitted_chain_keeps_to_its_budget(budget):
    links, target = example()
    fitted = fit_chain(links, target, budget)
    assert fitted.names[0] == "small"
    assert fitted.names[-1] == "large"
    assert fitted.answer(links).macs <= budget


def test_the_middle_link_is_used_where_it_pays():
    links, target = example()
    # A fifth of the inputs need the large one (20 MACs), two fifths the middle one (4); alone, the large one needs 40.
    with_middle = fit_chain(links, target, 28)
    without = fit_chain([links[0], links[2]], target, 28)
    assert with_middle.names == ("small", "middle", "large")
    assert accuracy(with_middle.answer(links), target) > accuracy(without.answer(links), target) + 0.05


def test_a_useless_link_is_left_out():
    links, target = example()
    nonsense = Link("nonsense", 30, sure((target + 1) % 3, np.full(len(target), 0.99)))
    assert "nonsense" not in fit_chain([links[0], nonsense, links[2]], target, 60).names


def test_a_budget_below_the_first_link_is_refused():
    links, target = example()
    with pytest.raises(UserError, match="above the first model's 1 MACs, got 1; raise it"):
        fit_chain(links, target, 1)
