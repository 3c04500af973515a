"""Draw the figures of the concepts from the package itself.

    python docs/figures.py [--out docs/images/concepts]

Seeds are fixed: the same version draws the same figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import dlbi
from dlbi.core.optics import FWHM_PER_SIGMA, Halo
from dlbi.core.photophysics import EMITTING, BlinkingChain
from dlbi.core.rng import stream
from dlbi.figures import Picture, panel
from dlbi.forward import expected_image
from dlbi.inference.hmm.chain import filter_reference, sample_reference
from dlbi.inference.measurement.covariance_fit import (
    Curve,
    Tails,
    emitter_covariance,
    fit_covariance,
)
from dlbi.inference.measurement.halo import REACH_PX as HALO_REACH_PX
from dlbi.inference.measurement.pixel_covariance import blinking_covariance
from dlbi.inference.measurement.psf import estimate_psf
from dlbi.learning.network import load_network
from dlbi.learning.observation import CHANNELS
from dlbi.learning.passes import run_passes
from dlbi.reconstruction.measurement import deconvolve, measure, observed, projection_of
from dlbi.reconstruction.pipeline import reconstruct

FOLDER = Path(__file__).parent / "images" / "concepts"
DPI = 130
FIELD = dlbi.PixelGrid((256, 256), 20.0)


@cache
def movie() -> dlbi.ImageStack:
    """The movie that most figures show."""
    structure = dlbi.draw_structure("filaments", FIELD, 4)
    return dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=120, rng=7)


@cache
def reconstruction(method: str) -> dlbi.Reconstruction:
    """That movie as a method sees it."""
    return reconstruct(movie(), method=method, rng=7)


def forward_model(path: Path) -> None:
    """Density, fluorophores that emit in a frame, their expected light, and camera counts."""
    shown, scene = movie(), movie().scene
    rng = stream(1, "forward model")
    on = rng.random(len(shown.emitters)) < scene.microscope.blinking.steady_on_fraction
    emitting = dlbi.Emitters(shown.emitters.x_nm[on], shown.emitters.y_nm[on])
    photons = np.full(len(emitting), scene.microscope.photons.mean)
    light = expected_image(emitting, photons, shown.grid, scene.microscope.psf)
    places = expected_image(emitting, photons, FIELD, dlbi.GaussianPSF(20.0))
    counts = scene.microscope.camera.expose(light + 20.0, rng)
    pictures = [
        Picture("Density", shown.density.density, FIELD),
        Picture("Emitting in one frame", places, FIELD),
        Picture("Expected photons", light, shown.grid),
        Picture("Camera counts", counts, shown.grid),
    ]
    panel(pictures, path, dpi=DPI)


def halo(path: Path) -> None:
    """Covariance of blinking pixels by distance in a movie with a halo, and what fits it."""
    plain = dlbi.presets.meos32()
    wide = replace(plain, microscope=replace(plain.microscope, halo=Halo(0.4, 450.0)))
    made = dlbi.simulate(dlbi.draw_structure("filaments", FIELD, 4), wide, n_frames=400, rng=7)
    measured = blinking_covariance(made.stack)
    curve = Curve.of(measured, HALO_REACH_PX)
    found, alone = estimate_psf(made.stack), fit_covariance(curve, (0.0, 1e-6))
    y = np.arange(1, 9)
    nearest = curve.blocks.mean(axis=0) / curve.weight
    column = np.array([nearest[(curve.dy == k) & (curve.dx == 0)][0] for k in y])
    sigma = found.fwhm_nm / FWHM_PER_SIGMA / made.grid.pixel_size_nm
    fits = {
        "one Gaussian": (alone.sigma_px, Tails(), "tab:orange"),
        "its core": (sigma, Tails(), "tab:green"),
        "core and halo": (sigma, found.halo.tails, "tab:red"),
    }
    figure = Figure(figsize=(4.6, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(y, column / column[0], "ko", label="movie")
    for label, (width, tails, colour) in fits.items():
        shape = emitter_covariance(y, np.zeros_like(y), width, tails)
        axes.plot(y, shape / shape[0], color=colour, label=label)
    axes.set(xlabel="distance / camera pixels", ylabel="covariance", ylim=(-0.02, 1.05))
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=DPI)


def blinking(path: Path) -> None:
    """States of a few fluorophores, and how many of many emit."""
    chain = BlinkingChain(0.5, 0.1, 0.01)
    n_frames, n = 150, 3000
    states = _paths(chain, n, n_frames)
    figure = Figure(figsize=(7.1, 2.5), layout="constrained")
    traces, share = figure.subplots(1, 2, width_ratios=(1.3, 1))
    traces.imshow(states[:12], cmap="viridis_r", aspect="auto", interpolation="nearest")
    traces.set(title="States of twelve fluorophores", xlabel="frame")
    traces.set_yticks([])
    share.plot((states == EMITTING).mean(axis=0), color="0.6", label=f"{n} fluorophores")
    share.plot(chain.on_fraction(n_frames), color="tab:red", label="chain")
    share.axhline(chain.steady_on_fraction, color="k", linestyle=":", label="without bleaching")
    share.set(title="Share that emits", xlabel="frame", ylim=(0, None))
    share.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=DPI)


def _paths(chain: BlinkingChain, n: int, n_frames: int) -> np.ndarray:
    rng = stream(1, "paths")
    states = np.empty((n, n_frames), int)
    law = np.cumsum(np.tile(chain.start, (n, 1)), axis=1)
    for t in range(n_frames):
        states[:, t] = (rng.random((n, 1)) > law).sum(axis=1)
        law = np.cumsum(chain.matrix[states[:, t]], axis=1)
    return states


def simulator(path: Path) -> None:
    """Structures above, one frame of each as a preset shows it below."""
    pairs = {
        "er": "paper", "mitochondria": "meos3.2", "chromatin": "scmos", "asters": "dim",
    }  # fmt: skip
    above, below = [], []
    for kind, preset in pairs.items():
        structure = dlbi.draw_structure(kind, FIELD, 4)
        scene = dlbi.presets.preset(preset, 4)
        shown = dlbi.simulate(structure, scene, n_frames=40, rng=4)
        above.append(Picture(kind, structure.density, FIELD))
        below.append(Picture(f"preset {preset}", shown.load(slice(20, 21))[0], shown.grid))
    panel(above + below, path, dpi=DPI)


def network(path: Path) -> None:
    """What the network is shown, and what it answers."""
    seen = measure(movie())
    projection = projection_of(movie(), movie().scene.microscope.psf, 8)
    observation = observed(seen, deconvolve(seen, projection), projection)
    passes = run_passes(load_network(), observation, seed=7)
    titles = {
        "signal": "Signal", "along_x": "Covariance along x", "lag": "Covariance over time",
        "third": "Third cumulant",
    }  # fmt: skip
    inputs = [
        Picture(title, observation.statistics[CHANNELS.index(name)], movie().grid)
        for name, title in titles.items()
    ]
    outputs = [
        Picture("Deconvolution (input)", observation.guide, FIELD),
        Picture("√density", passes.amplitude, FIELD),
        Picture("Its expected error", passes.spread, FIELD, colour_map="viridis"),
        Picture("Log odds of structure", passes.score, FIELD, colour_map="viridis"),
    ]
    panel(inputs + outputs, path, dpi=DPI)


def one_fluorophore(path: Path) -> None:
    """Evidence of each frame, and what filter and backward sampling make of it."""
    chain, n_frames, separation = BlinkingChain(0.3, 0.08, 0.01), 120, 2.0
    rng = stream(8, "one fluorophore")
    on = _paths(chain, 40, n_frames) == EMITTING
    true = on[np.argsort(on.sum(axis=1))[-4]]
    seen = separation * true + rng.standard_normal(n_frames)
    log_ratio = separation * seen - 0.5 * separation**2
    filtered = filter_reference(log_ratio, chain.matrix, chain.start)
    drawn = [
        sample_reference(filtered.weights, chain.matrix, rng.random(n_frames)) == EMITTING
        for _ in range(200)
    ]
    figure = Figure(figsize=(7.1, 3.0), layout="constrained")
    evidence, states = figure.subplots(2, 1, sharex=True)
    evidence.bar(np.arange(n_frames), log_ratio, color="0.5", width=1.0)
    evidence.set(ylabel="log ratio ℓ", title="What each frame says alone")
    states.fill_between(np.arange(n_frames), true, step="mid", color="0.85", label="truly emitting")
    states.step(np.arange(n_frames), np.mean(drawn, axis=0), where="mid", color="tab:red",
                label="share of 200 drawn paths")  # fmt: skip
    states.set(xlabel="frame", ylabel="P(emitting | movie)", ylim=(0, 1.05))
    states.set_title("What the chain makes of all frames")
    states.legend(frameon=False, fontsize=7, loc="upper left")
    figure.savefig(path, dpi=DPI)


def fusion(path: Path) -> None:
    """Deconvolution, network and their joint result with the sampler."""
    pictures = [Picture("Mean frame", movie().mean(), movie().grid)]
    pictures += [Picture(m, reconstruction(m).mean, FIELD) for m in ("network", "bayes", "dlbi")]
    panel(pictures, path, dpi=DPI)


class _Check(NamedTuple):
    error: np.ndarray
    std: np.ndarray


def uncertainty(path: Path) -> None:
    """Image, its true error, the stated deviation and the p-value."""
    sr = reconstruction("dlbi")
    check = _errors(sr)
    pictures = [
        Picture("Image", sr.mean, FIELD),
        Picture("True error", check.error, FIELD),
        Picture("Standard deviation", check.std, FIELD),
        Picture("p-value", sr.p_value, FIELD, colour_map="viridis"),
    ]
    panel(pictures, path, dpi=DPI)


def _errors(sr: dlbi.Reconstruction) -> _Check:
    """Absolute error against the light of the true fluorophores."""
    table = movie().emitters
    light = expected_image(
        table, table.photons * table.frames_on / movie().n_frames, FIELD, dlbi.GaussianPSF(47.0)
    )
    return _Check(np.abs(sr.mean - light), sr.std)


FIGURES = {
    "forward-model": forward_model,
    "halo": halo,
    "blinking": blinking,
    "simulator": simulator,
    "network": network,
    "one-fluorophore": one_fluorophore,
    "fusion": fusion,
    "uncertainty": uncertainty,
}
"""Name of each file and what draws it."""


def write(draw: Callable[[Path], None], path: Path) -> None:
    """Draw a figure and reduce it to 128 colours, a third of the bytes."""
    draw(path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(128)
    small.save(path, optimize=True)


def main() -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        write(draw, out / f"{name}.png")


if __name__ == "__main__":
    main()
