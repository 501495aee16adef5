"""A measured number of cycles: what was tried, and the plan that follows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from cyclr._page.blocks import Facts, Part, Table
from cyclr._page.numbers import count, in_words, precise, whole
from cyclr._page.registry import panel, read
from cyclr.study._cycles import MeasuredCycles, Trial


@read.register
def _(found: MeasuredCycles) -> tuple[str, Sequence[object]]:
    return f"Plan for {count(found.plan.steps, 'step')}", (found, found.plan)


@panel(MeasuredCycles, place=0)
def trials(found: MeasuredCycles) -> Part:
    """A row for each number of cycles; the verdict is the first reason of the plan."""
    lengths = sorted({steps for trial in found.trials for steps in trial.values})
    rows = tuple((trial.label, *(_mean(trial, steps) for steps in lengths), _beside(trial)) for trial in found.trials)
    columns = ("cycles", *(f"{in_words(found.metric)}, {whole(steps)} steps" for steps in lengths), "beside the first")
    seeds = len(next(iter(found.trials[0].values.values()), ()))
    title = f"Means of {count(seeds, 'training')}; those that fell behind were not trained longer."
    return Part("Measured numbers of cycles", (
        Table("cycles/trials", title, columns, rows),
        Facts((("tuning cost", count(found.tuning_cost, "optimizer step")),)),
    ))  # fmt: skip


def _mean(trial: Trial, steps: int) -> str:
    return precise(mean(trial.values[steps])) if trial.values.get(steps) else ""


def _beside(trial: Trial) -> str:
    if trial.difference is None:
        return ""
    middle, low, high = trial.difference
    return f"{middle:+.3g} ({low:+.3g} to {high:+.3g}){'' if trial.real else ', not significant'}"
