"""Tasks that cannot be compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import SIDES, WITHOUT_TEST, Shell

Write = Callable[[str, str], Path]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (WITHOUT_TEST, "has no test_loader: rates must not be tuned on the data of the comparison; give it both"),
        ("def task(seed:\n", "sides.py, line 1: SyntaxError: '(' was never closed"),
    ],
)
def test_a_bad_task_is_one_line_and_nothing_is_started(
    cyclr: Shell, task_file: Write, text: str, complaint: str
) -> None:
    task_file("sides.py", text)
    assert complaint in cyclr("compare", "sides.py", "--epochs", 3).complaint
    assert not Path("cyclr-compare").exists()


def test_which_way_a_metric_is_better_is_asked_for_where_nobody_says_so(cyclr: Shell, task_file: Write) -> None:
    task_file("silent.py", SIDES.replace('"accuracy"', '"distance"'))
    complaint = cyclr("compare", "silent.py", "--policies", "fixed,linear", "--epochs", 3).complaint
    assert "metrics['distance'] must say which way is better, which its name does not; write {'distance': " in complaint
    assert not Path("cyclr-compare").exists()


def test_an_inconclusive_range_test_says_what_to_do(cyclr: Shell, task_file: Write) -> None:
    task_file("flat.py", SIDES.replace("return torch", "return 0 * torch"))
    arguments = ("--policies", "auto,linear", "--rates", "found", "--epochs", 3)
    called = cyclr("compare", "flat.py", *arguments)
    assert (called.code, called.out) == (2, "")
    complaint = called.err.splitlines()[-1]  # a slow machine tells before how far the range test is
    assert "the range test is inconclusive: " in complaint
    assert "or pass rates (--rates) and leave out auto" in complaint
