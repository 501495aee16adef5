"""The effect of the lower bound: the same cycles to the same peak, from different fractions of the peak.

    python bench/bounds/base.py              # all tasks; resumes if interrupted: 20 minutes on one core
    python bench/bounds/base.py mlp-adam     # some
    python bench/bounds/base.py table        # the tables of docs/lower-bound.md, from the records

For each task and seed, a range test finds max_lr. Then there is one training of 480 steps for each type of cycle and
each base_lr = max_lr / ratio, from the same weights with the same batches, evaluated on held-out data in the middle and
at the end:

triangles   four of 120 steps, between base_lr and max_lr
annealed    four as `cyclr.plan` makes them: a short warm-up, a long decay, the last one to zero
one         one cycle: from base_lr up in 30 % of the steps, then to zero

The ratio "ours" is that of `Curve.bounds`, if it differs from the others by more than 2 %. Appends to records/base.csv.
"""

from __future__ import annotations

import math
import platform
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from landscape import rows
from suites import make

from cyclr import Bounds, Inconclusive, Schedule, Triangular, one_cycle, plan
from cyclr.study._stats import interval
from cyclr.torch import Update, range_test

FILE = Path(__file__).parent / "records" / "base.csv"
TASKS = ("mlp-sgd", "mlp-momentum", "mlp-adam", "deep-sigmoid", "cnn-momentum", "cnn-norm-adam", "resnet-momentum",
         "transformer-adamw", "recurrent-adam", "regression-momentum", "below-zero-adamw",
         "fine-tune-momentum")  # fmt: skip
SEEDS = range(2000, 2008)
RATIOS = (2.0, 4.0, 10.0, 30.0, 100.0)
WAYS = ("triangles", "annealed", "one")
STEPS, CYCLES = 480, 4
PAGE = Path(__file__).parents[2] / "docs" / "lower-bound.md"
SHOWN = {
    "triangles": ("triangles", "4", "final"),
    "triangles, half": ("triangles", "4", "half"),
    "annealed": ("annealed", "4", "final"),
    "annealed, half": ("annealed", "4", "half"),
    "one": ("one", "10", "final"),
}
HEAD = "task,seed,max_lr,base_lr,way,ratio,half,final"


