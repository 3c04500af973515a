import numpy as np
import pytest

from dlbi.core.errors import InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import StructureImage
from dlbi.simulation.presets import custom
from dlbi.simulation.scene import Labelling, Scene


def structure(density):
    density = np.asarray(density, np.float32)
    return StructureImage(density, PixelGrid(density.shape, 20.0))


RAMP = structure(np.linspace(0, 1, 256).reshape(16, 16))


def test_number_in_the_field():
    expected = Labelling(n_emitters=1234).expected(RAMP)
    assert expected.density.sum(dtype=float) == pytest.approx(1234, rel=1e-5)


def test_number_per_area():
    expected = Labelling(per_um2=50).expected(RAMP)
    assert expected.density.sum(dtype=float) == pytest.approx(50 * 0.32**2, rel=1e-5)


def test_paper_density():
    """int(value / 255 · MD · 4) · 0.25 fluorophores in a fine pixel."""
    value = np.arange(256)
    for most in (8, 15, 23):
        expected = Labelling(max_per_pixel=most, step=0.25).expected(
            structure((value / 255).reshape(16, 16))
        )
        paper = (value * most * 4 // 255) * 0.25
        off = np.abs(expected.density.ravel() - paper)
        assert (off == 0).mean() > 0.98
        assert off.max() <= 0.25


def test_scale_of_the_structure_does_not_matter():
    for labelling in (Labelling(n_emitters=9), Labelling(max_per_pixel=3.0)):
        np.testing.assert_allclose(
            labelling.expected(RAMP).density,
            labelling.expected(structure(7 * RAMP.density)).density,
            rtol=1e-5,
        )


@pytest.mark.parametrize(
    "amounts",
    [
        {},
        {"n_emitters": 5, "per_um2": 5},
        {"n_emitters": 0},
        {"n_emitters": np.nan},
        {"per_um2": -1},
    ],
)
def test_labelling_needs_one_positive_amount(amounts):
    with pytest.raises(InputError, match="exactly one positive amount"):
        Labelling(**amounts)


def test_empty_structures_are_refused():
    with pytest.raises(InputError, match="empty"):
        Labelling(n_emitters=5).expected(structure(np.zeros((4, 4))))
    with pytest.raises(InputError, match="leaves no fluorophore"):
        Labelling(n_emitters=5, step=1.0).expected(RAMP)


def test_trend_and_drift_span_the_movie():
    base = custom()
    scene = Scene(base.microscope, base.labelling, intensity_trend=-0.2, drift_nm=(30.0, -60.0))
    frames = np.arange(5)
    np.testing.assert_allclose(scene.trend(frames, 5), [1, 0.95, 0.9, 0.85, 0.8])
    drift = scene.drift(frames, 5)
    np.testing.assert_allclose(drift[-1] - drift[0], [30.0, -60.0])
    np.testing.assert_allclose(drift.mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(
    "bad",
    [
        {"haze": -0.1},
        {"background_factor": np.nan},
        {"out_of_focus_blur": 0.5},
        {"intensity_trend": -1.0},
        {"drift_nm": (np.inf, 0.0)},
    ],
)
def test_impossible_scenes_are_refused(bad):
    base = custom()
    with pytest.raises(InputError, match=next(iter(bad))):
        Scene(base.microscope, base.labelling, **bad)
