"""Images come in as they are and go out so that other programs see their pixel size."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.io import imsave

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError, OutputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.io.images import load_grid_image, load_image, load_structure, luminance, save_image

DATA = Path(__file__).parents[3] / "shared" / "data"
GRID = PixelGrid((16, 12), 20.0)


@pytest.fixture
def image():
    return np.random.default_rng(5).normal(size=(16, 12)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(
    pixel_size_nm=st.floats(0.1, 2000),
    origin_nm=st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    compress=st.booleans(),
)
def test_round_trip_is_exact(tmp_path_factory, pixel_size_nm, origin_nm, shape, compress):
    grid = PixelGrid(shape, pixel_size_nm, origin_nm)
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = tmp_path_factory.mktemp("i") / "i.ome.tif"
    assert save_image(path, image, grid, compress=compress) == path
    again, again_grid = load_grid_image(path)
    np.testing.assert_array_equal(again, image)
    assert again.dtype == np.float32
    assert again_grid == grid
    assert load_image(path)[1] == pixel_size_nm


@pytest.mark.parametrize("compress", [False, True])
def test_other_programs_see_the_pixel_size(tmp_path, image, compress):
    path = tmp_path / "SR.ome.tif"
    save_image(path, image, GRID, unit="ADU", description="mean", compress=compress)
    with tifffile.TiffFile(path) as tif:
        assert (tif.series[0].kind, tif.series[0].axes) == ("ome", "YX")
        page = tif.pages.first
        assert page.tags["XResolution"].value == page.tags["YResolution"].value == (500_000, 1)
        assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
        assert page.dtype == np.float32
        assert page.compression == (tifffile.COMPRESSION.ADOBE_DEFLATE if compress else 1)
        described = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        assert described["Name"] == "mean"
        pixels = described["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.02, "µm")
        assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeYUnit"]) == (0.02, "µm")
        assert pixels["Channel"]["Name"] == "mean [ADU]"
        assert page.tags["ImageDescription"].value.isascii()
    np.testing.assert_array_equal(tifffile.imread(path), image)


def test_attributes_are_escaped(tmp_path, image):
    path = save_image(tmp_path / "i.tif", image, GRID, description='a "b" <c> & µ')
    with tifffile.TiffFile(path) as tif:
        assert tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Name"] == 'a "b" <c> & µ'
    assert load_image(path)[1] == 20


def test_equal_content_gives_equal_bytes(tmp_path, image):
    a = save_image(tmp_path / "a.tif", image, GRID, description="mean")
    b = save_image(tmp_path / "b.ome.tif", image, GRID, description="mean")
    assert a.read_bytes() == b.read_bytes()


def test_refused_outputs(tmp_path, image):
    with pytest.raises(ShapeError, match=r"\(12, 16\) does not fit grid"):
        save_image(tmp_path / "i.tif", image.T, GRID)
    with pytest.raises(OutputError, match="cannot tell the format"):
        save_image(tmp_path / "i.png", image, GRID)
    (tmp_path / "there.tif").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        save_image(tmp_path / "there.tif", image, GRID)
    assert [path.name for path in tmp_path.iterdir()] == ["there.tif"]
    save_image(tmp_path / "there.tif", image, GRID, overwrite=True)
    np.testing.assert_array_equal(load_image(tmp_path / "there.tif")[0], image)


def test_stage_positions_of_other_programs_are_not_origins(tmp_path, image):
    metadata = {
        "axes": "YX",
        "PhysicalSizeX": 0.02,
        "PhysicalSizeY": 0.02,
        "Plane": {"PositionX": 5000.0, "PositionY": 3000.0},
    }
    tifffile.imwrite(tmp_path / "i.ome.tif", image, metadata=metadata)
    assert load_grid_image(tmp_path / "i.ome.tif")[1] == GRID


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float64])
def test_imagej_image_and_its_size(tmp_path, dtype):
    image = np.arange(192).reshape(16, 12).astype(dtype)
    stored = image.astype(np.float32) if dtype == np.float64 else image
    tifffile.imwrite(
        tmp_path / "i.tif", stored, imagej=True, resolution=(50, 50), metadata={"unit": "um"}
    )
    again, size_nm = load_image(tmp_path / "i.tif")
    np.testing.assert_array_equal(again, image)
    assert size_nm == pytest.approx(20)


def test_printer_resolution_of_a_picture_is_no_pixel_size(tmp_path, image):
    tifffile.imwrite(
        tmp_path / "i.tif", image, imagej=True, resolution=(72, 72), metadata={"unit": "inch"}
    )
    with pytest.warns(DlbiWarning, match="352778 nm, which is absurd"):
        again, size_nm = load_image(tmp_path / "i.tif")
    np.testing.assert_array_equal(again, image)
    assert size_nm is None


@pytest.mark.parametrize("name", ["i.png", "i.tif", "disguised.dat"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pictures_without_a_size(tmp_path, name, dtype):
    image = (np.arange(192).reshape(16, 12) * 13).astype(dtype)
    if name == "i.tif":
        tifffile.imwrite(tmp_path / name, image)
    else:
        imsave(tmp_path / "i.png", image, check_contrast=False)
        (tmp_path / "i.png").rename(tmp_path / name)
    again, size_nm = load_image(tmp_path / name)
    np.testing.assert_array_equal(again, image)
    assert size_nm is None
    with pytest.raises(InputError, match="--pixel-size"):
        load_grid_image(tmp_path / name)
    assert load_grid_image(tmp_path / name, pixel_size_nm=20)[1] == GRID


def test_jpeg(tmp_path):
    image = np.repeat(np.arange(0, 240, 15, dtype=np.uint8)[:, None], 32, axis=1)
    imsave(tmp_path / "i.jpg", image, check_contrast=False)
    again, _ = load_image(tmp_path / "i.jpg", as_grey=True)
    np.testing.assert_allclose(again, image, atol=6)


def test_colour_becomes_luminance_only_on_request(tmp_path):
    colour = np.zeros((4, 3, 3), np.uint8)
    colour[0, 0] = 255, 0, 0
    colour[0, 1] = 0, 255, 0
    colour[0, 2] = 0, 0, 255
    colour[1] = 100
    expected = np.zeros((4, 3))
    expected[0] = 255 * np.array([0.2126, 0.7152, 0.0722])
    expected[1] = 100
    imsave(tmp_path / "i.png", colour, check_contrast=False)
    tifffile.imwrite(tmp_path / "i.tif", colour, photometric="rgb")
    tifffile.imwrite(
        tmp_path / "planes.tif",
        np.moveaxis(colour, -1, 0),
        photometric="rgb",
        planarconfig="separate",
    )
    for name in ("i.png", "i.tif", "planes.tif"):
        image, _ = load_image(tmp_path / name, as_grey=True)
        np.testing.assert_allclose(image, expected, rtol=1e-6)
        with pytest.raises(FileFormatError, match="is a colour picture"):
            load_image(tmp_path / name)


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_transparent_pixels_are_dark(dtype, full):
    colour = np.full((2, 1, 4), full, dtype)
    colour[0, 0, 3] = 0
    np.testing.assert_allclose(luminance(colour), [[0], [full]])
    np.testing.assert_allclose(luminance(colour[..., 2:]), [[0], [full]])


def test_structure_is_the_density_as_it_is(tmp_path):
    density = np.random.default_rng(2).poisson(3, (16, 12)).astype(np.uint8)
    imsave(tmp_path / "s.png", density, check_contrast=False)
    structure = load_structure(tmp_path / "s.png", pixel_size_nm=20)
    np.testing.assert_array_equal(structure.density, density)
    assert structure.grid == GRID
    save_image(tmp_path / "s.tif", density.astype(float), GRID)
    assert load_structure(tmp_path / "s.tif").grid == GRID


def test_structures_that_cannot_be(tmp_path, image):
    save_image(tmp_path / "n.tif", image, GRID)
    with pytest.raises(InputError, match=r"n\.tif: has negative values"):
        load_structure(tmp_path / "n.tif")
    save_image(tmp_path / "z.tif", np.zeros((16, 12)), GRID)
    with pytest.raises(InputError, match=r"z\.tif: is 0 everywhere"):
        load_structure(tmp_path / "z.tif")
    imsave(tmp_path / "s.png", np.eye(9, dtype=np.uint8), check_contrast=False)
    with pytest.raises(InputError, match=r"s\.png: does not state its pixel size.*--pixel-size"):
        load_structure(tmp_path / "s.png")
    with pytest.raises(InputError, match="absurd"):
        load_structure(tmp_path / "s.png", pixel_size_nm=0)


def huge_png(path):
    """A valid header of 60 000 × 60 000 pixels, and nothing else."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_files_that_are_no_image(tmp_path, movie, image):
    tifffile.imwrite(tmp_path / "movie.tif", movie, photometric="minisblack")
    tifffile.imwrite(tmp_path / "channels.tif", movie[:2], imagej=True, metadata={"axes": "CYX"})
    np.save(tmp_path / "array.npy", image)
    huge_png(tmp_path / "huge.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "huge.png").read_bytes()[:40])
    tifffile.imwrite(tmp_path / "half.tif", image)
    content = (tmp_path / "half.tif").read_bytes()
    (tmp_path / "half.tif").write_bytes(content[: len(content) - 300])
    (tmp_path / "text.tif").write_text("hello")
    (tmp_path / "folder").mkdir()
    tifffile.imwrite(tmp_path / "many.tif", np.zeros((8, 8, 7), np.uint8), photometric="rgb")
    for name, says in {
        "movie.tif": "holds 7×12×10",
        "channels.tif": "axes CYX",
        "array.npy": "is a npy",
        "huge.png": "is not a readable picture",
        "half.png": "is not a readable picture",
        "half.tif": "truncated",
        "text.tif": "neither an image nor a movie",
        "folder": "is a folder",
        "many.tif": "7 samples for each pixel",
    }.items():
        with pytest.raises(FileFormatError, match=says) as caught:
            load_image(tmp_path / name, as_grey=True)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    image[3, 3] = np.nan
    save_image(tmp_path / "nan.tif", image, GRID)
    with pytest.raises(InputError, match="holds NaN or infinite pixels"):
        load_image(tmp_path / "nan.tif")


@pytest.mark.skipif(not DATA.is_dir(), reason="sample data are not here")
def test_sample_reconstruction():
    image, size_nm = load_image(DATA / "authors_test_dl_output_mean100.tif")
    assert image.shape == (480, 480)
    assert size_nm == pytest.approx(20)