def schedule(way: str, bounds: Bounds) -> Schedule:
    """The cycles, up to max_lr."""
    if way == "triangles":
        return Triangular(bounds.base_lr, bounds.max_lr, step_size=STEPS // CYCLES // 2)
    if way == "annealed":
        return plan(bounds, steps=STEPS, cycles=CYCLES).schedule
    # A plan never starts a single cycle above a tenth.
    return one_cycle(bounds.max_lr, steps=STEPS, base_lr=bounds.base_lr, rise=0.3, shape="linear")


def train(name: str, seed: int, rates: Schedule) -> tuple[float, float]:
    """The held-out score after half of the steps and after all of them; NaN for a non-finite loss."""
    problem = make(name, seed)
    half = math.nan
    for step, (x, y) in zip(range(STEPS), problem.batches, strict=False):
        problem.set_rate(float(rates(step)))
        loss = problem.step(x, y)
        if step % 20 == 0 and not math.isfinite(float(loss)):
            return math.nan, math.nan
        if step + 1 == STEPS // 2:
            half = problem.judge()
    return half, problem.judge()


def answer(name: str, seed: int) -> Bounds | None:
    """The result of the range test."""
    problem = make(name, seed)
    problem.model.train()
    curve = range_test(
        problem.model, problem.optimizer, problem.batches, problem.loss, update=Update(clip_norm=problem.clip)
    )
    try:
        return curve.bounds()
    except Inconclusive as refusal:
        print(name, seed, refusal, flush=True)
        return None


def record(name: str, seed: int) -> None:
    """All trainings of one task and seed; their rows are written together."""
    said = answer(name, seed)
    if said is None:
        return
    own = said.max_lr / said.base_lr
    ratios = RATIOS if any(abs(own / ratio - 1) < 0.02 for ratio in RATIOS) else (*RATIOS, own)
    lines = []
    for way in WAYS:
        for ratio in ratios:
            bounds = Bounds(said.max_lr / ratio, said.max_lr)
            half, final = train(name, seed, schedule(way, bounds))
            who = f"{ratio:g}" if ratio in RATIOS else "ours"
            lines.append(f"{name},{seed},{said.max_lr:g},{said.base_lr:g},{way},{who},{half:.6g},{final:.6g}\n")
    with FILE.open("a") as file:
        file.writelines(lines)


def spread(name: str) -> float:
    """The gain of the best peak over the lowest one in a task's landscape, with the sign such that higher is better."""
    metrics = defaultdict(list)
    for row in rows():
        if row["task"] == name:
            metrics[float(row["peak"])].append(float(row["metric"]))
    means = [float(np.mean(metrics[peak])) for peak in sorted(metrics)]
    return max(means) - means[0] if make(name, 0).higher else min(means) - means[0]


def table(way: str, baseline: str, column: str) -> list[str]:
    """The paired gain of each ratio over `baseline`, in hundredths of the landscape's spread, with its interval."""
    scores: dict = defaultdict(dict)
    for row in rows(FILE):
        if row["way"] == way:
            scores[row["task"]][row["ratio"], int(row["seed"])] = float(row[column])
    others = [f"{ratio:g}" for ratio in RATIOS if f"{ratio:g}" != baseline]
    lines = ["| task | " + " | ".join(f"max/{ratio}" for ratio in others) + " |", "|---" * (len(others) + 1) + "|"]
    every: dict = defaultdict(list)
    for task, found in scores.items():
        cells, gain = [], spread(task)
        for ratio in others:
            seeds = sorted(seed for one, seed in found if one == ratio)
            won = [100 * (found[ratio, seed] - found[baseline, seed]) / gain for seed in seeds]
            every[ratio].append(float(np.mean(won)))
            apart = interval(won)
            sure = "" if apart.contains(0) else "**"
            cells.append(f"{sure}{apart.mean:+.1f}{sure} ({apart.low:+.1f} to {apart.high:+.1f})")
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    means = [interval(every[ratio]) for ratio in others]
    return [
        *lines,
        "| all tasks | " + " | ".join(f"{m.mean:+.1f} ({m.low:+.1f} to {m.high:+.1f})" for m in means) + " |",
    ]


def beside() -> list[str]:
    """The effect of other choices in the same unit: the type of cycle, the peak, the seed."""
    finals: dict = defaultdict(dict)
    for row in rows(FILE):
        finals[row["task"]][row["way"], row["ratio"], int(row["seed"])] = float(row["final"])
    gains = {task: spread(task) for task in finals}

    def ways(way: str, ratio: str, other: str, its: str) -> list[float]:
        return [
            100 * float(np.mean([of[way, ratio, seed] - of[other, its, seed] for seed in SEEDS])) / gains[task]
            for task, of in finals.items()
        ]

    noise = [
        100 * float(np.std([of["one", "10", seed] for seed in SEEDS], ddof=1)) / abs(gains[task])
        for task, of in finals.items()
    ]
    found = {
        "the final decay to zero (annealed) against one to max/4 (triangles)": ways("annealed", "4", "triangles", "4"),
        "one cycle from max/10 against four annealed ones from max/4": ways("one", "10", "annealed", "4"),
        "another seed (standard deviation of one cycle)": noise,
        **{
            f"a peak of {factor:g} times the best one of the landscape": [-wrong(task, factor) for task in finals]
            for factor in (0.25, 0.5, 2.0, 4.0)
        },
    }
    lines = ["| choice | mean of the tasks | least to greatest |", "|---|---|---|"]
    for what, values in found.items():
        mean = interval(values)
        scatter = "" if values is noise else f" ({mean.low:+.1f} to {mean.high:+.1f})"
        lines.append(f"| {what} | {mean.mean:+.1f}{scatter} | {min(values):+.1f} to {max(values):+.1f} |")
    return lines


def wrong(name: str, factor: float) -> float:
    """The loss from `factor` times the best peak of a landscape; that of the untrained network is 100."""
    metrics = defaultdict(list)
    for row in rows():
        if row["task"] == name:
            metrics[float(row["peak"])].append(float(row["metric"]))
    peaks = sorted(metrics)
    scores = np.array([float(np.mean(metrics[peak])) for peak in peaks]) * (1 if make(name, 0).higher else -1)
    best = int(np.argmax(scores))
    there = np.interp(np.log(peaks[best] * factor), np.log(peaks), scores)
    return min(100.0, 100 * float((scores[best] - there) / (scores[best] - scores[0])))


def tables() -> None:
    """Write the tables of the page."""
    page = PAGE.read_text(encoding="utf-8")
    made = {name: table(way, baseline, column) for name, (way, baseline, column) in SHOWN.items()}
    for name, lines in {**made, "beside": beside()}.items():
        start, end = f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"
        before, rest = page.split(start)
        page = before + "\n".join([start, "", *lines, "", end]) + rest.split(end)[1]
    PAGE.write_text(page, encoding="utf-8")


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if not FILE.exists():
        versions = f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}"
        FILE.write_text(f"# made by: python bench/bounds/base.py\n# {versions}\n{HEAD}\n")
    done = {(row["task"], int(row["seed"])) for row in rows(FILE)}
    for seed in SEEDS:
        for name in names or TASKS:
            if (name, seed) not in done:
                record(name, seed)
        print(seed, flush=True)


if __name__ == "__main__":
    tables() if sys.argv[1:] == ["table"] else main(sys.argv[1:])
