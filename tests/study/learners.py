"""Runs that take no time: how well a training goes depends on its peak and its seed alone."""

from __future__ import annotations

import importlib
import math
import os
import sys
import time
from pathlib import Path

from cyclr import parse
from cyclr.study._records import Run, Setup
from cyclr.study._worker import reporter

BEST = {"val": 0.01, "test": 0.03}  # the peak that is best: another one where it is chosen than where it is judged
LOG = "log"


def learn(setup: Setup, folder: Path) -> Run:
    """A run whose accuracy falls with the distance of its peak from the best one; it diverges above 1."""
    with (folder.parent.parent / LOG).open("a") as log:
        print(folder.parent.name, file=log)
    peak = parse(setup.schedule).highest
    part = "val" if setup.options.get("tuning") else "test"
    evaluated = sorted({*range(setup.eval_every, setup.steps + 1, setup.eval_every), *setup.eval_at, setup.steps})
    miss = abs(math.log10(peak / BEST[part])) / 10
    points = [
        {
            "step": step,
            "lr": peak,
            "loss": math.nan if peak > 1 else 1.0,
            f"{part}_accuracy": (1 - miss) * step / setup.steps - 0.01 * setup.seed % 0.03,
            f"{part}_loss": miss + 1 / step,
        }
        for step in evaluated
    ]
    fields = {field: getattr(setup, field) for field in Setup.__struct_fields__}
    status = "diverged" if peak > 1 else "finished"
    return Run(**fields, steps_per_epoch=10, points=points, seconds=1.0, versions={}, status=status)


SHELL = ("cyclopts", "rich", "cyclr._cli")


def shell_after(*modules: str) -> list[str]:
    """Which parts of the shell this process holds, once those modules are imported."""
    for module in modules:
        importlib.import_module(module)
    return [name for name in SHELL if name in sys.modules]


def report_steps(count: int, report: Path) -> int:
    """What reports its steps to the driver; the loss of the last one is not finite."""
    tell = reporter(report)
    for step in range(count):
        time.sleep(0.15)
        tell(step + 1, count, 0.1, math.nan if step + 1 == count else 1.0)
    return os.getpid()
