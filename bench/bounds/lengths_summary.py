"""The first table of docs/bounds.md: every rule, one column for each length."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import lengths_rules as rules
import rivals

LABELS = {
    "auto": "**cyclr's `auto`**", "minimum": "fastai's minimum", "slide": "fastai's slide", "valley": "fastai's valley",
    "ignite": "Ignite", "torch-lr-finder": "torch-lr-finder", "steep": "fastai's steep", "lightning": "Lightning",
    "blind": "0.1 for SGD, 0.001 for others, without a test", "prodigy": "Prodigy", "schedule-free": "Schedule-Free",
    "dog": "DoG",
}  # fmt: skip


def summary(names: Iterable[str]) -> list[str]:
    """Mean and worst regret by rule and length, the lowest mean at 400 steps first."""
    names = tuple(names)
    lost: dict[str, dict[int, list[float]]] = {}
    spent: dict[int, list[float]] = {}
    tasks: dict[int, set[str]] = {}
    for rule in ("auto", *rules.PEERS, "blind"):
        lost[rule] = {}
        for one in rules.every_answer(rule, names):
            lost[rule].setdefault(one.steps, []).append(rules.regret(one))
            tasks.setdefault(one.steps, set()).add(one.task)
            if rule == "auto":
                spent.setdefault(one.steps, []).append(one.cost / one.steps)
    shares = rivals.shares()
    for rival in rivals.RIVALS:
        lost[rival] = {}
        for steps, wanted in tasks.items():
            found = {name: shares[name, steps][rival] for name in wanted if (name, steps) in shares}
            if found.keys() == wanted and all(len(values) == len(rules.lengths.SEEDS) for values in found.values()):
                lost[rival][steps] = [max(0.0, value) for values in found.values() for value in values]
    every = sorted(tasks)
    lines = ["| rule | " + " | ".join(f"{steps:,} steps" for steps in every) + " |", "|---" * (len(every) + 1) + "|"]
    for rule in sorted(lost, key=lambda rule: (rule != "auto", statistics.mean(lost[rule].get(400, [1.0])))):
        cells = [_cell(lost[rule].get(steps)) for steps in every]
        lines.append(f"| {LABELS[rule]} | " + " | ".join(cells) + " |")
    costs = [f"{statistics.mean(spent[steps]):.0%}" for steps in every]
    return [*lines, "| *`auto`'s test, as a share of the training* | " + " | ".join(costs) + " |"]


def _cell(values: list[float] | None) -> str:
    return f"{statistics.mean(values):.3f} ({max(values):.2f})" if values else ""
