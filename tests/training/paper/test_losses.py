"""Equations 3–9 on numbers small enough to compute by hand."""

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlbi.training.paper.losses import (
    adversarial_loss,
    discriminator_loss,
    expected_loss,
    generative_loss,
    generative_loss_x8,
    minimax_value,
    perceptual_loss,
    squared_error,
)

chance = st.floats(0.01, 0.99)


def log_odds(*probabilities):
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.log(p / (1 - p))


def test_equation_3_is_the_mean_over_training_images():
    assert expected_loss(torch.tensor([1.0, 2.0, 6.0])) == 3.0


def test_equation_4_is_the_value_of_the_game():
    value = minimax_value(log_odds(0.8, 0.5), log_odds(0.1, 0.6))
    assert value.item() == pytest.approx((log(0.8) + log(0.5)) / 2 + (log(0.9) + log(0.4)) / 2)


def test_equation_4_of_a_blind_discriminator():
    assert minimax_value(log_odds(0.5), log_odds(0.5)).item() == pytest.approx(-2 * log(2))


def test_equation_5_is_the_mean_over_all_fine_pixels():
    images = torch.zeros(2, 1, 2, 2)
    truth = torch.tensor([[1.0, 0.0], [0.0, -3.0]]).expand(2, 1, 2, 2).clone()
    truth[1] = 0.5
    torch.testing.assert_close(squared_error(images, truth), torch.tensor([10 / 4, 0.25]))


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_equation_5_divides_by_the_squared_scale_and_the_size_of_the_camera_image(scale):
    height, width = 3, 5
    images = torch.zeros(1, 1, scale * height, scale * width)
    truth = images.clone()
    truth[0, 0, 0, 0] = 1.0
    assert squared_error(images, truth).item() == pytest.approx(1 / (scale**2 * width * height))


def test_equation_6_is_a_sum_over_features():
    truth = torch.zeros(2, 3, 2, 2)
    images = truth.clone()
    images[0, 1, 0, 1], images[0, 2, 1, 1], images[1] = 2.0, -1.0, 0.5
    torch.testing.assert_close(perceptual_loss(images, truth), torch.tensor([5.0, 12 / 4]))


def test_equation_7_weighs_content_and_perception():
    loss = generative_loss(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 5e4]))
    torch.testing.assert_close(loss, torch.tensor([0.8, 0.05]))


def test_equation_8_weighs_content_adversary_and_perception():
    zero = torch.zeros(1)
    assert generative_loss_x8(zero + 2.0, zero, zero).item() == pytest.approx(1.0)
    assert generative_loss_x8(zero, zero - 3.0, zero).item() == pytest.approx(-3e-3)
    assert generative_loss_x8(zero, zero, zero + 5e4).item() == pytest.approx(0.05)


@given(p=chance)
def test_adversarial_loss_is_the_log_of_one_minus_d(p):
    assert adversarial_loss(log_odds(p)).item() == pytest.approx(log(1 - p))


@given(real=chance, fake=chance)
def test_equation_9_as_printed(real, fake):
    loss = discriminator_loss(log_odds(real), log_odds(fake))
    assert loss.item() == pytest.approx(log(fake) + log(1 - real))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_only_equation_4_has_the_posterior_as_its_optimum(share):
    """Images that are real with the probability `share` (Goodfellow et al. 2014, proposition 1)."""
    verdicts = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    z, sure = log_odds(*verdicts.tolist()), torch.tensor(60.0, dtype=torch.float64)
    game, printed = [], []
    for v in z:
        game.append(share * minimax_value(v, -sure) + (1 - share) * minimax_value(sure, v))
        printed.append(
            share * discriminator_loss(v, sure) + (1 - share) * discriminator_loss(-sure, v)
        )
    assert verdicts[torch.stack(game).argmax()].item() == pytest.approx(share)
    assert torch.stack(printed).argmin().item() in (0, 98)


def test_only_equation_4_teaches_a_fooled_discriminator():
    fooled = torch.tensor([12.0], requires_grad=True)
    real = torch.zeros(1)
    (game,) = torch.autograd.grad(-minimax_value(real, fooled), fooled)
    (printed,) = torch.autograd.grad(discriminator_loss(real, fooled).sum(), fooled)
    assert game.item() == pytest.approx(1.0, abs=1e-4)
    assert printed.item() == pytest.approx(0.0, abs=1e-4)


def test_saturated_verdicts_stay_finite():
    far = torch.tensor([1e4, -1e4], requires_grad=True)
    total = minimax_value(far, far) + discriminator_loss(far, far).sum()
    (total + adversarial_loss(far).sum()).backward()
    assert torch.isfinite(total)
    assert torch.isfinite(far.grad).all()
