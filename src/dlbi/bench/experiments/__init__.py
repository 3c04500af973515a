"""The experiments by name, and what of the paper cannot be repeated."""

from __future__ import annotations

from dlbi.bench.experiment import Experiment
from dlbi.bench.experiments.ablations import ABLATIONS
from dlbi.bench.experiments.areas import AREAS
from dlbi.bench.experiments.channels import CHANNELS
from dlbi.bench.experiments.families import FAMILY_MOVIES
from dlbi.bench.experiments.real import FIELDS, PATCHES
from dlbi.bench.experiments.resolution import RESOLUTION
from dlbi.bench.experiments.runtime import RUNTIME
from dlbi.bench.experiments.stages import STAGES

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        AREAS,
        STAGES,
        RUNTIME,
        FAMILY_MOVIES,
        RESOLUTION,
        PATCHES,
        FIELDS,
        CHANNELS,
        ABLATIONS,
    )
}

ASKED_FOR = frozenset({ABLATIONS.name})
"""Run only on request."""

NOT_REPRODUCED = {
    "Table 1 and Fig. 7, the paper's own eight areas": (
        "neither the crops of the challenge's structures nor the simulated movies were published; "
        "areas of the same kind are drawn (`areas`)"
    ),
    "Table 2, Figs 8, 9, 10 and 12, Actin1 and ER": (
        "the movies are not public; any movie can be given with --movie (`patches`, `fields`, "
        "`stages`)"
    ),
    "Table 2, Figs 8, 9, 10 and 12, Actin2": (
        "the movie does not come with this package; give it with --movie and --roi 120,120,60,60"
    ),
    "Fig. 11, absolute times": (
        "they belong to the paper's computer and to programs of 2018; times of this computer are "
        "measured (`runtime`)"
    ),
    "Fig. 12D, PALM of Actin1 from 20 000 frames": "neither frames nor localisations are public",
    "Fig. 12E, overlay with that PALM image": (
        "the same; two movies can be given with --channels, or a pair is simulated (`channels`)"
    ),
    "the paper's trained network": (
        "its weights are not part of this package; the compact network that comes with it is run"
    ),
}
"""Tables and figures that cannot be repeated as they are, and why. Figs 1–6 are diagrams."""
