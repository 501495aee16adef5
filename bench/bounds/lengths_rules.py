"""What each rule's peak loses for trainings of each length, from the records of lengths.py and ramps.py.

quick, thorough           our range test as `budget=` makes it for this length, and its bounds for it
auto                      thorough from 1,000 steps on, else quick; a full sweep after a short one that is inconclusive
... or the fallback       the rate that a refusal names as unproven counts
training losses alone     the same where reference batches cannot be evaluated: with a step function of one's own
quick, no budget          a sweep of 300 steps, whose bounds know no length; the same for thorough
fastai's and others'      read off a sweep of 100 steps from 1e-6 to 10; Lightning's ends at 1
blind                     0.1 for SGD, 1e-3 for others, without any test

A thorough test is put together of a sweep with reference batches and of cycles to peaks of the shortest landscape, at a
ratio of 4 where `range_test` takes 3.2: of 30 and 10 steps for a training of 1,000, 40 and 10 for 2,000, 160 and 20
for 10,000 and more.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

import lengths
import numpy as np
import ramps
from finetune import FINETUNE, SINGLE_LAYERS, WEIGHTS
from lengths_lands import PLATEAU, Landscape, landscape
from suites import make

from cyclr import Bounds, Curve, Inconclusive, Ramp
from cyclr._range import horizon, reading, short, smooth
from cyclr._range.probe import BELOW, ends, tail
from cyclr._range.short import examples_in
from cyclr.torch._groups import adaptive_weights, is_plain_sgd, trains_single_layer

SHORT_SWEEPS = ((30, 200), (60, 400), (100, 667))  #: the sweep that a budget pays for, and up to which one
RATIO = 2  #: powers of two from one peak to the next
OWN = (
    "quick", "thorough", "auto", "training losses alone", "training losses alone, or the fallback", "quick, no budget",
    "thorough, no budget",
)  # fmt: skip
PEERS = ("minimum", "ignite", "slide", "valley", "torch-lr-finder", "steep", "lightning")
Recorded = dict[str, np.ndarray]


@dataclass(frozen=True)
class Answer:
    """What a rule said of one seed of a task, for one length."""

    task: str
    steps: int
    seed: int
    peak: float  #: nan for a refusal
    cost: int
    bounds: Bounds | None = None


def recorded_as(steps: int) -> str:
    """The name of a sweep of so many steps."""
    return "quick" if steps == 300 else f"ramp-{steps}"


def sweep(kept: Recorded, steps: int, **more) -> Curve:
    """A recorded sweep as a curve."""
    losses = kept[recorded_as(steps)]
    stop = "end" if np.isfinite(losses[-1]) else "diverged"
    return Curve(ramps.rates(steps), losses, stops=(stop,), **more)


def referenced(kept: Recorded, made: int = horizon.SHORT, **more) -> Curve:
    """The short sweep with reference batches."""
    losses = kept[f"reference-{made}"]
    rates = 1e-6 * 1e7 ** (np.arange(len(losses)) / (made - 1))
    stop = "end" if np.isfinite(losses[-1]) else "diverged"
    return Curve(rates, losses, stops=(stop,), reference=losses, **kept["steps"].item(), **more)


def seen_in(curve: Curve) -> short.ShortReading | None:
    """What the first sweep with reference batches shows; None for a refusal."""
    row = curve.reference[0]
    known = np.isfinite(row)
    try:
        return short.read(curve.rates[known], row[known], ended=not known[-1])
    except Inconclusive:
        return None


def first_sweep(steps: int) -> int:
    """The recorded sweep that a training of so many steps pays for."""
    return next((short for short, longest in SHORT_SWEEPS if steps <= longest), 300)


def with_cycles(kept: Recorded, steps: int) -> Curve | None:
    """The short sweep and the probe cycles that so many steps pay for; None where cycles are not recorded."""
    alone, made = referenced(kept), horizon.extent(Ramp(), "thorough", budget=steps, reference=True)
    if not made.cycles:
        return alone
    if "cycle-peaks" not in kept:
        return None
    steps_of = max(one for one in (30, 40, 80, 160) if one + tail(one) <= made.cycle)
    cycles, peaks = kept[f"cycles-{steps_of}"][:, : steps_of + tail(made.cycle)], np.log(kept["cycle-peaks"])
    try:
        first = math.log(alone.bounds(budget=steps).max_lr)
    except Inconclusive:
        first = math.log(alone.rates[np.flatnonzero(np.isfinite(alone.losses[0]))[-1]] / BELOW)
    place = int(np.argmin(np.abs(peaks - first)))
    tried = [one for one in (place - RATIO, place, place + RATIO) if 0 <= one < len(peaks)]
    while len(tried) < made.cycles:
        best = int(np.argmin(ends(cycles[tried])))
        further = tried[-1] + RATIO if best == len(tried) - 1 else tried[0] - RATIO
        if 0 < best < len(tried) - 1 or not 0 <= further < len(peaks):
            break
        tried = sorted([*tried, further])
    return referenced(kept, peaks=np.exp(peaks[tried]), probes=cycles[tried])


def thorough(kept: Recorded) -> Curve:
    """The recorded thorough test."""
    more = {"peaks": kept["peaks"], "probes": kept["probes"], "earlier_steps": int(kept["spent"].item())}
    losses = kept["thorough"]
    return Curve(ramps.rates(len(losses)), losses, stops=("end" if np.isfinite(losses[-1]) else "diverged",), **more)


@cache
def recorded(name: str) -> dict[int, Recorded]:
    """The range tests of a task, by seed."""
    found: dict[int, Recorded] = defaultdict(dict)
    for key, value in ramps.load(name).items():
        seed, what = key.split("/")
        found[int(seed)][what] = value
    steps = np.array(facts(name))
    return {seed: kept | {"steps": steps} for seed, kept in found.items() if "reference-60" in kept}


def facts(name: str) -> dict[str, int | bool]:
    """What a range test knows of the steps, as arguments of `Curve`."""
    if name in FINETUNE:  # batches of 16 or more, none with plain SGD; they cannot be made without their data
        return {"weights": WEIGHTS.get(name, 0), "single_layer": name in SINGLE_LAYERS}
    problem = make(name, 0)
    told = {"plain_sgd": is_plain_sgd(problem.optimizer), "weights": adaptive_weights(problem.optimizer)}
    told["single_layer"] = trains_single_layer(problem.optimizer)
    return {"examples": examples_in(next(iter(problem.batches))), **told}


@cache
def lands(name: str) -> dict[int, Landscape]:
    return {steps: land for steps in lengths.lengths_of(name) if (land := landscape(name, steps)) is not None}


def read(curve: Curve, budget: int | None) -> tuple[Bounds | None, float]:
    """Bounds and the upper one, or none and the fallback."""
    try:
        found = curve.bounds(budget=budget)
    except Inconclusive as refusal:
        return None, math.nan if refusal.fallback is None else refusal.fallback
    return found, found.max_lr


def ours(rule: str, kept: Recorded, steps: int) -> tuple[Bounds | None, float, int] | None:
    """Our bounds, the peak and what they cost; None where that was not recorded."""
    budget: int | None = None if rule.endswith("no budget") else steps
    curve = _test_of(rule, kept, steps)
    if curve is None:
        return None
    bounds, peak = read(curve, budget)
    cost = curve.tuning_cost
    if rule == "auto" and bounds is None and "quick" in kept:  # a sweep of full size follows
        curve = sweep(kept, 300)
        bounds, peak = read(curve, budget)
        cost += curve.tuning_cost
    return bounds, peak if bounds is not None or rule.endswith("fallback") else math.nan, cost


def _test_of(rule: str, kept: Recorded, steps: int) -> Curve | None:
    if rule == "quick":
        return referenced(kept)
    if rule in {"thorough", "auto"}:
        return with_cycles(kept, steps)
    made = 300 if rule.endswith("no budget") else first_sweep(steps)
    if recorded_as(made) not in kept:
        return None
    return thorough(kept) if rule == "thorough, no budget" else sweep(kept, made)


def theirs(rule: str, kept: Recorded) -> float:
    return suggested(rule, sweep(kept, 100))


def suggested(rule: str, curve: Curve) -> float:
    """What a peer's rule says of a sweep; nan for a refusal."""
    if rule == "lightning":
        curve = Curve(curve.rates[curve.rates <= 1], curve.losses[:, curve.rates <= 1])
    try:
        return curve.suggest(rule)
    except Inconclusive:
        return math.nan


