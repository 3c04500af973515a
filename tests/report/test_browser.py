"""The page in a real browser: pictures are drawn, nothing is cut off, the verdict is seen."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from dlbi.report import render_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=5000",
]  # fmt: skip

WIDTHS = (400, 760, 1600)
HEIGHT = 900

PROBE = """
<!DOCTYPE html><meta charset="utf-8"><body>
{frames}
<pre id="found"></pre>
<script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument, root = page.documentElement;
    const box = (e) => {{ const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }};
    const right = (e) => e.getBoundingClientRect().right;
    const verdict = page.getElementById("verdict");
    const style = frame.contentWindow.getComputedStyle(verdict);
    return {{
      width: root.clientWidth,
      scroll: root.scrollWidth,
      farthest: Math.max(...[...page.querySelectorAll("body *")]
        .filter((e) => !e.closest(".wide")).map(right)),
      images: [...page.images].map((i) => [i.complete, i.naturalWidth, i.naturalHeight, ...box(i)]),
      bars: [...page.querySelectorAll(".bar")].map(box),
      boxes: [...page.querySelectorAll(".box")].map(box),
      verdict: [verdict.innerText, ...box(verdict), style.visibility, style.color],
      heading: page.querySelector("h1").innerText,
      requests: frame.contentWindow.performance.getEntriesByType("resource").map((r) => r.name),
    }};
  }});
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>
"""  # noqa: E501

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome to look with")


def shown(folder, page):
    """What a browser makes of a page at each of `WIDTHS`."""
    frames = "".join(
        f'<iframe srcdoc="{html.escape(page)}" style="border:0;width:{w}px;height:{HEIGHT}px">'
        "</iframe>"
        for w in WIDTHS
    )
    probe = folder / "probe.html"
    probe.write_text(PROBE.format(frames=frames), encoding="utf-8")
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", probe.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]
    return dict(zip(WIDTHS, json.loads(html.unescape(text)), strict=True))


@pytest.fixture(scope="module")
def browser(tmp_path_factory, sr, movie):
    page = render_report(sr, movie.stack, truth=movie.density)
    return shown(tmp_path_factory.mktemp("browser"), page)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(browser, width):
    seen = browser[width]
    assert seen["width"] <= width
    assert seen["scroll"] <= seen["width"]
    assert seen["farthest"] <= seen["width"]


@pytest.mark.parametrize("width", WIDTHS)
def test_pictures_are_drawn_in_their_shape(browser, width):
    images = browser[width]["images"]
    assert len(images) == 9
    for complete, natural_width, natural_height, _, _, w, h in images:
        assert complete
        assert natural_width > 0
        assert w > 150
        assert w / h == pytest.approx(natural_width / natural_height, rel=0.02)


@pytest.mark.parametrize("width", WIDTHS)
def test_pictures_of_the_field_have_one_scale(browser, width):
    field = browser[width]["images"][:6]
    assert len({round(w) for *_, w, _ in field}) == 1
    bars = browser[width]["bars"][:6]
    for (_, _, _, left, top, w, h), (x, y, bar_width, bar_height) in zip(field, bars, strict=True):
        assert bar_width == pytest.approx(w * 500 / 3200, abs=1.5)
        assert left < x < x + bar_width < left + w
        assert top < y < y + bar_height < top + h


def test_the_marked_region_lies_on_the_pictures(browser, sr, movie):
    seen = browser[760]
    image, box = seen["images"][0], seen["boxes"][0]
    assert box[2] == pytest.approx(image[5] * 8 / 20, abs=2.0)
    assert image[3] - 1 <= box[0]
    assert box[0] + box[2] <= image[3] + image[5] + 1


@pytest.mark.parametrize("width", WIDTHS)
def test_the_verdict_is_seen_without_scrolling(browser, width):
    text, _, top, w, h, visibility, colour = browser[width]["verdict"]
    assert text.startswith("No sign of an artefact in 13 checks")
    assert visibility == "visible"
    assert colour != "rgba(0, 0, 0, 0)"
    assert top + h < HEIGHT / 2
    assert w > 200


def test_names_are_shown_letter_by_letter(browser):
    assert browser[1600]["heading"] == "<b>cell & co.tif"


def test_the_network_is_left_alone(browser):
    for seen in browser.values():
        assert not [name for name in seen["requests"] if not name.startswith("data:")]
