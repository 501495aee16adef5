"""One step of a scheduler beside the loop by hand and torch's schedulers: the cases of bench/scheduler_steps.py."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scheduler_steps import steps_of_torch
from timing import by_turns, cpu

CASES = {f"{what} / {beside}": (ours, other) for what, beside, ours, other in steps_of_torch()}


def track_step(case: str) -> float:
    """Median over rounds of (ours / the other), measured by turns."""
    ours, other = CASES[case]
    return float(by_turns(cpu(ours, 200), cpu(other, 200), 21)["ratio"])


track_step.params = list(CASES)
track_step.param_names = ["case"]
track_step.unit = "ratio"
