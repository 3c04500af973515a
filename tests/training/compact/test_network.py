"""The compact network: shapes, reach, dropout, and what it says before it is trained."""

import math

import pytest
import torch
from torch import nn

from dlbi.training.compact.network import (
    INITIAL_LOG_SIGMA,
    INITIAL_LOGIT,
    CompactNetwork,
    ResidualBlock,
    block_amplitude,
    initialise,
)

S, C, WIDTHS = 3, 6, (4, 3, 2)


@pytest.fixture
def network():
    built = CompactNetwork(S, C, 2, WIDTHS)
    initialise(built, torch.Generator().manual_seed(0))
    return built


@pytest.fixture
def trained(network):
    """All weights positive, so that no ReLU hides an influence."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(0.01, 0.1, generator=generator)
    return network.double()


def inputs(y, x, n=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    return (
        torch.rand(n, S, y, x, generator=generator, dtype=dtype),
        torch.rand(n, 1, 8 * y, 8 * x, generator=generator, dtype=dtype),
        torch.ones(n, C, y, x, dtype=dtype),
    )


def test_three_scales_of_any_field(network):
    images = network(*inputs(5, 9, n=2))
    assert [tuple(image.shape) for image in images] == [
        (2, 1, 10, 18), (2, 1, 20, 36), (2, 3, 40, 72),
    ]  # fmt: skip


def test_untrained_it_draws_nothing_and_knows_it_may_be_wrong(network):
    *coarse, fine = network(*inputs(6, 6))
    assert all(not image.any() for image in coarse)
    expected = torch.tensor([0.0, INITIAL_LOG_SIGMA, INITIAL_LOGIT])
    assert torch.equal(fine, expected.view(1, 3, 1, 1).expand(1, 3, 48, 48))


def test_untrained_blocks_are_the_identity(network):
    features = torch.randn(1, C, 4, 4)
    assert torch.equal(network.blocks(features), features)


def test_a_block_adds_what_two_convolutions_make_of_the_features():
    block = ResidualBlock(1)
    with torch.no_grad():
        for convolution, weight in ((block.first, 2.0), (block.second, 3.0)):
            nn.init.zeros_(convolution.weight)
            nn.init.zeros_(convolution.bias)
            convolution.weight[0, 0, 1, 1] = weight
    assert block(torch.tensor([[[[1.0, -1.0]]]])).flatten().tolist() == [7.0, -1.0]


def test_weights_are_a_function_of_the_seed_with_the_variance_of_he():
    a, b, other = (CompactNetwork(20, 32, 1) for _ in range(3))
    for network, seed in ((a, 5), (b, 5), (other, 6)):
        initialise(network, torch.Generator().manual_seed(seed))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.from_guide.weight, other.from_guide.weight)
    fan_in = 20 * 7 * 7
    assert a.from_statistics.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
    assert not a.from_statistics.bias.any()


def test_the_denoise_shortcut_adds_the_mean_of_what_dropout_left(network):
    nn.init.zeros_(network.merge.weight)
    seen = []
    network.stages[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    statistics, guide, mask = inputs(4, 4)
    mask[:, : C // 2] = 0.0
    network(statistics, guide, mask)

    by_hand = torch.zeros(1, C, 4, 4)
    folded = guide.view(1, 4, 8, 4, 8).permute(0, 2, 4, 1, 3).reshape(1, 64, 4, 4)
    first = torch.relu(network.from_statistics(statistics) + network.from_guide(folded))
    by_hand += first[:, C // 2 :].sum(dim=1, keepdim=True) / C
    torch.testing.assert_close(seen[0], by_hand)


def test_what_dropout_takes_away_has_no_influence(trained):
    statistics, guide, mask = inputs(8, 8, dtype=torch.float64)
    mask[:] = 0.0
    before = trained(statistics, guide, mask)[-1]
    assert torch.equal(trained(statistics + 1.0, guide, mask)[-1], before)
    assert not torch.equal(trained(statistics, guide + 1.0, mask)[-1], before)


def test_the_last_head_can_copy_the_guide_at_full_resolution(network):
    head = network.heads[-1]
    with torch.no_grad():
        head.weight[0, -1, 1, 1] = 1.0
    statistics, guide, mask = inputs(6, 6)
    assert torch.equal(network(statistics, guide, mask)[-1][:, :1], guide)


def test_halo_is_the_exact_reach(trained):
    side, middle = 2 * trained.halo_px + 11, trained.halo_px + 5
    statistics, guide, mask = inputs(side, side, dtype=torch.float64)
    statistics.requires_grad_()
    guide.requires_grad_()
    pixel = slice(8 * middle, 8 * (middle + 1))
    trained(statistics, guide, mask)[-1][..., pixel, pixel].sum().backward()
    reached = statistics.grad[0].sum(0).nonzero() - middle
    assert (int(reached.min()), int(reached.max())) == (-trained.halo_px, trained.halo_px)
    seen = guide.grad[0, 0].nonzero() // 8 - middle
    assert int(seen.abs().max()) <= trained.halo_px


def test_amplitude_of_a_block_keeps_the_mean_light():
    fine = torch.tensor([[[[1.0, 7.0, 0.0, 0.0], [5.0, 5.0, 0.0, 2.0]]]])
    assert block_amplitude(fine, 2).flatten().tolist() == [5.0, 1.0]
    assert block_amplitude(fine, 1) is fine
