"""Re-measures the tables of "Cyclical Learning Rates for Training Neural Networks".

    python experiments/paper/run.py --data PATH                     resumes if interrupted; in the order of rows.toml
    python experiments/paper/run.py --data PATH --rows claim/auto   one row; or a group (quick), a pattern (*cosine*)
    python experiments/paper/run.py --list                          lists finished and missing runs
    torchrun --nproc-per-node 8 experiments/paper/run.py --device cuda --rows "imagenet*"
                                                                    each model of ImageNet on several GPUs together
    python experiments/paper/table.py                               writes the tables in README.md from the records

PATH is the folder that holds the data of all selected rows: the official folders or archives of CIFAR-10 and -100, and
`imagenet` and `tiny-imagenet-200`; a row on one of these is never trained on the other. It can be killed at any time: a
run resumes from its last checkpoint and ends with the same weights.

Last result on CIFAR-10 (test accuracy in percent, three seeds): the paper's fixed policy over 70,000 steps 81.7; over
25,000 steps Table 2's stages 81.1, a fixed 0.003 with the same drops 81.3, one cycle to 0.006 81.7, auto 81.7.
README.md next to this file has all results.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import shutil
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import torch
from rows import DATA_SETS, FOUND, HERE, RECORDS, REFUSED, Group, Row, read_groups, refusals, run_name, wanted
from torch import distributed

import cyclr
from cyclr import Search
from cyclr._check import problem
from cyclr._failure import TaskError
from cyclr._range.bounds import Bounds, Inconclusive
from cyclr.study._engine import Engine, RunError, finished_runs, make_runs
from cyclr.study._files import RECORD, read_json, write_json
from cyclr.study._records import Run, Setup
from cyclr.tasks import _find as tasks
from cyclr.torch import Checkpoint, Task, auto, averaged_model, train
from cyclr.torch._distributed import group_of

WORK = Path(os.environ.get("CYCLR_PAPER_WORK", HERE / "work"))  # checkpoints
AUTO = "auto"  # the schedule is that of a range test
EARLIER = "auto, version 0.1"  # the records are those of version 0.1, whose rule did not know the training's length
AVERAGED = ("cifar10",)  # tasks of which averaged weights are evaluated, too, which doubles the time of evaluations
KEPT = 1_000  # most steps between two checkpoints
DEFAULTS = {"precision": "bfloat16"}  # compared with float32 in README.md


def main() -> None:
    given = arguments()
    if "WORLD_SIZE" in os.environ:  # one of the processes of torchrun
        join(given.device)
    os.environ["CYCLR_PAPER_DEVICE"] = given.device  # worker processes read it there
    if given.data is not None:
        os.environ["CYCLR_DATA"] = str(given.data.resolve())  # not in the record, as the path is local
    os.environ["CYCLR_PAPER_TABLE"] = str(given.table.resolve())
    groups = read_groups(given.table)
    if given.list:
        list_runs(groups, given)
        return
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "lock").open("w") as lock:
        try:
            if first():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("another run.py is at work here; for more processes, stop it and use --workers") from None
        try:
            run_groups([group for group in groups if any(wanted(group, row, given.rows) for row in group.row)], given)
        except (OSError, ValueError, TaskError, RunError) as error:
            raise SystemExit(str(error) if first() else 1) from None


def run_groups(groups: list[Group], given: argparse.Namespace) -> None:
    for group in groups:  # fail before any work
        task = built(group.on, 0, group.task, group.data)
        if distributed.is_initialized() and distributed.get_world_size() > 1 and group_of(task.model) is None:
            must = f"{group.name} must be run by one process, as {group.on} does not divide its batches"
            advice = "leave torchrun out; --workers makes several runs at a time"
            raise ValueError(problem(must, distributed.get_world_size(), advice))
    for group in groups:
        for seed in group.seeds:
            if not given.seeds or seed in given.seeds:
                run_all(group, seed, given)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds the data; by default $CYCLR_DATA")
    parser.add_argument("--rows", nargs="+", default=[], help="rows, groups or patterns; by default all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[], help="by default those of rows.toml")
    parser.add_argument("--workers", type=int, default=1, help="processes, each on one thread")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--list", action="store_true", help="show what is done, and run nothing")
    parser.add_argument("--table", type=Path, default=HERE / "rows.toml", help="another table of rows")
    parser.add_argument("--records", type=Path, default=RECORDS, help="where the records go")
    given = parser.parse_args()
    if not any(wanted(group, row, given.rows) for group in read_groups(given.table) for row in group.row):
        parser.error(f"no row is called {' or '.join(given.rows)}; --list shows them")
    return given


def list_runs(groups: tuple[Group, ...], given: argparse.Namespace) -> None:
    for group in groups:
        for row in group.filled():
            if wanted(group, row, given.rows):
                name = f"{group.name}/{row.name}"
                done = [s for s in group.seeds if (given.records / run_name(group, row, s) / RECORD).exists()]
                refused = f"  refused {own}" if (own := refusals(group, row, given.records)) else ""
                print(f"{name:40} {row.steps:6} steps  seeds {group.seeds}  done {done}{refused}")


def run_all(group: Group, seed: int, given: argparse.Namespace) -> None:
    """The selected rows of a group, for one seed."""
    setups = {}
    for row in group.filled():
        if wanted(group, row, given.rows) and row.schedule != EARLIER:
            name = run_name(group, row, seed)
            schedule = found(group, row, seed, given.records / name) if row.schedule == AUTO else row.schedule
            if schedule is not None:
                setups[name] = setup_of(group, row, seed, schedule)
    left = len(setups) - len(finished_runs(given.records, setups))
    if not left:
        return
    if first():
        print(f"== {group.title}, seed {seed}: {left} of {len(setups)} runs to do", flush=True)
    if distributed.is_initialized():
        make_together(setups, given.records)
    else:
        make_runs("run:make", setups, given.records, engine=Engine(workers=given.workers), on_run=report)


def join(device: str) -> None:
    """Become one of the processes that train one model together."""
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")


def first() -> bool:
    """Whether this process writes and prints for all."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def make_together(setups: dict[str, Setup], records: Path) -> None:
    """All runs that are not finished, each by all processes of torchrun; the first one writes the record."""
    left = {name: setup for name, setup in setups.items() if name not in finished_runs(records, setups)}
    distributed.barrier()  # all have seen the same records before the first one adds to them
    for name, setup in left.items():
        run = make(setup)
        if first():
            (records / name).mkdir(parents=True, exist_ok=True)
            write_json(records / name / RECORD, run)
            report(name, run)
        distributed.barrier()


