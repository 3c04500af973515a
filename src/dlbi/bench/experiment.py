"""What an experiment is, and what a run of experiments is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dlbi.bench.cases import Case, Outcome
from dlbi.bench.contestants import Contestant
from dlbi.bench.films import Filmed
from dlbi.bench.subjects import FIELD_PX, Source

QUICK_FIELD_PX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the user asks for.

    Parameters
    ----------
    seed : int
        Of all simulated movies and all methods.
    quick : bool
        Fewer and smaller areas.
    threeb_quality : str
        Iterations of 3B: 8, 40 or the paper's 240 passes.
    patches, fields : tuple of Filmed
        A local region of each real movie, and the whole field where it is larger.
    channels : tuple of Filmed or None
        Two movies of one field.
    """

    seed: int
    quick: bool = False
    threeb_quality: str = "standard"
    patches: tuple[Filmed, ...] = ()
    fields: tuple[Filmed, ...] = ()
    channels: tuple[Filmed, Filmed] | None = None

    @property
    def field_px(self) -> int:
        """Side of a simulated area."""
        return QUICK_FIELD_PX if self.quick else FIELD_PX


class Task(NamedTuple):
    """A case, and whether its image is needed for a picture."""

    case: Case
    pictured: bool = False


@dataclass(frozen=True, slots=True)
class Experiment:
    """Cases, and what is made of their outcomes.

    Parameters
    ----------
    name : str
    reproduces : str
        Tables and figures of the paper.
    about : str
        What is compared, in a sentence or two for the report.
    tasks : callable
        The cases under a plan; none if the plan lacks what they need.
    report : callable
        Tables in Markdown.
    draw : callable
        Writes the figure.
    needs : str
        What to give where there are no tasks.
    """

    name: str
    reproduces: str
    about: str
    tasks: Callable[[Plan], list[Task]]
    report: Callable[[Sequence[Outcome]], str]
    draw: Callable[[Sequence[Outcome], Path], None]
    needs: str = ""


def crossed(
    sources: Sequence[Source], contestants: Sequence[Contestant], *, n_pictured: int = 0
) -> list[Task]:
    """Every method on every movie; the images of the first movies are kept."""
    return [
        Task(Case(source, contestant), pictured=n < n_pictured)
        for n, source in enumerate(sources)
        for contestant in contestants
    ]
