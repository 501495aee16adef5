"""What several cycles are good for: single models, averages and ensembles at equal budgets, on eight tasks.

    python experiments/cycles/run.py --data PATH                    resumes if interrupted; seed after seed
    python experiments/cycles/run.py --data PATH --settings caffe-25000 --rows ensemble --seeds 1

PATH is the folder that holds CIFAR-10 and CIFAR-100; --weights FILE adds the fine-tuning of a ResNet-20 and --weights56
FILE that of a ResNet-56. All rows of a setting share bounds, which a range test finds for each seed, and a budget, from
which the steps of that range test are taken. Test data judge the finishes and nothing else: the last 3 and the last 5
snapshots are taken because the plan says so, not because they are best.

rows        trained                                                            finishes
single      one cycle                                                          last weights; EMA of the weights (0.999)
ensemble    plan(goal="ensemble")                                              last weights; averages and ensembles of
average     plan(goal="average")                                               the last 3 and 5 snapshots
swa         one cycle that decays to half the peak, kept in the last quarter   last weights; average of 5 snapshots
apart-3     three one-cycle trainings of a third of the budget each            ensemble of the three
apart-5     five of a fifth                                                    ensemble of the five
anytime     plan(goal="anytime")                                               the weights at each cycle's end
dedicated   one-cycle trainings as long as the ends of "anytime"               the last weights of each
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from cyclr import Bounds, Constant, Linear, Schedule
from cyclr import plan as planned
from cyclr._files import replacing
from cyclr.tasks import _find as tasks
from cyclr.torch import Checkpoint, Task, range_test, train

HERE = Path(__file__).parent
RECORDS = HERE / "records"
FOUND = HERE.parent / "paper" / "records" / "claim" / "auto-version-0.1"  # thorough range tests of Caffe's network
WORK = Path(os.environ.get("CYCLR_CYCLES_WORK", HERE / "work"))  # checkpoints and snapshots
EMBEDDED = ("text", "fashion")  # tasks whose data are part of the package
State = dict[str, Tensor]


@dataclass(frozen=True)
class Setting:
    """A task and a budget in steps, range test included."""

    task: str
    budget: int
    options: dict[str, Any] = field(default_factory=dict)
    rows: tuple[str, ...] = ("single", "ensemble", "average", "swa", "apart-3", "apart-5")
    seeds: tuple[int, ...] = (1, 2, 3)
    fitted: bool = False  # whether the range test is one for this budget, as `auto` makes it


WITH_ANYTIME = (*Setting.rows, "anytime", "dedicated")
TEN = tuple(range(1, 11))
SETTINGS = {
    "caffe-25000": Setting("cifar10", 25_000, {"precision": "bfloat16"}),
    "caffe-15000": Setting("cifar10", 15_000, {"precision": "bfloat16"}),
    "text": Setting("text", 4_250, rows=WITH_ANYTIME),
    "cifar10-resnet": Setting("cifar10", 3_910, {"network": "resnet", "precision": "bfloat16"}),
    "cifar100-resnet": Setting("cifar100", 3_910, {"precision": "bfloat16"}, WITH_ANYTIME),
    "fashion": Setting("fashion", 3_600, rows=WITH_ANYTIME, seeds=TEN),
    "fashion-resnet": Setting("fashion", 3_600, {"network": "resnet"}, WITH_ANYTIME, TEN),
    "finetune": Setting("finetune", 630, {"images": 4_000, "precision": "bfloat16"}, fitted=True),
    "finetune-56": Setting("finetune", 630, {"images": 4_000, "precision": "bfloat16"}, fitted=True),
}


def main() -> None:
    """Make every record that does not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds CIFAR-10 and CIFAR-100")
    parser.add_argument("--weights", type=Path, help="weights of a ResNet-20 trained on CIFAR-10, for `finetune`")
    parser.add_argument("--weights56", type=Path, help="weights of a ResNet-56, for `finetune-56`")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--rows", nargs="+", choices=WITH_ANYTIME, default=WITH_ANYTIME)
    parser.add_argument("--seeds", nargs="+", type=int, help="by default those of the setting")
    given = parser.parse_args()
    torch.set_num_threads(1)
    paths = {"finetune": given.weights, "finetune-56": given.weights56}
    for seed in given.seeds or TEN:
        for name in given.settings:
            if (name in paths and paths[name] is None) or seed not in (given.seeds or SETTINGS[name].seeds):
                continue
            for row in given.rows:
                target = RECORDS / name / row / f"seed-{seed}.json"
                if row in SETTINGS[name].rows and not target.exists():
                    extra = {"weights": str(paths[name])} if name in paths else {}
                    record = Row(name, row, seed, given.data, extra).make()
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with replacing(target) as file:
                        file.write(json.dumps(record, indent=1).encode() + b"\n")


