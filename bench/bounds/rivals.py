"""Optimizers that promise to need no rate, on the tasks and lengths of lengths.py, at their packages' defaults.

    python bench/bounds/rivals.py run       # all that is missing, the shortest first; resumes if interrupted
    python bench/bounds/rivals.py table     # beside the best of nine peaks, one cycle under the task's own optimizer

Prodigy (Mishchenko & Defazio 2023) decays by a cosine, as its authors advise; Schedule-Free (Defazio et al. 2024) has a
warm-up of a twentieth of the steps, SGD's form where the task's optimizer is SGD, else AdamW's; DoG (Ivgi et al. 2023)
is judged by its polynomial average of the weights. Weight decay and clipping are the task's. They cost no range test.
Appends to records/rivals.csv; the loss counts as in lengths_table.py: 0 as the best peak, 1 as the untrained model.
Needs requirements.txt.
"""

from __future__ import annotations

import csv
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import lengths
import torch
from filelock import FileLock
from finetune import FINETUNE
from problem import Problem
from suites import make
from torch import nn

FILE = Path(__file__).parent / "records" / "rivals.csv"
LENGTHS = (60, 200, 400, 2000, 10000)
RIVALS = ("prodigy", "schedule-free", "dog")


def trained(problem: Problem, rival: str, steps: int) -> float:
    """The held-out score after a training; that of the untrained model where the loss is not finite."""
    untrained = problem.judge()
    step_end, before_judging = RIVAL[rival](problem, steps)
    for _, (x, y) in zip(range(steps), problem.batches, strict=False):
        loss = problem.step(x, y)
        step_end()
        if not math.isfinite(float(loss)):
            return untrained
    before_judging()
    score = problem.judge()
    return score if math.isfinite(score) else untrained


Made = tuple[Callable[[], object], Callable[[], object]]  #: what is done after each step, and before judging


def prodigy(problem: Problem, steps: int) -> Made:
    from prodigyopt import Prodigy

    problem.optimizer = Prodigy(problem.model.parameters(), weight_decay=decay(problem))
    return torch.optim.lr_scheduler.CosineAnnealingLR(problem.optimizer, steps).step, lambda: None


def schedule_free(problem: Problem, steps: int) -> Made:
    import schedulefree

    plain = isinstance(problem.optimizer, torch.optim.SGD)
    kind = schedulefree.SGDScheduleFree if plain else schedulefree.AdamWScheduleFree
    made = kind(problem.model.parameters(), warmup_steps=steps // 20, weight_decay=decay(problem))
    problem.optimizer = made
    made.train()

    def end() -> None:
        made.eval()
        renew(problem)

    return lambda: None, end


def dog(problem: Problem, steps: int) -> Made:
    from dog import DoG, PolynomialDecayAverager

    normed = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in problem.model.modules())
    reps_rel = 1e-4 if normed else 1e-6  # as the package says
    problem.optimizer = DoG(problem.model.parameters(), reps_rel=reps_rel, weight_decay=decay(problem))
    average = PolynomialDecayAverager(problem.model)

    def end() -> None:
        problem.model = average.averaged_model
        renew(problem)

    return average.step, end


RIVAL: dict[str, Callable[[Problem, int], Made]] = {"prodigy": prodigy, "schedule-free": schedule_free, "dog": dog}


def decay(problem: Problem) -> float:
    return float(problem.optimizer.param_groups[0].get("weight_decay", 0.0))


def renew(problem: Problem) -> None:
    """Statistics of batch normalisation for weights that were never trained with, from one pass over the data."""
    norms = [module for module in problem.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    problem.model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for _, (x, _) in zip(range(len(problem.batches)), problem.batches, strict=False):
            problem.model(x)


def load() -> list[dict[str, str]]:
    """The records; a line that was cut off is none."""
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    return list(csv.DictReader(line for line in text.rpartition("\n")[0].splitlines() if not line.startswith("#")))


def run(chosen: list[str]) -> None:
    torch.set_num_threads(1)
    if not FILE.exists():
        FILE.write_text(
            "# made by: python bench/bounds/rivals.py run\ntask,steps,rival,seed,metric\n", encoding="utf-8"
        )
    done = {(row["task"], int(row["steps"]), row["rival"], int(row["seed"])) for row in load()}
    for steps in LENGTHS:
        for name in chosen or [name for name in lengths.CENTRES if name not in FINETUNE]:
            if steps not in lengths.lengths_of(name):
                continue
            for seed in lengths.SEEDS:
                for rival in RIVALS:
                    if (name, steps, rival, seed) not in done:
                        score = trained(make(name, lengths.FIRST_SEED + seed), rival, steps)
                        with FileLock(f"{FILE}.lock"), FILE.open("a", encoding="utf-8") as file:
                            file.write(f"{name},{steps},{rival},{seed},{score:.6g}\n")
            print(name, steps, flush=True)


def shares() -> dict[tuple[str, int], dict[str, list[float]]]:
    """By task and length: what each rival lost for each seed, where the landscape is whole."""
    found: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in load():
        name, steps = row["task"], int(row["steps"])
        rows = lengths.load(lengths.file(name, steps))
        if sum(one.peak > 0 for one in rows) < 9 * len(lengths.SEEDS):
            continue
        sign = 1 if make(name, 0).higher else -1
        start = statistics.mean(sign * one.metric for one in rows if one.peak == 0)
        scores: dict[float, list[float]] = defaultdict(list)
        for one in rows:
            if one.peak and math.isfinite(one.metric):
                scores[one.peak].append(sign * one.metric)
        best = max(statistics.mean(values) for values in scores.values() if len(values) == len(lengths.SEEDS))
        lost = (best - sign * float(row["metric"])) / max(best - start, 1e-12)
        found[name, steps][row["rival"]].append(min(1.0, lost))
    return found


def table() -> str:
    """Mean, 95th percentile and worst share lost, by length."""
    lines = ["| rival | steps | tasks | mean | 95 % | worst |", "|---|---|---|---|---|---|"]
    every = shares()
    for steps in LENGTHS:
        for rival in RIVALS:
            values = sorted(v for (_, own), lost in every.items() if own == steps for v in lost[rival])
            if values:
                tasks = sum(1 for (_, own), lost in every.items() if own == steps and lost[rival])
                high = values[min(len(values) - 1, math.ceil(0.95 * len(values)) - 1)]
                mean = statistics.mean(values)
                lines.append(f"| {rival} | {steps:,} | {tasks} | {mean:.3f} | {high:.2f} | {values[-1]:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(sys.argv[2:])
    else:
        print(table())
