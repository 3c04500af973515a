"""The generator layer by layer, its size and what each part does."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dlbi.training.paper.generator import (
    SCALES,
    WEIGHT_STD,
    Generator,
    ResidualBlock,
    Upsampling,
    initialise,
)

T, WIDTH, SIDE, N = 5, 8, 6, 2


def tiny(seed=0, n_blocks=2):
    network = Generator(n_frames=T, width=WIDTH, n_blocks=n_blocks)
    initialise(network, torch.Generator().manual_seed(seed))
    return network


def movie(seed=1, n=N, side=SIDE):
    return torch.randn(n, T, side, side, generator=torch.Generator().manual_seed(seed))


def no_dropout(n=N, side=SIDE):
    return torch.ones(n, WIDTH, side, side)


def shapes(network, *inputs):
    """Output shape of every module that the forward pass calls, by name."""
    found = {}
    for name, module in network.named_modules():
        module.register_forward_hook(
            lambda _m, _i, out, name=name: found.update(
                {name: tuple(out.shape)} if isinstance(out, torch.Tensor) else {}
            )
        )
    network(*inputs)
    return found


def test_full_size_is_that_of_the_paper():
    with torch.device("meta"):
        network = Generator()
        found = shapes(network, torch.empty(1, 200, 60, 60), torch.empty(1, 256, 60, 60))
    assert 22.5e6 < sum(p.numel() for p in network.parameters()) < 23.5e6
    first = network.first[0]
    assert (first.in_channels, first.out_channels, first.kernel_size) == (200, 256, (7, 7))
    assert sum(isinstance(m, ResidualBlock) for m in network.modules()) == 16
    assert found["first"] == found["merge"] == (1, 256, 60, 60)
    assert all(found[f"blocks.{i}"] == (1, 256, 60, 60) for i in range(16))
    for i, scale in enumerate(SCALES):
        side = 60 * scale
        assert found[f"stages.{i}.0"] == (1, 256, side // 2, side // 2)
        assert found[f"stages.{i}"] == (1, 64, side, side)
        assert found[f"readouts.{i}"] == (1, 1, side, side)


def test_layers_of_a_residual_block():
    kinds = [type(m) for m in ResidualBlock(4).residual]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d]


def test_a_residual_block_adds_to_its_input():
    block = ResidualBlock(4)
    x = torch.randn(2, 4, 5, 5)
    nn.init.zeros_(block.residual[4].weight)
    nn.init.constant_(block.residual[4].bias, 0.25)
    torch.testing.assert_close(block(x), x + 0.25)


def test_upsampling_shuffles_channels_into_pixels():
    stage = Upsampling(1, 4)
    nn.init.zeros_(stage[0].weight)
    stage[0].bias.data = torch.tensor([1.0, 2.0, 3.0, -4.0])
    image = stage(torch.zeros(1, 1, 2, 1))
    torch.testing.assert_close(image, torch.tensor([[1.0, 2], [3, 0], [1, 2], [3, 0]])[None, None])


def test_images_of_any_field_lie_between_minus_one_and_one():
    images = tiny()(torch.full((1, T, 3, 7), 1e4), torch.ones(1, WIDTH, 3, 7))
    assert [tuple(i.shape) for i in images] == [(1, 1, 3 * s, 7 * s) for s in SCALES]
    assert all(i.abs().max() <= 1 for i in images)


def silent_trunk(network):
    """Switch everything off that runs beside the denoise shortcut."""
    nn.init.zeros_(network.merge[1].weight)
    nn.init.zeros_(network.merge[1].bias)
    return network


def test_denoise_shortcut_adds_exactly_the_mean_of_all_channels():
    network, frames = tiny(), movie()
    mask = torch.bernoulli(torch.full((N, WIDTH, SIDE, SIDE), 0.8)) / 0.8
    dropped = torch.relu(network.first[0](frames)) * mask
    trunk = network.merge(network.blocks(dropped))
    with_shortcut = network.features(frames, mask)
    for channel in range(WIDTH):
        expected = trunk[:, channel] + dropped.sum(dim=1) / WIDTH
        torch.testing.assert_close(with_shortcut[:, channel], expected)


def test_dropout_acts_on_single_features():
    network, frames = silent_trunk(tiny()), movie()
    mask = no_dropout()
    before = network.features(frames, mask)
    mask[0, 3, 2, 4] = 0.0
    lost = network.first(frames)[0, 3, 2, 4] / WIDTH
    assert lost > 0
    change = before - network.features(frames, mask)
    torch.testing.assert_close(change[0, :, 2, 4], lost.expand(WIDTH))
    change[0, :, 2, 4] = 0.0
    assert torch.all(change == 0)


def test_dropout_comes_before_the_residual_blocks():
    network, seen = tiny(), []
    network.blocks.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    frames, mask = movie(), 1.25 * (torch.rand(N, WIDTH, SIDE, SIDE) < 0.8)
    network(frames, mask)
    torch.testing.assert_close(seen[0], network.first(frames) * mask)


def test_the_mask_decides_everything_random():
    network, frames = tiny().eval(), movie()
    mask = 1.25 * (torch.rand(N, WIDTH, SIDE, SIDE) < 0.8)
    first, again = network(frames, mask), network(frames, mask)
    other = network(frames, no_dropout())
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(one, two)
        assert not torch.equal(one, three)


@settings(max_examples=10, deadline=None)
@given(frame=st.integers(0, T - 1))
def test_every_frame_is_seen(frame):
    network, frames = tiny().eval(), movie(n=1)
    base = network(frames, no_dropout(1))[-1]
    frames[0, frame] += 1.0
    assert not torch.allclose(network(frames, no_dropout(1))[-1], base, atol=1e-8)


def test_a_first_layer_sees_seven_pixels():
    network = tiny()
    frames = torch.zeros(1, T, 15, 15, requires_grad=True)
    network.first[0](frames)[0, :, 7, 7].sum().backward()
    rows, columns = frames.grad[0].abs().sum(0).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 10, 4, 10)


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_the_halo_is_the_reach_of_a_pixel(n_blocks):
    network = tiny(n_blocks=n_blocks).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):  # positive, so that nothing cancels or is rectified
            nn.init.constant_(module.weight, 0.5 / module.weight[0].numel())
    halo = network.halo_px
    side = 2 * halo + 5
    frames = torch.ones(1, T, side, side, requires_grad=True)
    middle = slice(8 * (halo + 2), 8 * (halo + 3))
    image = network(frames, torch.ones(1, WIDTH, side, side))[-1][0, 0, middle, middle]
    image.sum().backward()
    rows, columns = frames.grad[0].abs().sum(0).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == 2 * (2, side - 3)


def test_weights_start_from_the_normal_law_of_the_paper():
    network = Generator(n_frames=20, width=32, n_blocks=2)
    initialise(network, torch.Generator().manual_seed(3))
    weights = torch.cat(
        [m.weight.flatten() for m in network.modules() if isinstance(m, nn.Conv2d)]
    ).detach()
    spread = WEIGHT_STD / (2 * len(weights)) ** 0.5
    assert WEIGHT_STD == 0.02
    assert abs(weights.std() - 0.02) < 5 * spread
    assert abs(weights.mean()) < 5 * 0.02 / len(weights) ** 0.5
    assert all(
        (m.bias == 0).all() for m in network.modules() if getattr(m, "bias", None) is not None
    )
    assert all((m.weight == 1).all() for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_initial_weights_depend_on_the_generator_alone():
    def weights(seed):
        return torch.cat([p.flatten() for p in tiny(seed).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("scale", SCALES)
def test_an_interface_holds_the_parameters_its_image_depends_on(scale):
    network = tiny()
    network(movie(), no_dropout())[SCALES.index(scale)].sum().backward()
    reached = {id(p) for p in network.parameters() if p.grad is not None}
    assert {id(p) for p in network.interface(scale)} == reached
    assert len(network.interface(scale)) == len(reached)
