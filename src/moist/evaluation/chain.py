"""A chain of models of growing cost: each answers what it is sure of, and hands the rest on to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np

from moist.types import UserError

__all__ = ["Chain", "ChainAnswers", "Link", "fit_chain"]

# Shares of all inputs that a link may get, and what its own answer may weigh beside what was said before.
SHARES = (0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.16, 0.13, 0.1, 0.08, 0.06, 0.04)
WEIGHTS = (0.5, 0.65, 0.8, 1.0)
SWEEPS = 4  # over the settings of all links; it has settled after two or three


@dataclass(frozen=True)
class Link:
    """One model and what it says.

    Args:
        name: of the model.
        macs: cost of an input that reaches it.
        probabilities: (N, C) of every input, whether it gets there or not.
    """

    name: str
    macs: float
    probabilities: np.ndarray

    def take(self, rows: np.ndarray) -> Link:
        """Return what it says of some of the inputs: row numbers, or a mask (N,)."""
        return Link(self.name, self.macs, self.probabilities[rows])


@dataclass(frozen=True)
class ChainAnswers:
    """What a chain says: probabilities (N, C), each link's share of the inputs (L,), and the mean cost of an input."""

    probabilities: np.ndarray
    shares: tuple[float, ...]
    macs: float


@dataclass(frozen=True)
class Chain:
    """Which models, in which order, and when an input goes on.

    Args:
        names: of the L links, the first of which gets all inputs.
        thresholds: (L - 1,) the margin between the two best classes under which an input goes on to the next link.
        weights: (L - 1,) of the next link's answer beside what was said before, from 0 to 1.
    """

    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    weights: tuple[float, ...]

    def answer(self, links: Sequence[Link]) -> ChainAnswers:
        """Answer inputs; each runs only the links that it reaches.

        Args:
            links: of the same inputs, those of this chain and maybe others.
        """
        by_name = {link.name: link for link in links}
        first, *others = (by_name[name] for name in self.names)
        answer, reached = first.probabilities.copy(), np.arange(len(first.probabilities))
        shares, macs = [1.0], first.macs
        for link, threshold, weight in zip(others, self.thresholds, self.weights, strict=True):
            reached = reached[_margin(answer[reached]) < threshold]
            answer[reached] = (1 - weight) * answer[reached] + weight * link.probabilities[reached]
            shares.append(len(reached) / len(answer))
            macs += shares[-1] * link.macs
        return ChainAnswers(answer, tuple(shares), macs)


def fit_chain(links: Sequence[Link], target: np.ndarray, budget: float) -> Chain:
    """Choose links, thresholds and weights for the best accuracy within a mean cost, on examples set aside for it.

    Every chain from the first link over any others to the last is tried; its shares and weights are improved one at a
    time until nothing is gained, the last share being what the budget leaves.

    Args:
        links: at least two, in the order in which an input would meet them.
        target: (N,) class numbers.
        budget: multiply-accumulates per input, on average.

    Raises:
        UserError: the first link alone costs as much as the budget.

    After Viola and Jones 2001 and, for networks, Wang et al. 2022, "Wisdom of Committees" (arXiv 2012.01988).
    """
    if links[0].macs >= budget:
        raise UserError(
            f"budget must be above the first model's {links[0].macs:g} MACs, got {budget:g}; raise it or start with a "
            "smaller model"
        )
    fitted = (_Fit(chosen, target, budget).best() for chosen in _chains(links))
    return max((found for found in fitted if found is not None), key=lambda found: found[0])[1]


def _chains(links: Sequence[Link]) -> Iterator[list[Link]]:
    first, *between, last = links
    for count in range(len(between) + 1):
        for chosen in combinations(between, count):
            yield [first, *chosen, last]


def _margin(probabilities: np.ndarray) -> np.ndarray:
    """Return how far the two largest of each row (N, C) lie apart, (N,)."""
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0])


class _Fit:
    """The search for one chain's shares and weights."""

    def __init__(self, links: Sequence[Link], target: np.ndarray, budget: float) -> None:
        self.links, self.target, self.budget = links, target, budget

    def best(self) -> tuple[float, Chain] | None:
        """Return the best accuracy and its chain; None where no shares fit the budget."""
        between = len(self.links) - 2
        best: tuple[float, Chain] | None = None
        for start in product((0.5, 0.2), repeat=between):
            shares, weights = list(start), [1.0] * (between + 1)
            best = max(filter(None, (best, self._improve(shares, weights))), key=lambda found: found[0], default=None)
        return best

    def _improve(self, shares: list[float], weights: list[float]) -> tuple[float, Chain] | None:
        best = self._try(shares, weights)
        for _ in range(SWEEPS):
            before = best
            for values, choices in ((shares, SHARES), (weights, WEIGHTS)):
                for place in range(len(values)):
                    kept = values[place]
                    for choice in choices:
                        values[place] = choice
                        found = self._try(shares, weights)
                        if found is not None and (best is None or found[0] > best[0]):
                            best, kept = found, choice
                    values[place] = kept
            if best is before:
                break
        return best

    def _try(self, shares: Sequence[float], weights: Sequence[float]) -> tuple[float, Chain] | None:
        """Return accuracy and chain of these shares and weights; None where they do not fit."""
        spent = self.links[0].macs + sum(share * link.macs for share, link in zip(shares, self.links[1:-1]))
        last = min(1.0, (self.budget - spent) / self.links[-1].macs)
        every = [1.0, *shares, last]
        if last <= 0 or any(later > earlier for earlier, later in pairwise(every)):
            return None
        answer, reached, thresholds = self.links[0].probabilities.copy(), np.arange(len(self.target)), []
        for link, share, weight in zip(self.links[1:], every[1:], weights, strict=True):
            margin, count = _margin(answer[reached]), int(share * len(answer))
            thresholds.append(_below(margin, count))
            reached = reached[margin < thresholds[-1]]
            answer[reached] = (1 - weight) * answer[reached] + weight * link.probabilities[reached]
        names = tuple(link.name for link in self.links)
        accuracy = float((answer.argmax(axis=1) == self.target).mean())
        return accuracy, Chain(names, tuple(thresholds), tuple(weights))


def _below(margin: np.ndarray, count: int) -> float:
    """Return a threshold under which at most ``count`` of the margins lie; 2, above them all, where all may."""
    return 2.0 if count >= len(margin) else float(np.partition(margin, count)[count])
