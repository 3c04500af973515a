"""Procedural structures: what fluorophores label in cells, in nanometres.

Every shape takes a grid and a generator and returns a density of any scale. Numbers of objects
grow with the area of the field, objects reach over its border, and the first one always touches
the field, so no field is empty.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d, laplace
from scipy.spatial import Voronoi

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.simulation.curves import (
    Point,
    count,
    modulation,
    normals,
    points,
    random_curve,
    rotation,
    smooth_field,
    smooth_noise,
    through,
    wavy_line,
    wobbly_outline,
)
from dlbi.simulation.objects import mitochondrion, siemens_star, worm_like_chain
from dlbi.simulation.strokes import Canvas, Curve

Shape = Callable[[PixelGrid, np.random.Generator], FloatImage]

_TURN = 2 * np.pi


def filaments(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Microtubules: long, smoothly curved, of one width."""
    canvas = Canvas(grid)
    bending = rng.uniform(0.1, 0.7)
    sigma_nm = rng.uniform(16, 28)
    for point in points(grid, count(rng.uniform(6, 24), grid, rng), rng):
        curve = through(random_curve(rng.uniform(0, _TURN), 15_000, bending, rng), point, rng)
        canvas.line(curve, sigma_nm, modulation(len(curve), 0.2, rng))
    return canvas.image


