"""Seven training loops as people write them, with `cyclr.torch.auto` in place of their rate: does it cost anything?

    python bench/bounds/loops.py run      # all that is missing: half an hour of one core
    python bench/bounds/loops.py table    # the tables of docs/bounds.md

Written after the rules were final, run once, and never used to choose a constant. Each is trained with one cycle at
eleven peaks (two seeds), at the rate that its optimizer or its kind is usually given (two seeds), and by `auto` (three
seeds), all judged on held-out data at the end. What peers' rules read off a sweep of 100 steps is looked up between the
eleven peaks.

Appends to records/loops.csv: `what` is "untrained", "peak", "usual", "auto" or a peer's rule; `rate` the peak of the
cycle, `cost` the steps of the range test, `loss` and `error` (the share of wrong answers, or nan) on held-out data.
"""

from __future__ import annotations

import csv
import itertools
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lengths_lands import FAILED, Landscape, peak
from lengths_rules import PEERS, suggested
from loop_programs import LOOPS
from page import put

import cyclr
from cyclr.torch import Scheduler, Update, auto, range_test

FILE = Path(__file__).parent / "records" / "loops.csv"
POWERS, LANDSCAPE, SEEDS = range(-4, 7), (1, 2), (1, 2, 3)
FIELDS = ("loop", "what", "rate", "seed", "cost", "loss", "error")


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:] not in (["run"], ["table"]):
        raise SystemExit(__doc__)
    if sys.argv[1] == "run":
        run()
    else:
        put({"loops": table()})


def run() -> None:
    known = {(row["loop"], row["what"], row["rate"], row["seed"]) for row in records()}
    new = not FILE.exists()
    with FILE.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        for name, what, rate, seed in todo():
            key = {"loop": name, "what": what, "rate": f"{rate:.4g}" if what != "auto" else "", "seed": str(seed)}
            if tuple(key.values()) not in known:
                writer.writerow(key | made(name, what, rate, seed))
                file.flush()
        swept = {(row["loop"], row["seed"]) for row in records() if row["what"] in PEERS}
        for name, seed in itertools.product(LOOPS, SEEDS):
            if (name, str(seed)) not in swept:
                writer.writerows(suggestions(name, seed))
                file.flush()


def todo() -> Iterator[tuple[str, str, float, int]]:
    for name, (_, _, usual) in LOOPS.items():
        middle = usual * (8 if usual < 1e-3 else 3)
        yield name, "untrained", 0.0, 1
        yield from ((name, "auto", 0.0, seed) for seed in SEEDS)
        for seed in LANDSCAPE:
            yield name, "usual", usual, seed
            yield from ((name, "peak", middle * 2.0**power, seed) for power in POWERS)


def made(name: str, what: str, rate: float, seed: int) -> dict[str, str]:
    make, steps, _ = LOOPS[name]
    torch.manual_seed(seed)
    loop, cost, told = make(seed), 0, {}
    if what == "untrained":
        loss, error = loop.judge()
    elif what == "auto":
        how: dict[str, Any] = {"steps": steps, "search": cyclr.Search(progress=False)}
        if loop.clip is not None:
            how["update"] = Update(clip_norm=loop.clip)
        scheduler = auto(loop.model, loop.optimizer, loop.loader, loop.loss, **how)
        cost, told = scheduler.curve.tuning_cost, {"rate": f"{scheduler.bounds.max_lr:.4g}"}
        loss, error = loop.trained(scheduler, steps)
    else:
        plan = cyclr.plan(cyclr.Bounds(rate / 4, rate), steps=steps)
        loss, error = loop.trained(Scheduler(loop.optimizer, plan.schedule, same_rate=True), steps)
    return {"cost": str(cost), "loss": f"{loss:.6g}", "error": f"{error:.6g}", **told}


