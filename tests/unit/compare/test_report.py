"""The page, read as text and in a real browser: whole in itself, safe, readable at two widths in two themes."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support import browser
from tests.support.scripted_models import ScriptedModel, always, scripted_cases, scripted_result
from vlmctl.compare.album import Album
from vlmctl.compare.charts import ticks
from vlmctl.compare.contenders import Price
from vlmctl.compare.report import report_html
from vlmctl.compare.results import ComparisonResult, Variant

NASTY = "<script>document.title = 'broken'</script> & \"quotes\" " + "unbreakable" * 30
VOID = frozenset({"meta", "link", "img", "input"})


class Outline(HTMLParser):
    """Checks that tags nest, and keeps what matters of them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page(tmp_path: Path) -> str:
    """A page with everything on it: prices, sweeps, images, a failure, an answer that tries to break out."""
    album = Album(scripted_cases(tmp_path, ["charts", "small-print"], 12, side=600))
    result = scripted_result(
        [ScriptedModel("good", always(0.9)), ScriptedModel("poor", always(0.3)), ScriptedModel("gone", always(0.5))],
        ["charts", "small-print"],
        12,
    )
    first, second, third = result.contenders
    contenders = (replace(first, price=Price(usd_per_hour=1.2)), replace(second, price=Price(usd_per_hour=0.3)), third)
    return report_html(_dressed(replace(result, contenders=contenders, cases=album.asked)), album.thumbnails(160))


def _dressed(result: ComparisonResult) -> ComparisonResult:
    replies: list[Any] = []
    for number, reply in enumerate(result.replies):
        seconds = 0.2 + number / 100
        figures: dict[str, Any] = {"ttft_seconds": seconds, "e2e_seconds": 3 * seconds, "prompt_tokens": 900}
        if reply.contender == "gone":
            figures = {"failure": "timeout", "text": "", "score": None}
        elif reply.contender == "good":
            figures["usd"] = 0.0004
        else:
            figures["usd"] = 0.0001
        replies.append(replace(reply, **figures))
        if reply.contender != "gone":
            replies += [replace(replies[-1], variant=Variant(side_pixels=side)) for side in (128, 256)]
            replies.append(replace(replies[-1], variant=Variant(images=3)))
    replies[0] = replace(replies[0], text=NASTY, score=0.0)
    return replace(result, replies=tuple(replies), sides_pixels=(128, 256), image_counts=(1, 3))


def test_the_page_is_well_formed_and_holds_everything_itself(page: str) -> None:
    """Tags nest, nothing is linked or fetched, ids are unique, and all pictures have a text."""
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in outline.tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
        assert tag != "img" or attributes["alt"]
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_answers_are_shown_and_never_run(page: str) -> None:
    """What a model says is text, whatever it holds."""
    assert page.count("<script>") == 1
    assert "&lt;script&gt;document.title" in page


def test_the_page_says_who_is_better_and_what_broke(page: str) -> None:
    """Verdict, Pareto line, plateaus, failures and every case are there, wrong answers first."""
    assert "good answers better than every other, beyond luck." in page
    assert 'class="front"' in page
    assert "24 of 24 requests broke off. It gets no rank." in page
    assert "Where more pixels stop paying" in page
    scores = [float(score) for score in re.findall(r"good [✓✗~] (\d\.\d\d)", page)]
    assert len(scores) == 24
    wrong = re.findall(r'data-wrong="(\w+)"', page)
    assert wrong == sorted(wrong, reverse=True)  # yes before no


@pytest.mark.skipif(browser.program() is None, reason=browser.HOW_TO_ENABLE)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(page: str, tmp_path: Path, width: int, dark: bool) -> None:
    """No console errors, no requests, no sideways scrolling, text large enough and with contrast, filters that work."""
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")

    async def look() -> browser.Seen:
        async with browser.browsing() as running:
            return await running.look(path, width=width, dark=dark, ask=(WIDTHS, CONTRASTS, SMALL, BROKEN, FILTER))

    seen = asyncio.run(look())
    assert seen.said == []
    assert seen.fetched == []
    widths, contrasts, small, broken, (all_cases, shown, title) = seen.values
    assert widths[0] <= widths[1] == width
    assert min(contrasts) >= 4.5  # WCAG 2.2, 1.4.3
    assert small >= 10.0
    assert broken == 0
    assert (all_cases, title) == (24, "good, poor and gone on the same images")
    assert 0 < shown < 24


WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"
CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const rgb = parts(getComputedStyle(node).backgroundColor);
      if (rgb.length < 4 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("h1,h2,p,th,td,.small,.chip,.soft,summary span,label,figcaption,li")];
  return texts.filter((each) => each.textContent.trim() && each.offsetParent).map((each) => {
    const [a, b] = [light(parts(getComputedStyle(each).color)), light(ground(each))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
})()"""
SMALL = """(() => {
  const size = (node) => parseFloat(getComputedStyle(node).fontSize);
  const html = [...document.querySelectorAll("p,th,td,span,label,li")].map(size);
  const drawn = [...document.querySelectorAll("figure > svg")].map((svg) => [svg, svg.getBoundingClientRect().width])
    .filter(([, width]) => width).map(([svg, width]) => size(svg.querySelector("text")) * width / 440);
  return Math.min(...html, ...drawn);
})()"""
BROKEN = """(async () => {
  const images = [...document.images];
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  return images.filter((image) => !image.naturalWidth).length;
})()"""
FILTER = """(() => {
  const all = document.querySelectorAll(".case:not([hidden])").length;
  document.getElementById("wrong").click();
  document.getElementById("category").value = "charts";
  document.getElementById("category").dispatchEvent(new Event("input"));
  return [all, document.querySelectorAll(".case:not([hidden])").length, document.title];
})()"""


@pytest.mark.parametrize(
    ("low", "high", "log", "expected"),
    [
        (0.0, 1.0, False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 37.0, False, [0, 10, 20, 30]),
        (0.01, 10.0, True, [0.01, 0.05, 0.2, 1, 5]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, expected: list[float]) -> None:
    """About five values that people count in."""
    assert ticks(low, high, log=log) == pytest.approx(expected)
