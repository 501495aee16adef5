"""What no rule can do better that turns the rate at which a short sweep loses its gain into an answer.

For each task the ratio between the two is chosen with all landscapes at hand. What is then still lost is due to the
lost rate alone: it differs from seed to seed by more than the plateau is wide.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import lengths_rules as rules
import numpy as np

RATIOS = np.exp(np.linspace(-6, 1, 141))


def limit(names: Iterable[str]) -> list[str]:
    """One line for each length: the rule, and two that know the best ratio."""
    kept: dict[tuple[str, int], list[float]] = defaultdict(list)  # the lost rates of all seeds; nan where none is seen
    for name in names:
        for seed in rules.recorded(name).values():
            for steps in rules.lands(name):
                if (curve := rules.referenced(seed)) is not None:
                    seen = rules.seen_in(curve)
                    kept[name, steps].append(math.nan if seen is None else math.exp(seen.lost))
    losses = {at: _losses(*at, rates) for at, rates in kept.items()}  # (ratios, seeds)
    by_task = {
        name: int(np.argmin(np.hstack([found for at, found in losses.items() if at[0] == name]).mean(axis=1)))
        for name, _ in losses
    }
    said = [one for one in rules.every_answer("quick", tuple(names)) if (one.task, one.steps) in losses]
    lines = ["| steps | as it is | best ratio of each task | best ratio of each task and length |", "|---" * 4 + "|"]
    for steps in sorted({steps for _, steps in losses}):
        here = {name: found for (name, own), found in losses.items() if own == steps}
        now = np.mean([rules.regret(one) for one in said if one.steps == steps])
        one = np.concatenate([found[by_task[name]] for name, found in here.items()]).mean()
        each = np.concatenate([found[int(np.argmin(found.mean(axis=1)))] for found in here.values()]).mean()
        lines.append(f"| {steps:,} | {now:.3f} | {one:.3f} | {each:.3f} |")
    return lines


def _losses(name: str, steps: int, rates: list[float]) -> np.ndarray:
    """What each ratio loses for each seed."""
    land = rules.lands(name)[steps]
    return np.array([[max(0.0, land.at(ratio * rate, land.lost)) for rate in rates] for ratio in RATIOS])
