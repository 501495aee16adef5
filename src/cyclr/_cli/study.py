"""Studies in the shell: what every one goes through. The driver never imports torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cyclr._cli.apart import Apart
from cyclr._cli.progress import progress
from cyclr._page.numbers import number
from cyclr._range import Curve, effort_for
from cyclr.study._design import Contest, compare, finished
from cyclr.study._records import Run, Study

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
    return f"{contest.metric} {number(run.series(f'{judge}_{contest.metric}')[1][-1])}"
