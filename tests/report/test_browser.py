"""Reports in a real browser: by mouse, on a phone, in the dark, on paper, and for readers who listen."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from cyclr import Bounds, parse, policy, report
from cyclr.study._records import Study
from tests.report.browser import PHONE, by_gesture, opened, until
from tests.report.made import a_plan, curve, run, soup, study
from tests.report.test_html import NASTY, with_texts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

POLICIES = (
    "auto",
    "fixed",
    "step",
    "cosine",
    "linear",
    "one_cycle",
    "triangular",
    "triangular2",
    "wsd",
    "warm_restarts",
)
DRAWN = "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('svg.main-svg'))"


def large() -> Study:
    """Ten policies on ten seeds, evaluated a thousand times."""
    rng = np.random.default_rng(0)
    steps = np.arange(1, 1001)
    runs = []
    for place, name in enumerate(POLICIES):
        text = repr(policy(name, Bounds(0.001, 0.01), steps=10_000, steps_per_epoch=400))
        for seed in range(10):
            values = 0.9 * (1 - np.exp(-steps / 200)) + 0.003 * place + rng.normal(scale=0.002, size=1000)
            points = [{"step": int(10 * step), "loss": 0.5, "test_accuracy": float(value)}
                      for step, value in zip(steps, values, strict=True)]  # fmt: skip
            runs.append(run(name, seed, schedule=text, steps=10_000, steps_per_epoch=400, points=points))
    return Study(task="digits", runs=runs, baseline="fixed", command="cyclr compare digits --seeds 10")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    made = study(command="cyclr compare digits --seeds 3", notes=["By a range test."])
    report.write(path, made, curve(), a_plan(), command="cyclr report study curve.json plan.json")
    return path


def drawn(page: Page) -> None:
    until(page, DRAWN)


def test_a_large_study_is_a_small_page_that_shows_at_once(
    browser: Browser, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path = tmp_path / "large.html"
    made = large()
    start = time.process_time()
    report.write(path, made)
    made_in = time.process_time() - start
    assert path.stat().st_size < 4_000_000
    with opened(browser, path) as page:
        drawn(page)
        first, all_of_it = page.evaluate(
            "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"
        )
    for name, value in (("made in seconds", made_in), ("first paint, ms", first), ("drawn, ms", all_of_it)):
        record_property(name, value)
    assert 2 * first < all_of_it, "words are shown long before the figures are drawn"


def test_every_figure_is_drawn_and_nothing_from_a_record_is_run(browser: Browser, tmp_path: Path) -> None:
    harm = [*NASTY[:4], NASTY[17], "</script><img src=x onerror=\"document.title='harm'\">", *NASTY[4:10]]
    path = tmp_path / "page.html"
    report.write(path, with_texts(harm), curve(), a_plan(), title="safe")
    with opened(browser, path) as page:
        drawn(page)
        shown = soup(page.content())
        assert not page.evaluate("'harm' in window")
    assert shown.title.text == "safe"
    assert all(div.find("svg", "main-svg") for div in shown("div", "plot"))
    assert not shown("img")
    assert not [tag for tag in shown(True) if {"onerror", "onload", "onclick"} & set(tag.attrs)]
    legend = [text.text for text in shown("text", "legendtext")]
    assert f"0 {harm[0]}"[:39] + "…" in legend


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desk", "phone"])
def test_axe_finds_no_serious_problem(
    browser: Browser, page_file: Path, scheme: str, screen: dict[str, object]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    with opened(browser, page_file, color_scheme=scheme, **screen) as page:
        drawn(page)
        found = axe.Axe().run(page).response["violations"]
    serious = {
        problem["id"]: [node["html"][:200] for node in problem["nodes"]]
        for problem in found
        if problem["impact"] in ("serious", "critical")
    }
    assert serious == {}


def test_a_serious_problem_would_be_found(browser: Browser, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1><input name="nameless"></main></html>'
    )
    with opened(browser, bad) as page:
        problems = axe.Axe().run(page).response["violations"]
    assert "label" in [problem["id"] for problem in problems if problem["impact"] in ("serious", "critical")]


def test_on_a_phone_no_column_is_out_of_sight(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, **PHONE) as page:
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        outside = page.evaluate(
            "[...document.querySelectorAll('td, th, p, li, dd, button, input')].filter((one) => one.offsetParent &&"
            " one.getBoundingClientRect().right > 390.5).map((one) => one.textContent)"
        )
        assert outside == []
        cells = page.locator("[data-key='study/ends'] tbody tr").last.locator("td")
        assert all(cell.is_visible() for cell in cells.all())


def at(page: Page, across: float, down: float) -> tuple[float, float]:
    """A place in the plot of the metric, as shares of its width and height."""
    plot = page.locator("[data-key='study/metric'] .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    return box["x"] + box["width"] * across, box["y"] + box["height"] * down


def test_hovering_says_what_is_under_the_mouse(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        drawn(page)

        def hover() -> None:
            page.mouse.move(*at(page, 1 / 2, 1 / 5))
            page.mouse.move(*at(page, 1 / 2, 1 / 4))

        by_gesture(page, hover, "!!document.querySelector(\"[data-key='study/metric'] .hoverlayer text\")")
        said = page.locator("[data-key='study/metric'] .hoverlayer").text_content()
        assert "fixed" in said
        assert "auto" in said


def test_dragging_zooms_and_a_double_click_goes_back(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        drawn(page)
        seen = "document.querySelector(\"[data-key='study/metric'] .plot\").layout.xaxis.range.join()"
        whole = page.evaluate(seen)

        def drag() -> None:
            x, y = at(page, 1 / 3, 1 / 4)
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 200, y + 2, steps=5)
            page.mouse.up()

        by_gesture(page, drag, f"{seen} !== {whole!r}")
        by_gesture(page, lambda: page.mouse.dblclick(*at(page, 1 / 3, 1 / 4)), f"{seen} === {whole!r}")
        assert page.evaluate(seen) == whole


def test_the_designers_of_a_report_are_independent(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        first, second = page.locator(".designer").all()
        before = second.locator(".code").inner_text()
        assert parse(before) == a_plan().schedule
        first.locator("[name=steps]").fill("777")
        assert parse(first.locator(".code").inner_text()).duration == 777
        assert second.locator(".code").inner_text() == before


def test_what_makes_it_again_is_said(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        assert page.inner_text("footer code") == "cyclr report study curve.json plan.json"
        assert "cyclr compare digits --seeds 3" in page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_theme(browser: Browser, page_file: Path, scheme: str) -> None:
    with opened(browser, page_file, color_scheme=scheme) as page:
        paper, text = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        light, dark = sorted((paper, text), key=lambda colour: sum(map(int, colour[4:-1].split(","))), reverse=True)
        assert paper == {"light": light, "dark": dark}[scheme]


def test_it_can_be_printed(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, color_scheme="dark") as page:
        drawn(page)
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.locator(".modebar:visible").count() == 0
        assert len(page.pdf()) > 20_000
