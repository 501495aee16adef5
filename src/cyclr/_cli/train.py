"""`cyclr train`: one training of a task under a policy or a schedule, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cyclr import _check
from cyclr._cli import _console, processes
from cyclr._cli.plan import bounds_of
from cyclr._page.registry import describe
from cyclr._page.views import Reading
from cyclr._plan import plan
from cyclr._policies import POLICIES
from cyclr._policies import policy as make_schedule
from cyclr._range import Bounds, Curve, effort_for
from cyclr._schedules import Schedule, parse
from cyclr.study._engine import RECORD
from cyclr.study._records import Job, Run, claim, read_json, write_json

if TYPE_CHECKING:
    from cyclr.torch import Task


class Settings(msgspec.Struct, frozen=True):
    """What decides how `cyclr train` ends; kept in its folder."""

    task: str
    policy: str
    schedule: str | None
    epochs: int
    seed: int
    bounds: tuple[float, float] | None
    curve: str | None


def train(
    task: str,
    /,
    *,
    epochs: int = 10,
    policy: str = "auto",
    schedule: str | None = None,
    bounds: tuple[float, float] | None = None,
    curve: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Train a task under a policy, from the range test to the last epoch.

    The rates come from --bounds, from --curve or from a range test made first; --schedule needs none of them. With
    --out all is written down, and the same command goes on where it was stopped. Under torchrun all its processes train
    one model.

    Args:
        task: A built-in name, file.py:function or module:function.
        epochs: The budget.
        policy: The rule that makes the schedule: auto, fixed, step, linear, cosine, one_cycle, triangular2, …
        schedule: A schedule as text in place of a policy; it may use the word epoch for the steps in an epoch.
        bounds: Lowest and highest rate of the cycle.
        curve: A range test that `cyclr find --out` wrote.
        seed: Of the weights and of the order of the data.
        out: A folder for run.json, curve.json and the checkpoint.
        json: Print one JSON document instead, the record of the run.
    """
    epochs, seed = _check.count("--epochs", epochs), _check.count("--seed", seed, least=0)
    _check.choice("--policy", policy, POLICIES)
    settings = Settings(task, policy, schedule, epochs, seed, bounds, None if curve is None else str(curve))
    given = bounds_of(bounds, curve)
    if schedule is not None and (given is not None or policy != "auto"):
        raise ValueError("--schedule says all about the rates; leave out --policy, --bounds and --curve")
    with processes.joined():
        run = _train(settings, given, out, quiet=json)
        if json:
            _console.document(run)
        else:
            _console.show(describe(run))


def _train(settings: Settings, bounds: Bounds | None, out: Path | None, *, quiet: bool) -> Run:
    """From the task to the run."""
    from cyclr.tasks import _find as tasks

    task, policy, seed = settings.task, settings.policy, settings.seed
    made = tasks.build(task, seed)
    processes.check_shared(task, made)
    per_epoch = made.steps_per_epoch
    if per_epoch is None:
        raise ValueError(f"task {task}: train_loader must have a length, so that an epoch has an end")
    steps = settings.epochs * per_epoch
    chosen = None if settings.schedule is None else parse(settings.schedule, epoch=per_epoch)
    if out is not None:
        processes.once(lambda: claim(out / "settings.json", settings))
    if chosen is None:
        bounds = bounds or _find(settings, made, steps, out, quiet=quiet)
        chosen = _schedule(settings, bounds, per_epoch, quiet=quiet)
    name = policy if settings.schedule is None else "schedule"
    job = Job(task=task, policy=name, schedule=repr(chosen), seed=seed, steps=steps, eval_every=per_epoch)
    return _run(job, made, out)


def _find(settings: Settings, task: Task, steps: int, out: Path | None, *, quiet: bool) -> Bounds:
    """The bounds, from a range test that is made once."""
    from cyclr.tasks import _run as work

    path = None if out is None else out / "curve.json"
    curve = processes.once(lambda: Curve.load(path) if path is not None and path.exists() else None)
    if curve is None:
        curve = made = work.find_curve(task, settings.task, {"effort": effort_for(steps)})
        if path is not None:
            processes.once(lambda: made.save(path))
    bounds = curve.bounds()
    if not quiet:
        _console.show(describe(Reading.of(curve)))
    return bounds


def _schedule(settings: Settings, bounds: Bounds, per_epoch: int, *, quiet: bool) -> Schedule:
    """From the policy and the bounds."""
    if settings.policy != "auto":
        steps = settings.epochs * per_epoch
        return make_schedule(settings.policy, bounds, steps=steps, steps_per_epoch=per_epoch)
    made = plan(bounds, epochs=settings.epochs, steps_per_epoch=per_epoch)
    if not quiet:
        _console.show(describe(made))
    return made.schedule


def _run(job: Job, task: Task, out: Path | None) -> Run:
    """The run: read if it is finished, gone on with if it was stopped."""
    from cyclr.tasks import _run as work

    if out is None:
        return work.make_run(job, task=task, watch=True)
    record = out / RECORD
    run = processes.once(lambda: read_json(record, Run) if record.exists() else None)
    if run is not None:
        if run.job != job:
            raise ValueError(f"{record} is of another schedule, {run.schedule}; choose another folder")
        _console.note(f"{record} is finished; nothing is left to do")
        return run
    run = made = work.make_run(job, task=task, folder=out, watch=True)
    processes.once(lambda: write_json(record, made))
    return run
