"""The page in a real browser."""

import pytest

from visionbus.vision.datasets import Skipped

pytestmark = pytest.mark.slow

OVERFLOWING = """
[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll, nav, svg, details:not([open])')
    && one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
    .map(one => one.outerHTML.slice(0, 120))
"""


@pytest.fixture
def hostile_page(write, model, hostile):
    history = [
        {"fit": fit, "epoch": epoch, "loss": 3 / epoch, "accuracy": 1 - 1 / (epoch + 1)}
        for fit in ("decide", "final")
        for epoch in (1, 2, 3)
    ]
    figures = {"history": history, "validation": {"temperature": 0.7}, hostile[6]: hostile[6]}
    about = model(hostile, name=hostile[6], figures=figures, provenance={"command": hostile[6]})
    skipped = tuple(Skipped(name, name) for name in hostile)
    return write(hostile, about=about, accuracy=0.5, skipped=skipped, notes=hostile, command=hostile[6] + hostile[0])


def test_page_asks_for_nothing_and_nothing_complains(browser, hostile_page):
    browser.open(hostile_page)
    assert browser.requests == []
    assert browser.complaints == []
    assert browser.evaluate("document.scripts.length") == 0
    assert browser.evaluate("document.querySelectorAll('main section').length") == 13
    assert browser.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")


def test_browser_of_these_tests_sees_requests_and_complaints(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('no'); missing()</script>")
    browser.open(page)
    assert browser.requests == ["http://127.0.0.1:9/x.png"]
    assert len(browser.complaints) >= 2


@pytest.mark.parametrize("count", [2, 12, 30, 300])
def test_nothing_reaches_over_the_edge(browser, write, hostile, count):
    names = [hostile[number] if number < len(hostile) else f"class {number}" for number in range(count)]
    path = write(names, images=3 * count, accuracy=0.6)
    for width in (320, 400, 800, 1280):
        browser.open(path, width=width)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate(OVERFLOWING) == []


def test_names_are_shown_as_they_are(browser, hostile_page, hostile):
    browser.open(hostile_page)
    text = browser.evaluate("document.body.textContent")
    assert hostile[0] in text
    assert hostile[5].partition("\u202e")[0] in text


def brightness(colour):
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(", "))
    return 0.3 * red + 0.6 * green + 0.1 * blue


@pytest.mark.parametrize(
    ("dark", "media", "is_dark"), [(False, "screen", False), (True, "screen", True), (True, "print", False)]
)
def test_page_is_light_or_dark_as_the_reader_likes_and_light_on_paper(browser, write, dark, media, is_dark):
    browser.open(write(), dark=dark, media=media)
    paper, ink = (
        brightness(browser.evaluate(f"getComputedStyle(document.body).{name}")) for name in ("backgroundColor", "color")
    )
    assert (paper < ink) == is_dark
    assert abs(paper - ink) > 180


def test_paper_has_what_is_folded_on_the_screen_and_no_links(browser, write):
    browser.open(write(accuracy=0.5), media="print")
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.evaluate("document.querySelector('details table').checkVisibility({contentVisibilityAuto: true})")
    assert browser.pdf().startswith(b"%PDF-")
