"""A schedule for the training to come, given or found."""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from cyclr._check import choice, problem
from cyclr._goals import GOAL_0_1, Goal
from cyclr._plan import Plan
from cyclr._range import Bounds, Curve, Kind, Search, enough
from cyclr._renamed import renamed
from cyclr._schedules import parse
from cyclr._tuned import Asked, Tuned
from cyclr.torch._groups import Given, check_given, resolve
from cyclr.torch._restore.transaction import preserved
from cyclr.torch._scheduler import DRIVEN, MISMATCH
from cyclr.torch._timed import check_minutes, scheduler_of
from cyclr.torch._training import recorder_of
from cyclr.transformers._callbacks import StopWhenFinished
from cyclr.transformers._range_test import check_trainer, run


def use_schedule(
    trainer: Trainer,
    schedule: Given | Plan | str | None = None,
    momentum: Given | str | None = None,
    weight_decay: Given | str | None = None,
    *,
    minutes: float | None = None,
    on_mismatch: str | None = None,
) -> None:
    """Drive the next training by schedules. Groups keep the ratios of their rates.

    A text may use two names: `epoch`, the number of steps in an epoch, and `steps`, that of the whole training. By
    default the texts are taken from the training arguments, so that they can be set in a file or on a command line:

        TrainingArguments(..., lr_scheduler_kwargs={"schedule": "Triangular2(1e-5, 1e-4, step_size=2*epoch)"})

    Checkpoints hold the step and the text, and a training resumes at that step. What a checkpoint of another schedule
    does, such as that of a shorter training or of the Trainer's own scheduler, is up to `on_mismatch`.

    Args:
        trainer: The Trainer, before `train`. One with a scheduler of its own (`optimizers=`) is refused.
        schedule: The learning rate: a schedule, a `Plan`, its text, or one for each group as in
            `cyclr.torch.Scheduler`.
        momentum: Drives momentum or the first beta.
        weight_decay: Drives weight decay.
        minutes: The schedule ends, and the training stops, when this time is up, as with a
            `cyclr.torch.TimedScheduler`: only the shape of the schedule counts. Let the trainer's own length be more
            than enough.
        on_mismatch: "error", the default; "keep_saved", continue with the saved schedule; or "keep_new", continue at
            the saved step with this one.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If no schedule is given, a text is not a schedule, or the trainer has a scheduler.
    """
    owner = check_trainer(trainer)
    given: dict[str, Any] = {"schedule": schedule, "momentum": momentum, "weight_decay": weight_decay}
    given |= {"minutes": minutes, "on_mismatch": on_mismatch}
    written = owner.args.lr_scheduler_kwargs or {}
    if schedule is None:
        for name in written:
            choice("a name in lr_scheduler_kwargs", name, given)
    given = {name: written.get(name) if value is None else value for name, value in given.items()}
    if given["schedule"] is None:
        advice = "pass one, or set TrainingArguments(lr_scheduler_kwargs={'schedule': 'Triangular(...)'})"
        raise ValueError(problem("a schedule must be given", None, advice))
    _check_no_scheduler(owner)
    mismatch, time = choice("on_mismatch", given.pop("on_mismatch") or "error", MISMATCH), given.pop("minutes")
    now = {name: _read(given[name], owner) for name in DRIVEN}  # an error now, not when training begins
    check_given(now)
    check_minutes(time, now["schedule"].schedule if isinstance(now["schedule"], Plan) else now["schedule"])
    if time is not None:
        owner.remove_callback(StopWhenFinished)
        owner.add_callback(StopWhenFinished)

    def create_scheduler(num_training_steps: int, optimizer: Any = None) -> Any:
        """Takes the place of `Trainer.create_scheduler`."""
        if owner.lr_scheduler is None:
            drives = owner.optimizer if optimizer is None else optimizer
            read = {name: _read(value, owner) for name, value in given.items()}
            owner.lr_scheduler = scheduler_of(drives, read, time, mismatch)
            owner._created_lr_scheduler = True
        return owner.lr_scheduler

    owner.create_scheduler = create_scheduler


