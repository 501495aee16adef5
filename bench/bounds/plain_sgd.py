"""Short range tests of SGD without momentum: where its best peaks lie beside the rates at which sweeps lose their gain.

    python bench/bounds/plain_sgd.py run      # all that is missing, a quarter of an hour of one core
    python bench/bounds/plain_sgd.py table    # the table of docs/bounds.md

Eight tasks beside the two of lengths.py (linear-sgd, words-lstm-sgd): networks of tasks.py and fresh.py under plain
SGD. The constants were chosen on all ten by the mean regret and a fifth of the worst, one task left out at a time.
Appends to records/plain_sgd.csv; `what` is "lost" (`key`: a seed; `value`: the rate), "peak" (`key`: a power of two, in
thousandths; `value`: the mean share of the gain that three trainings lost, 1 as the untrained network) or, in what is
recorded from now on, "weights" (`value`: how many are trained) and "stable" (`key`: a seed; `value`: the rate above
which its explosion shows that steps diverge, if the optimizer has no momentum).
"""

from __future__ import annotations

import csv
import itertools
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import fresh
import lengths
import lengths_rules as rules
import numpy as np
import tasks
import torch
from page import put
from problem import Problem, sgd
from torch import nn

from cyclr import Bounds, plan
from cyclr._range import short
from cyclr._range.horizon import SHORT
from cyclr._range.short import ShortReading, StepFacts
from cyclr.torch import Update, range_test

FILE = Path(__file__).parent / "records" / "plain_sgd.csv"
LENGTHS, SEEDS, POWERS = (60, 200, 400), range(6), range(2, 15)
CHOICES = [(nearer, far) for nearer in (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0) for far in (20.0, 30.0, 40.0, 50.0, 70.0)]
DENSITY = (SHORT - 1) / math.log(1e7)  #: steps for each factor of e in a short sweep
Choice = tuple[float, float]  #: how much larger the share is than with momentum, and `far`, of a law in short.py
Tests = dict[tuple[str, int], list[tuple[float, float]]]  #: log lost rate and density of each seed
Lands = dict[tuple[str, int], dict[int, float]]


def cnn_sgd(seed: int) -> Problem:
    return tasks.images(tasks.convs(8, norm=False), seed, sgd, size=32, momentum=0.0)


def cnn_norm_sgd(seed: int) -> Problem:
    return tasks.images(tasks.convs(8, norm=True), seed, sgd, size=32, momentum=0.0)


def sigmoid_sgd(seed: int) -> Problem:
    return tasks.images(tasks.mlp(196, 64, 64, 10, act=nn.Sigmoid), seed, sgd, momentum=0.0)


def gru_sgd(seed: int) -> Problem:
    model = tasks.Recurrent(tasks.windows(24)[-1])
    return tasks.characters(model, seed, sgd(model.parameters(), momentum=0.0), 24, clip=1.0)


def transformer_sgd(seed: int) -> Problem:
    model = tasks.Transformer(tasks.windows(32)[-1], 32)
    return tasks.characters(model, seed, sgd(model.parameters(), momentum=0.0), 32, clip=1.0)


def regression_sgd(seed: int) -> Problem:
    data = tasks.friedman(0.5)
    model = tasks.mlp(data[0].shape[1], 32, 32, 1)
    return tasks.regression(data, model, seed, sgd(model.parameters(), momentum=0.0))


TASKS: dict[str, Callable[[int], Problem]] = {
    "mlp-sgd": tasks.mlp_sgd, "margin-sgd": fresh.margin_sgd, "cnn-sgd": cnn_sgd, "cnn-norm-sgd": cnn_norm_sgd,
    "gru-sgd": gru_sgd, "transformer-sgd": transformer_sgd, "regression-sgd": regression_sgd,
    "sigmoid-sgd": sigmoid_sgd,
}  # fmt: skip
OTHERS = ("linear-sgd", "words-lstm-sgd")


def make(name: str, seed: int) -> Problem:
    torch.manual_seed(seed)
    problem = TASKS[name](seed)
    problem.model.train()
    return problem


def swept(make: Callable[[int], Problem], steps: int) -> Iterator[tuple[str, int, float]]:
    """By seed the rate at which a sweep loses its gain again, and what its explosion shows; none for a refusal."""
    for seed in SEEDS:
        problem = make(seed)
        parts = problem.model, problem.optimizer, problem.batches, problem.loss
        curve = range_test(*parts, update=Update(clip_norm=problem.clip), budget=steps)
        if (seen := rules.seen_in(curve)) is not None:
            yield "lost", seed, math.exp(seen.lost)
            if math.isfinite(seen.stable):
                yield "stable", seed, math.exp(seen.stable)


def landscape(make: Callable[[int], Problem], steps: int, powers: Iterable[int]) -> Iterator[tuple[int, float]]:
    """By power of two the share of the gain that trainings to that peak lose, on average over three seeds."""
    starts = [make(lengths.FIRST_SEED + seed) for seed in range(3)]
    sign = 1 if starts[0].higher else -1
    untrained = statistics.mean(sign * start.judge() for start in starts)
    means = {}
    for power in powers:
        peak, scores = 1e-3 * 2.0**power, []
        rates = plan(Bounds(peak / 10, peak), steps=steps).schedule(np.arange(steps))
        for seed in range(3):
            problem = make(lengths.FIRST_SEED + seed)
            finite = bool(np.isfinite(lengths.alone(problem, rates)).all())
            score = sign * problem.judge() if finite else untrained
            scores.append(score if math.isfinite(score) else untrained)
        means[power] = statistics.mean(scores)
    best = max(means.values())
    yield from ((power, min(1.0, (best - mean) / (best - untrained))) for power, mean in means.items())


