"""Studies in the shell: what every one goes through, and its tables. The driver never imports torch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclr._cli import output
from cyclr._cli.apart import Apart
from cyclr._cli.progress import progress
from cyclr._range import Curve, effort_for
from cyclr.study._design import Contest, compare, finished
from cyclr.study._records import Run, Study
from cyclr.study._stats import Interval
from cyclr.study._summary import Summary, target_of

CURVE, RUNS, STUDY, SETTINGS = "curve.json", "runs", "study.json", "settings.json"
_MAKE_RUN = "cyclr.tasks._run:make_study_run"  # by name: it needs torch, and the engine imports it where it runs


def check_folder(out: Path) -> None:
    """That records can be written there, said before the work and not after it."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{there} is a file; --out must name a folder")
    if not os.access(there, os.W_OK):
        raise ValueError(f"{there} cannot be written; choose another folder by --out")


def curve_in(out: Path, task: str, steps: int, apart: Apart) -> Curve:
    """The range test of a study whose trainings have so many steps, made once."""
    path = out / CURVE
    if not path.exists():
        apart.call("cyclr.tasks._run:save_curve", task, effort_for(steps), path)
    return Curve.load(path)


def run_contest(contest: Contest, out: Path, **engine: Any) -> Study:
    """All runs, or what is left of them, with a progress bar."""
    done = finished(contest, out / RUNS)
    with progress("training", contest.total, "runs", done=done) as update:

        def tell(name: str, run: Run) -> None:
            nonlocal done
            done += 1
            update(done, f"{name} {_last(contest, run)}")

        return compare(contest, out / RUNS, _MAKE_RUN, on_run=tell, **engine)


def _last(contest: Contest, run: Run) -> str:
    judge = "val" if run.options.get("tuning") else contest.judge
    return f"{contest.metric} {output.number(run.series(f'{judge}_{contest.metric}')[1][-1])}"


def print_ends(study: Study, rows: Sequence[Summary], *, percent: bool) -> None:
    """How good at the end of the budget, and how sure."""
    name = study.metric.replace("_", " ") + (" %" if percent else "")
    output.table(
        ("policy", "peak\nrate", f"{name}\nat the end", f"difference\nfrom {study.baseline}", "corrected\np"),
        [
            (
                row.policy,
                output.number(study.rates.get(row.policy, math.nan)),
                span(row.final, percent=percent),
                "" if row.difference is None else span(row.difference, percent=percent, sign="+"),
                "" if math.isnan(row.corrected) else f"{row.corrected:.2g}",
            )
            for row in rows
        ],
    )


def print_ways(study: Study, rows: Sequence[Summary], *, percent: bool, seconds: bool = True) -> None:
    """How fast on the way, and at what cost."""

    def shown(value: float) -> str:
        return _shown(value, percent=percent)

    reach = shown(target_of(study))
    columns = [
        "policy",
        "best cycle\nend",
        "at half\nbudget",
        "mean on\nthe way",
        f"steps to\n{reach}",
        "cost of\nrates",
    ]
    if seconds:
        columns.insert(5, f"seconds\nto {reach}")
    table = []
    for row in rows:
        to = "never" if math.isinf(row.to_target) else f"{row.to_target:.0f}"
        cells = [row.policy, shown(row.best.mean), shown(row.half.mean), shown(row.area.mean)]
        cells.append(f"{to} ({row.reached}/{row.seeds})")
        if seconds:
            cells.append("never" if math.isinf(row.seconds) else f"{row.seconds:.3g}")
        table.append((*cells, f"{row.cost}"))
    output.table(columns, table)


def told_target(study: Study, *, percent: bool) -> str:
    """The target, and where it comes from if nobody gave it."""
    value = _shown(target_of(study), percent=percent)
    return value if study.target is not None else f"{value}, what {study.baseline} has at the end"


def _shown(value: float, *, percent: bool) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.3g}"


def span(found: Interval, *, percent: bool, sign: str = "") -> str:
    """A mean with its interval, in points of a hundred for a fraction."""
    scale, form = (100, f"{sign}.1f") if percent else (1, f"{sign}.3g")
    if not math.isfinite(found.mean):
        return "diverged"
    mean = f"{scale * found.mean:{form}}"
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return mean
    between = " to " if sign or min(found.low, found.high) < 0 else "–"
    return f"{mean} ({scale * found.low:{form}}{between}{scale * found.high:{form}})"
