"""Steps: which objective tunes what, and how they are optimised together."""

import pytest
import torch
from torch import nn

from dlbi.training.paper.batches import Batch
from dlbi.training.paper.discriminator import Discriminator
from dlbi.training.paper.features import StructureFeatures
from dlbi.training.paper.generator import SCALES, Generator, initialise
from dlbi.training.paper.losses import (
    adversarial_loss,
    discriminator_loss,
    expected_loss,
    minimax_value,
)
from dlbi.training.paper.steps import (
    Players,
    descend_together,
    gan_losses,
    optimizers_of,
    pretraining_losses,
    set_learning_rate,
)

T, WIDTH, SIDE, N = 3, 8, 8, 2
RATE = 1e-3


def players(seed=0):
    source = torch.Generator().manual_seed(seed)
    generator, discriminator = Generator(T, WIDTH, 1), Discriminator(4)
    features = StructureFeatures(16, 2)
    for network in (generator, discriminator, features):
        initialise(network, source)
        for module in network.modules():  # few channels need large weights to pass a signal on
            if isinstance(module, nn.Conv2d):
                module.weight.data *= 6.0
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.abs_()
    features.std.fill_(0.01)  # large features, so that 10⁻⁶ of their error shows
    return Players(generator, discriminator, features.requires_grad_(False))


def batch(seed=1, n=N):
    source = torch.Generator().manual_seed(seed)
    truths = [2 * torch.rand(n, 1, s * SIDE, s * SIDE, generator=source) - 1 for s in SCALES]
    return Batch(torch.randn(n, T, SIDE, SIDE, generator=source), tuple(truths))


def masks(n=N):
    return 1.25 * (torch.rand(n, WIDTH, SIDE, SIDE, generator=torch.Generator()) < 0.8)


def optimizers(both, learning_rate=RATE):
    return optimizers_of(both.generator, both.discriminator, learning_rate, 0.9)


def gradients(loss, parameters):
    return torch.autograd.grad(loss, parameters, retain_graph=True)


def test_pretraining_losses_are_the_mean_squared_errors():
    both, data = players(), batch()
    losses = pretraining_losses(both, data, masks())
    images = both.generator(data.frames, masks())
    for scale, image, true in zip(SCALES, images, data.truths, strict=True):
        torch.testing.assert_close(losses[f"x{scale}"], nn.functional.mse_loss(image, true))
    assert list(losses) == ["x2", "x4", "x8"]


@pytest.mark.parametrize("objective", ["minimax", "eq9"])
def test_gan_losses_are_equations_7_8_and_4_or_9(objective):
    both, data = players(), batch()
    losses = gan_losses(both, data, masks(), objective)
    images = both.generator(data.frames, masks())
    real, fake = both.discriminator(data.truths[2]), both.discriminator(images[2])
    for scale, image, true in zip(SCALES, images, data.truths, strict=True):
        mse = (image - true).square().mean()
        vgg = (both.features(image) - both.features(true)).square().sum() / N
        assert 1e-6 * vgg > 1e-2 * mse
        adversarial = torch.log(1 - torch.sigmoid(fake)).mean()
        expected = (
            0.4 * mse + 1e-6 * vgg if scale < 8 else 0.5 * mse + 1e-3 * adversarial + 1e-6 * vgg
        )
        torch.testing.assert_close(losses[f"x{scale}"], expected)
    expected = (
        -minimax_value(real, fake)
        if objective == "minimax"
        else discriminator_loss(real, fake).mean()
    )
    torch.testing.assert_close(losses["discriminator"], expected)


def test_losses_survive_half_precision():
    """As on CUDA, where the networks run in bfloat16 and the losses in float32."""
    both, data = players(), batch()
    exact = gan_losses(both, data, masks(), "minimax")
    with torch.autocast("cpu", torch.bfloat16):
        rough = gan_losses(both, data, masks(), "minimax")
    assert all(loss.dtype == torch.float32 for loss in rough.values())
    assert all(rough[name].item() == pytest.approx(exact[name].item(), rel=0.05) for name in exact)


@pytest.mark.parametrize("objective", ["minimax", "eq9"])
def test_gradients_reach_every_parameter(objective):
    both = players()
    losses = gan_losses(both, batch(), masks(), objective)
    for scale in SCALES:
        tuned = both.generator.interface(scale)
        assert all(g.abs().sum() > 0 for g in gradients(losses[f"x{scale}"], tuned))
    tuned = [p for scale in SCALES for p in both.generator.interface(scale)]
    assert {id(p) for p in tuned} == {id(p) for p in both.generator.parameters()}
    tuned = list(both.discriminator.parameters())
    assert all(g.abs().sum() > 0 for g in gradients(losses["discriminator"], tuned))


