"""The known causes of artefacts, looked for in a movie and in what its reconstruction recorded."""

from dlbi.artefacts.examination import find_artefacts as find_artefacts
from dlbi.artefacts.finding import Finding as Finding
from dlbi.artefacts.finding import Severity as Severity
