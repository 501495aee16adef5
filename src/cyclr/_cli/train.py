"""`cyclr train`: one training of a task under a policy or a schedule, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cyclr import _check
from cyclr._cli import _console, _sections
from cyclr._cli import _processes as processes
from cyclr._cli._progress import steps_of
from cyclr._cli.plan import bounds_of
from cyclr._goals import GOALS
from cyclr._page.registry import describe
from cyclr._page.views import Reading
from cyclr._plan import Plan, plan
from cyclr._policies import check_policy, check_text, read, uses_bounds
from cyclr._policies import policy as make_schedule
from cyclr._range import Bounds, Curve, effort_for
from cyclr._schedules import Schedule, own_classes
from cyclr.study._files import CURVE, RECORD, SETTINGS, claim, read_json, write_json
from cyclr.study._records import Run, Setup, outputs_unknown

if TYPE_CHECKING:
    from cyclr.torch import Task

PLACE = 4  # among the verbs, in the order in which they are used
TOGETHER = ("ensemble", "average")  # goals whose snapshots are judged as one
EXAMPLES = (
    "cyclr train fashion --epochs 10",
    "cyclr train my_task.py:task --epochs 30 --seed 1 --out run-1",
    "cyclr train my_task.py:task --epochs 30 --goal ensemble --out run-2",
    'cyclr train my_task.py --policy "Linear(max_lr, max_lr / 9, steps=steps)"',
    'cyclr train my_task.py --schedule "Constant(0.01)" --epochs 30',
)


class Settings(msgspec.Struct, frozen=True):
    """The settings that determine the result of `cyclr train`; kept in its folder."""

    task: str
    policy: str
    schedule: str | None
    epochs: int
    seed: int
    bounds: tuple[float, float] | None
    curve: str | None
    goal: str = "final"


def train(
    task: str,
    /,
    *,
    epochs: int = 10,
    policy: str = "auto",
    schedule: str | None = None,
    goal: str = "final",
    bounds: tuple[float, float] | None = None,
    curve: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Train a task with a policy or a schedule, including the range test if one is needed.

    The bounds come from --bounds, from --curve or from a range test that is run first; a text needs them only if it
    uses base_lr or max_lr. With --out the training is recorded: if interrupted, run the same command again to
    resume. Under torchrun, all processes train one model.

    Args:
        task: A built-in task, file.py:function or module:function.
        epochs: Budget in epochs.
        policy: The rule that makes the schedule: auto, fixed, step, linear, cosine, one_cycle, triangular2, …; or the
            text of a schedule, which may use the names base_lr, max_lr, steps (the budget) and epoch (steps in an
            epoch), and must last the whole budget.
        schedule: A schedule as text with the same names, of any length, instead of a policy (the default).
        goal: What the training is for, with the policy auto: final, one good model; ensemble, several whose predictions
            are averaged; average, several whose weights are averaged; anytime, a good model at the end of each cycle.
            The ensemble or the average is judged at the end; its snapshots are in the folder of --out.
        bounds: Lower and upper bound of the learning rate; by default from a range test.
        curve: A range test saved by `cyclr find --out`, to use instead of running one (the default).
        seed: Random seed for the weights and the order of the data.
        out: Folder for run.json, curve.json and the checkpoint; by default nothing is saved.
        json: Print the record of the run as one JSON document instead of a table.
    """
    epochs, seed = _check.count("--epochs", epochs), _check.count("--seed", seed, least=0)
    check_policy("--policy", policy)
    _check.choice("--goal", goal, GOALS)
    settings = Settings(task, policy, schedule, epochs, seed, bounds, None if curve is None else str(curve), goal)
    given = bounds_of(bounds, curve)
    if goal != "final" and (schedule is not None or policy != "auto"):
        must = "--goal must be left out with --policy and --schedule, which have cycles of their own"
        raise ValueError(_check.problem(must, goal, "leave one of them out"))
    if schedule is not None:
        check_text("--schedule", schedule)
        if policy != "auto":
            raise ValueError("--schedule and --policy must not both be given; leave one out")
    if given is not None and not uses_bounds(schedule or policy):
        what = "--policy" if schedule is None else "--schedule"
        raise ValueError(
            f"--bounds and --curve must be left out with a {what} that uses neither base_lr nor max_lr; leave them "
            "out, or use these names in its text"
        )
    with processes.joined():
        run = _train(settings, given, out, quiet=json)
        if json:
            _console.document(run)
        else:
            _sections.show(describe(run))