def suggestions(name: str, seed: int) -> Iterator[dict[str, str]]:
    """What each peer's rule says of one sweep."""
    torch.manual_seed(seed)
    loop = LOOPS[name][0](seed)
    update = None if loop.clip is None else Update(clip_norm=loop.clip)
    how: dict[str, Any] = {"ramp": cyclr.Ramp(1e-6, 10, steps=100, furthest=10), "update": update, "progress": False}
    whole = range_test(loop.model, loop.optimizer, loop.loader, loop.loss, **how)
    for rule in PEERS:
        row = {"loop": name, "what": rule, "rate": f"{suggested(rule, whole):.4g}", "seed": str(seed)}
        yield row | {"cost": str(len(whole.rates)), "loss": "nan", "error": "nan"}


def records() -> list[dict[str, str]]:
    """The rows; the rate of `auto` is what it found, so its rows are known by their seed."""
    if not FILE.exists():
        return []
    with FILE.open(encoding="utf-8", newline="") as file:
        return [row | {"rate": "" if row["what"] == "auto" else row["rate"], "found": row["rate"]}
                for row in csv.DictReader(file)]  # fmt: skip


def table() -> list[str]:
    lines = [
        "| loop | steps | best peak | peaks that lose at most 0.05 | `auto`'s peaks | lost | usual peak | lost |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (_, steps, usual) in LOOPS.items():
        rows = [row for row in records() if row["loop"] == name]
        for metric in ("loss", "error"):
            if all(math.isnan(float(row[metric])) for row in rows):
                continue
            (found, lost), own = land(rows, metric), [row for row in rows if row["what"] == "auto"]
            good = found.powers[found.lost <= 0.05]
            cells = [
                name if metric == "loss" else f"{name}, by wrong answers",
                f"{steps:,}",
                peak(found.powers[found.best]),
                f"{peak(good[0])} to {peak(good[-1])}",
                ", ".join(f"{float(row['found']):.2g}" for row in own),
                ", ".join(f"{lost(float(row[metric])):.2f}" for row in own).replace("-0.00", "0.00"),
                f"{usual:.2g}",
                f"{statistics.fmean(lost(float(row[metric])) for row in rows if row['what'] == 'usual'):.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *by_rule()]


def by_rule() -> list[str]:
    """Mean over loops, and the worst of a loop and seed, by the loss."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in LOOPS:
        rows = [row for row in records() if row["loop"] == name]
        peaks, lost = land(rows, "loss")
        for row in rows:
            what = row["what"]
            if what in PEERS:
                found.setdefault(what, {}).setdefault(name, []).append(peaks.at(float(row["rate"]), peaks.lost))
            elif what in ("auto", "usual"):
                found.setdefault(what, {}).setdefault(name, []).append(lost(float(row["loss"])))
    means = {rule: statistics.fmean(map(statistics.fmean, losses.values())) for rule, losses in found.items()}
    told = {"auto": "**`auto`**", "usual": "the usual rate, without a test"}
    lines = ["| rule | mean lost | worst |", "|---|---|---|"]
    for rule in sorted(means, key=means.__getitem__):
        worst = max(itertools.chain.from_iterable(found[rule].values()))
        lines.append(f"| {told.get(rule, rule)} | {means[rule]:.3f} | {worst:.2f} |")
    return lines


def land(rows: list[dict[str, str]], metric: str) -> tuple[Landscape, Callable[[float], float]]:
    """What each of the eleven peaks loses, and what any value loses beside the best of them."""
    by_rate: dict[float, list[float]] = {}
    for row in rows:
        if row["what"] == "peak":
            by_rate.setdefault(float(row["rate"]), []).append(float(row[metric]))
    rates = sorted(by_rate)
    values = np.array([by_rate[rate] for rate in rates])
    least = float(np.nanmin(values.mean(axis=1)))
    start = next(float(row[metric]) for row in rows if row["what"] == "untrained")

    def lost(value: float) -> float:
        return min(1.0, (value - least) / (start - least)) if math.isfinite(value) else 1.0

    mean, bad = [lost(float(each.mean())) for each in values], ~np.isfinite(values)
    powers = np.log2(np.array(rates) / 1e-3)
    return Landscape(powers, np.array(mean), np.array(mean) >= FAILED, bad.mean(axis=1)), lost


if __name__ == "__main__":
    main()
