"""Dropout from random bytes, limited weights, and the rows that networks see."""

import numpy as np
import pytest
import torch

from moist.data import InputShape
from moist.recipes.hinton.regularised import ByteDropout, MaxNormLinear, regularised_network, small_start_network
from moist.recipes.hinton.rows import RowsSettings, choose_rows
from moist.types import UserError


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    torch.manual_seed(0)
    dropout = ByteDropout(share)
    dropped = dropout(torch.ones(400, 1000))
    kept = 1 - round(256 * share) / 256
    assert (dropped > 0).float().mean().item() == pytest.approx(kept, abs=0.004)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / kept]))
    # Each of the eight bytes of a draw is as random as the others.
    by_byte = (dropped.view(-1, 8) > 0).float().mean(dim=0)
    assert (by_byte - kept).abs().max() < 0.01


def test_dropout_is_idle_outside_training():
    inputs = torch.randn(3, 5)
    assert ByteDropout(0.5).eval()(inputs) is inputs
    assert ByteDropout(0.0)(inputs) is inputs


def test_long_weights_are_scaled_down_and_short_ones_left():
    layer = MaxNormLinear(2, 2, max_norm=2.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.6, 0.8]]))
    layer.eval()(torch.zeros(1, 2))
    assert layer.weight[0].norm() == 5
    layer.train()(torch.zeros(1, 2))
    torch.testing.assert_close(layer.weight, torch.tensor([[1.2, 1.6], [0.6, 0.8]]))


def test_the_networks_shape():
    network = regularised_network(10, InputShape("vision", (1, 28, 28)))
    assert sum(p.numel() for p in network.parameters()) == 785 * 1200 + 1201 * 1200 + 1201 * 10


TARGET = np.repeat([0, 1, 2], [10, 20, 30])


def test_a_share_of_each_class():
    rows = choose_rows(RowsSettings(fraction=0.1), TARGET)
    assert np.bincount(TARGET[rows]).tolist() == [1, 2, 3]
    np.testing.assert_array_equal(rows, choose_rows(RowsSettings(fraction=0.1), TARGET))
    assert set(rows) != set(choose_rows(RowsSettings(fraction=0.1, seed=1), TARGET))


def test_classes_kept_and_left_out():
    assert set(TARGET[choose_rows(RowsSettings(without=(1,)), TARGET)]) == {0, 2}
    assert set(TARGET[choose_rows(RowsSettings(only=(1, 2)), TARGET)]) == {1, 2}
    with pytest.raises(UserError, match="none of classes"):
        choose_rows(RowsSettings(only=(7,)), TARGET)


def test_a_small_start_is_small_and_of_the_plain_networks_size():
    network = small_start_network(10, InputShape("vision", (1, 28, 28)), hidden=[800, 800], initial_std=0.02)
    assert sum(parameter.numel() for parameter in network.parameters()) == 785 * 800 + 801 * 800 + 801 * 10
    for layer in (network[1], network[3], network[5]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