def _train(settings: Settings, bounds: Bounds | None, out: Path | None, *, quiet: bool) -> Run:
    """From the task to the run."""
    from cyclr.tasks import _find as tasks

    task, policy, seed = settings.task, settings.policy, settings.seed
    made = tasks.build(task, seed)
    processes.check_shared(task, made)
    per_epoch = made.steps_per_epoch
    if per_epoch is None:
        raise ValueError(f"task {task}: train_loader must have a length, which defines an epoch; add __len__")
    steps = settings.epochs * per_epoch
    _check_members(settings, made)
    rule = settings.schedule or policy
    tasks.check_classes(task, own_classes(rule))
    _schedule(settings, Bounds(0.1, 1), per_epoch)  # report errors in a text before the range test
    if out is not None:
        processes.once(lambda: claim(out / SETTINGS, settings))
    if settings.curve is not None:
        bounds = Curve.load(settings.curve).bounds(budget=steps)
    if bounds is None and uses_bounds(rule):
        bounds = _find(settings, made, steps, out, quiet=quiet)
    chosen = _schedule(settings, bounds or Bounds(0.1, 1), per_epoch, quiet=quiet)
    name = policy if settings.schedule is None else "schedule"
    how = {"task": task, "policy": name, "seed": seed, "steps": steps, "eval_every": per_epoch}
    if isinstance(chosen, Plan):
        setup = _for_goal(Setup(**how, schedule=repr(chosen.schedule)), chosen)
    else:
        setup = Setup(**how, schedule=repr(chosen))
    return _run(setup, made, out)


def _check_members(settings: Settings, task: Task) -> None:
    """Report, before any work, what cannot end as several snapshots."""
    from cyclr.torch._ensemble import outputs_of

    if settings.goal in TOGETHER and processes.are_several():
        must = "--goal must be final or anytime under torchrun"
        raise ValueError(_check.problem(must, settings.goal, "start one process"))
    if settings.goal == "ensemble" and outputs_of(task) is None:
        raise outputs_unknown(settings.task)


def _for_goal(setup: Setup, made: Plan) -> Setup:
    """What is judged at the end of the training, and where cycles end."""
    if made.goal == "final" or len(made.snapshots) == 1:
        return setup
    if made.goal == "anytime":
        return msgspec.structs.replace(setup, eval_at=made.snapshots)
    return msgspec.structs.replace(setup, eval_at=made.snapshots, finish=made.goal, members=made.snapshots)


def _find(settings: Settings, task: Task, steps: int, out: Path | None, *, quiet: bool) -> Bounds:
    """The bounds, from a range test that is run once."""
    from cyclr.tasks import _run as work

    path = None if out is None else out / CURVE
    curve = processes.once(lambda: Curve.load(path) if path is not None and path.exists() else None)
    if curve is None:
        with steps_of(f"range test on {settings.task}") as tell:
            curve = made = work.find_curve(task, settings.task, effort=effort_for(steps), budget=steps, progress=tell)
        if path is not None:
            processes.once(lambda: made.save(path))
    bounds = curve.bounds(budget=steps)
    if not quiet:
        _sections.show(describe(Reading.of(curve, budget=steps)))
    return bounds


def _schedule(settings: Settings, bounds: Bounds, per_epoch: int, *, quiet: bool = True) -> Schedule | Plan:
    """From the text or the policy, and the bounds, which a text need not use."""
    steps = settings.epochs * per_epoch
    if settings.schedule is not None:
        return read(settings.schedule, bounds, steps=steps, epoch=per_epoch)
    if settings.policy != "auto":
        return make_schedule(settings.policy, bounds, steps=steps, steps_per_epoch=per_epoch)
    made = plan(bounds, epochs=settings.epochs, steps_per_epoch=per_epoch, goal=settings.goal)
    if not quiet:
        _sections.show(describe(made))
    return made


def _run(setup: Setup, task: Task, out: Path | None) -> Run:
    """The run: loaded if finished, resumed if interrupted."""
    from cyclr.tasks import _run as work

    def make() -> Run:
        with steps_of(f"training {setup.policy}", setup.steps) as tell:
            return work.make_run(setup, task=task, folder=out, progress=tell)

    if out is None:
        return make()
    record = out / RECORD
    run = processes.once(lambda: read_json(record, Run) if record.exists() else None)
    if run is not None:
        if run.setup != setup:
            raise ValueError(f"{record} was made with another schedule, {run.schedule}; choose another folder")
        _console.note(f"{record} is already finished")
        return run
    run = made = make()
    processes.once(lambda: write_json(record, made))
    return run
