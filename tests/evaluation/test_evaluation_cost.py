import pytest
import torch
from torch import nn
from torch.nn import functional as F

from moist.evaluation import count_active_params, count_cost


class Call(nn.Module):
    """A module that calls a function of its inputs and its one weight."""

    def __init__(self, function, *shape):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(*shape))

    def forward(self, inputs):
        return self.function(inputs, self.weight)


def test_a_convolution_by_hand():
    # 3×3 kernel, 3 -> 8 channels, 32×32 outputs: 9 · 3 · 8 · 1024 = 221,184 for each image, however many there are
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    cost = count_cost(module, torch.zeros(5, 3, 32, 32))
    assert cost.macs == 221_184
    # 216 weights and 8 biases; 8 scales and 8 shifts; stored beside them 16 statistics and one int64 counter
    assert cost.params == 240
    assert cost.bytes == 4 * (240 + 16) + 8


def test_strided_grouped_and_transposed_convolutions():
    images = torch.zeros(2, 8, 16, 16)
    assert count_cost(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), images).macs == 9 * 8 * 8 * 8
    # transposed: each of 16×16 input positions meets 2×2 kernels of 8 -> 4 channels
    assert count_cost(nn.ConvTranspose2d(8, 4, 2, stride=2), images).macs == 256 * 4 * 8 * 4


def test_matrix_products_in_every_spelling():
    rows = torch.zeros(7, 5)
    assert count_cost(nn.Linear(5, 3), rows).macs == 15
    assert count_cost(nn.Linear(5, 3, bias=False), rows).macs == 15
    assert count_cost(Call(lambda x, w: x @ w, 5, 3), rows).macs == 15
    assert count_cost(Call(lambda x, w: x @ w, 5), rows).macs == 5  # a matrix times a vector
    assert count_cost(Call(lambda x, w: torch.addmv(x.new_zeros(7), x, w), 5), rows).macs == 5
    # four experts on every row
    assert count_cost(Call(lambda x, w: torch.einsum("nd,edh->neh", x, w), 4, 5, 3), rows).macs == 60
    assert count_cost(Call(lambda x, w: torch.bmm(x.expand(4, 7, 5), w), 4, 5, 3), rows).macs == 60
    assert count_cost(Call(lambda x, w: torch.baddbmm(x.new_zeros(1), x.expand(4, 7, 5), w), 4, 5, 3), rows).macs == 60
    assert count_cost(Call(lambda x, w: torch.addbmm(x.new_zeros(1), x.expand(4, 7, 5), w), 4, 5, 3), rows).macs == 60
    assert count_cost(Call(lambda x, w: torch.vmap(lambda v: x @ v)(w), 4, 5, 3), rows).macs == 60


@pytest.mark.parametrize("masked", [False, True])
def test_attention_by_hand(masked):
    def attend(inputs, weight):
        heads = inputs.unflatten(-1, (2, 4)).transpose(1, 2)  # (N, 2, 6, 4)
        mask = torch.ones(6, 6, dtype=torch.bool) if masked else None
        return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask) * weight

    # each of 2 heads: scores 6 · 6 · 4 and the weighted values 6 · 6 · 4
    assert count_cost(Call(attend, 1), torch.randn(3, 6, 8)).macs == 2 * (144 + 144)


def test_torchs_own_encoder_layer_is_not_hidden_by_its_fused_path():
    layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
    # 6 tokens: query, key, value and output 4 · 8 · 8, feed-forward 2 · 8 · 16; attention as above
    assert count_cost(layer, torch.randn(3, 6, 8)).macs == 6 * (4 * 64 + 2 * 128) + 2 * 288
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_recurrent_layer():
    # 4 gates of 5 units reading 3 inputs and 5 units, 6 steps
    assert count_cost(nn.LSTM(3, 5, batch_first=True), torch.randn(2, 6, 3)).macs == 6 * 20 * (3 + 5)


def test_embedding_reads_leave_padding_out():
    ids = torch.tensor([[1, 2, 0, 0], [3, 0, 0, 0]])
    # 3 rows of 5 dimensions over 2 inputs
    assert count_cost(nn.Embedding(9, 5, padding_idx=0), ids).macs == 7.5
    assert count_cost(nn.EmbeddingBag(9, 5, padding_idx=0), ids).macs == 7.5
    # without a padding row every id is read
    assert count_cost(nn.Embedding(9, 5), ids).macs == 20


def test_the_mean_is_taken_where_the_cost_depends_on_the_input():
    class Skipper(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 10)

        def forward(self, inputs):
            return self.linear(inputs[inputs[:, 0] > 0])

    assert count_cost(Skipper(), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).macs == 10


def test_the_module_and_the_generator_are_left_as_they_were():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2).eval(), nn.Dropout(0.5))
    state, generator = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    count_cost(module, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert [part.training for part in module] == [True, False, True]
    assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_shared_parameters_count_once():
    linear = nn.Linear(3, 3)
    module = nn.Sequential(linear, nn.ReLU(), linear)
    cost = count_cost(module, torch.zeros(1, 3))
    assert (cost.macs, cost.params, cost.bytes) == (18, 12, 48)


def test_a_sparse_part_counts_what_one_input_reads():
    class Experts(nn.Module):
        active_fraction = 2 / 8

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8, 4, 4))

    # 2 of 8 experts of 16 parameters, and a gate of 4 · 8
    assert count_active_params(nn.Sequential(nn.Linear(4, 8, bias=False), Experts())) == 32 + 32


def test_bytes_follow_the_stored_type():
    assert count_cost(nn.Linear(4, 4, bias=False).bfloat16(), torch.zeros(1, 4).bfloat16()).bytes == 32
