"""One run: its evaluations and its loss."""

from __future__ import annotations

from collections.abc import Sequence

from cyclr._page import figures
from cyclr._page.blocks import Facts, Figures, Part, Table
from cyclr._page.numbers import budget, count, in_words, number, seconds, whole
from cyclr._page.registry import panel, read
from cyclr.study._records import Run


@read.register
def _(run: Run) -> tuple[str, Sequence[object]]:
    return f"{run.policy} on {run.task}, seed {run.seed}", (run,)


@panel(Run, place=0)
def evaluations(run: Run) -> Part:
    """A row for each evaluation, the plotted loss, and how the run ended."""
    names = list(dict.fromkeys(name for point in run.points for name in point if name not in ("step", "lr")))
    rows = tuple(
        (whole(point.get("step") or 0), number(point.get("lr")), *(number(point.get(name)) for name in names))
        for point in run.points
    )
    columns = ("step", "learning rate", *map(in_words, names))
    table = Table("run/evaluations", count(len(rows), "evaluation") + ".", columns, rows, words=0)
    figure = figures.losses(run) if "loss" in names else None
    return Part("Evaluations", (
        table,
        *(() if figure is None else (Figures((figure,)),)),
        Facts((
            ("schedule", run.schedule),
            ("budget", budget(run.steps, run.steps_per_epoch)),
            ("training time", f"{seconds(run.seconds)} seconds"),
            ("status", run.status),
        )),
    ))  # fmt: skip