def load() -> tuple[Tests, Lands]:
    tests: Tests = defaultdict(list)
    lands: Lands = defaultdict(dict)
    if FILE.exists():
        with FILE.open() as file:
            for row in csv.DictReader(file):
                key, value = (row["task"], int(row["steps"])), float(row["value"])
                if row["what"] == "lost":
                    tests[key].append((math.log(value), DENSITY))
                elif row["what"] == "peak":
                    lands[key][int(row["key"])] = value
    return tests, lands


def record(
    path: Path, make: Callable[[str, int], Problem], names: Iterable[str], budgets: Iterable[int], powers: range
) -> None:
    """Append what is missing: weights, lost rates and landscapes of tasks that `make` makes from a name and a seed."""
    done: dict[tuple[str, int], int] = defaultdict(int)
    if path.exists():
        with path.open() as file:
            for row in csv.DictReader(file):
                done[row["task"], int(row["steps"])] += row["what"] == "peak"
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if not done:
            writer.writerow(("task", "steps", "what", "key", "value"))
        for name, steps in itertools.product(names, budgets):
            if done[name, steps] == len(powers):
                continue
            own = partial(make, name)
            rows = [("weights", 0, sum(one.numel() for one in own(0).model.parameters()))]
            rows += swept(own, steps)
            rows += [("peak", *one) for one in landscape(own, steps, powers)]
            writer.writerows([name, steps, what, key, f"{value:.7g}"] for what, key, value in rows)
            file.flush()
            print(name, steps, flush=True)


def with_others() -> tuple[Tests, Lands]:
    """The recorded tasks, and those of lengths.py."""
    tests, lands = load()
    for name in OTHERS:
        for steps in LENGTHS:
            for kept in rules.recorded(name).values():
                if (seen := rules.seen_in(rules.referenced(kept))) is not None:
                    tests[name, steps].append((seen.lost, DENSITY))
            rows = lengths.load(lengths.file(name, steps))
            means = lengths.lost(rows, rules.make(name, 0).higher)
            lands[name, steps] = {power: statistics.mean(values) for power, values in means.items()}
    return tests, lands


def regrets(tests: Tests, land: dict[int, float], key: tuple[str, int], choice: Choice | None) -> list[float]:
    """Of each seed, with the constants given, or with the rule for other optimizers."""
    powers, found = sorted(land), []
    with law("PLAIN_SGD", chosen(*choice)) if choice else nullcontext():
        for lost, density in tests[key]:
            seen = ShortReading(lost, True, False, 0.0, 0.0, math.inf)
            peak = short.best(seen, density, key[1], StepFacts(plain_sgd=choice is not None))
            found.append(float(np.interp((peak - math.log(1e-3)) / math.log(2), powers, [land[one] for one in powers])))
    return found


@contextmanager
def law(name: str, one: short.Law) -> Iterator[None]:
    """Another law for a while: `name` is its name in short.py."""
    kept = getattr(short, name)
    setattr(short, name, one)
    try:
        yield
    finally:
        setattr(short, name, kept)


def chosen(nearer: float, far: float) -> short.Law:
    return replace(short.PLAIN_SGD, share=nearer * short.MOMENTUM.share, far=far)


def table() -> Iterator[str]:
    tests, lands = with_others()
    names = [*OTHERS, *TASKS]
    present = short.PLAIN_SGD.share / short.MOMENTUM.share, short.PLAIN_SGD.far
    every = {
        (name, choice): [regrets(tests, lands[name, steps], (name, steps), choice) for steps in LENGTHS]
        for name in names
        for choice in (None, present, *CHOICES)
    }
    means = {key: statistics.mean(statistics.mean(one) for one in found) for key, found in every.items()}
    worst = {key: max(max(one) for one in found) for key, found in every.items()}

    def cost(choice: Choice, others: list[str]) -> float:
        told = [name for name in others if name != "sigmoid-sgd"]  # its worst is about 1 whatever is chosen
        return statistics.mean(means[name, choice] for name in others) + max(worst[name, choice] for name in told) / 5

    yield "| task | the rule for others | a share of its own | chosen on the other tasks |"
    yield "|---|---|---|---|"
    left_out = []
    for name in names:
        others = [other for other in names if other != name]
        chosen = min(CHOICES, key=lambda choice: cost(choice, others))
        left_out.append(means[name, chosen])
        cells = (f"{means[name, one]:.3f} ({worst[name, one]:.2f})" for one in (None, present, chosen))
        yield f"| {name} | " + " | ".join(cells) + " |"
    old, own = (statistics.mean(means[name, one] for name in names) for one in (None, present))
    yield f"| *mean* | {old:.3f} | {own:.3f} | {statistics.mean(left_out):.3f} |"


def write() -> None:
    """Put the table into the page."""
    put({"plain sgd": table()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"run": partial(record, FILE, make, TASKS, LENGTHS, POWERS), "table": write}[sys.argv[1]]()