def test_each_scale_has_its_own_step():
    """The first step of Adam is the learning rate times the sign, so three steps can be told."""
    both, data = players(), batch()
    losses = pretraining_losses(both, data, masks())
    signs = {}
    for s in SCALES:
        tuned = both.generator.interface(s)
        steps = (gradient.sign() for gradient in gradients(losses[f"x{s}"], tuned))
        signs[s] = dict(zip(tuned, steps, strict=True))
    before = {p: p.detach().clone() for p in both.generator.parameters()}
    descend_together(losses, optimizers(both))
    opposed = 0
    for parameter, old in before.items():
        expected = sum(signs[s][parameter] for s in SCALES if parameter in signs[s])
        moved = (old - parameter.detach()) / RATE
        clear = (expected - moved).abs() < 0.05
        assert clear.float().mean() > 0.95
        opposed += (expected.abs() != sum(parameter in signs[s] for s in SCALES)).sum().item()
    assert opposed > 0


def test_three_steps_are_not_a_step_on_the_sum():
    both, data = players(), batch()
    losses = pretraining_losses(both, data, masks())
    weight = both.generator.first[0].weight
    before = weight.detach().clone()
    descend_together(losses, optimizers(both))
    assert (weight.detach() - before).abs().max() > 2.9 * RATE
    alone = players()
    total = sum(pretraining_losses(alone, data, masks()).values())
    optimizer = torch.optim.Adam(alone.generator.parameters(), RATE)
    total.backward()
    optimizer.step()
    assert (alone.generator.first[0].weight.detach() - before).abs().max() < 1.01 * RATE


def test_all_gradients_are_taken_before_the_first_step():
    """With plain gradient descent, simultaneous steps are one step on the sum."""
    both, together = nn.Linear(2, 1), nn.Linear(2, 1)
    together.load_state_dict(both.state_dict())
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    parts = {"x2": both(x).square().sum(), "x4": both(x).pow(4).sum()}
    descend_together(parts, {n: torch.optim.SGD(both.parameters(), 0.01) for n in parts})
    total = together(x).square().sum() + together(x).pow(4).sum()
    total.backward()
    for ours, parameter in zip(both.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter - 0.01 * parameter.grad)


def test_pretraining_leaves_the_discriminator_alone():
    both = players()
    before = {n: v.clone() for n, v in both.discriminator.state_dict().items()}
    descend_together(pretraining_losses(both, batch(), masks()), optimizers(both))
    assert all(torch.equal(v, before[n]) for n, v in both.discriminator.state_dict().items())


def test_pretraining_lowers_the_error_at_every_scale():
    both, data = players(), batch()
    tuned = optimizers(both, 1e-2)
    first = pretraining_losses(both, data, masks())
    for _ in range(30):
        descend_together(pretraining_losses(both, data, masks()), tuned)
    last = pretraining_losses(both, data, masks())
    assert all(last[name] < 0.98 * first[name] for name in first)


def test_the_learning_rate_is_that_of_every_optimizer():
    tuned = optimizers(players())
    set_learning_rate(tuned.values(), 0.5)
    assert [g["lr"] for o in tuned.values() for g in o.param_groups] == 4 * [0.5]
    assert [g["betas"][0] for o in tuned.values() for g in o.param_groups] == 4 * [0.9]


def test_the_discriminator_learns_and_can_be_fooled():
    """A small game: first only the discriminator plays, then only the generator."""
    both, data = players(), batch(n=4)
    tuned = optimizers(both, 2e-3)

    def verdicts():
        image = both.generator(data.frames, masks(4))[2]
        return both.discriminator(data.truths[2]), both.discriminator(image)

    for _ in range(40):
        descend_together({"discriminator": -minimax_value(*verdicts())}, tuned)
    real, fake = (torch.sigmoid(v).mean().item() for v in verdicts())
    assert real > 0.6 > 0.4 > fake
    for _ in range(40):
        descend_together({"x8": expected_loss(adversarial_loss(verdicts()[1]))}, tuned)
    assert torch.sigmoid(verdicts()[1]).mean().item() > fake + 0.2