def blind(name: str) -> float:
    plain = {"linear-sgd", "mlp-momentum", "noisy-batches", "islands-momentum", "group-norm-momentum", "deep-sigmoid"}
    return 0.1 if name in plain or name.endswith("-sgd") or name.startswith("resnet") else 1e-3


def answers(rule: str, names: Iterable[str]) -> Iterator[Answer]:
    """What a rule says of all seeds and lengths."""
    for name in names:
        for seed, kept in recorded(name).items():
            for steps in lands(name):
                if rule in OWN:
                    found = ours(rule, kept, steps)
                    if found is not None:
                        bounds, peak, cost = found
                        yield Answer(name, steps, seed, peak, cost, bounds)
                elif rule == "blind":
                    yield Answer(name, steps, seed, blind(name), 0)
                elif "ramp-100" in kept:
                    yield Answer(name, steps, seed, theirs(rule, kept), 100)


@cache
def every_answer(rule: str, names: tuple[str, ...]) -> list[Answer]:
    return list(answers(rule, names))


def regret(one: Answer) -> float:
    land = lands(one.task)[one.steps]
    return max(0.0, land.at(one.peak, land.lost))


def diverged(one: Answer) -> float:
    """The share of trainings at this peak that diverge."""
    land = lands(one.task)[one.steps]
    return 0.0 if math.isnan(one.peak) else land.at(one.peak, land.diverged)


