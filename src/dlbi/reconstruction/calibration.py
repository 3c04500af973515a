"""Microscope and fluorophores from the movie itself, each figure with a 95 % interval.

Nothing is assumed that `reconstruct` would not measure, and a figure that the movie does not
determine is said to be unknown. The transition table comes from cumulants of the movie, not from
the sampler: emitters that merge bias sampled tables, and with rare emission they stay close to
where they start (docs/calibration.md).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, truncnorm

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, expect_movie
from dlbi.core.optics import FWHM_PER_SIGMA, GaussianPSF
from dlbi.core.rng import RngLike, root_seed, stream
from dlbi.core.scope import Estimate, Origin, Scope
from dlbi.inference.kinetics.expectation import Kinetics, Statistics, statistics_of
from dlbi.inference.kinetics.posterior import sample_kinetics, sample_prior
from dlbi.inference.measurement.fluctuations import measure_fluctuations
from dlbi.inference.measurement.halo import SHARE_RANGE, WIDTH_RANGE
from dlbi.inference.measurement.noise import TransferLine, transfer_line
from dlbi.inference.measurement.psf import PLAUSIBLE_FWHM_PX, PsfEstimate, PsfOrigin, estimate_psf
from dlbi.inference.measurement.significance import shows_light
from dlbi.reconstruction.measurement import (
    Movie,
    deconvolve,
    halo_of,
    measure,
    projection_of,
    tell_defects,
    tell_gaps,
    without_halo,
)

F64 = NDArray[np.float64]

MIN_FRAMES, MIN_SIDE_PX = 24, 12

UPSCALING, RL_ITERATIONS = 4, 100
"""The density behind the templates is seen through a PSF twice or thrice, so it may be coarse."""

CONFIDENCE = 0.95
_TAILS = (0.5 * (1.0 - CONFIDENCE), 0.5, 0.5 * (1.0 + CONFIDENCE))
MOST_FACTOR = 3.0
"""Largest ratio of the ends of the interval of an identified flux, light, D→E or number of
emitters: figures that may lie anywhere over decades."""
MOST_WIDTH = {
    "emitting_to_dark": 0.3,
    "dark_to_bleached": 0.01,
    "memory": 0.3,
    "bleached_share": 0.3,
    "light_cv": 0.3,
}
"""Largest width of the interval of the other figures if they are identified."""
BOUND_SHARE = 0.6
"""An interval wider than this share of the prior's, in the logarithm for the former figures, tells
nothing."""
NOISE_SHARE = 0.25
"""Largest uncertainty of an identified noise variance, relative to it."""
MOST_CORRELATION_WIDTH = 0.2
"""Largest width of the interval of an identified correlation of the noise along rows."""

MOST_HALO_WIDTH = 0.2
"""Largest width of the interval of an identified halo, in shares of the light."""
HALO_SIGMA = 2.5
"""Typical width of a halo, in σ of the PSF, where the movie shows none."""

BLINKING_SIGMA = 4.0
"""Standard errors by which the second cumulant must stand out."""

LIGHT_MEDIAN, LIGHT_LOG_SD = 1.05, 0.15
"""Share of the blinking light in the whole field relative to its share in the bright parts, which
suffer less from the error of the background (log-normal, simulations)."""

N_PRIOR = 20_000
NOISE_FLUX_RANGE = (0.01, 100.0)
"""Flux in a movie that does not blink, in units of an emission whose peak equals the noise."""
EMITTERS_PER_PX = (0.0, 0.1, 4.4)
"""Least, typical and largest number of fluorophores per camera pixel where nothing is known."""

NO_NOISE = 1e-30
NOISELESS = "its frames hold no noise; calibration needs raw camera frames"

Progress = Callable[[str, int, int], None]


def calibrate(stack: ImageStack, *, rng: RngLike = None, progress: Progress | None = None) -> Scope:
    """Estimate PSF, camera noise and blinking from a movie.

    Parameters
    ----------
    stack : ImageStack
        Raw frames, at least 24 of 12×12 pixels.
    rng : int, Generator or None
        Seed of the posterior draws; it moves the intervals by a few per cent of their width.
    progress : callable, optional
        Called with (stage, done, total).

    Returns
    -------
    Scope
        Every figure with value, 95 % interval, and whether the movie identifies it.

    Raises
    ------
    ShapeError
        If the movie is too short or too small.
    InputError
        If it holds no noise, NaN or infinite values.

    References
    ----------
    Paper, section 4, names as future work how well the parameters of a simulation are found
    again; docs/calibration.md answers with numbers.
    """
    expect_movie(stack)
    height, width = stack.grid.shape
    if stack.n_frames < MIN_FRAMES or min(height, width) < MIN_SIDE_PX:
        raise ShapeError(
            f"calibration needs at least {MIN_FRAMES} frames of {MIN_SIDE_PX}×{MIN_SIDE_PX} "
            f"pixels, got {stack.n_frames} of {width}×{height}"
        )
    report = progress or (lambda stage, done, total: None)
    movie = measure(stack)
    stack = movie.stack
    tell_defects(movie.defects)
    tell_gaps(movie.stack, movie.noise)
    found_psf = estimate_psf(stack)
    movie = without_halo(movie, halo_of(found_psf, stack.grid))
    if movie.variance.max() <= NO_NOISE:
        raise InputError(NOISELESS)
    psf, psf_error = _working_psf(found_psf, stack.grid.pixel_size_nm)
    projection = projection_of(stack, psf, UPSCALING)
    density = deconvolve(
        movie, projection, n_iterations=RL_ITERATIONS, progress=partial(report, "deconvolution")
    )
    z = movie.light_z(psf)
    lit = shows_light(z)
    fluctuations = measure_fluctuations(movie.stack, density, projection) if lit else None
    found = None if fluctuations is None else statistics_of(fluctuations)
    if found is None or not _blinks(found):
        fluctuations, found = None, None
    line = transfer_line(
        stack, density, projection, contrast=0.0 if found is None else found.contrast
    )
    if line.variance <= 0:
        raise InputError(NOISELESS)
    camera = _camera(line, lit=lit)
    generator = stream(root_seed(rng), "calibration")
    common = {"psf_fwhm_nm": _psf(found_psf), **_halo(found_psf, stack.grid), **camera}
    if found is None or fluctuations is None:
        return _scope(movie, line, common | _unknown(movie, line, psf, generator))
    posterior = sample_kinetics(found, fluctuations, generator, psf_error=psf_error)
    report("posterior", 1, 1)
    prior = sample_prior(N_PRIOR, found.contrast, generator)
    return _scope(movie, line, common | _blinking(movie, line, posterior, prior, generator))


def _blinks(found: Statistics) -> bool:
    return found.contrast > BLINKING_SIGMA * found.contrast_error


def _working_psf(found: PsfEstimate, pixel_size_nm: float) -> tuple[GaussianPSF, float]:
    """The PSF of the templates, and its relative error."""
    low, high = (limit * pixel_size_nm for limit in PLAUSIBLE_FWHM_PX)
    return GaussianPSF(float(np.clip(found.fwhm_nm, low, high))), found.relative_error


def _psf(found: PsfEstimate) -> Estimate:
    origins: dict[PsfOrigin, Origin] = {
        "movie": "movie", "movie and prior": "bounds", "prior": "prior",
    }  # fmt: skip
    ratio = float(np.exp(norm.isf(_TAILS[0]) * found.relative_error))
    fwhm = found.fwhm_nm
    return Estimate(fwhm, fwhm / ratio, fwhm * ratio, origins[found.origin])


def _halo(found: PsfEstimate, grid: PixelGrid) -> dict[str, Estimate]:
    """Share and width of the halo; one that does not stand out has a share of 0 up to a bound."""
    half, pixel_nm, halo = norm.isf(_TAILS[0]), grid.pixel_size_nm, found.halo
    usual = HALO_SIGMA * found.fwhm_nm / FWHM_PER_SIGMA
    least, most = (f * usual / HALO_SIGMA for f in WIDTH_RANGE)
    width = Estimate(usual, least, most, "prior")
    if halo is None:
        return {"psf_halo": Estimate(0.0, *SHARE_RANGE, "prior"), "psf_halo_sigma_nm": width}
    low, high = (
        float(np.clip(halo.share + side * halo.share_error, *SHARE_RANGE)) for side in (-half, half)
    )
    if not halo.stands_out:
        share = Estimate(0.0, 0.0, high, _origin(high <= MOST_HALO_WIDTH))
        return {"psf_halo": share, "psf_halo_sigma_nm": width}
    sigma = pixel_nm * halo.sigma_px
    ratio = float(np.exp(half * halo.sigma_error_px / halo.sigma_px))
    return {
        "psf_halo": Estimate(halo.share, low, high, _origin(high - low <= MOST_HALO_WIDTH)),
        "psf_halo_sigma_nm": Estimate(
            sigma, sigma / ratio, sigma * ratio, _origin(ratio**2 <= MOST_FACTOR)
        ),
    }


def _camera(line: TransferLine, *, lit: bool) -> dict[str, Estimate]:
    """Gain and noise.

    A gain is identified if it is known within its own size, or if it is known to contribute less
    than a quarter of the noise over the levels of the field.
    """
    half = float(norm.isf(0.5 * (1.0 - CONFIDENCE)))
    low = max(line.gain - half * line.gain_error, 0.0)
    high, gain = 0.0, max(line.gain, 0.0)
    if line.gain_error > 0:
        law = truncnorm(-line.gain / line.gain_error, np.inf, line.gain, line.gain_error)
        high = float(law.ppf(0.5 * (1.0 + CONFIDENCE)))
    high = max(high, gain)
    bearable = max(gain, NOISE_SHARE * line.variance / max(line.span, 1e-30))
    noise_half = half * line.variance_error
    noise = Estimate(
        line.variance,
        max(line.variance - noise_half, 0.0),
        line.variance + noise_half,
        _origin(2.0 * noise_half <= NOISE_SHARE * line.variance),
    )
    return {
        "gain": Estimate(gain, low, high, _origin(lit and high - low <= bearable)),
        "noise_variance": noise,
        "noise_correlation": _correlation(line, half),
    }


def _correlation(line: TransferLine, half: float) -> Estimate:
    """Correlation of the noise along rows; its interval spans `half` errors to both sides."""
    value, error = float(np.clip(line.row_correlation, -1.0, 1.0)), line.row_correlation_error
    low, high = max(value - half * error, -1.0), min(value + half * error, 1.0)
    return Estimate(value, low, high, _origin(high - low <= MOST_CORRELATION_WIDTH))


def _level_error(movie: Movie, line: TransferLine) -> float:
    """What noise may do to the mean level, counts."""
    n_values = movie.stack.n_frames * float(np.prod(movie.stack.grid.shape))
    return float(norm.isf(0.5 * (1.0 - CONFIDENCE)) * np.sqrt(line.variance / n_values))


def _origin(identified: bool) -> Origin:
    return "movie" if identified else "bounds"


def _blinking(
    movie: Movie,
    line: TransferLine,
    posterior: Kinetics,
    prior: Kinetics,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    """Kinetics, light and number of the fluorophores."""
    least = 1e-6 * np.sqrt(line.variance)
    signal = max(float(movie.signal.mean(dtype=np.float64)), float(least))
    after, before = (_figures(k, signal, movie.stack, rng) for k in (posterior, prior))
    out = {name: _estimate(name, after[name], before[name]) for name in after}
    chosen = before if out["dark_to_emitting"].origin == "prior" else after
    stay = np.quantile(1.0 - chosen["dark_to_emitting"] - chosen["dark_to_bleached"], _TAILS)
    light = out["light"]
    narrow = bool(light.high - light.low <= 0.5 * np.sqrt(line.variance))
    out["background"] = Estimate(
        line.level - light.value,
        line.level - light.high,
        line.level - light.low + _level_error(movie, line),
        "movie" if narrow else light.origin,
    )
    return _with_table(out, stay)


def _figures(
    kinetics: Kinetics, signal: float, stack: ImageStack, rng: np.random.Generator
) -> dict[str, F64]:
    """Draws of everything that is reported."""
    n_frames = stack.n_frames
    error = LIGHT_LOG_SD * rng.standard_normal(kinetics.flux.size)
    light = signal * kinetics.blinking_share * LIGHT_MEDIAN * np.exp(error)
    area = float(np.prod(stack.grid.shape))
    return {
        "emitting_to_dark": kinetics.emitting_to_dark,
        "dark_to_emitting": kinetics.dark_to_emitting,
        "dark_to_bleached": kinetics.dark_to_bleached,
        "memory": kinetics.memory,
        "bleached_share": kinetics.bleached_share(n_frames),
        "flux": kinetics.flux,
        "light_cv": kinetics.light_cv,
        "light": light,
        "n_emitters": light * area / kinetics.light_per_emitter(n_frames),
    }


def _estimate(name: str, posterior: F64, prior: F64) -> Estimate:
    """Median and interval of the posterior, or of the prior where it is hardly wider."""
    low, value, high = np.quantile(posterior, _TAILS).tolist()
    before = np.quantile(prior, _TAILS).tolist()
    if name in MOST_WIDTH:
        width, most, prior_width = high - low, MOST_WIDTH[name], before[2] - before[0]
    else:
        width, most, prior_width = (
            float(np.log(ratio)) for ratio in (high / low, MOST_FACTOR, before[2] / before[0])
        )
    if width > BOUND_SHARE * prior_width:
        return Estimate(before[1], before[0], before[2], "prior")
    return Estimate(value, low, high, _origin(width <= most))


def _with_table(out: dict[str, Estimate], stay: F64) -> dict[str, Estimate]:
    """The estimates with rows of the transition table that sum to 1."""
    off, on, bleaching = (
        out[n] for n in ("emitting_to_dark", "dark_to_emitting", "dark_to_bleached")
    )
    dark = 1.0 - on.value - bleaching.value
    return out | {
        "emitting_to_emitting": Estimate(
            1.0 - off.value, 1.0 - off.high, 1.0 - off.low, off.origin
        ),
        "dark_to_dark": Estimate(
            dark, min(float(stay[0]), dark), max(float(stay[2]), dark), on.origin
        ),
    }


def _unknown(
    movie: Movie, line: TransferLine, psf: GaussianPSF, rng: np.random.Generator
) -> dict[str, Estimate]:
    """What is said of fluorophores that the movie does not show blinking."""
    sigma = psf.sigma_px(movie.stack.grid.pixel_size_nm)
    noise = np.sqrt(line.variance)
    scale = float(4.0 * np.pi * sigma**2 * noise)
    prior = sample_prior(N_PRIOR, scale, rng)
    figures = _figures(prior, 1.0, movie.stack, rng)
    out = {name: _estimate(name, draws, draws) for name, draws in figures.items()}
    signal = max(float(movie.signal.mean(dtype=np.float64)), 0.0)
    error = float(np.sqrt(movie.variance_of_mean.mean(dtype=np.float64)))
    most = 2.0 * signal + 3.0 * error
    narrow = bool(most <= 0.5 * noise)
    low, high = (float(f * scale) for f in NOISE_FLUX_RANGE)
    area = float(np.prod(movie.stack.grid.shape))
    least, typical, largest = (n * area for n in EMITTERS_PER_PX)
    out |= {
        "flux": Estimate(scale, low, high, "prior"),
        "light": Estimate(min(signal, most), 0.0, most, "bounds"),
        "background": Estimate(
            line.level - min(signal, most),
            line.level - most,
            line.level + _level_error(movie, line),
            _origin(narrow),
        ),
        "n_emitters": Estimate(typical, least, largest, "prior"),
    }
    stay = np.quantile(1.0 - prior.dark_to_emitting - prior.dark_to_bleached, _TAILS)
    return _with_table(out, stay)


def _scope(movie: Movie, line: TransferLine, estimates: dict[str, Estimate]) -> Scope:
    return Scope(
        pixel_size_nm=movie.stack.grid.pixel_size_nm,
        n_frames=movie.stack.n_frames,
        level=line.level,
        **estimates,
    )
