"""Mixture density networks: densities by hand, quantiles, draws, and numbers far off."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from moist.estimators import MixtureDensityRegressor
from moist.estimators.density_network import DensityNetwork
from moist.types import UserError

RANDOM = np.random.RandomState(0)
ROWS = RANDOM.uniform(-1, 1, size=(400, 2))
VALUES = 100 + 10 * RANDOM.normal(size=400)


@pytest.fixture(scope="module")
def plain():
    """One component on targets that the inputs say nothing of: the normal distribution of the targets."""
    return MixtureDensityRegressor(1, num_steps=300, random_state=0).fit(ROWS, VALUES)


@pytest.fixture(scope="module")
def mixed():
    return MixtureDensityRegressor(3, num_steps=100, random_state=0).fit(ROWS, VALUES)


def test_the_density_by_hand():
    network = DensityNetwork(1, (), 2, least_scale=0.0, dropout=0.0)
    with torch.no_grad():
        network.head.weight.zero_()
        # Weights 1/4 and 3/4, means 0 and 2, scales 1 and 1 (softplus of log(e - 1) is 1).
        one = float(np.log(np.e - 1))
        network.head.bias.copy_(torch.tensor([0.0, np.log(3), 0.0, 2.0, one, one]))
        density = network.log_density(torch.zeros(1, 1), torch.tensor([1.0]))
    # Both components lie one deviation away: (1/4 + 3/4) φ(1).
    assert density.item() == pytest.approx(norm.logpdf(1), abs=1e-6)


def test_components_start_at_quantiles_of_the_targets():
    network = DensityNetwork(1, (), 2, least_scale=0.0, dropout=0.0)
    network.start_at(torch.tensor([0.0, 1.0, 2.0, 3.0, 40.0]))
    # Half the targets for each: the means are the middles of the halves, the quarter and three quarters.
    assert network.head.bias.chunk(3)[1].tolist() == [1.0, 3.0]


def test_one_component_is_the_normal_distribution_of_the_targets(plain):
    assert plain.predict([[0, 0]])[0] == pytest.approx(VALUES.mean(), abs=3)
    low, high = plain.predict_quantiles([[0, 0]], [0.1587, 0.8413])[0]
    assert (high - low) / 2 == pytest.approx(VALUES.std(), rel=0.25)


def test_the_score_is_in_the_targets_own_units(plain):
    # A normal distribution of deviation 10 has a mean log-density of -log(10 √(2 π e)).
    assert plain.score(ROWS, VALUES) == pytest.approx(-np.log(10 * np.sqrt(2 * np.pi * np.e)), abs=0.15)
    scaled = MixtureDensityRegressor(1, num_steps=300, random_state=0).fit(ROWS, 1000 * VALUES)
    assert scaled.score(ROWS, 1000 * VALUES) == pytest.approx(plain.score(ROWS, VALUES) - np.log(1000), abs=1e-3)


def test_quantiles_invert_the_distribution(mixed):
    weights, means, scales = mixed._mixture(ROWS[:5])
    values = mixed.predict_quantiles(ROWS[:5], [0.05, 0.5, 0.95])
    for j, wanted in enumerate([0.05, 0.5, 0.95]):
        found = (weights * norm.cdf(values[:, [j]], means, scales)).sum(axis=1)
        assert found == pytest.approx(np.full(5, wanted))
    assert (np.diff(values, axis=1) > 0).all()


def test_draws_follow_the_mixture(mixed):
    draws = mixed.sample(ROWS[:1], 20_000, random_state=0)[0]
    assert draws.mean() == pytest.approx(mixed.predict(ROWS[:1])[0], abs=0.5)
    assert np.quantile(draws, 0.9) == pytest.approx(mixed.predict_quantiles(ROWS[:1], [0.9])[0, 0], abs=0.7)


def test_the_score_agrees_with_the_plain_sum(mixed):
    weights, means, scales = mixed._mixture(ROWS)
    plain = np.log((weights * norm.pdf(VALUES[:, None], means, scales)).sum(axis=1))
    assert mixed.log_density(ROWS, VALUES) == pytest.approx(plain)


def test_targets_and_inputs_far_off_stay_finite(mixed):
    assert np.isfinite(mixed.log_density(ROWS[:2], [1e12, -1e12])).all()
    far = [[1e9, -1e9]]
    assert np.isfinite(mixed.predict(far)).all()
    assert np.isfinite(mixed.predict_quantiles(far, [1e-6, 1 - 1e-6])).all()


def test_equal_targets_do_not_blow_up():
    density = MixtureDensityRegressor(2, num_steps=50, random_state=0).fit(ROWS, np.full(400, 7.0))
    assert np.isfinite(density.score(ROWS, np.full(400, 7.0)))


def test_a_quantile_is_between_0_and_1(mixed):
    with pytest.raises(UserError, match="quantiles must be numbers above 0 and below 1"):
        mixed.predict_quantiles(ROWS[:1], [0.5, 1.0])
