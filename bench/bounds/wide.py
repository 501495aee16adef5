"""Adam on networks of 1,000 to 1.3 million weights: how its best peaks fall as a network grows.

    python bench/bounds/wide.py run      # all that is missing, half an hour of one core
    python bench/bounds/wide.py table    # the tables of docs/bounds.md

The constants of short sweeps under optimizers of Adam's kind were chosen on these tasks, on those of lengths.py and on
those that start from trained weights, by the mean over tasks; the second table leaves one task out at a time.

Appends to records/wide.csv; `what` is "weights" (`value`: how many are trained), "lost" (`key`: a seed; `value`: the
rate at which its sweep loses its gain again) or "peak" (`key`: a power of two, in thousandths; `value`: the mean share
of the gain that three trainings lost, 1 as the untrained network).
"""

from __future__ import annotations

import csv
import itertools
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import lengths
import lengths_rules as rules
import numpy as np
import plain_sgd
import programs
import tasks
import torch
from data import letters
from finetune import FINETUNE
from lengths_lands import PLATEAU
from page import put
from problem import Batches, Problem
from torch.nn import functional as F

from cyclr._range import short

FILE = Path(__file__).parent / "records" / "wide.csv"
LENGTHS, POWERS = (60, 200), range(-5, 9)


def mlp(width: int, seed: int) -> Problem:
    return tasks.images(tasks.mlp(196, width, width, 10), seed, torch.optim.Adam)


def convs(width: int, seed: int) -> Problem:
    return tasks.images(tasks.convs(width, norm=True), seed, torch.optim.Adam, size=32)


def gru(width: int, seed: int) -> Problem:
    model = tasks.Recurrent(tasks.windows(24)[-1], width)
    return tasks.characters(model, seed, torch.optim.Adam(model.parameters()), 24, clip=1.0)


def decoder(width: int, seed: int) -> Problem:
    x, y, vx, vy, kinds = letters(32)
    model = programs.Decoder(kinds, 32, width)
    made = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.1)
    return Problem(model, made, F.cross_entropy, Batches(x, y, 8, seed), (vx, vy), F.cross_entropy, False, clip=1.0)


TASKS: dict[str, Callable[[int], Problem]] = {
    **{f"mlp-{width}": partial(mlp, width) for width in (16, 64, 256, 1024)},
    **{f"convs-{width}": partial(convs, width) for width in (4, 16, 64)},
    **{f"gru-{width}": partial(gru, width) for width in (16, 64, 256)},
    **{f"decoder-{width}": partial(decoder, width) for width in (16, 48, 144)},
}


def make(name: str, seed: int) -> Problem:
    torch.manual_seed(seed)
    problem = TASKS[name](seed)
    problem.model.train()
    return problem


@dataclass(eq=False)
class Case:
    """A task and a length: the readings of its range tests, and what each peak loses."""

    name: str
    kind: str
    steps: int
    facts: short.StepFacts
    powers: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    seen: list[short.ShortReading] = field(default_factory=list)

    def answers(self, facts: short.StepFacts) -> np.ndarray:
        """Log peaks, one for each range test."""
        return np.array([short.best(seen, plain_sgd.DENSITY, self.steps, facts) for seen in self.seen])

    def regrets(self, facts: short.StepFacts) -> np.ndarray:
        """Of each range test, if so much is known of its steps."""
        return np.interp((self.answers(facts) - np.log(1e-3)) / np.log(2), self.powers, self.lost)

    def regret(self, facts: short.StepFacts) -> float:
        """On average over the range tests."""
        return float(self.regrets(facts).mean())


Kind = Callable[[str, int], tuple[str, short.StepFacts]]  #: what a task is, and what is known of its steps


def recorded(path: Path, kind_of: Kind) -> list[Case]:
    """The tasks of a file that plain_sgd.record wrote; `kind_of` is given the name of a task and its weights."""
    found: dict[tuple[str, int], Case] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            key, value = (row["task"], int(row["steps"])), float(row["value"])
            if row["what"] == "weights":
                kind, facts = kind_of(key[0], int(value))
                found[key] = Case(key[0], kind, key[1], facts)
            elif row["what"] == "lost":
                found[key].seen.append(short.ShortReading(np.log(value), True, False, 0.0, 0.0, np.inf))
            elif row["what"] == "stable":
                seen = found[key].seen
                seen[int(row["key"])] = replace(seen[int(row["key"])], stable=np.log(value))
            else:
                found[key].powers.append(int(row["key"]))
                found[key].lost.append(value)
    return list(found.values())