class Row:
    """One row for one seed."""

    def __init__(self, name: str, row: str, seed: int, data: Path, extra: dict[str, Any]) -> None:
        self.name, self.row, self.seed, self.data, self.extra = name, row, seed, data, extra
        self.setting = SETTINGS[name]
        self.folder = WORK / f"{name}-{row}-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.points: dict[str, Any] = {}

    def make(self) -> dict[str, Any]:
        """All trainings of the row and its finishes."""
        clock = Clock(self.folder / "seconds.json")
        bounds, cost = self.bounds()
        steps = self.setting.budget - cost
        finishes, trained = getattr(self, self.row.partition("-")[0])(bounds, steps, clock)
        record = {
            "setting": self.name,
            "row": self.row,
            "seed": self.seed,
            "bounds": [bounds.base_lr, bounds.max_lr],
            "tuning_cost": cost,
            "steps": steps,
            "trained": trained,
            "finishes": finishes,
            "points": self.points,
            "seconds": clock.seconds(),
            "versions": {**{name: version(name) for name in ("cyclr", "torch")}, "python": platform.python_version()},
        }
        shutil.rmtree(self.folder, ignore_errors=True)
        return record

    def task(self, seed: int) -> Task:
        """The task with a seed."""
        options = {**self.setting.options, **self.extra}
        if self.setting.task not in EMBEDDED:
            options["data"] = str(self.data)
        return tasks.build(self.setting.task, seed, **options)

    def bounds(self) -> tuple[Bounds, int]:
        """The bounds for this seed and what they cost; found once, shared by all rows."""
        if self.setting.task == "cifar10" and "network" not in self.setting.options:
            found = json.loads((FOUND / f"seed-{self.seed}" / "found.json").read_text(encoding="utf-8"))
            return Bounds(found["base_lr"], found["max_lr"]), found["cost"]
        file = RECORDS / self.name / f"bounds-{self.seed}.json"
        if not file.exists():
            budget = self.setting.budget if self.setting.fitted else None
            curve = range_test(self.task(self.seed), budget=budget)
            found = curve.bounds(budget=budget)
            file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(file) as stream:
                stream.write(json.dumps([found.base_lr, found.max_lr, curve.tuning_cost]).encode() + b"\n")
        base_lr, max_lr, cost = json.loads(file.read_text(encoding="utf-8"))
        return Bounds(base_lr, max_lr), cost

    # -- rows

    def single(self, bounds: Bounds, steps: int, clock: Clock) -> Any:
        task = self.task(self.seed)
        ema = AveragedModel(task.model, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)
        schedule = planned(bounds, steps=steps).schedule
        states = self.trained(task, schedule, (steps,), clock, average=ema)
        averaged = {key: value.clone() for key, value in ema.module.state_dict().items()}
        found = {"single": judged(task, [states[0]]), "EMA": judged(task, [averaged])}
        return found, [repr(schedule)]

    def ensemble(self, bounds: Bounds, steps: int, clock: Clock) -> Any:
        return self.cycles(bounds, steps, clock, "ensemble")

    def average(self, bounds: Bounds, steps: int, clock: Clock) -> Any:
        return self.cycles(bounds, steps, clock, "average")

    def cycles(self, bounds: Bounds, steps: int, clock: Clock, goal: Any) -> Any:
        task = self.task(self.seed)
        plan = planned(bounds, steps=steps, steps_per_epoch=task.steps_per_epoch, goal=goal)
        states = self.trained(task, plan.schedule, plan.snapshots, clock)
        return self.finishes(task, states), [repr(plan.schedule)]

    def swa(self, bounds: Bounds, steps: int, clock: Clock) -> Any:
        """As Izmailov et al. (2018): three quarters as usual, but to half the peak; that rate from then on."""
        task, peak = self.task(self.seed), bounds.max_lr
        rise, stretch = round(0.3 * 0.75 * steps), round(0.05 * steps)
        first = steps - 5 * stretch
        schedule = Linear(peak / 10, peak, steps=rise) >> Linear(peak, peak / 2, steps=first - rise)
        schedule = schedule >> Constant(peak / 2).take(5 * stretch)
        ends = tuple(first + number * stretch for number in range(1, 6))
        found = self.finishes(task, self.trained(task, schedule, ends, clock))
        return {name: value for name, value in found.items() if name in ("single", "average of 5")}, [repr(schedule)]

    def apart(self, bounds: Bounds, steps: int, clock: Clock) -> Any:
        count = int(self.row.partition("-")[2])
        schedule = planned(bounds, steps=steps // count).schedule
        states, task = [], self.task(self.seed)
        for number in range(count):
            task = self.task(1_000 * (number + 1) + self.seed)
            states += self.trained(task, schedule, (steps // count,), clock, part=str(number))
        found = {f"member {number + 1}": judged(task, [state]) for number, state in enumerate(states)}
        return {**found, f"ensemble of {count}": judged(task, states)}, [repr(schedule)] * count

    def anytime(self, bounds: Bounds, steps: int, clock: Clock) -> Any:
        task = self.task(self.seed)
        plan = planned(bounds, steps=steps, steps_per_epoch=task.steps_per_epoch, goal="anytime")
        states = self.trained(task, plan.schedule, plan.snapshots, clock)
        found = {str(end): judged(task, [state]) for end, state in zip(plan.snapshots, states, strict=True)}
        return found, [repr(plan.schedule)]

    def dedicated(self, bounds: Bounds, steps: int, clock: Clock) -> Any:
        task = self.task(self.seed)
        ends = planned(bounds, steps=steps, steps_per_epoch=task.steps_per_epoch, goal="anytime").snapshots
        found, schedules = {}, []
        for end in ends:
            task, schedule = self.task(self.seed), planned(bounds, steps=end).schedule
            found[str(end)] = judged(task, self.trained(task, schedule, (end,), clock, part=str(end)))
            schedules.append(repr(schedule))
        return found, schedules

    # -- parts

    def finishes(self, task: Task, states: list[State]) -> dict[str, dict[str, float]]:
        """Of the last weights, of each snapshot, and of averages and ensembles of the last 3 and 5."""
        found = {f"snapshot {number + 1}": judged(task, [state]) for number, state in enumerate(states)}
        found["single"] = found[f"snapshot {len(states)}"]
        for count in (3, 5):
            if len(states) >= count:
                found[f"ensemble of {count}"] = judged(task, states[-count:])
                found[f"average of {count}"] = judged(task, [averaged(task, states[-count:])])
        return found

    def trained(
        self,
        task: Task,
        schedule: Schedule,
        ends: tuple[int, ...],
        clock: Clock,
        *,
        part: str = "0",
        average: AveragedModel | None = None,
    ) -> list[State]:
        """Train; the weights after each of the steps `ends`. Resumes from the last checkpoint."""
        folder = self.folder / part
        folder.mkdir(exist_ok=True)
        every = max(100, round(ends[-1] / 25 / 50) * 50)

        def progress(step: int, total: int, rate: float, loss: float) -> None:
            if step % 500 == 0:
                clock.save()
                print(f"{self.name} {self.row}, seed {self.seed}: {step} of {total}, loss {loss:.3f}", flush=True)

        def by_group(group: dict[str, Any]) -> Schedule:
            return group["lr_mult"] * schedule  # the paper's rates are those with a factor of 1

        hook = task.optimizer.register_step_post_hook(keeper(task.model, folder, ends, folder / "checkpoint.pt"))
        self.points[part] = train(
            task,
            by_group if "lr_mult" in task.optimizer.param_groups[0] else schedule,
            steps=ends[-1],
            eval_every=every,
            average=average,
            checkpoint=Checkpoint(folder, every=every),
            progress=progress,
        )
        hook.remove()
        clock.save()
        return [torch.load(folder / f"{end}.pt", weights_only=True) for end in ends]


def keeper(model: nn.Module, folder: Path, ends: tuple[int, ...], checkpoint: Path) -> Callable[..., None]:
    """A hook that writes the weights after the steps in `ends`."""
    done = torch.load(checkpoint, weights_only=True)["step"] if checkpoint.exists() else 0

    def hook(*_: Any) -> None:
        nonlocal done
        done += 1
        if done in ends:
            with replacing(folder / f"{done}.pt") as file:
                torch.save(model.state_dict(), file)

    return hook


class Clock:
    """CPU seconds of a row, over all processes that worked on it."""

    def __init__(self, file: Path) -> None:
        self.file, self.began = file, time.process_time()
        self.before = json.loads(file.read_text()) if file.exists() else 0.0

    def seconds(self) -> float:
        return round(self.before + time.process_time() - self.began, 1)

    def save(self) -> None:
        with replacing(self.file) as file:
            file.write(json.dumps(self.seconds()).encode())


def averaged(task: Task, states: list[State]) -> State:
    """The mean of weights; statistics of batch normalisation are made anew from one pass over the training data."""
    mean = {key: torch.stack([state[key].double() for state in states]).mean(0) for key in states[0]}
    task.model.load_state_dict({key: value.to(states[0][key].dtype) for key, value in mean.items()})
    update_bn(task.train_loader, task.model)
    return {key: value.clone() for key, value in task.model.state_dict().items()}


@torch.no_grad()
def judged(task: Task, states: list[State]) -> dict[str, float]:
    """Test accuracy and mean negative log-likelihood of the mean of the members' probabilities."""
    assert task.test_loader is not None
    total: Tensor = torch.zeros(())
    for state in states:
        task.model.load_state_dict(state)
        task.model.eval()
        total = total + torch.cat([task.model(x).float().flatten(0, -2).softmax(-1) for x, _ in task.test_loader])
    labels = torch.cat([y.flatten() for _, y in task.test_loader])
    chances = total / len(states)
    return {
        "accuracy": float((chances.argmax(-1) == labels).double().mean()),
        "nll": float(nn.functional.nll_loss(chances.clamp_min(1e-30).log(), labels)),
    }


if __name__ == "__main__":
    main()
