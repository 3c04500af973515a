"""The site builds without warnings and network, and leaves nothing out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer

import dlbi
from dlbi.cli.app import app

ROOT = Path(__file__).parents[2]
RUN = "08_save_and_open"
"""The one script of the gallery that is run here; test_gallery.py runs them all."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built from a copy so that nothing is left in the sources."""
    folder = tmp_path_factory.mktemp("site")
    ignored = shutil.ignore_patterns("_build", "gallery", "__pycache__")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=ignored)
    for name in ("examples", "src", "CHANGELOG.md", "CITATION.cff"):
        (folder / name).symlink_to(ROOT / name)
    command = [
        sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html",
        "-D", f"sphinx_gallery_conf.filename_pattern={RUN}", folder / "docs", folder / "html",
    ]  # fmt: skip
    offline = {"http_proxy": "http://localhost:1", "https_proxy": "http://localhost:1"}
    built = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | offline, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


def pages(site):
    return {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}


def test_every_public_name_has_an_entry(site):
    inventory = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    entries = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    missing = {f"dlbi.{name}" for name in dlbi.__all__} - entries
    assert missing == {"dlbi.__version__"}


def test_every_option_of_every_command_is_listed(site):
    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    for name, command in typer.main.get_command(app).commands.items():
        section = re.search(rf'<section id="dlbi-{name}">(.*?)</section>', text, re.DOTALL)[1]
        for option in (opt for p in command.params for opt in p.opts if opt.startswith("--")):
            assert f'<span class="pre">{option}</span>' in section, (name, option)


def test_equations_are_there_without_a_script(site):
    for page in ("forward-model", "blinking", "network", "factorial-hmm", "fusion", "uncertainty"):
        text = (site / "concepts" / f"{page}.html").read_text(encoding="utf-8")
        assert "<math" in text
        assert "$$" not in text
        assert "\\frac" not in text


def test_nothing_is_loaded_from_elsewhere(site):
    loaded = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?(?:src|href)=\"([^\"]+)\"")
    for page, text in pages(site).items():
        foreign = [target for target in loaded.findall(text) if urlsplit(target).netloc]
        assert not foreign, page
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", text), style


def test_links_lead_somewhere(site):
    texts = pages(site)
    for page, text in texts.items():
        for target in re.findall(r"<a\b[^>]*?href=\"([^\"]+)\"", text):
            link = urlsplit(target)
            if link.scheme or link.netloc:
                continue
            path = (page.parent / unquote(link.path)).resolve() if link.path else page
            assert path.is_file(), (page.name, target)
            if link.fragment and path in texts:
                assert f'id="{unquote(link.fragment)}"' in texts[path], (page.name, target)


def test_the_gallery_shows_every_script_and_its_figure(site):
    index = (site / "gallery" / "index.html").read_text(encoding="utf-8")
    for script in (ROOT / "examples").glob("*.py"):
        assert f'href="{script.stem}.html' in index
    text = (site / "gallery" / f"{RUN}.html").read_text(encoding="utf-8")
    (figure,) = re.findall(r"<img src=\"\.\./(_images/sphx_glr[^\"]+)\"", text)
    assert (site / figure).stat().st_size > 5_000
    assert "cell-sr.p_value.ome.tif" in text