def setup_of(group: Group, row: Row, seed: int, schedule: str) -> Setup:
    assert row.steps is not None
    assert row.eval_every is not None
    return Setup(
        task=group.on,
        policy=row.name,
        schedule=schedule,
        seed=seed,
        steps=row.steps,
        eval_every=row.eval_every,
        options={**DEFAULTS, **row.task},
    )


def found(group: Group, row: Row, seed: int, folder: Path) -> str | None:
    """The schedule that `auto` finds, recorded before it is used; None if the range test is inconclusive.

    A refusal is recorded, too, and stays; another version tries again once its file is deleted.
    """
    path = folder / FOUND
    if not path.exists():
        setup = setup_of(group, row, seed, row.schedule)
        try:
            answer = find(setup)
        except Inconclusive as error:
            answer = {REFUSED: str(error), "fallback": error.fallback, "versions": made_with(made(setup))}
        if first():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, answer)
        if distributed.is_initialized():
            distributed.barrier()
    known = read_json(path, dict[str, Any])
    if REFUSED in known:
        if first():
            print(f"{row.name}, seed {seed}: no run, for no bounds were found: {known[REFUSED]}", flush=True)
        return None
    return str(known["schedule"])


def find(setup: Setup) -> dict[str, Any]:
    """Like `auto`, without human choices and without the test images: bounds, then a plan."""
    torch.set_num_threads(1)
    task = made(setup)
    scheduler = auto(task, steps=setup.steps, search=Search(progress=False))
    curve, bounds = scheduler.curve, scheduler.bounds
    # The range test records the largest rate, in Caffe's networks that of the biases; schedules are for the weights.
    largest = max(group.get("lr_mult", 1) for group in task.optimizer.param_groups)
    weights = Bounds(bounds.base_lr / largest, bounds.max_lr / largest)
    plan = cyclr.plan(weights, steps=setup.steps, steps_per_epoch=task.steps_per_epoch)
    return {
        "schedule": repr(plan.schedule),
        "base_lr": weights.base_lr,
        "max_lr": weights.max_lr,
        "cost": curve.tuning_cost,
        "evidence": bounds.evidence,
        "reasons": plan.reasons,
        "rates": (curve.rates / largest).tolist(),
        "losses": curve.losses.tolist(),
        "peaks": (curve.peaks / largest).tolist(),
        "probes": curve.probes.tolist(),
        "versions": made_with(task),
    }


