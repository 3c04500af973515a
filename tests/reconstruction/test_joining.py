"""The joins against their formulas, written out."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from dlbi.reconstruction.joining import (
    joined_with_deconvolution,
    joined_with_network,
    nearer_to_movie,
)


def blurred(image, sigma):
    return gaussian_filter(image.astype(np.float64), sigma, mode="nearest")


def with_light(image, light):
    return image * (light / image.sum())


def without_veil(image):
    """Less of a pixel the likelier it is that one of its brightness is empty."""
    level = np.log(image * image.sum() / (image**2).sum() + 0.01)
    return image * (1.0 - expit(-1.80 - 1.61 * level - 0.09 * level**2) ** 4)


@pytest.fixture
def images():
    rng = np.random.default_rng(4)
    return [
        gaussian_filter(rng.gamma(1.0, scale, (60, 70)), 1.0).astype(np.float32)
        for scale in (1.0, 5.0, 0.2)
    ]


def test_sampled_density_and_network_count_the_same_after_a_blur(images):
    sampled, network, _ = images
    expected = network * (blurred(sampled, 2.0) / blurred(network, 2.0)) ** 0.5
    found = joined_with_network(sampled, network)
    np.testing.assert_allclose(found, with_light(expected, sampled.sum()), rtol=1e-3)


@pytest.mark.parametrize(
    ("per_fluorophore", "weight"), [(7.0, 0.5), (0.8, 0.4), (0.5, 0.25), (0.1, 0.25)]
)
def test_emitters_that_stand_for_several_fluorophores_count_less(images, per_fluorophore, weight):
    sampled, network, _ = images
    expected = network * (blurred(sampled, 2.0) / blurred(network, 2.0)) ** weight
    found = joined_with_network(sampled, network, per_fluorophore=per_fluorophore)
    np.testing.assert_allclose(found, with_light(expected, sampled.sum()), rtol=1e-3)


def test_the_more_precisely_emissions_are_placed_the_more_of_the_sampled_density_is_taken(images):
    """Split into 64: other images weigh a quarter, the comparison is an eighth as wide."""
    sampled, other, guide = images
    seen, expected = (blurred(image, 0.25) for image in (sampled, other))
    network = joined_with_network(sampled, other, splitting=64.0)
    joined = with_light(other * (seen / expected) ** 0.875, sampled.sum())
    np.testing.assert_allclose(network, joined, rtol=1e-3)
    flat = joined_with_deconvolution(sampled, other, None, splitting=64.0)
    joined = with_light(sampled.astype(np.float64) ** 0.925 * other**0.075, sampled.sum())
    np.testing.assert_allclose(flat, joined, rtol=1e-3)
    told = with_light(guide**0.4 * other.astype(np.float64) ** 0.6, other.sum())
    guided = joined_with_deconvolution(sampled, other, guide, splitting=64.0)
    joined = without_veil(told * (blurred(sampled, 0.5) / blurred(told, 0.5)) ** 0.875)
    np.testing.assert_allclose(guided, with_light(joined, sampled.sum()), rtol=1e-3)


def test_the_network_alone_gets_three_tenths_of_its_correction_and_keeps_its_light(images):
    explaining, network, _ = images
    expected = network * (blurred(explaining, 2.0) / blurred(network, 2.0)) ** 0.3
    found = nearer_to_movie(network, explaining)
    np.testing.assert_allclose(found, with_light(expected, network.sum()), rtol=1e-3)


def test_a_network_that_sees_nothing_shows_nothing(images):
    nothing = np.zeros_like(images[0])
    assert not nearer_to_movie(nothing, images[0]).any()


def test_without_a_network_the_sampled_density_outweighs_its_deconvolution(images):
    sampled, explaining, _ = images
    expected = sampled.astype(np.float64) ** 0.7 * explaining**0.3
    found = joined_with_deconvolution(sampled, explaining, None)
    np.testing.assert_allclose(found, with_light(expected, sampled.sum()), rtol=1e-3)


@pytest.mark.parametrize(("per_fluorophore", "share"), [(1.0, 0.4), (0.7, 0.28), (0.1, 0.2)])
def test_a_guide_of_the_user_counts_beside_its_deconvolution(images, per_fluorophore, share):
    sampled, explaining, guide = images
    told = guide**share * explaining.astype(np.float64) ** (1.0 - share)
    # The unit of a guide means nothing.
    told = with_light(told, explaining.sum())
    expected = without_veil(told * (blurred(sampled, 4.0) / blurred(told, 4.0)) ** 0.5)
    for unit in (1.0, 1000.0):
        found = joined_with_deconvolution(
            sampled, explaining, np.float32(unit) * guide, per_fluorophore=per_fluorophore
        )
        np.testing.assert_allclose(found, with_light(expected, sampled.sum()), rtol=1e-3)


def test_beside_a_guide_the_dark_loses_light_and_structure_keeps_it():
    """Without a guide it does not: there the image explains the mean of the movie as it is."""
    structure = np.zeros((60, 70), np.float32)
    structure[20:40, 30:35] = 10.0
    veiled = structure + 0.3
    dark = structure == 0
    alone, guided = (
        joined_with_deconvolution(veiled, veiled, guide)[dark].mean() for guide in (None, veiled)
    )
    assert alone == pytest.approx(0.3, rel=1e-3)
    assert guided < 0.7 * alone
    kept = joined_with_deconvolution(veiled, veiled, veiled)
    assert kept.sum() == pytest.approx(veiled.sum(), rel=1e-5)
    assert kept[30, 32] > 10.0
