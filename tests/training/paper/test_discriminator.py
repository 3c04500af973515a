"""The discriminator layer by layer."""

import torch
from torch import nn

from dlbi.training.paper.discriminator import SLOPE, Discriminator
from dlbi.training.paper.generator import initialise


def tiny(seed=0):
    network = Discriminator(width=4)
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_eight_convolutions_grow_to_2048_channels_and_shrink_by_single_pixels():
    with torch.device("meta"):
        network = Discriminator()
    layers = [*convolutions(network.grow), *convolutions(network.shrink)]
    assert [c.out_channels for c in layers] == [64, 128, 256, 512, 1024, 2048, 1024, 512]
    assert [c.in_channels for c in layers] == [1, 64, 128, 256, 512, 1024, 2048, 1024]
    assert [c.kernel_size for c in layers] == 6 * [(4, 4)] + 2 * [(1, 1)]
    assert [c.stride for c in layers] == 6 * [(2, 2)] + 2 * [(1, 1)]
    block = convolutions(network.residual)
    assert block[0].in_channels == block[-1].out_channels == 512


def test_full_size_reads_images_of_the_paper():
    with torch.device("meta"):
        network, found = Discriminator(), []
        network.grow.register_forward_hook(lambda _m, _i, out: found.append(tuple(out.shape)))
        assert network(torch.empty(2, 1, 480, 480)).shape == (2,)
    assert found == [(2, 2048, 7, 7)]


def test_probability_is_the_sigmoid_of_the_log_odds():
    network = tiny()
    images = torch.randn(3, 1, 128, 192)
    log_odds = network(images)
    assert log_odds.std() > 1e-3
    torch.testing.assert_close(network.probability(images), 1 / (1 + torch.exp(-log_odds)))


def test_residual_block_is_added_before_the_verdict():
    network = tiny()
    images = torch.randn(2, 1, 128, 128)
    features = network.shrink(network.grow(images))
    total = features + network.residual(features)
    rectified = torch.where(total > 0, total, SLOPE * total)
    expected = rectified.mean(dim=(2, 3)) @ network.judge.weight[0] + network.judge.bias
    torch.testing.assert_close(network(images), expected)
    assert network.residual(features).std() > 0.1
