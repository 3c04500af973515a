"""Single images: structures and results in, OME-TIFF out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, StructureImage
from dlbi.io.files import TIFF_SUFFIXES, PathLike, check_writable, pending_outputs, reading, writing
from dlbi.io.frames import check_pixel_type
from dlbi.io.kinds import file_kind
from dlbi.io.metadata import IMAGE_PIXEL_NM, Metadata, choose_pixel_size
from dlbi.io.ome import CREATOR, ome_xml
from dlbi.io.tiff import check_series, opened_tiff, read_tiff_metadata

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709


@dataclass(frozen=True, slots=True)
class _Picture:
    """Pixels as stored, (Y, X) or (Y, X, 2..4), and what the file says about them."""

    pixels: NDArray[Any]
    metadata: Metadata


def load_image(path: PathLike, *, as_grey: bool = False) -> tuple[FloatImage, float | None]:
    """Read a two-dimensional image and its pixel size.

    Parameters
    ----------
    path : path
        TIFF, PNG or JPEG.
    as_grey : bool
        Turn a colour picture into its Rec. 709 luminance, transparent pixels into 0.

    Returns
    -------
    image : ndarray, (Y, X), float32
        Values as stored.
    pixel_size_nm : float or None
        None if the file does not state it.

    Raises
    ------
    InputError
        If the path is missing or pixels are not finite.
    FileFormatError
        If it is not a single image, or in colour and `as_grey` is false.

    Warns
    -----
    DlbiWarning
        If the file states a pixel size that cannot be.
    """
    path = Path(path)
    image, metadata = _read(path, as_grey=as_grey)
    if metadata.pixel_size_nm is None:
        return image, None
    try:
        size_nm = choose_pixel_size(metadata, path, given_nm=None, believable_nm=IMAGE_PIXEL_NM)
    except FileFormatError as error:
        warnings.warn(f"{error}; the image is read without one", DlbiWarning, stacklevel=2)
        return image, None
    return image, size_nm


def load_grid_image(
    path: PathLike, *, pixel_size_nm: float | None = None
) -> tuple[FloatImage, PixelGrid]:
    """Read a two-dimensional image with its grid.

    Parameters
    ----------
    path : path
        TIFF, PNG or JPEG, grey.
    pixel_size_nm : float, optional
        Overrides that of the file.

    Raises
    ------
    InputError, FileFormatError
        As `load_image`, and if the pixel size is unknown or absurd.
    """
    path = Path(path)
    image, metadata = _read(path, as_grey=False)
    return image, _grid(path, image, metadata, pixel_size_nm)


def load_structure(path: PathLike, *, pixel_size_nm: float | None = None) -> StructureImage:
    """Read any picture as a density of fluorophores, as it is; colours become grey.

    Parameters
    ----------
    path : path
        TIFF, PNG or JPEG.
    pixel_size_nm : float, optional
        Overrides that of the file; pictures other than TIFF have none.

    Returns
    -------
    StructureImage
        (Y, X), float32, of any scale.

    Raises
    ------
    InputError
        If the density is negative somewhere or zero everywhere, or the pixel size is unknown.
    FileFormatError
        If it is not a single image.
    """
    path = Path(path)
    density, metadata = _read(path, as_grey=True)
    if density.min() < 0:
        raise InputError(
            f"{path}: has negative values down to {density.min():g}, and a density cannot; "
            "subtract the background and clip at 0"
        )
    if density.max() == 0:
        raise InputError(f"{path}: is 0 everywhere; a structure to place fluorophores on is needed")
    return StructureImage(density, _grid(path, density, metadata, pixel_size_nm))


def save_image(
    path: PathLike,
    image: NDArray[np.floating],
    grid: PixelGrid,
    *,
    unit: str = "",
    description: str = "",
    compress: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write an image as OME-TIFF, float32, with its pixel size.

    The pixel size stands in the OME-XML (for Bio-Formats) and in the resolution tags in
    centimetres (which ImageJ itself turns into µm). Equal content gives equal bytes.

    Parameters
    ----------
    path : path
        Output, named as a TIFF.
    image : ndarray, (Y, X)
        Image.
    grid : PixelGrid
        Pixels.
    unit : str
        Of the values, such as ``"ADU"``.
    description : str
        What the values are, such as ``"standard deviation"``.
    compress : bool
        Deflate the pixels.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ShapeError
        If the image does not fit the grid.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite, suffixes=TIFF_SUFFIXES)
    with pending_outputs(path, overwrite=overwrite) as parts, writing(path):
        write_image(parts[path], image, grid, unit=unit, description=description, compress=compress)
    return path


def write_image(
    path: Path,
    image: NDArray[np.floating],
    grid: PixelGrid,
    *,
    unit: str = "",
    description: str = "",
    compress: bool = False,
) -> None:
    """Write the file of `save_image` under exactly this name, at once."""
    if image.shape != grid.shape:
        raise ShapeError(f"image {image.shape} does not fit grid {grid.shape}")
    per_cm = 1e7 / grid.pixel_size_nm
    tifffile.imwrite(
        path,
        np.ascontiguousarray(image, np.float32),
        byteorder="<",
        ome=False,  # the OME-XML is our own
        photometric="minisblack",
        compression="zlib" if compress else None,
        predictor=compress,
        description=ome_xml(
            grid,
            np.dtype(np.float32),
            name=description,
            channel=" ".join(filter(None, (description, unit and f"[{unit}]"))),
        ),
        metadata=None,
        resolution=(per_cm, per_cm),
        resolutionunit="CENTIMETER",
        software=CREATOR,
    )


def _grid(
    path: Path, image: FloatImage, metadata: Metadata, pixel_size_nm: float | None
) -> PixelGrid:
    size_nm = choose_pixel_size(
        metadata, path, given_nm=pixel_size_nm, believable_nm=IMAGE_PIXEL_NM
    )
    return PixelGrid((image.shape[0], image.shape[1]), size_nm, metadata.origin_nm)


def _read(path: Path, *, as_grey: bool) -> tuple[FloatImage, Metadata]:
    picture = _read_picture(path)
    pixels = picture.pixels
    if pixels.ndim == 3:
        if not as_grey:
            raise FileFormatError(
                f"{path}: is a colour picture, and a grey image is needed; convert it "
                "(Fiji: Image › Type › 32-bit)"
            )
        pixels = luminance(pixels)
    image = pixels.astype(np.float32)
    if not np.isfinite(image).all():
        raise InputError(f"{path}: holds NaN or infinite pixels; replace them first")
    return image, picture.metadata


def luminance(colour: NDArray[Any]) -> NDArray[np.float64]:
    """Rec. 709 luminance of grey+alpha, RGB or RGBA pixels, in their own range.

    Parameters
    ----------
    colour : ndarray, (Y, X, 2..4)
        An even number of samples means that the last one is opacity; transparency becomes 0.
    """
    n_samples = colour.shape[-1]
    values = colour.astype(np.float64)
    grey: NDArray[np.float64] = values[..., 0] if n_samples < 3 else values[..., :3] @ _LUMINANCE
    if n_samples % 2 == 0:
        full = np.iinfo(colour.dtype).max if colour.dtype.kind == "u" else 1.0
        grey = grey * (values[..., -1] / full)
    return grey


def _read_picture(path: Path) -> _Picture:
    kind = file_kind(path)
    if kind == "tiff":
        return _read_tiff(path)
    if kind in ("png", "jpeg"):
        from skimage.io import imread  # half a second to import, and rarely needed

        with reading(path, "picture"):
            pixels = np.asarray(imread(path))
        check_pixel_type(pixels.dtype, path)
        return _Picture(pixels, Metadata())
    raise FileFormatError(
        f"{path}: is a {kind}, and a single image is needed; give a TIFF, PNG or JPEG"
    )


def _read_tiff(path: Path) -> _Picture:
    with opened_tiff(path) as tif:
        series = tif.series[0]
        check_series(series, tif, path)
        shape, axes = series.get_shape(True), series.get_axes(True)
        if len(tif.series) > 1 or axes not in ("YX", "YXS", "SYX"):
            held = ", ".join("×".join(map(str, each.shape)) for each in tif.series[:4])
            raise FileFormatError(
                f"{path}: holds {held} (axes {axes}), and a single image (Y, X) is needed; "
                "extract one (Fiji: Image › Duplicate…)"
            )
        if len(shape) == 3 and shape[axes.index("S")] > 4:
            raise FileFormatError(
                f"{path}: has {shape[axes.index('S')]} samples for each pixel, and 1 to 4 are "
                "needed; extract one"
            )
        pixels = series.asarray(maxworkers=1)
        if axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        return _Picture(pixels, read_tiff_metadata(tif, IMAGE_PIXEL_NM))
