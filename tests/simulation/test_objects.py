from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.simulation.objects import mitochondrion, siemens_star, worm_like_chain

SEEDS = st.integers(0, 2**32)


def worms(test):
    sizes = given(length_nm=st.floats(800, 7000), width_nm=st.floats(300, 600), seed=SEEDS)
    return settings(max_examples=30, deadline=None)(sizes(test))


def axis_and_half(outline):
    """Middle of the two sides of an outline, 10 nm apart, and half of the way between them."""
    one, other = np.split(outline, 2)
    return (one + other[::-1]) / 2, (one - other[::-1]) / 2


def size(vectors):
    return np.linalg.norm(vectors, axis=-1)


@worms
def test_outlines_are_closed_worms_of_the_size_asked(length_nm, width_nm, seed):
    outline, _ = mitochondrion(length_nm, width_nm, np.random.default_rng(seed))
    np.testing.assert_allclose(outline[0], outline[-1], atol=1e-6)
    axis, half = axis_and_half(outline)
    steps = size(np.diff(axis, axis=0))
    np.testing.assert_allclose(steps, 10.0, rtol=0.02)
    assert steps.sum() == pytest.approx(length_nm, abs=170)
    middle = 2 * size(half)[len(half) // 2]
    assert 0.6 * width_nm < middle < 1.6 * width_nm


def test_widths_spread_by_a_tenth():
    rng = np.random.default_rng(0)
    halves = [axis_and_half(mitochondrion(3000, 400, rng)[0])[1] for _ in range(300)]
    widths = [2 * size(half)[len(half) // 2] for half in halves]
    assert np.mean(widths) == pytest.approx(400, rel=0.02)
    assert 0.06 < np.std(np.log(widths)) < 0.12


@worms
def test_cristae_lie_inside(length_nm, width_nm, seed):
    """Every point is nearer to a point of the axis than the outline beside that point is."""
    outline, cristae = mitochondrion(length_nm, width_nm, np.random.default_rng(seed))
    axis, half = axis_and_half(outline)
    assert len(cristae) > 1
    for point in np.concatenate(cristae):
        assert (size(axis - point) < size(half)).any()


@worms
def test_cristae_are_transverse_and_70_to_150_nm_apart(length_nm, width_nm, seed):
    outline, cristae = mitochondrion(length_nm, width_nm, np.random.default_rng(seed))
    axis, half = axis_and_half(outline)
    roots, tips = (np.array([fold[end] for fold in cristae]) for end in (0, -1))
    rooted = [np.stack([size(axis + s * 0.9 * half - root) for s in (-1, 1)]) for root in roots]
    assert max(gap.min() for gap in rooted) < 1e-6
    at = np.array([gap.min(axis=0).argmin() for gap in rooted])
    gaps_nm = 10 * np.diff(at)
    assert (gaps_nm >= 70).all()
    assert (gaps_nm <= 150).all()
    share = size(tips - roots) / (2 * size(half[at]))
    assert (share > 0.49).all()
    assert (share < 0.86).all()
    cosine = np.abs(np.sum((tips - roots) * half[at], axis=1)) / size(tips - roots)
    np.testing.assert_allclose(cosine / size(half[at]), 1.0)


def test_cristae_start_at_both_sides():
    outline, cristae = mitochondrion(7000, 400, np.random.default_rng(1))
    one, _ = np.split(outline, 2)
    left = [size(one - fold[0]).min() < size(one - fold[-1]).min() for fold in cristae]
    assert 0.2 < np.mean(left) < 0.8


@pytest.mark.parametrize("persistence_nm", [100.0, 200.0])
def test_chains_forget_their_direction_over_the_persistence(persistence_nm):
    chain = worm_like_chain(np.full(100_000, persistence_nm), np.random.default_rng(0))
    steps = np.diff(chain, axis=0)
    np.testing.assert_allclose(size(steps), 10.0)
    for lag in (5, 10, 20):
        cosine = np.mean(np.sum(steps[lag:] * steps[:-lag], axis=1)) / 100
        assert cosine == pytest.approx(np.exp(-10 * lag / persistence_nm), abs=0.03)


def test_chains_bend_where_the_persistence_is_short():
    persistence_nm = np.repeat([200.0, 20.0], 20_000)
    steps = np.diff(worm_like_chain(persistence_nm, np.random.default_rng(0)), axis=0)
    cosine = np.sum(steps[1:] * steps[:-1], axis=1) / 100
    assert cosine[:19_998].mean() == pytest.approx(np.exp(-10 / 200), abs=0.01)
    assert cosine[19_999:].mean() == pytest.approx(np.exp(-10 / 20), abs=0.01)


def stars(test):
    sizes = given(
        n=st.integers(16, 48),
        inner_nm=st.floats(70, 300),
        growth=st.floats(3, 12),
        fill=st.sampled_from([0.0, 0.5]),
        seed=SEEDS,
    )
    return settings(max_examples=30, deadline=None)(sizes(test))


@stars
def test_spacing_of_spokes_is_proportional_to_the_radius(n, inner_nm, growth, fill, seed):
    spokes, _ = siemens_star(n, inner_nm, growth * inner_nm, fill, np.random.default_rng(seed))
    assert n // 2 <= len(spokes) < n
    radius = size(spokes[0])
    assert radius.min() == pytest.approx(inner_nm)
    assert radius.max() == pytest.approx(growth * inner_nm)
    for a, b in pairwise(spokes):
        np.testing.assert_allclose(size(b - a), 2 * np.sin(np.pi / n) * radius)


@stars
def test_spokes_fill_their_share(n, inner_nm, growth, fill, seed):
    spokes, _ = siemens_star(n, inner_nm, growth * inner_nm, fill, np.random.default_rng(seed))
    for y, x in (spoke.T for spoke in spokes):
        turned = np.angle((x + 1j * y) / (x[0] + 1j * y[0]))
        assert np.ptp(turned) == pytest.approx(fill * 2 * np.pi / n, abs=1e-9)
        rim = np.sort(turned[np.hypot(y, x) > 0.999 * growth * inner_nm])
        assert np.diff(rim, prepend=rim[0]).max() * growth * inner_nm < 21


@stars
def test_arcs_are_concentric_and_spaced_as_the_spokes(n, inner_nm, growth, fill, seed):
    outer_nm = growth * inner_nm
    _, arcs = siemens_star(n, inner_nm, outer_nm, fill, np.random.default_rng(seed))
    for arc in arcs:
        assert np.ptp(size(arc)) < 1e-6
    radii = np.array([size(arc[0]) for arc in arcs])
    np.testing.assert_allclose(np.diff(radii), 2 * np.pi / n * radii[:-1])
    assert radii[0] == pytest.approx(inner_nm)
    assert outer_nm / (1 + 2 * np.pi / n) < radii[-1] * (1 + 1e-9)
    assert radii[-1] <= outer_nm * (1 + 1e-9)


@stars
def test_arcs_keep_clear_of_the_spokes(n, inner_nm, growth, fill, seed):
    spokes, arcs = siemens_star(n, inner_nm, growth * inner_nm, fill, np.random.default_rng(seed))
    along = np.concatenate(spokes) @ [1j, 1]
    for arc in arcs[:: len(arcs) // 3]:
        for end in (arc[0], arc[-1]):
            apart = np.abs(np.angle(along / (end @ [1j, 1])))
            assert apart.min() > 0.49 * 2 * np.pi / n


def test_stars_are_turned_at_random():
    rng = np.random.default_rng(0)
    first = [siemens_star(20, 100, 900, 0.0, rng)[0][0][0] @ [1j, 1] for _ in range(200)]
    assert abs(np.mean(np.array(first) / 100)) < 0.2
