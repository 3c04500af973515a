"""What the page tells in figures: the movie, and what was learnt from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from dlbi.artefacts.movie import bright_level, haze_range
from dlbi.artefacts.record import Record, chains_of, per_fluorophore
from dlbi.core.images import ImageStack, Reconstruction
from dlbi.core.photophysics import BlinkingChain
from dlbi.reconstruction.measurement import Movie
from dlbi.report.numbers import number

BRIGHT_SHARE, DARK_SHARE = 0.1, 0.05
"""Pixels whose mean difference is followed through the movie."""

END_SHARE = 0.1
"""Part of the movie at either end that the bleaching compares."""

CURVE_POINTS, CURVE_SHARE = 80, 0.03

SELDOM = 0.02
"""Share of the frames below which percents need a digit more."""

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what, how much, and what that means."""

    label: str
    value: str
    note: str = ""


def movie_facts(movie: Movie, sr: Reconstruction, light: F64 | None) -> list[Fact]:
    """Size, scale, signal and background of a movie.

    Parameters
    ----------
    movie : Movie
    sr : Reconstruction
    light : ndarray, (T,), or None
        `light_curve`; None where there is no light to follow.
    """
    stack = movie.stack
    grid, interval = stack.grid, stack.frame_interval_s
    height, width = grid.shape
    height_um, width_um = (side / 1000 for side in grid.extent_nm)
    duration = (
        "" if interval is None else f"{interval * stack.n_frames:.3g} s, {_time(interval)} each"
    )
    facts = [
        Fact("Frames", str(stack.n_frames), duration),
        Fact("Field", f"{width_um:.3g} × {height_um:.3g} µm", f"{width} × {height} camera pixels"),
        Fact(
            "Pixel", f"{grid.pixel_size_nm:g} nm camera, {sr.grid.pixel_size_nm:g} nm image",
        ),
        Fact(
            "Bright signal", f"{number(bright_level(movie))} counts",
            "mean without background; 1 % of the pixels are brighter",
        ),
        Fact("Signal ÷ noise", f"{signal_to_noise(movie):.1f}", "there, in one frame"),
        Fact("Camera noise", f"{number(_dark_noise(movie))} counts", "in one frame, unlit"),
        Fact("Background", *_background(movie)),
    ]  # fmt: skip
    if light is not None:
        facts.append(Fact("Light left at the end", *_bleaching(light, movie)))
    return facts


def signal_to_noise(movie: Movie) -> float:
    """Bright signal ÷ camera noise at that level, in one frame."""
    bright = movie.signal >= bright_level(movie)
    noise = float(np.sqrt(movie.variance[bright].mean(dtype=np.float64)))
    return bright_level(movie) / noise if noise > 0 else float("inf")


def _dark_noise(movie: Movie) -> float:
    return float(np.sqrt(movie.noise.variance(movie.background.haze).mean(dtype=np.float64)))


def light_curve(movie: Movie) -> F64:
    """Bright pixels minus dark ones in each frame, (T,), counts."""
    signal = movie.signal.ravel()
    order = np.argsort(signal, kind="stable")
    dark = order[: max(1, round(DARK_SHARE * signal.size))]
    bright = order[-max(1, round(BRIGHT_SHARE * signal.size)) :]
    light = np.empty(movie.stack.n_frames)
    for frames, images in movie.stack.chunks():
        pixels = images.reshape(len(images), -1).astype(np.float64)
        light[frames] = pixels[:, bright].mean(axis=1) - pixels[:, dark].mean(axis=1)
    return light


def curve_points(light: F64, width: float, height: float) -> str:
    """The light curve, smoothed, as points of an SVG polyline in a box that starts at zero."""
    smooth = uniform_filter1d(light, max(1, round(CURVE_SHARE * light.size)), mode="nearest")
    at = np.linspace(0, light.size - 1, min(CURVE_POINTS, light.size))
    values = np.clip(np.interp(at, np.arange(light.size), smooth), 0.0, None)
    top = float(values.max()) or 1.0
    xs, ys = at / (light.size - 1) * width, height * (1.0 - values / top)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True))


