"""What a peak rate is worth for trainings of different lengths: one cycle as `cyclr.plan` makes it, at each peak.

    python bench/bounds/lengths.py                                     # all that is missing, the shortest first
    python bench/bounds/lengths.py --task gpt-adamw --length 2000      # some; both may be given several times
    python bench/bounds/lengths.py --data PATH                         # the tasks that start from real trained weights

Peaks are 0.001 times powers of two: nine around a first guess, and further ones until the highest has lost three
tenths of the gain and the lowest a tenth (at most 64 times away from the best). Appends to
records/lengths/TASK-STEPS.csv as trainings end, so that the same command goes on after any interruption; several may
run at once. `peak` 0 is the untrained model. Columns:

metric            held-out, at the end; nan if the training stopped at a loss that was not finite
diverged          1 if it stopped so, is no better than the untrained model, or its training loss ends where it began
stopped           the step of the loss that was not finite, -1 if none
first, last       training losses: mean of the first ten and of the last twentieth
lowest            the lowest mean of twenty steps
spike, spike_at   how far the mean of twenty steps rose above the lowest before it, at most, and the step where

lengths_table.py says what came of it.
"""

from __future__ import annotations

import argparse
import csv
import math
import platform
from collections import defaultdict
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import ensemble
import finetune
import numpy as np
import torch
from filelock import FileLock, Timeout
from problem import Problem
from suites import FINETUNE, make

from cyclr import Bounds, plan

FOLDER = Path(__file__).parent / "records" / "lengths"
SEEDS = range(3)
LENGTHS = (60, 200, 400, 1000, 2000, 10000)  #: steps of a training ...
SHORT = (60, 200, 1000)  #: ... and of one that starts from real trained weights
#: Where the grid of peaks is centred, as a power of two: about the best for 400 steps. The cheapest steps come first.
CENTRES = {
    "linear-sgd": 9, "mlp-momentum": 6, "noisy-batches": 3, "islands-momentum": 5, "factors-adam": 6,
    "regression-adam": 5, "denoise-rmsprop": 3, "density-adam": 6, "deep-sigmoid": 10, "diffusion-adam": 5,
    "flow-adam": 4, "graph-adam": 4, "autoencoder-adamw": 4, "group-norm-momentum": 7, "marked-gru-adam": 4,
    "naive-gru-adam": 4, "words-lstm-sgd": 14, "gpt-adamw": 4,
    "resnet-frozen": 6, "efficientnet-frozen": 1, "llama-whole": 2, "llama-lora": 4, "resnet-whole": 5,
    "resnet-head": 6, "efficientnet-whole": 0, "minilm-whole": -2, "voice-whole": 0,
}  # fmt: skip
AROUND, FURTHEST = 4, 6  #: powers of two on either side that are always made, and that may be
TOP, BOTTOM = 0.3, 0.1  #: what the highest and the lowest peak must have lost
BLOCK = 20
FIRST_SEED = 3000
LONGEST = 50000  #: only where a step takes less than a millisecond
CHEAPEST = {*list(CENTRES)[:8]}
#: Trained one by one: large enough that together they are no faster.
ALONE = {
    "words-lstm-sgd", "llama-whole", "llama-lora", "resnet-whole", "resnet-head", "efficientnet-whole", "minilm-whole",
    "voice-whole",
}  # fmt: skip
Member = tuple[int, int]  #: the power of two of a peak, and a seed


@dataclass(frozen=True)
class Row:
    """One training."""

    peak: float
    seed: int
    metric: float
    diverged: int = 0
    stopped: int = -1
    first: float = math.nan
    last: float = math.nan
    lowest: float = math.nan
    spike: float = 0.0
    spike_at: int = -1


KINDS = {"seed": int, "diverged": int, "stopped": int, "spike_at": int}


def file(name: str, steps: int) -> Path:
    return FOLDER / f"{name}-{steps}.csv"


def load(path: Path) -> list[Row]:
    """The trainings that are recorded; a line that was cut off in the middle is none."""
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0].splitlines()
    lines = csv.DictReader(line for line in whole if not line.startswith("#"))
    return [Row(**{key: KINDS.get(key, float)(value) for key, value in line.items()}) for line in lines]


def lost(rows: list[Row], higher: bool) -> dict[int, list[float]]:
    """By power of two the share of the gain that each seed's training lost: 0 as the best mean, 1 as untrained."""
    sign = 1 if higher else -1
    untrained = {row.seed: sign * row.metric for row in rows if row.peak == 0}
    scores: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row.peak:
            score = untrained[row.seed] if math.isnan(row.metric) else sign * row.metric
            scores[round(math.log2(row.peak / 1e-3))].append(score)
    start = float(np.mean(list(untrained.values())))
    best = max(float(np.mean(found)) for found in scores.values())
    return {
        power: [min(1.0, (best - score) / max(best - start, 1e-12)) for score in scores[power]]
        for power in sorted(scores)
    }


def wanted(rows: list[Row], centre: int, higher: bool) -> list[int]:
    """The powers of two that are to be made next, for all seeds."""
    powers = set(range(centre - AROUND, centre + AROUND + 1))
    known = {round(math.log2(row.peak / 1e-3)) for row in rows if row.peak}
    if not powers <= known:
        return sorted(powers | known)
    means = {power: float(np.mean(values)) for power, values in lost(rows, higher).items()}
    best, low, high = min(means, key=lambda power: means[power]), min(means), max(means)
    if means[high] < TOP and high < best + FURTHEST:
        return [*sorted(known), high + 1]
    if means[low] < BOTTOM and low > best - FURTHEST:
        return [low - 1, *sorted(known)]
    return sorted(known)


