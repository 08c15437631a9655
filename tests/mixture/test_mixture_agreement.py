"""The distribution nearest to what generalist and specialists say, against SciPy's minimiser."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from moist.mixture import agree

SETS = torch.tensor([[0, 1], [1, 2], [3, 4]])
NUM_CLASSES = 5


def said(seed, num_rows=4):
    random = np.random.default_rng(seed)
    general = torch.from_numpy(random.dirichlet(np.ones(NUM_CLASSES), num_rows))
    special = torch.from_numpy(random.dirichlet(np.ones(3), (num_rows, len(SETS))))
    return general, special[..., :2], special[..., 2]


def objective(z, general, special, dustbin, covers):
    """The paper's sum of divergences, up to what does not depend on z."""
    log_q = log_softmax(z)
    loss = -(general * log_q).sum()
    for m in np.flatnonzero(covers):
        own = SETS[m].numpy()
        outside = np.delete(np.arange(NUM_CLASSES), own)
        loss -= (special[m] * log_q[own]).sum() + dustbin[m] * np.log(np.exp(log_q[outside]).sum())
    return loss


@pytest.mark.parametrize("covered", [(), (0,), (2,), (0, 1), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_minimum_that_scipy_finds(seed, covered):
    general, special, dustbin = said(seed)
    covers = torch.zeros(len(general), len(SETS), dtype=torch.bool)
    covers[:, list(covered)] = True
    ours = agree(general, special, dustbin, SETS, covers, max_steps=5000, tolerance=1e-12)
    for n in range(len(general)):
        arguments = (general[n].numpy(), special[n].numpy(), dustbin[n].numpy(), covers[n].numpy())
        found = minimize(objective, np.zeros(NUM_CLASSES), arguments, method="BFGS", options={"gtol": 1e-9})
        np.testing.assert_allclose(ours[n], softmax(found.x), atol=1e-5)
        assert objective(np.log(ours[n].numpy()), *arguments) <= found.fun + 1e-9


def test_inputs_of_one_batch_may_be_covered_differently():
    general, special, dustbin = said(0)
    covers = torch.tensor([[False] * 3, [True, False, False], [True, True, False], [True] * 3])
    together = agree(general, special, dustbin, SETS, covers, max_steps=5000, tolerance=1e-12)
    for n in range(4):
        one = slice(n, n + 1)
        alone = agree(general[one], special[one], dustbin[one], SETS, covers[one], max_steps=5000, tolerance=1e-12)
        torch.testing.assert_close(together[one], alone, atol=1e-9, rtol=0)
    torch.testing.assert_close(together[0], general[0])


def test_by_hand_a_dustbin_of_all_other_classes():
    # One specialist of classes 0 and 1 says (0.6, 0.2, dustbin 0.2); the generalist (0.2, 0.2, 0.6, 0, 0).
    # Inside the set q is the mean of both: (0.4, 0.2); the dustbin's 0.2 joins class 2's 0.6: 0.8 / 2 = 0.4.
    general = torch.tensor([[0.2, 0.2, 0.6, 0.0, 0.0]])
    special = torch.zeros(1, 3, 2)
    special[0, 0] = torch.tensor([0.6, 0.2])
    dustbin = torch.tensor([[0.2, 0.0, 0.0]])
    covers = torch.tensor([[True, False, False]])
    answer = agree(general, special, dustbin, SETS, covers)
    torch.testing.assert_close(answer, torch.tensor([[0.4, 0.2, 0.4, 0.0, 0.0]]), atol=1e-5, rtol=0)


def test_its_own_number_of_steps_is_enough_for_probabilities():
    general, special, dustbin = said(1, num_rows=200)
    covers = torch.from_numpy(np.random.default_rng(0).random((200, 3)) < 0.5)
    close = agree(general, special, dustbin, SETS, covers, max_steps=20_000, tolerance=0.0)
    torch.testing.assert_close(agree(general, special, dustbin, SETS, covers), close, atol=1e-3, rtol=0)


def test_no_inputs_give_no_answers():
    general, special, dustbin = said(0, num_rows=0)
    assert agree(general, special, dustbin, SETS, torch.zeros(0, 3, dtype=torch.bool)).shape == (0, 5)