@renamed(GOAL_0_1)
def auto(
    trainer: Trainer,
    *,
    goal: str | Goal = "final",
    momentum: tuple[float, float] | None = None,
    search: Search = Search(),  # noqa: B008 (a frozen value)
    on_mismatch: str = "error",
) -> Tuned:
    """Find the bounds, plan the training, and let the plan drive the `train` to come: four lines as one.

    The same as `range_test`, `Curve.bounds`, `plan` and `use_schedule` one after the other, for a training as long as
    `num_train_epochs` or `max_steps` in the training arguments make it. Nothing else is changed. The reasons for each
    choice go to the logger "cyclr" (level INFO).

    Args:
        trainer: The Trainer, before `train`. One with a scheduler of its own (`optimizers=`) is refused.
        goal: What the training is for: "final", one good model at the end; "ensemble", "average" or "anytime"; or a
            `cyclr.Goal`, which also says how many cycles. The snapshots of the plan are for it.
        momentum: From and to, such as (0.85, 0.95), to let momentum (or the first beta) fall while the rate rises;
            by default it is left alone.
        search: The range test, and which of its signals the bounds are read from.
        on_mismatch: As in `use_schedule`.

    Returns:
        Curve, bounds and plan.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, the training is too short, or the trainer has a scheduler.
        Inconclusive: If the range test gives no answer; the message says what to try.

    >>> import tempfile, torch, transformers
    >>> class Slope(torch.nn.Linear):
    ...     def forward(self, x):
    ...         return {"loss": (super().forward(x) - x.sum(1, keepdim=True)).square().mean()}
    >>> _ = torch.manual_seed(0)
    >>> data = [{"x": torch.randn(3)} for _ in range(320)]
    >>> quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "dataloader_pin_memory": False}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arguments = transformers.TrainingArguments(folder, num_train_epochs=2.5, **quiet)
    ...     tuned = auto(Trainer(Slope(3, 1), arguments, train_dataset=data))
    >>> tuned.plan.steps
    100
    """
    owner = check_trainer(trainer)
    _check_no_scheduler(owner)
    asked = Asked(search, Goal.of(goal), momentum)
    choice("on_mismatch", on_mismatch, MISMATCH)
    voice = asked.voice(first=owner.is_world_process_zero())
    how = {"ramp": search.ramp, "held_out": search.held_out, "progress": voice.progress}
    epoch, steps = _lengths(owner)
    recorder_of(loss_fn=None, **how, **asked.size("within", steps, epoch)._asdict())  # errors before any work

    def begin(optimizer: Any) -> None:
        _, opposed = asked.planned(Bounds(0.1, 1.0), steps, epoch)
        if opposed is not None:
            resolve("momentum", opposed, optimizer.param_groups)

    def test(kind: Kind) -> Curve:
        return run(owner, {**how, **asked.size(kind, steps, epoch)._asdict()}, begin)

    with voice:
        found = enough(test, lambda: steps, steps=search.ramp.steps, signal=search.signal, evaluates=asked.by_reference)
    tuned = asked.tuned(found, steps, epoch)
    use_schedule(trainer, tuned.plan, tuned.momentum, on_mismatch=on_mismatch)
    voice.found(tuned)
    return tuned


def _read(value: Any, trainer: Trainer) -> Any:
    """A text as a schedule; anything else unchanged."""
    if not isinstance(value, str):
        return value
    epoch, steps = _lengths(trainer)
    return parse(value, epoch=epoch, steps=steps)


def _lengths(trainer: Trainer) -> tuple[int, int]:
    """Optimizer steps in an epoch, and in the whole training."""
    with preserved([], also=[trainer, trainer.accelerator]):  # which keeps the loaders that it is shown
        numbers = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    return numbers[1], numbers[-1]


def _check_no_scheduler(trainer: Any) -> None:
    if trainer.lr_scheduler is not None and not trainer._created_lr_scheduler:
        advice = "leave the second of Trainer(optimizers=...) out"
        raise ValueError(problem("the trainer must not have a scheduler already", trainer.lr_scheduler, advice))
