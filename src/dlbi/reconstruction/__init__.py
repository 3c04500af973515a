"""Whole-field reconstruction: every method behind one function, `reconstruct`; window by window,
`reconstruct_windows`; `calibrate` and `correct_drift`."""

from dlbi.inference.hmm.refinement import STARTS as STARTS
from dlbi.reconstruction.calibration import calibrate as calibrate
from dlbi.reconstruction.drift import correct_drift as correct_drift
from dlbi.reconstruction.options import METHODS as METHODS
from dlbi.reconstruction.options import QUALITIES as QUALITIES
from dlbi.reconstruction.pipeline import reconstruct as reconstruct
from dlbi.reconstruction.pipeline import reconstructor as reconstructor
from dlbi.reconstruction.windows import reconstruct_windows as reconstruct_windows
