"""One training, several finishes: its last weights, an average of its snapshots, an ensemble of them.

    python experiments/cycles/run.py --data PATH                    resumes if interrupted; seed after seed
    python experiments/cycles/run.py --data PATH --rows ensemble-25000 --seeds 1

PATH is the folder that holds CIFAR-10. Network and data are those of experiments/paper: Caffe's `cifar10_full` in
bfloat16. The bounds are those that `auto` found there from the training loss (found.json); the steps of that range test
count as part of the budget, so a row of 25,000 steps trains for 24,000. Test images are used to judge the finishes and
for nothing else: the last 3 and the last 5 snapshots are taken because the plan says so, not because they are best.

Last result: none yet; no row has been run to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cyclr import Schedule, one_cycle
from cyclr._files import replacing
from cyclr.tasks import _find as tasks
from cyclr.torch import Task, averaged_model, train

HERE = Path(__file__).parent
RECORDS = HERE / "records"
FOUND = HERE.parent / "paper" / "records" / "claim" / "auto"
WORK = Path(os.environ.get("CYCLR_CYCLES_WORK", HERE / "work"))  # checkpoints and snapshots
TUNING = 1_000  # steps set aside for the range test, which took about 800
SEEDS = (1, 2, 3)
# name: budget with the range test; share of the first cycle; number of later cycles; their peak as a share of the first
ROWS = {
    "ensemble-25000": (25_000, 0.5, 4, 1.0),
    "average-25000": (25_000, 0.8, 5, 0.5),
    "ensemble-15000": (15_000, 0.5, 4, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds CIFAR-10")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.rows:
        for seed in given.seeds:
            target = RECORDS / name / f"seed-{seed}.json"
            if not target.exists():
                record = make(name, seed, given.data)
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as file:
                    file.write(json.dumps(record, indent=1).encode() + b"\n")
                shutil.rmtree(WORK / f"{name}-{seed}", ignore_errors=True)


def plan(name: str, peak: float) -> tuple[Schedule, tuple[int, ...]]:
    """The schedule of a row, and the steps at which a cycle ends."""
    budget, share, later, lower = ROWS[name]
    total = budget - TUNING
    length = round(total * (1 - share) / later)
    first = total - later * length
    cycle = one_cycle(peak * lower, steps=length, base_lr=peak * lower / 10, shape="linear")
    schedule: Schedule = one_cycle(peak, steps=first, base_lr=peak / 10, shape="linear")
    for _ in range(later):
        schedule >>= cycle
    return schedule, tuple(first + number * length for number in range(later + 1))


def make(name: str, seed: int, data: Path) -> dict[str, Any]:
    """One training and all its finishes; resumes from its last checkpoint."""
    folder = WORK / f"{name}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    found = json.loads((FOUND / f"seed-{seed}" / "found.json").read_text(encoding="utf-8"))
    schedule, ends = plan(name, found["max_lr"])
    task = tasks.build("cifar10", seed, data=str(data), precision="bfloat16")
    clock, began = folder / "seconds.json", time.process_time()
    spent = json.loads(clock.read_text()) if clock.exists() else 0.0

    def progress(step: int, total: int, rate: float, loss: float) -> None:
        if step in ends:
            with replacing(folder / f"{step}.pt") as file:
                torch.save(task.model.state_dict(), file)
        if step % 1_000 == 0:
            with replacing(clock) as file:
                file.write(json.dumps(spent + time.process_time() - began).encode())
            print(f"{name}, seed {seed}: {step} of {total}, loss {loss:.3f}", flush=True)

    points = train(
        task,
        lambda group: group.get("lr_mult", 1) * schedule,
        steps=int(schedule.duration),
        eval_every=1_000,
        eval_at=ends,
        average=averaged_model(task.model),  # of the last twentieth of the steps; changes nothing
        checkpoint=folder,
        checkpoint_every=1_000,
        progress=progress,
    )
    members = [torch.load(folder / f"{end}.pt", weights_only=True) for end in ends]
    return {
        "row": name,
        "seed": seed,
        "schedule": repr(schedule),
        "steps": int(schedule.duration),
        "tuning_cost": found["cost"],
        "snapshots": list(ends),
        "finishes": finishes(task, members),
        "points": points,
        "seconds": round(spent + time.process_time() - began, 1),
        "versions": {**{name: version(name) for name in ("cyclr", "torch")}, "python": platform.python_version()},
    }


def finishes(task: Task, members: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Test accuracy of the last weights, of averages and of ensembles of the last snapshots, and of each snapshot."""
    chances = [probabilities(task, member) for member in members]
    found = {f"snapshot {number + 1}": accuracy(chance, task) for number, chance in enumerate(chances)}
    found["single"] = accuracy(chances[-1], task)
    for count in (3, 5):
        found[f"ensemble of {count}"] = accuracy(torch.stack(chances[-count:]).mean(0), task)
        last = members[-count:]
        mean = {key: torch.stack([member[key].float() for member in last]).mean(0) for key in last[0]}
        found[f"average of {count}"] = accuracy(probabilities(task, mean), task)
    return found


@torch.no_grad()
def probabilities(task: Task, state: dict[str, torch.Tensor]) -> torch.Tensor:
    task.model.load_state_dict(state)
    task.model.eval()
    assert task.test_loader is not None
    return torch.cat([task.model(inputs).float().softmax(-1) for inputs, _ in task.test_loader])


def accuracy(chances: torch.Tensor, task: Task) -> float:
    labels = torch.cat([targets for _, targets in task.test_loader or ()])
    return float((chances.argmax(-1) == labels).double().mean())


if __name__ == "__main__":
    main()