def of_growing_size(_: str, weights: int) -> tuple[str, short.StepFacts]:
    return "of growing size", short.StepFacts(weights=weights)


def others() -> Iterator[Case]:
    """Those of lengths.py whose optimizer is of Adam's kind."""
    for name in lengths.CENTRES:
        kind = "trained" if name in FINETUNE else "small"
        for steps, land in rules.lands(name).items():
            tests = rules.recorded(name).values()
            weights = max((kept["steps"].item().get("weights", 0) for kept in tests), default=0)
            found = [seen for kept in tests if (seen := rules.seen_in(rules.referenced(kept))) is not None]
            if weights and found:
                yield Case(
                    name, kind, steps, short.StepFacts(weights=weights), list(land.powers), list(land.lost), found
                )


def mean(cases: Iterable[Case], regrets: dict[tuple[str, int], float]) -> float:
    """The mean over tasks of their mean over lengths."""
    by_task: dict[str, list[float]] = defaultdict(list)
    for case in cases:
        by_task[case.name].append(regrets[case.name, case.steps])
    return statistics.mean(statistics.mean(found) for found in by_task.values())


def peak(power: float) -> str:
    return f"{1e-3 * 2.0**power:.2g}"


def sizes(cases: list[Case]) -> Iterator[str]:
    """One line for each network and length."""
    yield "| network | weights | steps | peaks that lose at most 0.02 | the rule for others | with the weights |"
    yield "|---|---|---|---|---|---|"
    for case in cases:
        good = [power for power, lost in zip(case.powers, case.lost, strict=True) if lost <= PLATEAU]
        known = (short.StepFacts(), case.facts)
        told = (f"{np.exp(np.median(case.answers(one))):.2g} ({case.regret(one):.2f})" for one in known)
        span = f"{peak(good[0])} to {peak(good[-1])}"
        yield f"| {case.name} | {case.facts.weights:,} | {case.steps} | {span} | " + " | ".join(told) + " |"


def left_out(cases: list[Case]) -> Iterator[str]:
    """Mean regret with other constants, and with those chosen on all other tasks."""
    present, tried = short.ADAPTIVE, {}
    grid = itertools.product((1 / 20, 1 / 16, 1 / 12, 1 / 8), (0.4, 0.5, 0.6, 0.7), (-0.5, 0.0, 0.5), (0.0, 0.15, 0.3))
    choices = [replace(present, share=a, pull=b, slower=c, longer=d) for a, b, c, d in grid]
    for choice in [present, *choices]:
        with plain_sgd.law("ADAPTIVE", choice):
            tried[choice] = {(case.name, case.steps): case.regret(case.facts) for case in cases}
    before = {(case.name, case.steps): case.regret(short.StepFacts()) for case in cases}
    outside = {}
    for name in dict.fromkeys(case.name for case in cases):
        rest = [case for case in cases if case.name != name]
        chosen = min(choices, key=lambda choice: mean(rest, tried[choice]))
        outside |= {key: value for key, value in tried[chosen].items() if key[0] == name}
    columns = {"the rule for others": before, "with the weights": tried[present], "chosen on the other tasks": outside}
    yield "| tasks | " + " | ".join(columns) + " |"
    yield "|---|---|---|---|"
    for kind in dict.fromkeys(case.kind for case in cases):
        here = [case for case in cases if case.kind == kind]
        cells = (f"{mean(here, one):.3f} ({max(one[c.name, c.steps] for c in here):.2f})" for one in columns.values())
        yield f"| {kind} ({len({case.name for case in here})}) | " + " | ".join(cells) + " |"
    yield "| *all* | " + " | ".join(f"{mean(cases, one):.3f}" for one in columns.values()) + " |"


def write() -> None:
    """Put the tables into the page."""
    own = recorded(FILE, of_growing_size)
    put({"wide": sizes(own), "adaptive": left_out([*own, *others()])})


if __name__ == "__main__":
    torch.set_num_threads(1)
    run = partial(plain_sgd.record, FILE, make, TASKS, LENGTHS, POWERS)
    {"run": run, "table": write}[sys.argv[1]]()
