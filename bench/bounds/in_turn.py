"""What `auto` answers for a step function, whose steps take the same three batches in turn in a short range test.

    python bench/bounds/in_turn.py                          # all small tasks: five minutes on one core
    python bench/bounds/in_turn.py --task linear-sgd        # one; may be given several times
    python bench/bounds/in_turn.py --data PATH              # those that start from trained weights; see finetune.py
    python bench/bounds/in_turn.py --table                  # the table of docs/bounds.md, no training

Appends to records/in_turn.csv, and passes over what is there. A refusal has no peak; its cost is that of all tests. The
table compares with what the same program did before, from the records of ramps.py: training losses alone, then one
sweep of 300 steps (which is not recorded for trained weights); and with two reference batches, evaluated without a
step. The landscapes are those of lengths.py.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import finetune
import lengths_rules as rules
import numpy as np
import torch
from page import put
from suites import FINETUNE, make

from cyclr import Inconclusive, Search
from cyclr.torch import auto

FILE = Path(__file__).parent / "records" / "in_turn.csv"
SMALL = (
    "linear-sgd", "mlp-momentum", "noisy-batches", "islands-momentum", "factors-adam", "regression-adam",
    "denoise-rmsprop", "density-adam", "deep-sigmoid", "flow-adam", "graph-adam", "marked-gru-adam", "words-lstm-sgd",
)  # fmt: skip
TRAINED = ("resnet-frozen", "llama-whole", "resnet-head")
LENGTHS, SEEDS, FULL = (60, 200, 400, 1000), range(3), 300
NAMES = ("task", "steps", "seed", "peak", "cost")
Found = dict[tuple[str, int, int], tuple[float, int]]  #: by task, steps and seed: the peak and what it cost


def load() -> Found:
    if not FILE.exists():
        return {}
    with FILE.open() as file:
        rows = list(csv.DictReader(file))
    return {(row["task"], int(row["steps"]), int(row["seed"])): (float(row["peak"]), int(row["cost"])) for row in rows}


def answer(name: str, steps: int, seed: int) -> tuple[float, int]:
    """What `auto` says of a step function."""
    problem = make(name, seed)
    parts = problem.model.train(), problem.optimizer, problem.batches

    def step(batch: list[torch.Tensor]) -> torch.Tensor:
        return problem.step(*batch)

    try:
        scheduler = auto(*parts, update=step, steps=steps, search=Search(progress=False))
    except Inconclusive as refusal:
        return math.nan, 0 if refusal.curve is None else refusal.curve.tuning_cost
    return scheduler.bounds.max_lr, scheduler.curve.tuning_cost


def record(names: tuple[str, ...]) -> None:
    known = load()
    todo = [(name, steps, seed) for name in names for steps in LENGTHS for seed in SEEDS
            if steps in rules.lands(name) and (name, steps, seed) not in known]  # fmt: skip
    with FILE.open("a", newline="") as file:
        writer = csv.writer(file)
        if not known:
            writer.writerow(NAMES)
        for one in todo:
            peak, cost = answer(*one)
            writer.writerow([*one, f"{peak:.3g}", cost])


def alone(name: str, steps: int, seed: int) -> tuple[float, int] | None:
    """Training losses alone, and a sweep of full size after a refusal; None where the former was not recorded."""
    kept = rules.recorded(name).get(seed, {})
    found = rules.ours("training losses alone", kept, steps)
    if found is None:
        return None
    bounds, peak, cost = found
    if bounds is None and "quick" in kept:
        curve = rules.sweep(kept, FULL)
        bounds, peak = rules.read(curve, steps)
        cost += curve.tuning_cost
    return (math.nan if bounds is None else peak), cost


def evaluated(name: str, steps: int, seed: int) -> tuple[float, int] | None:
    """Two reference batches."""
    found = rules.ours("quick", rules.recorded(name)[seed], steps)
    return None if found is None else (math.nan if found[0] is None else found[1], found[2])


def lines() -> Iterator[str]:
    """One line for each length and rule, over the tasks and seeds that all of them have."""
    yield "| steps | tasks | rule | mean | worst | refused | diverge | testing |"
    yield "|---" * 8 + "|"
    kept: dict[tuple[int, str, str], list[tuple[rules.Answer, ...]]] = defaultdict(list)
    for (name, steps, seed), found in load().items():
        others = alone(name, steps, seed), evaluated(name, steps, seed)
        if None not in others:
            every = {"before": others[0], "batches in turn": found, "reference batches, evaluated": others[1]}
            for rule, one in every.items():
                kind = "trained" if name in FINETUNE else "small"
                kept[steps, kind, rule].append(rules.Answer(name, steps, seed, *one))
    for (steps, kind, rule), found in sorted(kept.items(), key=lambda one: (one[0][0], one[0][1])):
        lost = np.array([rules.regret(one) for one in found])
        refused = sum(math.isnan(one.peak) for one in found)
        cells = f"{lost.mean():.3f} | {lost.max():.2f} | {refused} of {len(found)}"
        cost, bad = (
            np.mean(values) for values in ([one.cost for one in found], [rules.diverged(one) for one in found])
        )
        yield f"| {steps:,} | {kind} | {rule} | {cells} | {bad:.1%} | {cost / steps:.0%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", help="only this one")
    parser.add_argument("--data", type=Path, help="the folder that finetune.py needs")
    parser.add_argument("--table", action="store_true", help="write the table into docs/bounds.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.table:
        put({"in turn": lines()})
        return
    finetune.DATA = given.data
    record(tuple(given.task or (SMALL if given.data is None else TRAINED)))


if __name__ == "__main__":
    main()
