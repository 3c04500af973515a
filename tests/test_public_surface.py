"""What `import dlbi` offers, what it costs, and the scripts that must work."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import dlbi
from dlbi.core.grid import PixelGrid
from dlbi.io.images import save_image

EXPECTED = {
    "__version__", "DlbiError", "DlbiWarning", "Emitters", "Estimate", "GaussianPSF", "ImageStack",
    "PixelGrid", "Reconstruction", "Reconstructor", "Scope", "StructureImage", "calibrate",
    "correct_drift", "draw_structure", "evaluate", "find_artefacts", "load_emitters",
    "load_network", "load_reconstruction", "load_scope", "load_stack", "load_structure",
    "presets", "reconstruct", "reconstruct_windows", "reconstructor", "resolution_map", "save",
    "save_report", "score_halves", "simulate", "squirrel",
}  # fmt: skip


@pytest.fixture(scope="module")
def movie():
    """A small simulated movie of rings."""
    structure = dlbi.draw_structure("rings", PixelGrid((128, 128), 20.0), 1)
    return dlbi.simulate(structure, dlbi.presets.meos32(), n_frames=30, rng=7)


def test_exported_names():
    assert set(dlbi.__all__) == EXPECTED
    assert set(dir(dlbi)) >= EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_name_resolves_and_is_documented(name):
    value = getattr(dlbi, name)
    if name != "__version__":
        assert inspect.getdoc(value)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'dlbi' has no attribute 'nothing'"):
        _ = dlbi.nothing


def test_type_checkers_see_the_names_that_are_there():
    tree = ast.parse(Path(dlbi.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    (renamed,) = (node for node in block.body if isinstance(node, ast.Assign))
    targets = [name.id for name in renamed.targets[0].elts]
    sources = [name.id for name in renamed.value.elts]
    seen = {name: imported[name] for name in imported if name not in sources}
    seen |= {new: imported[old] for new, old in zip(targets, sources, strict=True)}
    assert set(seen) == EXPECTED - {"__version__"}
    for name, (module, attribute) in seen.items():
        assert getattr(dlbi, name) is getattr(import_module(module), attribute)


def test_import_is_light_and_names_load_on_first_use():
    code = (
        "import sys, dlbi; assert not {'numpy', 'scipy', 'numba'} & set(sys.modules); "
        "dlbi.PixelGrid; assert 'numpy' in sys.modules and 'numba' not in sys.modules; "
        "from dlbi import simulate; assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_functions_are_not_shadowed_by_subpackages():
    for name in ("simulate", "calibrate", "reconstruct", "evaluate", "squirrel"):
        assert callable(getattr(dlbi, name))


def test_script_from_a_movie_file(tmp_path, monkeypatch, movie):
    monkeypatch.chdir(tmp_path)
    dlbi.save(movie, "actin.tif")

    stack = dlbi.load_stack("actin.tif", pixel_size_nm=160)
    sr = dlbi.reconstruct(stack, method="rl", psf=dlbi.GaussianPSF(422), rng=7)
    dlbi.save(sr, "actin-sr.ome.tif")

    np.testing.assert_array_equal(dlbi.load_reconstruction("actin-sr.ome.tif").mean, sr.mean)


def test_script_from_a_structure_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    density = np.zeros((128, 128), np.float32)
    density[:, 40:44] = density[60:64, :] = 1.0
    save_image("tubulin.tif", density, PixelGrid((128, 128), 20.0))

    truth = dlbi.load_structure("tubulin.tif", pixel_size_nm=20)
    movie = dlbi.simulate(truth, dlbi.presets.meos32(), n_frames=30, rng=7)
    sr = dlbi.reconstruct(movie, method="rl", psf=dlbi.GaussianPSF(422))
    print(dlbi.evaluate(sr, truth=truth))
    print(dlbi.squirrel(sr, movie))

    out = capsys.readouterr().out
    assert "null" in out
    assert "RSP" in out
    assert dlbi.evaluate(sr, truth=truth).image.corr_4px > 0.8


def test_a_simulated_movie_is_a_movie(movie):
    assert isinstance(movie, dlbi.ImageStack)
    part = movie.select(slice(0, 5), (2, 3, 6, 4))
    assert type(part) is dlbi.ImageStack
    np.testing.assert_array_equal(part.load(), movie.load()[:5, 3:7, 2:8])
    assert movie.stack.grid == movie.grid
    assert movie.truth(8).grid == movie.grid.refine(8)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda movie, sr: dlbi.reconstruct(movie.data), "a movie must be of type ImageStack"),
        (lambda movie, sr: dlbi.reconstruct_windows(movie.data, window=9), "of type ImageStack"),
        (lambda movie, sr: dlbi.calibrate(movie.data), "a movie must be of type ImageStack"),
        (lambda movie, sr: dlbi.correct_drift(movie.data), "a movie must be of type ImageStack"),
        (lambda movie, sr: dlbi.find_artefacts(sr.mean, movie.stack), "of type Reconstruction"),
        (lambda movie, sr: dlbi.find_artefacts(sr, movie.data), "of type ImageStack"),
        (lambda movie, sr: dlbi.save_report(sr, movie.data, "r.html"), "of type ImageStack"),
        (lambda movie, sr: dlbi.save_report(sr.mean, movie.stack, "r.html"), "Reconstruction"),
        (lambda movie, sr: dlbi.evaluate(sr.mean, movie.truth(2)), "of type Reconstruction"),
        (lambda movie, sr: dlbi.evaluate(sr, sr.mean), "of type StructureImage or Emitters, got"),
        (lambda movie, sr: dlbi.squirrel(sr.mean, movie.stack), "of type Reconstruction"),
        (lambda movie, sr: dlbi.squirrel(sr, movie.data), "of type ImageStack, got ndarray"),
        (lambda movie, sr: dlbi.score_halves(sr, sr.mean), "an image must be of type Reconstruct"),
        (lambda movie, sr: dlbi.score_halves(sr.mean, sr), "an image must be of type Reconstruct"),
        (lambda movie, sr: dlbi.simulate(sr.mean, movie.scene), "of type StructureImage, got nda"),
        (lambda movie, sr: dlbi.simulate(movie.density, "meos3.2"), "of type Scene, got str"),
    ],
)
def test_a_value_of_another_type_is_told_with_what_to_do(movie, call, wanted):
    sr = dlbi.reconstruct(movie.stack, method="mean", upscaling=2)
    with pytest.raises(dlbi.DlbiError, match=f"{wanted}.*; (give )?(dlbi|.*makes)") as caught:
        call(movie, sr)
    assert "\n" not in str(caught.value)
