"""A study: how the policies compare, with which uncertainty, and how fast each one was."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cyclr._page import figures
from cyclr._page.blocks import Block, Figures, Part, Sentences, Table
from cyclr._page.numbers import NONE, count, in_words, p_value, rate, seconds, whole
from cyclr._page.registry import panel, read
from cyclr._page.views import Comparison, Empty
from cyclr.study._records import Study
from cyclr.study._summary import target_of

_MOST = 10  # maximum number of runs named in a sentence


@read.register
def _(study: Study) -> tuple[str, Sequence[object]]:
    return read(Comparison.of(study) if study.runs else Empty(study))


@read.register
def _(comparison: Comparison) -> tuple[str, Sequence[object]]:
    return f"Study of {comparison.study.task}", (comparison,)


@read.register
def _(empty: Empty) -> tuple[str, Sequence[object]]:
    return f"Study of {empty.study.task}", (empty,)


@panel(Empty)
def nothing(_: Empty) -> Part:
    """A note that there is nothing to compare."""
    return Part("Results", (Sentences(("This study contains no run yet.",), first=True),))


@panel(Comparison, place=0)
def outcome(comparison: Comparison) -> Part:
    """The verdicts and the table behind them."""
    lost = _diverged(comparison)
    if not comparison.rows:
        return Part("Results", (Sentences((_subject(comparison), comparison.why, *lost), first=True),))
    said = comparison.verdicts
    blocks: list[Block] = [Sentences((comparison.headline,), first=True)]
    if said:
        blocks.append(Figures((figures.differences(comparison.rows, comparison.study.baseline, comparison.unit),)))
    return Part("Results", (*blocks, Sentences((_subject(comparison), *said, *lost)), _ends(comparison)))


@panel(Comparison, place=10)
def training(comparison: Comparison) -> Part | None:
    """The metric during training, and how fast it improved."""
    if not comparison.measured:
        return None
    figure = Figures((figures.training(comparison.measured, comparison.study.metric, comparison.unit),))
    return Part("During training", (figure, _speed(comparison)) if comparison.rows else (figure,))


def _subject(comparison: Comparison) -> str:
    study = comparison.study
    steps = sorted({run.steps for run in study.runs})
    budget = " to ".join(dict.fromkeys(whole(end) for end in (steps[0], steps[-1])))
    policies = f"{len(study.policies)} {'policies' if len(study.policies) > 1 else 'policy'}"
    return (
        f"{policies} on {study.task}, {count(len(comparison.seeds), 'seed')}, {budget} steps per run; compared by the "
        f"{in_words(study.metric)} at the end ({comparison.better} is better)."
    )


def _diverged(comparison: Comparison) -> tuple[str, ...]:
    runs, baseline = comparison.study.runs, comparison.study.baseline
    lost = [f"{run.policy} with seed {run.seed}" for run in runs if run.status == "diverged"]
    if not lost:
        return ()
    some = ", ".join(lost[:_MOST]) + (f" and {len(lost) - _MOST} more" if len(lost) > _MOST else "")
    said = [f"{len(lost)} of {count(len(runs), 'run')} diverged: {some}."]
    if any(row.difference is None and not math.isfinite(row.final.mean) for row in comparison.rows):
        said.append(f"The baseline {baseline} diverged, so nothing can be compared with it; choose another baseline.")
    return tuple(said)


def _ends(comparison: Comparison) -> Table:
    """The metric at the end of the budget, with its uncertainty."""
    study, unit, rows = comparison.study, comparison.unit, comparison.rows
    name = in_words(study.metric)
    columns = ("policy", "peak learning rate", unit.of(f"{name} at the end"),
               unit.of_change(f"difference from {study.baseline}"), "adjusted p", "tuning cost (steps)")  # fmt: skip
    short = ("policy", "peak\nrate", unit.of(f"{name}\nat the end"), f"difference\nfrom {study.baseline}",
             "adj.\np", "tuning\ncost")  # fmt: skip
    several = any(run.finish != "single" for run in study.runs)
    if several:
        columns, short = (*columns, "prediction cost"), (*short, "pred.\ncost")
    cells = tuple(
        (
            row.policy,
            rate(study.rates.get(row.policy)),
            unit.estimate(row.final),
            "" if row.difference is None else unit.change(row.difference),
            p_value(row.corrected),
            whole(study.tuning_cost[row.policy]) if row.policy in study.tuning_cost else NONE,
            *([f"{row.prediction}x"] if several else []),
        )
        for row in rows
    )
    caption = f"At the end of the budget: mean over {count(rows[0].seeds, 'seed')} [95 % CI]."
    if unit.percent:
        caption += " Differences are in percentage points."
    if len(rows) > 2:
        caption += f" p is adjusted for {len(rows) - 1} comparisons (step-down max-t); 0.05 or less is significant."
    caption += " Tuning cost: steps spent to find the peak rate."
    if several:
        caption += " Prediction cost: predictions of one model for one of the finished one."
    return Table("study/ends", caption, columns, cells, short=short)


def _speed(comparison: Comparison) -> Table:
    """How fast each policy improves."""
    study, unit = comparison.study, comparison.unit
    reach = unit.with_unit(target_of(study))
    columns = ("policy", unit.of("best end of a cycle"), unit.of("at half the budget"), unit.of("mean over the budget"),
               f"steps to {reach}", f"seconds to {reach}")  # fmt: skip
    short = ("policy", "best cycle\nend", "at half\nbudget", "mean", f"steps to\n{reach}", f"seconds to\n{reach}")
    cells = tuple(
        (
            row.policy,
            unit.estimate(row.best),
            unit.value(row.half.mean),
            unit.value(row.area.mean),
            f"{whole(row.to_target)} ({row.reached} of {row.seeds})",
            seconds(row.seconds),
        )
        for row in comparison.rows
    )
    origin = f", the mean of {study.baseline} at the end" if study.target is None else ""
    caption = (
        f"Speed. Steps and seconds to {reach}{origin}: median over the runs, with the number of runs that reach it. "
        "Seconds depend on the machine and its load. Which cycle ends best is known only in hindsight."
    )
    return Table("study/speed", caption, columns, cells, short=short)
