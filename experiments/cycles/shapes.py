"""How long cycles should be: the plan's shapes for an ensemble and an average beside a grid of others, on ten tasks.

    python experiments/cycles/shapes.py      # resumes if interrupted: about half an hour of one core a seed

Tasks are those of bench/bounds, in two budgets, at the peak that was best there for one cycle of the same budget
(records/lengths); seeds are others than those that the peaks were chosen on. A shape is a first cycle over a share of
the budget and a number of later ones, to the full peak or to half of it; or equal cycles. The plan's own shape,
whatever the length of an epoch makes of it, is in the grid under its own name. Every shape is finished in three ways:
its last snapshot, an ensemble of all snapshots, and the average of their weights. Appends to records/shapes.csv;
table.py says what came of it.
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
BENCH = HERE.parent.parent / "bench" / "bounds"
sys.path.insert(0, str(BENCH))

import lengths  # noqa: E402
from problem import Problem, accuracy  # noqa: E402
from suites import make  # noqa: E402

from cyclr import Bounds, Schedule, one_cycle, plan  # noqa: E402
from cyclr._goals import AVERAGE_PEAK  # noqa: E402

FILE = HERE / "records" / "shapes.csv"
TASKS = (
    "mlp-momentum", "noisy-batches", "deep-sigmoid", "islands-momentum", "group-norm-momentum",
    "regression-adam", "denoise-rmsprop", "autoencoder-adamw", "factors-adam", "diffusion-adam",
)  # fmt: skip
BUDGETS = (400, 2000)
SEEDS = range(3)
FIRST_SEED = 7000
#: (share of the first cycle, number of later cycles, their peak as a share of the first); share 0: equal cycles
GRID = {
    "one": (1.0, 0, 1.0),
    **{f"high-{share}-{later}": (share, later, 1.0) for share in (0.3, 0.5, 0.7) for later in (2, 4, 8)},
    **{f"low-{share}-{later}": (share, later, AVERAGE_PEAK) for share in (0.5, 0.8, 0.9) for later in (2, 4, 8)},
    "equal-5": (0.0, 4, 1.0),
}
State = dict[str, Tensor]


def shape(peak: float, steps: int, share: float, later: int, lower: float) -> tuple[Schedule, tuple[int, ...]]:
    """A schedule and the ends of its cycles."""
    length = 0 if later == 0 else round(steps * (1 - share) / later) if share else steps // (later + 1)
    first = steps - later * length
    schedule: Schedule = one_cycle(peak, steps=first, base_lr=peak / 10, shape="linear")
    for _ in range(later):
        schedule >>= one_cycle(peak * lower, steps=length, base_lr=peak * lower / 10, shape="linear")
    return schedule, tuple(first + number * length for number in range(later + 1))


def shapes(peak: float, steps: int, epoch: int) -> Iterator[tuple[str, Schedule, tuple[int, ...]]]:
    """The grid, and what `plan` makes for each goal."""
    for name, made in GRID.items():
        yield name, *shape(peak, steps, *made)
    for goal in ("ensemble", "average"):
        made = plan(Bounds(peak / 10, peak), steps=steps, steps_per_epoch=epoch, goal=goal)
        yield f"plan-{goal}", made.schedule, made.snapshots


def best_peak(name: str, steps: int) -> float:
    """The peak that was best for one cycle."""
    rows = lengths.load(lengths.file(name, steps))
    means = {power: statistics.mean(lost) for power, lost in lengths.lost(rows, make(name, 0).higher).items()}
    return 1e-3 * 2.0 ** min(means, key=lambda power: means[power])


def trained(problem: Problem, schedule: Schedule, ends: tuple[int, ...]) -> list[State]:
    """The weights at the ends of the cycles."""
    states = []
    for step, (x, y) in zip(range(ends[-1]), problem.batches, strict=False):
        problem.set_rate(schedule(step))
        problem.step(x, y)
        if step + 1 in ends:
            states.append({key: value.clone() for key, value in problem.model.state_dict().items()})
    return states


@torch.no_grad()
def judged(problem: Problem, states: list[State]) -> float:
    """The held-out score of the mean prediction: probabilities where classes are predicted."""
    problem.model.eval()
    x, y = problem.held_out
    total: Tensor = torch.zeros(())
    for state in states:
        problem.model.load_state_dict(state)
        out = torch.cat([problem.model(part) for part in x.split(1000)])
        total = total + (out.softmax(1) if problem.score is accuracy else out)
    problem.model.train()
    return float(problem.score(total / len(states), y))


def averaged(problem: Problem, states: list[State]) -> State:
    """The mean of the weights; statistics of batch normalisation are made anew."""
    mean = {key: torch.stack([state[key].double() for state in states]).mean(0) for key in states[0]}
    problem.model.load_state_dict({key: value.to(states[0][key].dtype) for key, value in mean.items()})
    norms = [module for module in problem.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        with torch.no_grad():
            for (x, _), _ in zip(problem.batches, range(len(problem.batches)), strict=False):
                problem.model(x)
        for norm in norms:
            norm.momentum = 0.1
    return {key: value.clone() for key, value in problem.model.state_dict().items()}


def load() -> list[dict[str, str]]:
    """The records; a line that was cut off is none."""
    if not FILE.exists():
        return []
    return list(csv.DictReader(FILE.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()))


def run() -> None:
    """All trainings that are missing."""
    torch.set_num_threads(1)
    done = {(row["task"], int(row["steps"]), row["shape"], int(row["seed"])) for row in load()}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    text = (
        FILE.read_text(encoding="utf-8") if FILE.exists() else "task,steps,shape,seed,members,single,ensemble,average\n"
    )
    FILE.write_text(text if text.endswith("\n") else text.rpartition("\n")[0] + "\n", encoding="utf-8")
    for seed in SEEDS:
        for steps in BUDGETS:
            for name in TASKS:
                peak, epoch = best_peak(name, steps), len(make(name, 0).batches)
                start = make(name, FIRST_SEED + seed)
                if (name, steps, "untrained", seed) not in done:
                    score = start.judge()
                    write(name, steps, "untrained", seed, 0, (score, score, score))
                for which, schedule, ends in shapes(peak, steps, epoch):
                    if (name, steps, which, seed) in done:
                        continue
                    problem = make(name, FIRST_SEED + seed)
                    states = trained(problem, schedule, ends)
                    scores = judged(problem, states[-1:]), judged(problem, states)
                    write(name, steps, which, seed, len(ends), (*scores, judged(problem, [averaged(problem, states)])))
                print(name, steps, seed, flush=True)


def write(name: str, steps: int, which: str, seed: int, members: int, scores: tuple[float, float, float]) -> None:
    with FILE.open("a", encoding="utf-8") as file:
        file.write(f"{name},{steps},{which},{seed},{members},{','.join(f'{score:.6g}' for score in scores)}\n")


if __name__ == "__main__":
    run()
