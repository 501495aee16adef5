"""What a study says in one sentence, and the command that makes it again."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import pytest

from cyclr._cli import make_app
from cyclr.study._command import of_compare
from cyclr.study._headline import headline
from cyclr.study._stats import Interval
from cyclr.study._summary import Summary

SOME = Interval(0.8, 0.7, 0.9)


def row(policy: str, mean: float, p: float = 0.01, seeds: int = 5) -> Summary:
    half = abs(mean) * (0.5 if p <= 0.05 else 2)
    low, high = (mean - half, mean + half) if seeds > 1 else (-math.inf, math.inf)
    return Summary(policy, SOME, Interval(mean, low, high), SOME, 600.0, 5, 0, seeds, corrected=p)


BASELINE = Summary("fixed", SOME, None, SOME, 600.0, 5, 0, 5)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "There is no other policy to compare with fixed."),
        ([row("auto", 0.02)], "Significantly better than fixed at the end: auto (+2.00 points)."),
        (
            [row("a", 0.01), row("b", 0.03), row("c", -0.02), row("d", 0.001, 0.6), row("e", 0.002, 0.5)],
            (
                "Significantly better than fixed at the end: b (+3.00 points), a (+1.00 points); significantly worse "
                "than fixed at the end: c (-2.00 points); no significant difference for 2 others."
            ),
        ),
        (
            [row(f"p{n}", 0.01 * n) for n in range(1, 8)],
            (
                "Significantly better than fixed at the end: p7 (+7.00 points), p6 (+6.00 points), p5 (+5.00 points), "
                "p4 (+4.00 points) and 3 more."
            ),
        ),
        (
            [row("a", 0.01, 0.3), row("b", -0.02, 0.2)],
            "No policy differs significantly from fixed at the end; the largest difference is b (-2.00 points).",
        ),
        (
            [row("a", 0.01, 0.3)],
            "No significant difference from fixed at the end: a (+1.00 points).",
        ),
        (
            [row("a", 0.01, math.nan, seeds=1)],
            "One seed is no evidence of a difference from fixed; the largest at the end is a (+1.00 points).",
        ),
        ([row("a", math.nan)], "There is no other policy to compare with fixed."),
    ],
    ids=["alone", "better", "all kinds", "many", "none", "one, none", "one seed", "diverged"],
)
def test_one_sentence_says_what_was_found(rows: list[Summary], said: str) -> None:
    assert headline([BASELINE, *rows], "fixed", points=True) == said


def test_where_lower_is_better_a_fall_is_a_gain() -> None:
    assert (
        headline([row("a", -0.5)], "fixed", maximize=False) == "Significantly better than fixed at the end: a (-0.5)."
    )


def test_the_command_is_read_as_the_same_settings() -> None:
    rules = {"auto": "auto", "cosine": "cosine", "mine": "Linear(max_lr, 0, steps=steps)"}
    text = of_compare(
        "a task.py:task", rules, seeds=3, epochs=7, rates=(0.1, 0.25), metric=("mae", "min"), curve="a curve.json",
        finish={"auto": "average"}, baseline="cosine", target=0.5, out=Path("my study"),
    )  # fmt: skip
    program, *tokens = shlex.split(text)
    assert program == "cyclr"
    _, bound, _ = make_app().parse_args(tokens, print_error=False, exit_on_error=False)
    assert bound.args == ("a task.py:task",)
    assert bound.kwargs == {
        "policies": "auto,cosine", "policy": ("mine=Linear(max_lr, 0, steps=steps)",), "seeds": 3, "epochs": 7,
        "rates": "0.1,0.25", "minimize": "mae", "curve": Path("a curve.json"), "finish": ("auto=average",),
        "baseline": "cosine", "target": 0.5,
        "out": Path("my study"),
    }  # fmt: skip
