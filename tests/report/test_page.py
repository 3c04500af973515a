"""The page is well-formed, holds everything, loads nothing and never changes by itself."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from dlbi.artefacts import Finding, Severity
from dlbi.core.errors import OutputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, Reconstruction, StructureImage
from dlbi.core.optics import GaussianPSF
from dlbi.reconstruction import reconstruct
from dlbi.report import render_report, save_report

VOID = {"meta", "img", "link", "br", "hr", "line", "polyline"}


class Page(HTMLParser):
    """Text, tags and attributes; every tag must be closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text, self.by_tag = [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
            self.by_tag.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def text(sr, movie):
    return render_report(sr, movie.stack, truth=movie.density)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_it_is_one_well_formed_page(text, page):
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert len(page.all("svg")) == 1
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert len(page.all("h1")) == len(page.all("main")) == 1


def test_it_loads_nothing(text, page):
    assert not {"script", "link", "iframe", "object", "a"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "data"):
                assert value.startswith("data:image/png;base64,")
    assert not re.search(r"url\(|@import|https?://", text)


def test_file_names_are_text_and_not_markup(page):
    assert page.by_tag["h1"] == ["<b>cell & co.tif"]
    assert not any("cell" in data for data in page.by_tag.get("b", []))
    assert "<b>cell & co.tif" in page.words


def test_every_picture_has_a_text_and_a_scale(page):
    titles = ["Mean of all frames", "Reconstruction", "Truth", "Standard deviation", "p-value",
              "Error map", "Mean of all frames", "Reconstruction", "Truth"]  # fmt: skip
    images = page.all("img")
    assert [image["alt"].partition(":")[0] for image in images] == titles
    assert page.by_tag["b"] == titles
    bars = [a for tag, a in page.tags if tag == "span" and a.get("class") == "bar"]
    assert len(bars) == len(images)
    assert sum(1 for tag, a in page.tags if a.get("class") == "box") == 3


def test_it_says_what_matters(page):
    for words in (
        "No sign of an artefact in 13 checks",
        "60 frames of 20 × 24 pixels of 160 nm",
        "they cannot show resolution",
        "The 8 × 8 camera pixels (1.28 µm) with the most light in the reconstruction",
        "422 ± 6 nm measured in the movie",
        "R-hat 1.02",
        "Seed 77",
        "SHA-256 " + "cd" * 32,
        "dlbi reconstruct '<b>cell & co.tif' --out sr.tif --seed 77",
        "an empty image",
    ):
        assert words in page.words


def test_it_holds_no_time_and_no_folder(text):
    assert "2026-01-02" not in text
    assert "/data/" not in text
    assert "workers" not in text


def test_the_same_work_gives_the_same_page(sr, movie, text):
    later = {"started_utc": "2030-01-01T00:00:00+00:00", "seconds": 3.0}
    elsewhere = ["dlbi", "reconstruct", "/x/<b>cell & co.tif", "--out", "sr.tif",
                 "--workers", "9", "--overwrite", "--seed", "77"]  # fmt: skip
    again = replace(sr, provenance=dict(sr.provenance) | later | {"command": elsewhere})
    assert render_report(again, movie.stack, truth=movie.density) == text


def test_findings_stand_by_severity_with_their_advice(sr, movie):
    found = [
        Finding("light", Severity.FINE, "there is light"),
        Finding("edge", Severity.NOTE, "a <bright> edge", "crop it"),
        Finding("drift", Severity.WARNING, "it moved", "--frames helps"),
        Finding("PSF", Severity.UNKNOWN, "who knows"),
    ]
    text = render_report(sr, movie.stack, findings=found)
    page = Page(text)
    order = ["It moved. --frames helps.", "Who knows.", "A <bright> edge. Crop it.",
             "There is light."]  # fmt: skip
    places = [page.words.index(words) for words in order]
    assert places == sorted(places)
    assert 'class="verdict warning"' in text
    assert "1 of 4 checks warns (drift)" in page.words


def test_a_plain_method_leaves_out_what_it_lacks(movie):
    sr = reconstruct(movie.stack, method="mean", rng=1)
    page = Page(render_report(sr, movie.stack, title="cell.tif"))
    assert page.by_tag["h1"] == ["cell.tif"]
    titles = {image["alt"].partition(":")[0] for image in page.all("img")}
    assert titles == {"Mean of all frames", "Reconstruction", "Error map"}
    assert "What was learnt" not in page.words
    assert "the exact call was not recorded" in page.words
    assert "None" not in page.words


def test_nothing_to_see():
    rng = np.random.default_rng(1)
    grid = PixelGrid((16, 16), 100.0)
    movie = ImageStack(rng.normal(100.0, 5.0, (30, 16, 16)).astype(np.float32), grid)
    empty = Reconstruction(np.zeros((32, 32), np.float32), grid.refine(2))
    page = Page(render_report(empty, movie))
    assert "There is nothing to see" in page.words
    assert "with the most light in the mean of all frames" in page.words
    assert "Light left at the end" not in page.words
    assert not page.all("svg")
    frames = rng.integers(-20, 21, (15, 16, 16))
    still = ImageStack(100 + np.concatenate([frames, -frames]), grid)
    page = Page(render_report(empty, still))
    assert "the mean frame is constant" in page.words
    assert "Error map" not in page.words


@pytest.mark.parametrize("method", ["mean", "rl", "bayes"])
def test_the_smallest_movie_has_a_page(method):
    counts = np.random.default_rng(2).poisson(40.0, (2, 8, 8)).astype(np.uint16)
    counts[:, 3:5, 3:5] += 400
    movie = ImageStack(counts, PixelGrid((8, 8), 100.0))
    psf = GaussianPSF(250.0)
    sr = reconstruct(movie, method=method, psf=psf, rng=1, quality="preview", upscaling=2)
    page = Page(render_report(sr, movie))
    assert "too short, too small or too dim to show drift" in page.words
    assert "nan" not in page.words.lower().split()


def test_pictures_of_another_field_are_refused(sr, movie):
    with pytest.raises(ShapeError, match="cannot be compared"):
        render_report(sr, movie.stack.select(roi=(0, 0, 16, 16)))
    other = StructureImage(np.ones((32, 32), np.float32), PixelGrid((32, 32), 20.0))
    with pytest.raises(ShapeError, match="cannot be compared"):
        render_report(sr, movie.stack, truth=other)


def test_a_large_field_makes_a_small_file():
    camera = PixelGrid((270, 340), 100.0)
    rng = np.random.default_rng(0)
    frames = rng.normal(100.0, 5.0, (4, *camera.shape)).astype(np.float32)
    fine = camera.refine(8)
    noise = rng.random(fine.shape, np.float32)
    sr = Reconstruction(noise, fine, std=noise, p_value=noise)
    assert len(render_report(sr, ImageStack(frames, camera))) < 3_000_000


def test_it_is_saved_complete_or_not_at_all(tmp_path, sr, movie, text):
    path = save_report(sr, movie.stack, tmp_path / "r.html", truth=movie.density)
    assert path.read_bytes() == text.encode("utf-8")
    with pytest.raises(OutputError, match="exists already"):
        save_report(sr, movie.stack, path)
    with pytest.raises(OutputError, match=r"end it in one of \.html"):
        save_report(sr, movie.stack, tmp_path / "r.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
