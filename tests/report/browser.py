"""A real browser for the tests of pages: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser; the test is skipped where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian, Ubuntu: apt install chromium)")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, path: Path, **context: Any) -> Iterator[Page]:
    """A page of a file, without a network; whatever it complains of on the console fails the test."""
    with browser.new_context(**{"offline": True, **context}) as made:
        page = made.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
        page.goto(path.as_uri())
        yield page
        assert complaints == []


def until(page: Page, expression: str, *, seconds: float = 60) -> None:
    """Wait until an expression is true. It is asked from outside: the page's policy lets nothing be evaluated in it."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not true in {seconds} s: {expression}"
        page.wait_for_timeout(50)


def by_gesture(page: Page, gesture: Callable[[], None], expression: str, *, seconds: float = 60) -> None:
    """Make a gesture until an expression is true: once on an idle machine.

    On a busy one the two clicks of a double click may come more than half a second apart, which Plotly takes for two
    single ones, or the mouse before Plotly listens to it. A person would do it again, too.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        gesture()
        for _ in range(40):
            if page.evaluate(expression):
                return
            page.wait_for_timeout(50)
    raise AssertionError(f"not true in {seconds} s, however often it was done: {expression}")
