"""Super-resolution fluorescence microscopy from dense blinking movies.

Public names are loaded when they are first used, so that ``import dlbi`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dlbi.artefacts import find_artefacts as find_artefacts
    from dlbi.core.emitters import Emitters as Emitters
    from dlbi.core.errors import DlbiError as DlbiError
    from dlbi.core.errors import DlbiWarning as DlbiWarning
    from dlbi.core.grid import PixelGrid as PixelGrid
    from dlbi.core.images import ImageStack as ImageStack
    from dlbi.core.images import Reconstruction as Reconstruction
    from dlbi.core.images import Reconstructor as Reconstructor
    from dlbi.core.images import StructureImage as StructureImage
    from dlbi.core.optics import GaussianPSF as GaussianPSF
    from dlbi.core.scope import Estimate as Estimate
    from dlbi.core.scope import Scope as Scope
    from dlbi.evaluation.halves import score_halves as score_halves
    from dlbi.evaluation.image import score_truth
    from dlbi.evaluation.local_resolution import resolution_map as resolution_map
    from dlbi.evaluation.squirrel import score_movie
    from dlbi.io.images import load_structure as load_structure
    from dlbi.io.reconstructions import load_reconstruction as load_reconstruction
    from dlbi.io.saving import save as save
    from dlbi.io.scopes import load_scope as load_scope
    from dlbi.io.stacks import load_stack as load_stack
    from dlbi.io.tables import load_emitters as load_emitters
    from dlbi.learning.network import load_network as load_network
    from dlbi.reconstruction import calibrate as calibrate
    from dlbi.reconstruction import correct_drift as correct_drift
    from dlbi.reconstruction import reconstruct as reconstruct
    from dlbi.reconstruction import reconstruct_windows as reconstruct_windows
    from dlbi.reconstruction import reconstructor as reconstructor
    from dlbi.report import save_report as save_report
    from dlbi.simulation import presets as presets
    from dlbi.simulation.movie import simulate as simulate
    from dlbi.simulation.structures import draw

    draw_structure, evaluate, squirrel = draw, score_truth, score_movie

_HOMES = {
    "DlbiError": "dlbi.core.errors:DlbiError",
    "DlbiWarning": "dlbi.core.errors:DlbiWarning",
    "Emitters": "dlbi.core.emitters:Emitters",
    "Estimate": "dlbi.core.scope:Estimate",
    "GaussianPSF": "dlbi.core.optics:GaussianPSF",
    "ImageStack": "dlbi.core.images:ImageStack",
    "PixelGrid": "dlbi.core.grid:PixelGrid",
    "Reconstruction": "dlbi.core.images:Reconstruction",
    "Reconstructor": "dlbi.core.images:Reconstructor",
    "Scope": "dlbi.core.scope:Scope",
    "StructureImage": "dlbi.core.images:StructureImage",
    "calibrate": "dlbi.reconstruction:calibrate",
    "correct_drift": "dlbi.reconstruction:correct_drift",
    "draw_structure": "dlbi.simulation.structures:draw",
    "evaluate": "dlbi.evaluation.image:score_truth",
    "find_artefacts": "dlbi.artefacts:find_artefacts",
    "load_emitters": "dlbi.io.tables:load_emitters",
    "load_network": "dlbi.learning.network:load_network",
    "load_reconstruction": "dlbi.io.reconstructions:load_reconstruction",
    "load_scope": "dlbi.io.scopes:load_scope",
    "load_stack": "dlbi.io.stacks:load_stack",
    "load_structure": "dlbi.io.images:load_structure",
    "presets": "dlbi.simulation.presets:",
    "reconstruct": "dlbi.reconstruction:reconstruct",
    "reconstruct_windows": "dlbi.reconstruction:reconstruct_windows",
    "reconstructor": "dlbi.reconstruction:reconstructor",
    "resolution_map": "dlbi.evaluation.local_resolution:resolution_map",
    "save": "dlbi.io.saving:save",
    "save_report": "dlbi.report:save_report",
    "score_halves": "dlbi.evaluation.halves:score_halves",
    "simulate": "dlbi.simulation.movie:simulate",
    "squirrel": "dlbi.evaluation.squirrel:score_movie",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dlbi' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = import_module(module)
    globals()[name] = getattr(value, attribute) if attribute else value
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
