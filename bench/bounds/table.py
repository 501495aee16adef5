"""Regret of each rule on each task, from the records; writes the tables of docs/bounds-history.md in two minutes.

    python bench/bounds/table.py

Regret = (best of the landscape - metric at the suggested peak) / (best - metric at the lowest rate), from 0 to 1.
A peak between two of the landscape is interpolated linearly in the logarithm; one outside counts as the nearest; no
suggestion counts as 1. Our bounds are read off records/curves.npz, the published rules are in records/answers.csv.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import refusals
from answers import FILE as ANSWERS
from curves import load
from landscape import BUDGET, STEPS, rows
from landscape import FILE as LANDSCAPES
from repeats import coverage
from suites import FRESH, TASKS, UNSEEN, make

from cyclr import Bounds, Curve, Inconclusive
from cyclr._range import probe, reading

PAGE = Path(__file__).parents[2] / "docs" / "bounds-history.md"
ORDER = (
    "quick", "thorough", "quick, no budget", "thorough, no budget", "minimum", "ignite", "slide", "valley",
    "torch-lr-finder", "steep", "lightning", "paper", "blind",
)  # fmt: skip
SHOWN = ("quick", "thorough", "minimum", "ignite", "valley", "steep", "paper", "blind")
Landscape = tuple[np.ndarray, np.ndarray]
Answers = dict[
    str, dict[str, list[tuple[float, int]]]
]  #: for each rule and task the peaks (NaN: no suggestion) and tuning costs
QUICK = {"doubt": (reading, "DOUBT", (0.5, 0.7, 1.0, 1.4, 2.0))}
THOROUGH = {
    "doubt": (probe, "DOUBT", (0.3, 0.4, 0.55)),
    "shift": (probe, "SHIFT", (0.15, 0.3, 0.45)),
    "weight of the ramp": (probe, "SWEEP", (0.2, 0.3, 0.5)),
}


def landscapes() -> dict[str, Landscape]:
    """For each task, the log peaks and the regret at each."""
    metrics: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(LANDSCAPES):
        metrics[row["task"]][float(row["peak"])].append(float(row["metric"]))
    found = {}
    for task, values in metrics.items():
        peaks = np.array(sorted(values))
        means = np.array([np.mean(values[peak]) for peak in peaks]) * (1 if make(task, 0).higher else -1)
        found[task] = np.log(peaks), np.clip((means.max() - means) / (means.max() - means[0]), 0, 1)
    return found


def bounds(curve: Curve, budget: int | None = None) -> Bounds | None:
    try:
        return curve.bounds(budget=budget)
    except Inconclusive:
        return None


def answers(curves: dict[tuple[str, int], tuple[Curve, Curve]]) -> Answers:
    """The suggestions of all rules."""
    found: Any = defaultdict(lambda: defaultdict(list))
    for row in rows(ANSWERS):
        found[row["rule"]][row["task"]].append((float(row["peak"] or "nan"), int(row["cost"])))
    for (task, _), both in curves.items():
        for rule, one in zip(("quick", "thorough"), both, strict=True):
            for name, budget in ((rule, BUDGET.get(task, STEPS)), (f"{rule}, no budget", None)):
                read = bounds(one, budget)
                found[name][task].append((float("nan") if read is None else read.max_lr, one.tuning_cost))
    return found


def regrets(land: Landscape, peaks: Iterable[float]) -> np.ndarray:
    logs, regret = land
    return np.array([1.0 if np.isnan(peak) else np.interp(np.log(peak), logs, regret) for peak in peaks])


def summary(lands: dict[str, Landscape], given: Answers, tasks: Iterable[str]) -> list[str]:
    """One line per rule."""
    lines = ["| rule | mean | 95 % of answers below | worst | worst task's mean | refusals | steps |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for rule in ORDER:
        by_task = {task: regrets(lands[task], (peak for peak, _ in given[rule][task])) for task in tasks}
        every = np.concatenate(list(by_task.values()))
        worst = max(by_task, key=lambda task: by_task[task].mean())
        flat = [one for task in tasks for one in given[rule][task]]
        lines.append(
            f"| {rule} | {every.mean():.3f} | {np.quantile(every, 0.95):.2f} | {every.max():.2f} "
            f"| {by_task[worst].mean():.2f} ({worst}) | {sum(np.isnan(peak) for peak, _ in flat)} "
            f"| {np.mean([cost for _, cost in flat]):.0f} |"
        )
    return lines


def each(lands: dict[str, Landscape], given: Answers, tasks: Iterable[str]) -> list[str]:
    """Mean and worst regret of each task."""
    lines = ["| task | best peak | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 2) + "|"]
    for task in tasks:
        logs, regret = lands[task]
        found = [regrets(lands[task], (peak for peak, _ in given[rule][task])) for rule in SHOWN]
        cells = [f"{values.mean():.2f} / {values.max():.2f}" for values in found]
        lines.append(f"| {task} | {np.exp(logs[np.argmin(regret)]):.2g} | " + " | ".join(cells) + " |")
    return lines


def covered() -> list[str]:
    """How often an interval contains the bound of another seed."""
    lines = ["| task | answers scatter by a factor | the 90 % interval holds another's |", "|---|---|---|"]
    found = coverage()
    lines += [f"| {task} | {np.exp(scatter):.2f} | {share:.0%} |" for task, (share, scatter) in found.items()]
    inside = sum(0.8 <= share <= 0.97 for share, _ in found.values())
    mean = np.mean([share for share, _ in found.values()])
    return [*lines, f"| *all* | | {mean:.0%}; {inside} of {len(found)} tasks between 80 and 97 % |"]


@contextmanager
def constants(where: Iterable[tuple[ModuleType, str]], values: Iterable[float]) -> Any:
    """Replace constants temporarily."""
    before = [(module, name, getattr(module, name)) for module, name in where]
    try:
        for (module, name), value in zip(where, values, strict=True):
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def left_out(lands: dict[str, Landscape], curves: dict[tuple[str, int], Curve], choices: dict) -> list[str]:
    """Regret on each task with the constants that are best on the others: lowest mean plus a twentieth of the worst."""
    where = [(module, name) for module, name, _ in choices.values()]
    chosen = tuple(getattr(module, name) for module, name in where)
    along = {  # one constant changed, the others unchanged
        name: [(*chosen[:place], value, *chosen[place + 1 :]) for value in choices[name][2]]
        for place, name in enumerate(choices)
    }
    grid = sorted({values for line in along.values() for values in line})
    tried = []
    with constants([(reading, "RESAMPLES")], [2]):  # the intervals are not needed
        for values in grid:
            with constants(where, values):
                tried.append([regrets(lands[task], [_peak(task, curve)])[0] for (task, _), curve in curves.items()])
    found, tasks = np.array(tried), np.array([task for task, _ in curves])
    means = dict(zip(grid, found.mean(axis=1), strict=True))
    outside, picked = np.zeros(len(tasks)), set()
    for task in TASKS:
        others = found[:, tasks != task]
        best = int(np.argmin(others.mean(axis=1) + others.max(axis=1) / 20))
        outside[tasks == task] = found[best, tasks == task]
        picked.add(grid[best])
    lines = []
    for place, (name, line) in enumerate(along.items()):
        shown = ", ".join(f"{values[place]:g}: {means[values]:.4f}" for values in line)
        lines.append(f"- {name}: mean regret {shown}.")
    which = f"{len(grid)} sets of constants, of which {len(picked)} picked"
    lines.append(f"- Chosen on the other tasks ({which}): mean {outside.mean():.3f}, worst {outside.max():.2f}.")
    return lines


def _peak(task: str, curve: Curve) -> float:
    read = bounds(curve, BUDGET.get(task, STEPS))
    return float("nan") if read is None else read.max_lr


def main() -> None:
    lands, every = landscapes(), load()
    quick, thorough = ({key: both[place] for key, both in every.items() if key[0] in TASKS} for place in (0, 1))
    given = answers(every)
    tables = {
        "rules": summary(lands, given, TASKS),
        "tasks": each(lands, given, TASKS),
        "unseen rules": summary(lands, given, UNSEEN),
        "unseen tasks": each(lands, given, UNSEEN),
        "fresh rules": summary(lands, given, FRESH),
        "fresh tasks": each(lands, given, FRESH),
        "quick left out": left_out(lands, quick, QUICK),
        "thorough left out": left_out(lands, thorough, THOROUGH),
        "coverage": covered(),
        "refusals": refusals.table(),
    }
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in tables.items():
        start, end = f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"
        before, rest = page.split(start)
        page = before + "\n".join([start, "", *lines, "", end]) + rest.split(end)[1]
    PAGE.write_text(page, encoding="utf-8")
    print("\n".join(line for lines in tables.values() for line in lines))


if __name__ == "__main__":
    main()
