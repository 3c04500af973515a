"""The loss, term by term, against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dlbi.training.compact.objective import (
    CHARBONNIER_SOFTENING,
    ERROR_WEIGHT,
    GRADIENT_WEIGHT,
    LEAST_ERROR,
    STRUCTURE_WEIGHT,
    charbonnier,
    enlarged,
    gradient_loss,
    image_loss,
    laplace_nll,
    objective,
    weighted_mean,
)


def images(x2=0.0, x4=0.0, x8=0.0, log_sigma=0.0, logit=0.0, side=1):
    fine = torch.tensor([x8, log_sigma, logit]).view(1, 3, 1, 1).repeat(1, 1, 8 * side, 8 * side)
    coarse = (torch.full((1, 1, s * side, s * side), v) for s, v in ((2, x2), (4, x4)))
    return (*coarse, fine.requires_grad_())


def flat(value, side=1):
    return torch.full((1, 1, 8 * side, 8 * side), value)


ONE = torch.ones(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("penalty", "of"),
    [("square", lambda r: r**2), ("robust", lambda r: math.hypot(r, 0.05) - 0.05)],
)
def test_the_sum_of_all_terms(penalty, of):
    loss = objective(
        images(x2=1.5, x4=2.5, x8=4.0, log_sigma=math.log(2.0), logit=1.0),
        flat(1.0), flat(1.0), ONE, penalty,
    )  # fmt: skip
    by_hand = 0.3 * of(0.5) + 0.3 * of(1.5) + of(3.0)
    by_hand += 0.05 * (math.sqrt(2) * (3.0 + LEAST_ERROR) / 2.0 + math.log(2.0))
    by_hand += 0.1 * math.log(1 + math.exp(-1.0))
    assert loss.item() == pytest.approx(by_hand, rel=1e-6)


def test_coarse_targets_keep_the_mean_light():
    target = torch.zeros(1, 1, 8, 8)
    target[..., 0, 0] = 8.0  # mean square of the 4×4 block: 4; of the 2×2 block: 16
    x2, x4 = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 4, 4)
    x2[..., 0, 0], x4[..., 0, 0] = 2.0, 4.0
    fine = torch.zeros(1, 3, 8, 8)
    fine[:, :1] = target
    loss = objective((x2, x4, fine), target, torch.zeros(1, 1, 8, 8), ONE, "square")
    rest = ERROR_WEIGHT * math.sqrt(2) * LEAST_ERROR + STRUCTURE_WEIGHT * math.log(2)
    assert loss.item() == pytest.approx(rest, rel=1e-6)


@pytest.mark.parametrize("penalty", ["square", "robust"])
def test_pixels_that_do_not_count_have_no_influence(penalty):
    side = 3
    counted = torch.zeros(1, 1, side, side)
    counted[..., 1, 1] = 1.0
    outputs = tuple(torch.randn_like(i).requires_grad_() for i in images(side=side))
    objective(outputs, flat(1.0, side), flat(1.0, side), counted, penalty).backward()
    for factor, image in zip((2, 4, 8), outputs, strict=True):
        middle = slice(factor, 2 * factor)
        assert image.grad[..., middle, middle].all()
        image.grad[..., middle, middle] = 0.0
        assert not image.grad.any()


def test_a_doubtful_error_does_not_pull_the_image():
    certain = images(x8=2.0, log_sigma=-3.0)
    objective(certain, flat(1.0), flat(0.0), ONE, "square").backward()
    assert certain[-1].grad[0, 0].flatten() == pytest.approx([2 * 1.0 / 64] * 64)


@given(st.floats(-2.0, 2.0))
def test_the_best_claim_is_the_error_itself(residual):
    error = torch.tensor(residual)
    best = math.log(math.sqrt(2) * (abs(residual) + LEAST_ERROR))
    log_sigma = torch.tensor(best, requires_grad=True)
    laplace_nll(error, log_sigma).backward()
    assert log_sigma.grad.item() == pytest.approx(0.0, abs=1e-5)
    for other in (best - 0.5, best + 0.5):
        assert laplace_nll(error, torch.tensor(other)) > laplace_nll(error, log_sigma)


def test_the_claimed_sigma_of_laplace_noise_is_its_standard_deviation():
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(200_000, generator=generator, dtype=torch.float64) - 0.5
    noise = -3.0 * u.sign() * torch.log1p(-2 * u.abs())  # scale 3, standard deviation 3√2
    log_sigma = torch.linspace(0.5, 2.5, 201, dtype=torch.float64)
    nll = torch.stack([laplace_nll(noise, s).mean() for s in log_sigma])
    assert log_sigma[nll.argmin()].exp().item() == pytest.approx(3 * math.sqrt(2), rel=0.02)


def test_charbonnier_is_square_near_zero_and_absolute_far_away():
    small = 1e-3
    near = charbonnier(torch.tensor(small, dtype=torch.float64)).item()
    assert near == pytest.approx(small**2 / (2 * CHARBONNIER_SOFTENING), rel=1e-3)
    assert charbonnier(torch.tensor(-100.0)).item() == pytest.approx(100 - 0.05, rel=1e-6)


def test_the_gradient_loss_counts_pairs_of_counted_pixels():
    residual = torch.tensor([[[[0.0, 1.0, 5.0], [2.0, 2.0, 9.0]]]])
    weight = torch.tensor([[[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]]])
    along_y, along_x = (2 + 1) / 2, (1 + 0) / 2
    assert gradient_loss(residual, weight).item() == pytest.approx(along_y + along_x)


def test_the_robust_penalty_adds_the_error_of_the_gradient():
    residual = torch.tensor([[[[0.0, 1.0]]]]).repeat(1, 1, 2, 1)
    weight = torch.ones_like(residual)
    by_hand = 0.5 * (math.hypot(1, 0.05) - 0.05) + GRADIENT_WEIGHT * 1.0
    assert image_loss(residual, weight, "robust").item() == pytest.approx(by_hand)
    assert image_loss(residual, weight, "square").item() == pytest.approx(0.5)


def test_weighted_mean_and_enlarged():
    assert weighted_mean(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([1.0, 3.0, 0.0])) == 7 / 4
    assert enlarged(torch.tensor([[1, 2]]), 2).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
