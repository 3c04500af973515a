"""The 3B baseline: Bayesian analysis of blinking and bleaching (Cox et al. 2012)."""

from dlbi.inference.threeb.options import ThreeBOptions as ThreeBOptions
from dlbi.inference.threeb.run import ThreeBResult as ThreeBResult
from dlbi.inference.threeb.run import threeb as threeb