@contextmanager
def few_resamples() -> Iterator[None]:
    """Intervals are not needed, and the same curves are smoothed again and again."""
    before, reading.RESAMPLES = reading.RESAMPLES, 10
    kept, smooth._matrices = smooth._matrices, lru_cache(maxsize=80)(smooth._matrices.__wrapped__)
    try:
        yield
    finally:
        reading.RESAMPLES, smooth._matrices = before, kept


def by_length(names: list[str]) -> list[str]:
    """One line for each length and rule."""
    lines = ["| steps | rule | mean | 95 % below | worst | refused | diverge | testing |", "|---" * 8 + "|"]
    every = {rule: every_answer(rule, tuple(names)) for rule in (*OWN, *PEERS, "blind")}
    for steps in sorted({one.steps for found in every.values() for one in found}):
        for rule, found in every.items():
            if here := [one for one in found if one.steps == steps]:
                lost = np.array([regret(one) for one in here])
                refused = sum(math.isnan(one.peak) for one in here)
                cost = np.mean([one.cost for one in here]) / steps
                lines.append(
                    f"| {steps:,} | {rule} | {lost.mean():.3f} | {np.quantile(lost, 0.95):.2f} | {lost.max():.2f} "
                    f"| {refused} of {len(here)} | {np.mean([diverged(one) for one in here]):.1%} | {cost:.0%} |"
                )
    return lines


def by_task(names: list[str]) -> list[str]:
    """Mean and worst of ours and some others, for each task and length."""
    shown = (
        "quick",
        "thorough",
        "auto",
        "quick, no budget",
        "thorough, no budget",
        "minimum",
        "valley",
        "ignite",
        "blind",
    )
    lines = ["| task | steps | " + " | ".join(shown) + " |", "|---" * (len(shown) + 2) + "|"]
    every = {rule: every_answer(rule, tuple(names)) for rule in shown}
    for name in names:
        for steps in lands(name):
            cells = []
            for rule in shown:
                lost = [regret(one) for one in every[rule] if (one.task, one.steps) == (name, steps)]
                cells.append(f"{np.mean(lost):.2f} / {max(lost):.2f}" if lost else "")
            if any(cells):
                lines.append(f"| {name} | {steps:,} | " + " | ".join(cells) + " |")
    return lines


def covered(names: list[str]) -> list[str]:
    """How often the interval holds a peak that is about the best."""
    lines = ["| task | quick | thorough |", "|---|---|---|"]
    every = {rule: [one for one in answers(rule, names) if one.bounds is not None] for rule in ("quick", "thorough")}
    kept: dict[str, list[bool]] = defaultdict(list)
    for name in names:
        cells = []
        for rule, found in every.items():
            held = [_holds(one) for one in found if one.task == name]
            kept[rule] += held
            cells.append(f"{np.mean(held):.0%}" if held else "refused")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "| *all* | " + " | ".join(f"{np.mean(kept[rule]):.0%}" for rule in every) + " |"]


