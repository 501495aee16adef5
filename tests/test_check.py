"""The one wording of errors: whatever was given, a message stays a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cyclr._check import LONGEST, problem, shown


class Page:
    def __repr__(self) -> str:
        return "Page(\n" + "\n".join(f"  ({index}): Linear()" for index in range(500)) + "\n)"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "given",
    [1, -2.5, 1e-300, 10**30, True, None, "text", (1,), [0.1, "a"], {"lr": 1}, {3}, np.float64(2), len],
)
def test_what_is_short_is_shown_as_it_is(given: object) -> None:
    assert shown(given) == repr(given)


@pytest.mark.parametrize(
    "make",
    [
        Page,
        lambda: [Page(), Page()],
        lambda: {"model": Page(), "other": [Page()] * 9},
        lambda: "x" * 10_000,
        lambda: list(range(1_000_000)),
        lambda: np.zeros((40, 40)),
        lambda: [[Page()] * 30] * 30,
        lambda: {str(index): Page() for index in range(1000)},
    ],
)
def test_what_is_long_is_cut_and_on_one_line(make: Callable[[], Any]) -> None:
    said = problem("model must be a network", make(), "pass the network itself")
    assert len(said) <= LONGEST + 60
    assert "\n" not in said
    assert said.startswith("model must be a network, got ")
    assert said.endswith("; pass the network itself")


def test_a_long_value_shows_its_start_and_its_end() -> None:
    text = shown("begin" + 500 * "x" + "end")
    assert text.startswith("'begin")
    assert text.endswith("end'")
    assert shown(Page()).startswith("Page( (0): Linear()")


def test_a_value_that_cannot_be_shown_does_not_hide_the_error() -> None:
    assert "Broken" in problem("lr must be a number", Broken())
