"""`dlbi doctor`."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path

from dlbi import __version__
from dlbi.cli.arguments import available_cores

PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "scikit-image",
    "tifffile",
    "imagecodecs",
    "zarr",
    "onnxruntime",
    "matplotlib",
    "typer",
    "rich",
    "jinja2",
    "pillow",
)
OPTIONAL = ("torch", "napari", "distributed")


def doctor() -> None:
    """Describe this installation, for bug reports.

    Versions, cores, memory, whether compiled code can be kept, the network's name and hash, and
    optional packages.
    """
    from importlib.metadata import PackageNotFoundError, version

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    lines = {
        "dlbi": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "cores": f"{available_cores()} of {os.cpu_count()}",
        "memory": _memory(),
        "compiled code": _kernel_cache(),
        "network": _network(),
        **{name: installed(name) or "not installed: run pip install dlbi" for name in PACKAGES},
        **{name: installed(name) or "not installed (optional)" for name in OPTIONAL},
    }
    width = max(map(len, lines))
    for name, text in lines.items():
        print(f"{name.ljust(width)}  {text}")


def _memory() -> str:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (page * os.sysconf(n) / 2**30 for n in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return "unknown on this system"
    return f"{total:.1f} GiB, {free:.1f} GiB free"


def _network() -> str:
    """The network that comes with the package."""
    try:
        from dlbi.learning.network import load_network

        network = load_network()
        return f"{network.metadata.name}, sha256 {network.sha256}"
    except Exception as error:  # as below
        return f"cannot be used ({error})"


def _kernel_cache() -> str:
    """Where numba keeps compiled kernels, and whether it can."""
    try:
        from dlbi.core.kernels import mix

        folder = Path(mix.stats.cache_path)  # type: ignore[attr-defined]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return f"kept in {folder}"
    except Exception as error:  # whatever is wrong here, the report must go on
        return f"cannot be kept ({error}), so every run compiles again; set NUMBA_CACHE_DIR"
