"""A real browser for the tests of pages: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
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
def opened(browser: Browser, path: Path, *, color_scheme: str = "light", **context: Any) -> Iterator[Page]:
    """A page of a file, without a network; whatever it complains of on the console fails the test.

    It is loaded anew, into the window of its kind: one that has compiled Plotly before needs a third of the time.
    """
    page = _window(browser, json.dumps({"offline": True, **context}))
    complaints: list[str] = []
    listeners: dict[str, Callable[[Any], None]] = {
        "console": lambda message: complaints.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: complaints.append(str(error)),
        "request": lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None,
    }
    page.emulate_media(media="screen", color_scheme=color_scheme)
    page.mouse.move(0, 0)
    for event, listener in listeners.items():
        page.on(event, listener)
    try:
        page.goto(path.as_uri())
        yield page
        assert complaints == []
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)


@cache
def _window(browser: Browser, options: str) -> Page:
    return browser.new_context(**json.loads(options)).new_page()


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