def _holds(one: Answer) -> bool:
    land = lands(one.task)[one.steps]
    assert one.bounds is not None
    assert one.bounds.max_interval is not None
    low, high = one.bounds.max_interval
    inside = np.geomspace(low, high, 50)
    return min(land.at(float(peak), land.lost) for peak in inside) <= PLATEAU


Choices = dict[str, tuple[Any, str, tuple[float, ...]]]
LONG: Choices = {
    "horizon": (horizon, "HORIZON", (0.0, 0.1, 0.15, 0.2, 0.3)),
    "fast": (horizon, "FAST", (0.2, 0.3, 0.4, 0.5)),
    "doubt": (reading, "DOUBT", (0.7, 1.0, 1.4)),
}
BRIEF: Choices = {
    "share": (short, "MOMENTUM.share", (1 / 14, 1 / 10, 1 / 7, 1 / 5)),
    "pull": (short, "MOMENTUM.pull", (0.0, 0.2, 0.4, 0.6)),
    "slower": (short, "MOMENTUM.slower", (0.0, 0.5, 1.0)),
    "longer": (short, "MOMENTUM.longer", (0.0, 0.15, 0.3, 0.5)),
    "share, Adam": (short, "ADAPTIVE.share", (1 / 24, 1 / 16, 1 / 12, 1 / 8)),
    "pull, Adam": (short, "ADAPTIVE.pull", (0.0, 0.2, 0.4, 0.6, 0.8)),
    "slower, Adam": (short, "ADAPTIVE.slower", (-0.5, 0.0, 0.5)),
    "longer, Adam": (short, "ADAPTIVE.longer", (0.0, 0.15, 0.3)),
}


def _put(module: Any, key: str, value: Any) -> None:
    """Set a constant of a module, or a part of one: "NAME.part"."""
    name, _, part = key.partition(".")
    setattr(module, name, replace(getattr(module, name), **{part: value}) if part else value)


def left_out(names: list[str], choices: Choices, rule: str, least: int = 0) -> list[str]:
    """A rule with the constants that are best on the other tasks: lowest mean plus a twentieth of the worst."""
    now = {name: attrgetter(key)(module) for name, (module, key, _) in choices.items()}
    sets = [now] + [
        now | {name: value} for name, (_, _, values) in choices.items() for value in values if value != now[name]
    ]
    tried, tasks = [], []
    for one in [*sets, now]:  # at the end they are as they were
        for name, value in one.items():
            _put(*choices[name][:2], value)
        found = [answer for answer in answers(rule, names) if answer.steps >= least]
        tried.append([regret(answer) for answer in found])
        tasks = [answer.task for answer in found]
    lost, which = np.array(tried), np.array(tasks)
    outside = np.zeros(len(which))
    for task in names:
        others = lost[:, which != task]
        outside[which == task] = lost[int(np.argmin(others.mean(axis=1) + others.max(axis=1) / 20)), which == task]
    lines = []
    for name, (_, _, values) in choices.items():
        means = {value: lost[sets.index(now | {name: value})].mean() for value in values}
        lines.append(
            f"- {name}: mean regret " + ", ".join(f"{value:.3g}: {mean:.4f}" for value, mean in means.items()) + "."
        )
    return [*lines, f"- Chosen on the other tasks: mean {outside.mean():.4f}, as they are: {lost[0].mean():.4f}."]


def tables() -> dict[str, list[str]]:
    """The tables of docs/bounds.md, by name."""
    own, trained = ([name for name in lengths.CENTRES if (name in FINETUNE) == kind] for kind in (False, True))
    with few_resamples():
        made = {"lengths": by_length(own), "lengths tasks": by_task(own)}
        made["lengths left out"] = left_out(own, LONG, "training losses alone, or the fallback", least=2000)
        made["short left out"] = left_out([*own, *trained], BRIEF, "quick")
        made |= {"trained": by_length(trained), "trained tasks": by_task(trained), "interval": covered(own)}
    return made
