"""OME-XML: what OME-TIFF files say about their pixels, read and written.

The files this package writes carry no identifier or date, so equal content gives equal bytes.
Where the grid of such a file begins (``PositionX``, ``PositionY``) and whether counts are photons
(``Channel/@Name``) is trusted on reading only if this package wrote the file: other programs
record the stage position there.

References
----------
OME data model 2016-06, https://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from dlbi import __version__
from dlbi.core.errors import OutputError
from dlbi.core.grid import PixelGrid
from dlbi.io.metadata import Metadata, duration_s, length_nm, number, pair_nm

CREATOR = f"dlbi {__version__}"

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_PIXEL_TYPES = {
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "float32": "float",
    "float64": "double",
}


def ome_xml(
    grid: PixelGrid,
    dtype: np.dtype[Any],
    *,
    n_frames: int = 1,
    frame_interval_s: float | None = None,
    name: str = "",
    channel: str = "",
) -> str:
    """OME-XML of one image or movie, ASCII.

    Parameters
    ----------
    grid : PixelGrid
        Pixel size is written in µm, the unit that readers assume.
    dtype : dtype
        Pixel type.
    n_frames : int
        Number of frames T.
    frame_interval_s : float, optional
    name : str
        Of the image.
    channel : str
        What the values are, with their unit.

    Raises
    ------
    OutputError
        If OME has no such pixel type.
    """
    if dtype.name not in _PIXEL_TYPES:
        raise OutputError(
            f"OME-TIFF cannot hold {dtype.name} pixels; convert to one of {', '.join(_PIXEL_TYPES)}"
        )
    height, width = grid.shape
    size_um = Decimal(repr(float(grid.pixel_size_nm))) / 1000  # decimal, to read back exactly
    pixels = {
        "ID": "Pixels:0",
        "DimensionOrder": "XYCZT",
        "Type": _PIXEL_TYPES[dtype.name],
        "SizeX": width,
        "SizeY": height,
        "SizeC": 1,
        "SizeZ": 1,
        "SizeT": n_frames,
        "PhysicalSizeX": size_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": size_um,
        "PhysicalSizeYUnit": "µm",
    }
    if frame_interval_s is not None:
        pixels |= {"TimeIncrement": repr(float(frame_interval_s)), "TimeIncrementUnit": "s"}
    channel_attributes = {"ID": "Channel:0:0", "SamplesPerPixel": 1} | (
        {"Name": channel} if channel else {}
    )
    image = {"ID": "Image:0"} | ({"Name": name} if name else {})
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{_NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_NAMESPACE} {_NAMESPACE}/ome.xsd" Creator="{CREATOR}">'
        f"<Image{_attributes(image)}><Pixels{_attributes(pixels)}>"
        f"<Channel{_attributes(channel_attributes)}/>"
        f'<TiffData IFD="0" PlaneCount="{n_frames}"/>{_plane(grid)}'
        "</Pixels></Image></OME>"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _plane(grid: PixelGrid) -> str:
    if grid.origin_nm == (0.0, 0.0):
        return ""
    y, x = grid.origin_nm
    position = {
        "TheZ": 0,
        "TheT": 0,
        "TheC": 0,
        "PositionX": repr(float(x)),
        "PositionXUnit": "nm",
        "PositionY": repr(float(y)),
        "PositionYUnit": "nm",
    }
    return f"<Plane{_attributes(position)}/>"


def _attributes(values: Mapping[str, object]) -> str:
    return "".join(f" {name}={quoteattr(str(value))}" for name, value in values.items())


def read_ome_metadata(xml: str) -> Metadata:
    """Pixel size, frame interval, origin and unit of the first image."""
    creator, pixels = "", ElementTree.Element("Pixels")
    for tag, element in _elements(xml):
        if tag == "OME":
            creator = element.get("Creator", "")
        if tag == "Pixels":
            pixels = element
            break
    metadata = Metadata(
        pair_nm(_size_nm(pixels, "PhysicalSizeY"), _size_nm(pixels, "PhysicalSizeX")),
        duration_s(number(pixels.get("TimeIncrement")), pixels.get("TimeIncrementUnit", "s")),
    )
    return _own_metadata(metadata, pixels) if creator.startswith("dlbi ") else metadata


def _own_metadata(metadata: Metadata, pixels: ElementTree.Element) -> Metadata:
    plane = pixels.find("{*}Plane")
    channel = pixels.find("{*}Channel")
    origin_nm = (0.0, 0.0)
    if plane is not None:
        y, x = number(plane.get("PositionY")), number(plane.get("PositionX"))
        origin_nm = (y, x) if math.isfinite(y) and math.isfinite(x) else origin_nm
    photons = channel is not None and channel.get("Name") == "photon"
    return Metadata(
        metadata.pixel_size_nm,
        metadata.frame_interval_s,
        origin_nm,
        "photon" if photons else "adu",
    )


def count_planes(xml: str) -> int:
    """Largest number of planes (C × Z × T) that an image of the document declares."""
    return max(
        (
            math.prod(int(element.get(f"Size{axis}", "1")) for axis in "CZT")
            for tag, element in _elements(xml)
            if tag == "Pixels"
        ),
        default=0,
    )


def _size_nm(pixels: ElementTree.Element, name: str) -> float | None:
    factor = length_nm(1.0, pixels.get(f"{name}Unit", "µm"))
    if factor is None or not math.isfinite(number(pixels.get(name))):
        return None
    return float(Decimal(pixels.attrib[name]) * Decimal(factor))


def _elements(xml: str) -> Iterator[tuple[str, ElementTree.Element]]:
    """Elements in document order, complete with children, by local name; OME comes first."""
    root = ElementTree.fromstring(xml.encode())
    for element in root.iter():
        yield element.tag.rpartition("}")[2], element