def learned_facts(record: Record, sr: Reconstruction, stack: ImageStack) -> list[Fact]:
    """PSF, blinking and number of fluorophores, as far as the method learns them."""
    facts = _drift(record) + _psf(record)
    chain = learned_chain(record)
    emitters = per_fluorophore(record)
    shared, parts = min(emitters, default=1.0) < 1.0, max(emitters, default=1.0)
    if chain is not None:
        lit = float(chain.on_fraction(stack.n_frames).mean())
        flux = float(np.mean([c["flux"] for c in chains_of(record)]))
        facts += [
            Fact(
                "Light of an emitting frame",
                f"{number(flux)} counts",
                "of an emitter, which stands for several" if shared else "of one fluorophore",
            ),
            Fact(
                "Time emitting",
                f"{lit:.1%}" if lit < SELDOM else f"{lit:.0%}",
                "share of the frames, bleaching included"
                + (f"; some {parts:.0f} emitters share a fluorophore" if parts > 1.0 else ""),
            ),
            Fact("Stays on", _frames(chain.emitting_to_dark), "on average"),
            Fact(
                "Stays dark", _frames(chain.dark_to_emitting + chain.dark_to_bleached), "on average"
            ),
        ]
    if sr.emitters is not None:
        entries = "; each stands for several" if shared else "; one may have several entries"
        told = entries if shared or parts > 1.0 else ""
        facts.append(Fact("Fluorophores", str(len(sr.emitters.x_nm)), f"in the table{told}"))
    if "r_hat_median" in record:
        facts.append(
            Fact("Agreement of the chains", f"R-hat {record['r_hat_median']:.2f}",
                 f"median; {record['r_hat_95']:.2f} at 95 % of the bright pixels; 1 is perfect")
        )  # fmt: skip
    return facts


def learned_chain(record: Record) -> BlinkingChain | None:
    """Mean transition table over chains and tiles, None where nothing was sampled."""
    tables = [c["table_p1_to_p5"] for c in chains_of(record) if "table_p1_to_p5" in c]
    if not tables:
        return None
    p = np.mean(tables, axis=0).tolist()
    return BlinkingChain(p[1], p[2], p[4])


def transition_rows(record: Record) -> list[tuple[str, list[str]]]:
    """Rows of the transition table: from, and the probabilities of a frame."""
    chain = learned_chain(record)
    if chain is None:
        return []
    names = ("emitting", "dark")
    return [
        (name, [f"{p:.3f}" for p in row])
        for name, row in zip(names, chain.matrix[:2].tolist(), strict=True)
    ]


def _drift(record: Record) -> list[Fact]:
    match record.get("drift"):
        case {"shift_nm": [float(y), float(x)], "residual_nm": float(rest)}:
            said = f"taken off; what is left scatters by {rest:.0f} nm"
            return [Fact("Drift", f"{np.hypot(y, x):.0f} nm", said)]
    return []


def _psf(record: Record) -> list[Fact]:
    match record.get("psf"):
        case {"fwhm_nm": float(width), "origin": str(origin), **rest}:
            error = rest.get("standard_error_nm")
            spread = f" ± {error:.0f}" if isinstance(error, float) else ""
            where = {
                "movie": "measured in the movie",
                "movie and prior": "faint in the movie; a prior counted too",
                "prior": "not shown by the movie; the prior alone",
                "scope": "from the calibration",
            }.get(origin, origin)
            psf = Fact("PSF, full width at half maximum", f"{width:.0f}{spread} nm", where)
            return [psf, *_halo(record)]
    return []


def _halo(record: Record) -> list[Fact]:
    match record.get("halo"):
        case {"share": float(share), "sigma_nm": float(sigma)} if share > 0.0:
            spread = f"spread by {sigma:.0f} nm, taken off before"
            return [Fact("Halo of the PSF", f"{share:.0%} of the light", spread)]
    return []


def _background(movie: Movie) -> tuple[str, str]:
    level = float(movie.mean.mean(dtype=np.float64))
    haze = float(movie.background.haze.mean(dtype=np.float64))
    uneven = haze_range(movie.background.haze)
    return (
        f"{haze / level:.0%} of the counts" if level > 0 else "–",
        f"with the camera's offset; it varies by {number(uneven)} counts over the field",
    )


def _bleaching(light: F64, movie: Movie) -> tuple[str, str]:
    n = max(1, round(END_SHARE * light.size))
    first, last = float(light[:n].mean()), float(light[-n:].mean())
    if first <= 0:
        return "–", "no light to follow"
    note = "last tenth of the frames ÷ first, bright minus dark pixels"
    if movie.fades:
        note += "; late frames count less in the mean"
    return f"{last / first:.0%}", note


def _frames(leaving: float) -> str:
    return f"{1.0 / leaving:.1f} frames" if leaving > 0 else "–"


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{number(seconds)} s"
