"""Regret of each rule on each task, from the records; writes the tables of docs/bounds.md.

    python bench/bounds/table.py

Regret = (best of the landscape - metric at the suggested peak) / (best - metric at the lowest rate), from 0 to 1.
A peak between two of the landscape is looked up on a straight line in the logarithm; one outside counts as the
nearest; a refusal counts 1.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import permutations
from pathlib import Path

import numpy as np
from answers import FILE as ANSWERS
from landscape import FILE as LANDSCAPES
from landscape import rows
from tasks import TASKS, make

from cyclr._range.reading import BACK_OFF

PAGE = Path(__file__).parents[2] / "docs" / "bounds.md"
ORDER = ("quick", "thorough", "minimum", "ignite", "slide", "valley", "torch-lr-finder", "steep", "lightning",
         "paper", "blind")  # fmt: skip
Landscape = tuple[np.ndarray, np.ndarray]


def landscapes() -> dict[str, Landscape]:
    """For each task the log peaks and the regret at each."""
    metrics: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(LANDSCAPES):
        metrics[row["task"]][float(row["peak"])].append(float(row["metric"]))
    found = {}
    for task in TASKS:
        peaks = np.array(sorted(metrics[task]))
        means = np.array([np.mean(metrics[task][peak]) for peak in peaks]) * (1 if make(task, 0).higher else -1)
        found[task] = np.log(peaks), np.clip((means.max() - means) / (means.max() - means[0]), 0, 1)
    return found


def answers() -> dict[str, dict[str, list[dict[str, str]]]]:
    """For each rule and task the rows of the record."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for row in rows(ANSWERS):
        found[row["rule"]][row["task"]].append(row)
    return found


def regrets(land: Landscape, given: list[dict[str, str]], factor: float = 1.0) -> np.ndarray:
    logs, regret = land
    peaks = [float(row["peak"] or "nan") * factor for row in given]
    return np.array([1.0 if np.isnan(peak) else np.interp(np.log(peak), logs, regret) for peak in peaks])


def summary(lands: dict[str, Landscape], given: dict) -> list[str]:
    """One line a rule."""
    lines = ["| rule | mean | 95 % of answers below | worst | worst task's mean | refusals | steps |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for rule in ORDER:
        by_task = {task: regrets(lands[task], given[rule][task]) for task in lands}
        every = np.concatenate(list(by_task.values()))
        worst = max(by_task, key=lambda task: by_task[task].mean())
        flat = [row for task in lands for row in given[rule][task]]
        refusals, cost = sum(not row["peak"] for row in flat), np.mean([int(row["cost"]) for row in flat])
        lines.append(
            f"| {rule} | {every.mean():.3f} | {np.quantile(every, 0.95):.2f} | {every.max():.2f} "
            f"| {by_task[worst].mean():.2f} ({worst}) | {refusals} | {cost:.0f} |"
        )
    return lines


def each(lands: dict[str, Landscape], given: dict) -> list[str]:
    """Mean and worst regret of each task, and how often the interval holds another seed's answer."""
    rules = ("quick", "thorough", "minimum", "ignite", "valley", "steep", "paper", "blind")
    lines = ["| task | best peak | " + " | ".join(rules) + " | quick's interval covers |"]
    lines += ["|---" * (len(rules) + 3) + "|"]
    for task, (logs, regret) in lands.items():
        cells = []
        for rule in rules:
            values = regrets(lands[task], given[rule][task])
            cells.append(f"{values.mean():.2f} / {values.max():.2f}")
        best = np.exp(logs[np.argmin(regret)])
        lines.append(f"| {task} | {best:.2g} | " + " | ".join(cells) + f" | {coverage(given['quick'][task]):.0%} |")
    return lines


def coverage(given: list[dict[str, str]]) -> float:
    """Share of pairs of seeds of which one's interval holds the other's answer."""
    told = [row for row in given if row["peak"]]
    return float(np.mean([float(a["from"]) <= float(b["peak"]) <= float(a["to"]) for a, b in permutations(told, 2)]))


def left_out(lands: dict[str, Landscape], given: dict) -> str:
    """Mean regret of quick on each task with the back-off that is best on the others."""
    factors = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
    means = np.array(
        [[regrets(lands[task], given["quick"][task], BACK_OFF / factor).mean() for factor in factors] for task in lands]
    )
    chosen = [int(np.argmin(np.delete(means, task, axis=0).mean(axis=0))) for task in range(len(means))]
    outside = np.mean([means[task, factor] for task, factor in enumerate(chosen)])
    picked = sorted({factors[factor] for factor in chosen})
    along = ", ".join(f"{factor:g}: {mean:.3f}" for factor, mean in zip(factors, means.mean(axis=0), strict=True))
    return (
        f"Mean regret by back-off: {along}. "
        f"With the back-off picked on the other tasks (it is {' or '.join(f'{one:g}' for one in picked)}), "
        f"the mean over tasks left out is {outside:.3f}."
    )


def main() -> None:
    lands, given = landscapes(), answers()
    tables = {"rules": summary(lands, given), "tasks": each(lands, given), "left out": [left_out(lands, given)]}
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in tables.items():
        start, end = f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"
        before, rest = page.split(start)
        page = before + "\n".join([start, "", *lines, "", end]) + rest.split(end)[1]
    PAGE.write_text(page, encoding="utf-8")
    print("\n".join(line for lines in tables.values() for line in lines))


if __name__ == "__main__":
    main()
