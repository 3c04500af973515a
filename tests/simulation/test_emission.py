import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.optics import FwhmLaw
from dlbi.core.photophysics import BlinkingChain, PhotonLaw
from dlbi.simulation.blinking import DwellLaw, start_states
from dlbi.simulation.emission import EmissionTable, brightness_table, emit, emit_reference

BLINK, LIGHT = np.uint64(11), np.uint64(22)
ALWAYS = DwellLaw.of(BlinkingChain(0.0, 1.0))
FWHM = FwhmLaw(422.0, 0.025, 412.0, 433.0)


def render(y, x, *, law=ALWAYS, table=None, shape=(4, 40, 40), drift_px=None):
    table = table or EmissionTable.of(FWHM, PhotonLaw(100.0, 0.3), 160.0)
    canvas = np.zeros(shape, np.float32)
    signal = np.zeros(len(y))
    drift = np.zeros((shape[0], 2)) if drift_px is None else drift_px
    states = start_states(len(y), law, BLINK)
    emit(
        np.asarray(y, float),
        np.asarray(x, float),
        BLINK,
        LIGHT,
        law,
        table,
        states,
        0,
        drift,
        canvas,
        signal,
    )
    return canvas, signal


def test_kernel_equals_reference():
    rng = np.random.default_rng(0)
    y, x = rng.uniform(12, 28, (2, 60))
    law = DwellLaw.of(BlinkingChain(0.79, 0.305, 0.02))
    table = EmissionTable.of(FwhmLaw(422.0, 0.2, 200.0, 800.0), PhotonLaw(100.0, 0.6), 160.0)
    canvas, _ = render(y, x, law=law, table=table, shape=(50, 40, 40))
    exact = emit_reference(y, x, BLINK, LIGHT, law, table, (50, 40, 40))
    assert np.abs(canvas - exact).max() < 1e-4 * exact.max()


def test_photons_are_conserved():
    rng = np.random.default_rng(1)
    canvas, signal = render(*rng.uniform(12, 28, (2, 50)))
    assert canvas.sum(dtype=float) == pytest.approx(signal.sum(), rel=3e-4)


def test_superposition():
    rng = np.random.default_rng(2)
    y, x = rng.uniform(8, 18, (2, 20))
    away = 30.0
    first, second = np.arange(20) < 10, np.arange(20) >= 10
    near = slice(0, 24)
    both, _ = render(y, x)
    a, _ = render(np.where(first, y, away), np.where(first, x, away))
    b, _ = render(np.where(second, y, away), np.where(second, x, away))
    np.testing.assert_allclose(
        both[:, near, near], a[:, near, near] + b[:, near, near], atol=1e-5 * both.max()
    )


@pytest.mark.parametrize(("row", "column"), [(160, 160), (161, 166), (167, 163)])
def test_pixel_centre_convention(row, column):
    """A source at the centre of fine pixel X has its centroid at (X + ½)/8 − ½."""
    camera = PixelGrid((40, 40), 160.0)
    y, x = camera.to_px(*camera.refine(8).to_nm(np.array([row]), np.array([column])))
    canvas, _ = render(y, x)
    image = canvas.sum(axis=0, dtype=float)
    pixels = np.arange(40)
    centroid = (image.sum(axis=1) @ pixels, image.sum(axis=0) @ pixels) / image.sum()
    np.testing.assert_allclose(
        centroid, [(row + 0.5) / 8 - 0.5, (column + 0.5) / 8 - 0.5], atol=1e-3
    )


def test_drift_moves_the_light():
    drift = np.stack([np.linspace(-1.3, 1.3, 4), np.linspace(0.4, -0.4, 4)], 1)
    canvas, _ = render([20.0], [20.0], drift_px=drift)
    pixels = np.arange(40)
    light = canvas.sum(axis=(1, 2))
    np.testing.assert_allclose(canvas.sum(axis=2) @ pixels / light, 20 + drift[:, 0], atol=2e-3)
    np.testing.assert_allclose(canvas.sum(axis=1) @ pixels / light, 20 + drift[:, 1], atol=2e-3)


@pytest.mark.parametrize("cv", [0.0, 0.2, 0.8])
def test_brightness_table_keeps_the_moments(cv):
    table = brightness_table(PhotonLaw(70.0, cv)).astype(float)
    assert table.mean() == pytest.approx(70.0, rel=1e-6)
    assert table.std() == pytest.approx(70.0 * cv, rel=0.01, abs=1e-4)


def test_emissions_follow_the_brightness_law():
    n, n_frames = 500, 40
    spread = EmissionTable.of(FWHM, PhotonLaw(100.0, 0.3), 160.0)
    _, signal = render(np.full(n, 20.0), np.full(n, 20.0), table=spread, shape=(n_frames, 40, 40))
    z = (signal.mean() / n_frames - 100.0) / (30.0 / np.sqrt(n * n_frames))
    assert abs(z) < 4.5
    assert signal.std() / np.sqrt(n_frames) == pytest.approx(30.0, rel=4.5 / np.sqrt(2 * n))


def test_emissions_use_every_width():
    law = FwhmLaw(400.0, 0.3, 200.0, 800.0)
    table = EmissionTable.of(law, PhotonLaw(1.0), 160.0)
    canvas, _ = render([20.0], [20.0], table=table, shape=(400, 40, 40))
    pixels = np.arange(40) - 20.0
    second = (canvas.sum(axis=2, dtype=float) @ pixels**2) / canvas.sum(axis=(1, 2), dtype=float)
    widths, counts = np.unique(np.rint((second - 1 / 12) * 1e3), return_counts=True)
    np.testing.assert_allclose(widths * 1e-3, np.sort(table.sigma_px**2), rtol=5e-3)
    assert np.abs(counts - 50).max() < 4.5 * np.sqrt(400 / 8 * 7 / 8)