def make(setup: Setup) -> Run:
    """One run, from its last checkpoint if there is one."""
    torch.set_num_threads(1)
    task = made(setup)
    schedule = cyclr.parse(setup.schedule)
    folder = work_of(setup)
    clock = folder / "seconds.json"
    spent = read_json(clock, float) if clock.exists() else 0.0
    began = time.process_time()
    kept = min(setup.eval_every, KEPT)

    def progress(step: int, total: int, rate: float, loss: float) -> None:
        if step % kept == 0 and first():  # the checkpoint is written next, so that time and steps match
            write_json(clock, spent + time.process_time() - began)
        if step % 500 == 0 and first():
            print(
                f"{setup.policy}, seed {setup.seed}: {step:6} of {total}, rate {schedule(step):.2g}, loss {loss:.3f}, "
                f"{spent + time.process_time() - began:.0f} s",
                flush=True,
            )

    points = train(
        task,
        lambda group: schedule if group.get("lr_mult", 1) == 1 else group["lr_mult"] * schedule,
        steps=setup.steps,
        eval_every=setup.eval_every,
        average=averaged_model(task.model) if setup.task in AVERAGED else None,  # changes nothing
        checkpoint=Checkpoint(folder, every=kept),
        progress=progress,
    )
    for point in points:
        point["lr"] = schedule(point["step"] - 1)  # of the weights, not of the fastest group
    return Run(
        **{field: getattr(setup, field) for field in Setup.__struct_fields__},
        steps_per_epoch=task.steps_per_epoch or 0,
        points=points,
        seconds=round(spent + time.process_time() - began, 1),
        versions=made_with(task),
        status="finished" if torch.isfinite(torch.tensor(points[-1]["loss"])) else "diverged",
    )


def report(name: str, run: Run) -> None:
    print(f"{name}: {100 * run.points[-1]['test_accuracy']:.2f} % in {run.seconds:.0f} s of one core", flush=True)
    shutil.rmtree(work_of(run.setup), ignore_errors=True)


def work_of(setup: Setup) -> Path:
    """The folder of a run's checkpoint. Its name encodes the whole set-up, so no other run uses it."""
    return WORK / f"{zlib.crc32(msgspec.json.encode(setup)):08x}-seed-{setup.seed}"


def made(setup: Setup) -> Task:
    return built(setup.task, setup.seed, setup.options, data_of(setup))


def data_of(setup: Setup) -> str:
    """The data set that a run's group asks for, which is not in its set-up: earlier records do not have it."""
    for group in read_groups(Path(os.environ["CYCLR_PAPER_TABLE"])):
        for row in group.filled():
            own = (group.on, row.name, row.steps, {**DEFAULTS, **row.task})
            if group.data and own == (setup.task, setup.policy, setup.steps, setup.options):
                return group.data
    return ""


def built(name: str, seed: int, given: Mapping[str, Any], data: str) -> Task:
    """The task, with the photographs of a data set if one is asked for.

    Raises:
        ValueError: If the photographs that are there have another number of classes than that data set.
    """
    options = dict(given)
    names, classes = DATA_SETS.get(data, ((), 0))
    folder = Path(os.environ.get("CYCLR_DATA", ""))
    if own := [folder / one for one in names if (folder / one).is_dir()]:
        options["data"] = str(own[0])
    task = tasks.build(name, seed, device=device(), **options)
    if data and (there := len(set(photos_of(task.train_loader).labels))) != classes:
        must = f"{options.get('data', folder)} must hold the {classes} classes of {data}"
        raise ValueError(problem(must, there, f"--data must be that data set, or hold it as {names[0]}/"))
    return task


def photos_of(loader: Any) -> Any:
    """The photographs that a loader takes its batches from; None for another kind of loader."""
    return getattr(loader, "photos", None)


def device() -> str:
    return os.environ.get("CYCLR_PAPER_DEVICE", "cpu")


def versions() -> dict[str, str]:
    """Of the libraries that a run depends on and that are installed, and where it ran."""
    libraries = {}
    for name in ("cyclr", "torch", "numpy", "pillow", "torchvision"):
        with suppress(PackageNotFoundError):
            libraries[name] = version(name)
    return {**libraries, "python": platform.python_version(), "device": device()}


def made_with(task: Task) -> dict[str, str]:
    """`versions`, and how many photographs a task has, if it has any."""
    halves: list[Any] = [task.train_loader, task.test_loader]
    if any(photos_of(half) is None for half in halves):
        return versions()
    classes = {photos_of(halves[0]).labels[number] for number in halves[0].chosen}
    counts = f"{len(halves[0].chosen):,} training and {len(halves[1].chosen):,} test images"
    return {**versions(), "data": f"{len(classes)} classes, {counts}"}


if __name__ == "__main__":
    main()
