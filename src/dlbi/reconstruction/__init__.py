"""Whole-field reconstruction: every method behind one function, `reconstruct`; `calibrate`."""

from dlbi.inference.refinement import STARTS as STARTS
from dlbi.reconstruction.calibration import calibrate as calibrate
from dlbi.reconstruction.pipeline import METHODS as METHODS
from dlbi.reconstruction.pipeline import QUALITIES as QUALITIES
from dlbi.reconstruction.pipeline import reconstruct as reconstruct
from dlbi.reconstruction.pipeline import reconstructor as reconstructor
