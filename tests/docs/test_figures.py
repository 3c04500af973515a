"""The figures of the concepts are those that their script draws."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "images" / "concepts"
MAX_BYTES = 150_000


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(DOCS / "figures.py"), run_name="figures")


def grey(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), float)


def test_every_figure_is_drawn_shown_and_small(script):
    kept = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "concepts").glob("*.md"))
    assert set(kept) == set(script["FIGURES"])
    assert set(kept) == set(re.findall(r"\.\./images/concepts/([\w-]+)\.png", pages))
    assert max(kept.values()) < MAX_BYTES


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.png")))
def test_figure_is_what_the_script_draws(script, tmp_path, name):
    """Compared as pictures: fonts and the last bits of samples may differ between machines."""
    script["write"](script["FIGURES"][name], tmp_path / "drawn.png")
    drawn, kept = grey(tmp_path / "drawn.png"), grey(FOLDER / f"{name}.png")
    assert drawn.shape == kept.shape
    assert np.corrcoef(drawn.ravel(), kept.ravel())[0, 1] > 0.9
