"""The suggestions of published rules: one sweep per task, seed and protocol, and every rule that reads it.

    python bench/bounds/answers.py              # all tasks; resumes if interrupted
    python bench/bounds/answers.py mlp-adam     # some, also of unseen.py

Appends to records/answers.csv: task, rule, seed, peak, cost in steps. An empty peak means no suggestion. Seeds are 0 to
9; the landscapes were made with others. Our own bounds are read off records/curves.npz: see curves.py.

fastai's rules, torch-lr-finder, ignite   1e-7 to 10 in 100 steps, each with its own stop and smoothing
lightning     1e-8 to 1 in 100 steps
paper         a linear ramp in 300 steps from 0 to 1 (SGD, Adagrad) or 0.1 (others); where the held-out score, taken
              every 15 steps, is best
blind         0.1 (SGD, Adagrad) or 1e-3 (others)
"""

from __future__ import annotations

import math
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from curves import SEEDS
from landscape import rows
from problem import Problem
from suites import TASKS, make

from cyclr import Curve, Inconclusive
from cyclr._range import RULES

FILE = Path(__file__).parent / "records" / "answers.csv"
HEAD = "task,rule,seed,peak,cost"


def steep_kind(problem: Problem) -> bool:
    """Whether the optimizer is of a kind with rates around 0.1."""
    return type(problem.optimizer).__name__ in {"SGD", "Adagrad"}


def walk(problem: Problem, rates: np.ndarray, every: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Losses and periodic held-out scores along the rates, up to the first non-finite loss."""
    losses, scores = np.full(len(rates), np.nan), np.full(len(rates), np.nan)
    for step, (x, y) in zip(range(len(rates)), problem.batches, strict=False):
        problem.set_rate(float(rates[step]))
        losses[step] = float(problem.step(x, y))
        if not math.isfinite(losses[step]):
            break
        if every and (step + 1) % every == 0:
            scores[step] = problem.judge()
    return losses, scores


def peers(name: str, seed: int) -> dict[str, tuple]:
    """The published rules, each on the default ramp of its tool."""
    answers = {}
    for low, high, names in ((1e-7, 10, [rule for rule in RULES if rule != "lightning"]), (1e-8, 1, ["lightning"])):
        rates = np.geomspace(low, high, 100)
        losses, _ = walk(make(name, seed), rates)
        curve = Curve(rates, losses)
        for rule in names:
            try:
                answers[rule] = (curve.suggest(rule), 100)
            except Inconclusive:
                answers[rule] = ("", 100)
    return answers


def paper(name: str, seed: int) -> tuple:
    problem = make(name, seed)
    rates = (1.0 if steep_kind(problem) else 0.1) * np.arange(1, 301) / 300
    _, scores = walk(problem, rates, every=15)
    if not np.isfinite(scores).any():
        return "", 300
    return float(rates[np.nanargmax(scores if problem.higher else -scores)]), 300


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if not FILE.exists():
        versions = f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}"
        FILE.write_text(f"# made by: python bench/bounds/answers.py\n# {versions}\n{HEAD}\n")
    done = {(row["task"], row["rule"], int(row["seed"])) for row in rows(FILE)}
    for name in names or TASKS:
        for seed in SEEDS:
            found = {}
            if (name, "lightning", seed) not in done:
                found |= peers(name, seed)
            if (name, "paper", seed) not in done:
                found["paper"] = paper(name, seed)
            if (name, "blind", seed) not in done:
                found["blind"] = (0.1 if steep_kind(make(name, seed)) else 1e-3, 0)
            with FILE.open("a") as file:
                for rule, answer in found.items():
                    cells = [f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in answer]
                    file.write(",".join([name, rule, str(seed), *cells]) + "\n")
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
