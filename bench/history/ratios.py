"""One step of a scheduler beside the loop by hand and beside torch's scheduler: the cases of bench/speed.py by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import speed

CASES = {f"{what} / {beside}": (ours, other) for what, beside, ours, other in speed.steps_of_torch()}


def track_step(case: str) -> float:
    """Median over rounds of (ours / the other), measured by turns."""
    ours, other = CASES[case]
    return float(speed.by_turns(speed.cpu(ours, 200), speed.cpu(other, 200), 21)["ratio"])


track_step.params = list(CASES)
track_step.param_names = ["case"]
track_step.unit = "ratio"
