"""The quality of each peak rate: one cycle of a fixed budget for each peak, evaluated on held-out data.

    python bench/bounds/landscape.py              # all tasks; resumes if interrupted
    python bench/bounds/landscape.py mlp-adam     # some, also of unseen.py

The cycle rises linearly from a tenth of the peak during the first 30 % of the budget and falls linearly to
zero. Appends to records/landscapes.csv: task, peak, seed, metric. A run whose loss was not finite
counts as the untrained model.
"""

from __future__ import annotations

import csv
import math
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from suites import TASKS, make

FILE = Path(__file__).parent / "records" / "landscapes.csv"
SEEDS = range(4)
BUDGET = {"noisy-batches": 2000, "noisy-batches-adam": 2000}
STEPS = 400
RISE = 0.3


def peaks(name: str) -> list[float]:
    """19 or 20 rates, four per decade, in a range that depends on the kind of optimizer."""
    kind = type(make(name, 0).optimizer).__name__
    plain = kind == "Adagrad" or (kind == "SGD" and make(name, 0).optimizer.defaults["momentum"] == 0)
    low, high = (-3.0, 1.5) if plain else (-3.5, 1.0) if kind == "SGD" else (-5.0, -0.25)
    return [float(f"{10**power:.4g}") for power in np.arange(low, high + 0.01, 0.25)]


def cycle(peak: float, step: int, steps: int) -> float:
    up = round(RISE * steps)
    return peak * (0.1 + 0.9 * step / up) if step < up else peak * (steps - step) / (steps - up)


def value(name: str, peak: float, seed: int) -> float:
    problem = make(name, 1000 + seed)
    untrained = problem.judge()
    steps = BUDGET.get(name, STEPS)
    for step, (x, y) in zip(range(steps), problem.batches, strict=False):
        problem.set_rate(cycle(peak, step, steps))
        loss = problem.step(x, y)
        if step % 20 == 0 and not math.isfinite(float(loss)):
            return untrained
    score = problem.judge()
    return score if math.isfinite(score) else untrained


def rows(path: Path = FILE) -> Iterator[dict[str, str]]:
    with path.open() as file:
        yield from csv.DictReader(line for line in file if not line.startswith("#"))


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if not FILE.exists():
        versions = f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}"
        FILE.write_text(f"# made by: python bench/bounds/landscape.py\n# {versions}\ntask,peak,seed,metric\n")
    done = {(row["task"], float(row["peak"]), int(row["seed"])) for row in rows()}
    for name in names or TASKS:
        for seed in SEEDS:
            for peak in peaks(name):
                if (name, peak, seed) in done:
                    continue
                line = f"{name},{peak:g},{seed},{value(name, peak, seed):.6g}\n"
                with FILE.open("a") as file:
                    file.write(line)
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