def bundles(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Tubulin: bundles of near-parallel filaments that run apart, and single ones between."""
    canvas = Canvas(grid)
    main = rng.uniform(0, np.pi)
    sigma_nm = rng.uniform(16, 26)
    for point in points(grid, count(rng.uniform(2, 6), grid, rng), rng):
        trunk = through(random_curve(main + rng.normal(0, 0.5), 15_000, 0.25, rng), point, rng)
        canvas.line(trunk, sigma_nm)
        for offset in np.cumsum(rng.uniform(40, 260, rng.integers(2, 8))):
            apart = offset * modulation(len(trunk), 0.5, rng, scale_nm=4000.0)
            strand = _long_piece(trunk + apart[:, None] * normals(trunk), rng)
            canvas.line(strand, sigma_nm, rng.uniform(0.6, 1.0))
    for point in points(grid, count(rng.uniform(1, 6), grid, rng), rng):
        curve = through(random_curve(rng.uniform(0, _TURN), 12_000, 0.5, rng), point, rng)
        canvas.line(curve, sigma_nm, rng.uniform(0.6, 1.0))
    return canvas.image


def mesh(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Actin: stress fibres of a few directions over a mesh of thin, dim, crossing fibres."""
    canvas = Canvas(grid)
    for direction in rng.uniform(0, np.pi, rng.integers(1, 4)):
        for point in points(grid, count(rng.uniform(2, 8), grid, rng), rng):
            angle = direction + rng.normal(0, 0.12)
            fibre = through(random_curve(angle, 14_000, 0.05, rng), point, rng)
            level = rng.uniform(0.4, 1.0) * modulation(len(fibre), 0.25, rng)
            canvas.line(fibre, rng.uniform(25, 80), level)
    for point in points(grid, count(rng.uniform(20, 90), grid, rng), rng):
        length = rng.uniform(1500, 6000)
        fibre = through(random_curve(rng.uniform(0, _TURN), length, 0.12, rng), point, rng)
        canvas.line(fibre, rng.uniform(14, 26), rng.uniform(0.15, 0.6))
    return canvas.image


def er(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Endoplasmic reticulum: tubules that meet in three-way junctions, with sheets between."""
    canvas = Canvas(grid)
    sigma_nm = rng.uniform(26, 42)
    for tubule in _polygonal_network(grid, rng.uniform(800, 1500), rng):
        canvas.line(tubule, sigma_nm, rng.uniform(0.7, 1.0))
    image = canvas.image
    if rng.random() < 0.7:
        image = np.maximum(image, rng.uniform(0.3, 0.7) * _sheets(grid, rng))
    return image.astype(np.float32)


def rings(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Rings of radius 60–400 nm: vesicle rims, pits and pores, some open or oval."""
    canvas = Canvas(grid)
    largest = rng.uniform(120, 400)
    for point in points(grid, count(rng.uniform(15, 80), grid, rng), rng):
        radius = rng.uniform(60, largest)
        arc = _TURN if rng.random() < 0.8 else rng.uniform(0.5, 0.9) * _TURN
        angle = np.linspace(0, arc, 48)
        oval = np.stack([np.sin(angle), rng.uniform(0.75, 1.0) * np.cos(angle)], 1)
        rim = through(radius * oval @ rotation(rng.uniform(0, _TURN)), point, rng)
        canvas.line(rim, rng.uniform(14, 26), rng.uniform(0.4, 1.0))
    return canvas.image


def clusters(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Clusters of labels 20–200 nm wide among single spots."""
    canvas = Canvas(grid)
    single = points(grid, count(10 ** rng.uniform(1.0, 2.5), grid, rng), rng)
    canvas.spots(single, 18.0, rng.uniform(0.3, 1.0, len(single)))
    spread_nm = rng.uniform(20, 200)
    for centre in points(grid, count(rng.uniform(5, 60), grid, rng), rng):
        members = centre + rng.normal(0, spread_nm, (1 + rng.poisson(12), 2))
        canvas.spots(members, 18.0, rng.uniform(0.3, 1.0, len(members)))
    return canvas.image


def line_pairs(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Pairs and ladders of parallel lines 40–400 nm apart, straight or bent."""
    canvas = Canvas(grid)
    for point in points(grid, count(rng.uniform(8, 24), grid, rng), rng):
        bending = rng.choice([0.0, 0.6])
        length = rng.uniform(1500, 5000)
        line = through(random_curve(rng.uniform(0, _TURN), length, bending, rng), point, rng)
        spacing_nm = np.exp(rng.uniform(np.log(40), np.log(400)))
        sigma_nm = min(rng.uniform(14, 24), 0.35 * spacing_nm)
        for k in range(rng.choice([2, 2, 2, 3, 5, 7])):
            canvas.line(line + k * spacing_nm * normals(line), sigma_nm)
    return canvas.image


def sketch(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Free-hand drawing: wobbly outlines, details within them, hatching and loose strokes."""
    canvas = Canvas(grid)
    sigma_nm = rng.uniform(20, 40)
    for point in points(grid, count(rng.uniform(4, 12), grid, rng), rng):
        radius = np.exp(rng.uniform(np.log(400), np.log(2800)))
        outline = through(wobbly_outline(radius, rng), point, rng)
        canvas.line(outline, sigma_nm)
        centre = outline.mean(axis=0)
        for _ in range(rng.integers(0, 4)):
            detail = wobbly_outline(radius * rng.uniform(0.1, 0.35), rng)
            canvas.line(detail + centre + rng.normal(0, 0.35 * radius, 2), sigma_nm)
        if rng.random() < 0.4:
            _hatch(canvas, centre, radius, sigma_nm, rng)
    for point in points(grid, count(rng.uniform(3, 15), grid, rng), rng):
        bending = rng.uniform(0.2, 2.5)
        stroke = random_curve(rng.uniform(0, _TURN), rng.uniform(800, 6000), bending, rng)
        canvas.line(through(stroke, point, rng), sigma_nm)
    return canvas.image


def mitochondria(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Mitochondria: worm-like closed outlines 300–600 nm wide, with dimmer cristae inside."""
    canvas = Canvas(grid)
    sigma_nm = rng.uniform(14, 22)
    for point in points(grid, count(rng.uniform(8, 24), grid, rng), rng):
        length_nm = np.exp(rng.uniform(np.log(800), np.log(7000)))
        outline, cristae = mitochondrion(length_nm, rng.uniform(300, 600), rng)
        shift = point - outline[rng.integers(len(outline))]
        level = rng.uniform(0.6, 1.0)
        canvas.line(outline + shift, sigma_nm, level)
        for crista in cristae:
            canvas.line(crista + shift, rng.uniform(12, 18), level * rng.uniform(0.3, 0.7))
    return canvas.image


def chromatin(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Chromatin: worm-like chains folded into territories, compact where they coil tightly."""
    canvas = Canvas(grid)
    open_nm = rng.uniform(100, 200)
    rarity = rng.uniform(0.3, 1.3)
    for point in points(grid, count(rng.uniform(10, 35), grid, rng), rng):
        n = int(rng.integers(500, 3000))
        compact = _step(smooth_noise(n, 150.0, rng) - rarity, 0.1)
        chain = worm_like_chain(open_nm * (1 - 0.92 * compact), rng)
        chain -= rng.uniform(0.5, 0.9) * gaussian_filter1d(chain, 150.0, axis=0)
        canvas.spots(through(chain, point, rng), 15.0)
    return canvas.image


def star(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Resolution targets: spokes and arcs whose spacing grows with the radius from 28–38 nm."""
    canvas = Canvas(grid)
    sigma_nm = rng.uniform(10, 15)
    for point in points(grid, count(rng.uniform(5, 14), grid, rng), rng):
        n = int(rng.integers(16, 49))
        inner_nm = n * rng.uniform(28, 38) / _TURN
        outer_nm = inner_nm * rng.uniform(3, 12)
        spokes, arcs = siemens_star(n, inner_nm, outer_nm, rng.choice([0.0, 0.5]), rng)
        curve = spokes[rng.integers(len(spokes))]
        shift = point - curve[rng.integers(len(curve))]
        level = rng.uniform(0.5, 1.0)
        for line in spokes + arcs:
            canvas.line(line + shift, sigma_nm, level)
    return canvas.image


def texture(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Edges of a natural scene: Laplace magnitude of overlapping shaded objects.

    The dead-leaves model of natural images, doi:10.1023/A:1011109015675.
    """
    margin = 2
    wide = grid.pad(margin)
    grey = _dead_leaves(wide, rng)
    grey += rng.uniform(0.01, 0.06) * smooth_field(wide, rng, sigma_nm=20.0, slope=1.0)
    smooth = gaussian_filter(grey, 20.0 / grid.pixel_size_nm, mode="nearest")
    edges = np.abs(laplace(smooth, mode="nearest"))[margin:-margin, margin:-margin]
    return edges.astype(np.float32)


def asters(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Asters: filaments that leave a centre in all directions, or in a fan."""
    canvas = Canvas(grid)
    sigma_nm = rng.uniform(14, 28)
    for point in points(grid, count(rng.uniform(2, 7), grid, rng), rng):
        n = int(rng.integers(6, 40))
        middle, opening = rng.uniform(0, _TURN), rng.choice([_TURN, rng.uniform(0.3, 2.0)])
        bending = rng.uniform(0.0, 0.5)
        start_nm = rng.uniform(0, 400)
        angles = middle + opening * (np.arange(n) + rng.normal(0, 0.2, n)) / n
        lengths_nm = np.exp(rng.uniform(np.log(1000), np.log(9000), n))
        rays = [
            random_curve(angle, length_nm, bending, rng)
            + start_nm * np.array([np.sin(angle), np.cos(angle)])
            for angle, length_nm in zip(angles, lengths_nm, strict=True)
        ]
        ray = rays[rng.integers(n)]
        shift = point - ray[rng.integers(len(ray))]
        for ray in rays:
            level = rng.uniform(0.4, 1.0) * modulation(len(ray), 0.2, rng)
            canvas.line(ray + shift, sigma_nm, level)
    return canvas.image


def domains(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Grains, patches or winding walls of 30–150 nm, all over the field or in territories."""
    fine = smooth_field(grid, rng, sigma_nm=np.exp(rng.uniform(np.log(30), np.log(150))))
    kind = rng.choice(["grains", "patches", "walls"])
    if kind == "grains":
        image = np.exp(rng.uniform(0.6, 1.2) * fine)
    elif kind == "patches":
        image = _step(fine - rng.uniform(0.0, 1.5), rng.uniform(0.1, 0.5))
    else:
        image = np.exp(-((fine / rng.uniform(0.15, 0.4)) ** 2))
    if rng.random() < 0.6:
        area = smooth_field(grid, rng, sigma_nm=rng.uniform(250, 1500))
        image *= rng.uniform(0.0, 0.2) + _step(area - rng.uniform(-1.0, 0.8), 0.2)
    # A field so small that it lies between all territories still shows something.
    return np.asarray(image + 1e-6, np.float32)


def mixed(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Two labelled structures in one field, the second up to as bright as the first."""
    first, second = (MIXABLE[k] for k in rng.choice(len(MIXABLE), 2, replace=False))
    one, other = first(grid, rng), second(grid, rng)
    share = np.float32(rng.uniform(0.1, 1.0))
    return np.asarray(one / one.max() + share * (other / other.max()), np.float32)


def haze(grid: PixelGrid, rng: np.random.Generator) -> FloatImage:
    """Structureless light: smooth blobs of 0.3–1.5 µm."""
    field = smooth_field(grid, rng, sigma_nm=rng.uniform(300, 1500))
    return np.exp(rng.uniform(0.4, 1.2) * field).astype(np.float32)


MIXABLE: tuple[Shape, ...] = (
    filaments, bundles, mesh, er, rings, clusters, line_pairs, sketch, texture, asters, domains,
    haze,
)  # fmt: skip
"""What `mixed` lays over one another."""


def _long_piece(curve: Curve, rng: np.random.Generator) -> Curve:
    """At least half of a curve."""
    n = len(curve)
    return curve[rng.integers(0, n // 4) : rng.integers(3 * n // 4, n) + 1]


def _polygonal_network(grid: PixelGrid, cell_nm: float, rng: np.random.Generator) -> list[Curve]:
    """Bent edges of random polygons over the field and two cells around it.

    The polygons belong to a shaken lattice that lost a fifth of its seeds, so they differ in
    size; 8 % of the edges are missing. One edge leads through the field.
    """
    height, width = grid.extent_nm
    lattice = np.stack(
        np.meshgrid(
            np.arange(-3 * cell_nm, height + 3 * cell_nm, cell_nm),
            np.arange(-3 * cell_nm, width + 3 * cell_nm, cell_nm),
            indexing="ij",
        ),
        axis=-1,
    ).reshape(-1, 2)
    lattice = lattice[rng.random(len(lattice)) > 0.2]
    seeds = lattice + rng.uniform(-0.5, 0.5, lattice.shape) * cell_nm
    polygons = Voronoi(seeds)
    edges = np.array(polygons.ridge_vertices)
    ends = polygons.vertices[edges[edges.min(axis=1) >= 0]]
    low, high = -2 * cell_nm, np.array([height, width]) + 2 * cell_nm
    near = ((ends > low) & (ends < high)).all(axis=(1, 2)) & (rng.random(len(ends)) > 0.08)
    tubules = [wavy_line(a, b, 0.08, rng) for a, b in ends[near]]
    middles = np.array([t[len(t) // 2] for t in tubules])
    point = points(grid, 1, rng)[0]
    shift = point - middles[np.argmin(((middles - point) ** 2).sum(axis=1))]
    return [t + shift for t in tubules]


def _sheets(grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    """Large flat patches with small holes, 0 … 1."""
    area = smooth_field(grid, rng, sigma_nm=rng.uniform(500, 1000))
    holes = smooth_field(grid, rng, sigma_nm=90.0)
    return _step(area - rng.uniform(0.7, 1.3), 0.05) * _step(holes + 1.5, 0.2)


def _step(field: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    step: NDArray[np.float64] = 0.5 * (1 + np.tanh(field / width))
    return step


def _hatch(
    canvas: Canvas, centre: Point, radius_nm: float, sigma_nm: float, rng: np.random.Generator
) -> None:
    """Parallel strokes across an outline."""
    turn = rotation(rng.uniform(0, np.pi))
    spacing_nm = rng.uniform(120, 400)
    for offset in np.arange(-0.6 * radius_nm, 0.6 * radius_nm, spacing_nm):
        half = 0.7 * np.sqrt(radius_nm**2 - offset**2) * rng.uniform(0.7, 1.0)
        ends = np.array([[offset, -half], [offset + rng.normal(0, 20), half]]) @ turn + centre
        canvas.line(wavy_line(ends[0], ends[1], 0.02, rng), sigma_nm, 0.8)


def _dead_leaves(grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    """Diamonds, ellipses and blocks of random size and shading laid over one another."""
    grey = np.full(grid.shape, 0.5)
    rows = np.arange(grid.shape[0])[:, None]
    columns = np.arange(grid.shape[1])
    n = count(rng.uniform(60, 160), grid, rng)
    radii_nm = np.exp(rng.uniform(np.log(150), np.log(3000), n))
    for centre, radius_nm in zip(points(grid, n, rng), radii_nm, strict=True):
        y, x = (float(v) for v in grid.to_px(*centre))
        r = radius_nm / grid.pixel_size_nm
        near_y = slice(max(0, int(y - r)), max(0, int(y + r) + 2))
        near_x = slice(max(0, int(x - r)), max(0, int(x + r) + 2))
        across = np.stack(np.broadcast_arrays(rows[near_y] - y, columns[near_x] - x), -1) / r
        turned = across @ rotation(rng.uniform(0, np.pi))
        u, v = turned[..., 0], turned[..., 1] * rng.uniform(1.0, 2.5)
        power = rng.choice([1.0, 2.0, 2.0, 6.0])
        leaf = np.abs(u) ** power + np.abs(v) ** power < 1
        np.copyto(grey[near_y, near_x], rng.random() + rng.normal(0, 0.15) * u, where=leaf)
    return grey