def alone(problem: Problem, rates: np.ndarray) -> np.ndarray:
    """The losses of one training up to the first that is not finite."""
    losses = np.full(len(rates), np.nan)
    for step, (x, y) in zip(range(len(rates)), problem.batches, strict=False):
        problem.set_rate(float(rates[step]))
        loss = float(problem.step(x, y))
        if not math.isfinite(loss):
            break
        losses[step] = loss
    return losses


def run(name: str, seeds: list[int], rates: np.ndarray, *, judge: bool = True) -> tuple[np.ndarray, list[float]]:
    """The losses of a training for each row of rates, and their scores if asked for."""
    if name not in ALONE and len(seeds) > 1:
        problems = [make(name, seed) for seed in seeds]
        torch.manual_seed(min(seeds))
        return ensemble.train(problems, seeds, rates, judge=judge)
    losses, scores = [], []
    for seed, own in zip(seeds, rates, strict=True):
        problem = make(name, seed)
        losses.append(alone(problem, own))
        scores += [problem.judge()] if judge else []
    return np.array(losses), scores


def train(name: str, members: list[Member], steps: int, untrained: dict[int, float]) -> list[Row]:
    """Trainings to several peaks and with several seeds."""
    peaks, seeds = [1e-3 * 2.0**power for power, _ in members], [seed for _, seed in members]
    rates = np.array([plan(Bounds(peak / 10, peak), steps=steps).schedule(np.arange(steps)) for peak in peaks])
    losses, scores = run(name, [FIRST_SEED + seed for seed in seeds], rates)
    higher = make(name, 0).higher
    return [
        summary(Row(peak, seed, score), own, score > untrained[seed] if higher else score < untrained[seed])
        for peak, seed, score, own in zip(peaks, seeds, scores, losses, strict=True)
    ]


def summary(row: Row, losses: np.ndarray, better: bool) -> Row:
    """What is kept of a training."""
    seen = losses[np.isfinite(losses)]
    if len(seen) < len(losses):
        row = replace(row, metric=math.nan, stopped=len(seen))
    if len(seen) < BLOCK:
        return replace(row, diverged=1)
    blocks = seen[: len(seen) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=1)
    rises = blocks - np.minimum.accumulate(blocks)
    worst = int(np.argmax(rises))
    first, last = float(seen[:10].mean()), float(seen[-max(BLOCK // 2, len(seen) // 20) :].mean())
    diverged = int(row.stopped >= 0 or not better or not last < first)
    told = {"first": first, "last": last, "lowest": float(blocks.min()), "spike": float(rises[worst])}
    return replace(row, diverged=diverged, spike_at=worst * BLOCK, **told)


def write(path: Path, row: Row) -> None:
    cells = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in asdict(row).values()]
    with path.open("a") as out:
        out.write(",".join(cells) + "\n")


def prepare(path: Path) -> None:
    """Begin the file, or take away a line that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or "\npeak,seed" not in path.read_text():
        versions = f"torch {torch.__version__}, numpy {np.__version__}, python {platform.python_version()}"
        head = ",".join(field.name for field in fields(Row))
        path.write_text(f"# made by: python bench/bounds/lengths.py\n# {versions}\n{head}\n")
    text = path.read_text()
    if not text.endswith("\n"):
        path.write_text(text.rpartition("\n")[0] + "\n")


def landscape(name: str, steps: int, centre: int) -> None:
    """All trainings of a task and a length that are missing."""
    path = file(name, steps)
    prepare(path)
    rows, higher = load(path), make(name, 0).higher
    for seed in SEEDS:
        if not any(row.peak == 0 and row.seed == seed for row in rows):
            write(path, Row(0.0, seed, make(name, FIRST_SEED + seed).judge()))
    while True:
        rows = load(path)
        done = {(round(math.log2(row.peak / 1e-3)), row.seed) for row in rows if row.peak}
        missing = [
            (power, seed) for power in wanted(rows, centre, higher) for seed in SEEDS if (power, seed) not in done
        ]
        if not missing:
            return
        untrained = {row.seed: row.metric for row in rows if row.peak == 0}
        for members in [[one] for one in missing] if name in ALONE else [missing]:  # written down as soon as trained
            for row in train(name, members, steps, untrained):
                write(path, row)


def lengths_of(name: str) -> tuple[int, ...]:
    if name == "naive-gru-adam":  # in 10,000 steps its loss becomes nan at any rate that learns
        return LENGTHS[:5]
    if name in FINETUNE:
        return SHORT
    return (*LENGTHS, LONGEST) if name in CHEAPEST else LENGTHS


def names(parser: argparse.ArgumentParser) -> list[str]:
    """The tasks that are asked for; those of finetune.py only where their data are."""
    parser.add_argument("--task", action="append", choices=CENTRES, help="a task; several may be named")
    parser.add_argument("--data", type=Path, help="folder of pre-trained weights and data: see finetune.py")
    given = parser.parse_args()
    if given.data is not None:
        finetune.DATA = given.data
    return given.task or [name for name in CENTRES if (name in FINETUNE) == (given.data is not None)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", action="append", type=int, help="steps of a training; several may be named")
    chosen = names(parser)
    torch.set_num_threads(1)
    asked = parser.parse_args().length
    jobs = [(steps, name) for name in chosen for steps in lengths_of(name) if not asked or steps in asked]
    for steps, name in sorted(jobs, key=lambda job: job[0]):
        try:
            with FileLock(str(file(name, steps)) + ".lock", timeout=0):
                landscape(name, steps, CENTRES[name])
        except Timeout:
            continue  # another process is at it
        print(name, steps, flush=True)


if __name__ == "__main__":
    main()
