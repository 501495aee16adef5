"""Hugging Face's Trainer: a range test by the Trainer's own steps, a schedule from its arguments, and `auto`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cyclr.torch
from cyclr._check import choice, problem
from cyclr._goals import GOAL_0_1, Goal
from cyclr._metrics import GivenMetric
from cyclr._plan import Plan
from cyclr._range import Bounds, Curve, HeldOut, Kind, Ramp, Search, StepProgress, enough
from cyclr._range.ramp import RAMP_0_1
from cyclr._renamed import renamed
from cyclr._schedules import Schedule, parse
from cyclr._tuned import Asked, Tuned
from cyclr.torch._batches import checked_loss, start_pass
from cyclr.torch._groups import Given, check_given, resolve
from cyclr.torch._reference import Evaluates
from cyclr.torch._restore.transaction import preserved
from cyclr.torch._scheduler import DRIVEN, MISMATCH, Scheduler
from cyclr.torch._snapshots import Saving
from cyclr.torch._training import recorder_of

try:
    from accelerate.state import GradientState
    from transformers import Trainer, TrainerCallback
except ModuleNotFoundError as error:
    if error.name not in ("accelerate", "transformers"):
        raise
    what = f"cyclr.transformers needs {error.name}, which is not installed; run: pip install 'cyclr[transformers]'"
    raise ImportError(what) from error


__all__ = ["Snapshots", "auto", "range_test", "use_schedule"]


def __dir__() -> list[str]:
    """The public names, which are what a reader looks for."""
    return __all__


@renamed(RAMP_0_1)
def range_test(
    trainer: Trainer,
    *,
    ramp: Ramp = Ramp(),
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    held_out: HeldOut | None = None,
    progress: StepProgress | None = None,
) -> Curve:
    """Train by the Trainer's own steps while the learning rate rises, and record the loss at each rate.

    A step is what `Trainer.train` makes of it: its `training_step` and `compute_loss`, even those of a subclass, its
    batches, accumulation, precision, clipping, gradients averaged over the processes. Callbacks are left out, nothing
    is logged or written. Model, trainer and randomness are restored on success, on an exception and on Ctrl-C. If
    there are several processes, each of them calls this and gets the same curve, of the mean loss.

    Args:
        trainer: The Trainer, before or after a `train`.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" or "thorough", as in `cyclr.torch.range_test`.
        budget: Steps of the training that the test prepares: it then costs at most 15 % of them, as there.
        held_out: Held-out batches with metrics, as in `cyclr.torch.range_test`; functions of (model, batch) if a
            batch is a dict.
        progress: Called after each block of steps with (steps done, total steps, rate, loss).

    Returns:
        The curve: rates (the largest of all groups) and losses, one row per repeat.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or the model is trained by DeepSpeed or FSDP.

    >>> import tempfile, torch, transformers
    >>> class Slope(torch.nn.Linear):
    ...     def forward(self, x):
    ...         return {"loss": (super().forward(x) - x.sum(1, keepdim=True)).square().mean()}
    >>> data = [{"x": torch.randn(3)} for _ in range(32)]
    >>> quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "dataloader_pin_memory": False}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arguments = transformers.TrainingArguments(folder, **quiet)
    ...     curve = range_test(Trainer(Slope(3, 1), arguments, train_dataset=data), ramp=Ramp(steps=20))
    >>> curve.losses.shape
    (1, 20)

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """
    _check_trainer(trainer)
    how = {"ramp": ramp, "repeats": repeats, "held_out": held_out, "progress": progress}
    how["budget"] = budget
    recorder_of(effort=effort, loss_fn=None, **how)  # errors before any work
    return _test(trainer, {**how, "effort": effort})


def _test(trainer: Any, how: dict[str, Any], begin: Callable[[Any], object] = bool) -> Curve:
    """A range test. `begin` is called with the optimizer before it."""
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise ValueError("the model must not be sharded by DeepSpeed or FSDP; test it on one process, or under DDP")
    accelerator = trainer.accelerator
    also = [trainer, trainer.model, trainer.state, trainer.control, trainer.callback_handler, accelerator]
    with preserved([], trainer.optimizer, scheduler=trainer.lr_scheduler, also=[*also, GradientState()]):
        loader = trainer.get_train_dataloader()
        optimizer = trainer.create_optimizer()
        begin(optimizer)
        model = trainer._wrap_model(trainer.model_wrapped)
        if model is trainer.model:
            model, optimizer = accelerator.prepare(model, optimizer)
        else:  # DataParallel
            optimizer = accelerator.prepare(optimizer)
        trainer.optimizer, trainer.model_wrapped, trainer.is_in_train = optimizer, model, True
        feed, step = _Feed(trainer, loader), _Step(trainer, model)
        return cyclr.torch.range_test(model, optimizer, feed, update=step, **how)


def use_schedule(
    trainer: Trainer,
    schedule: Given | Plan | str | None = None,
    momentum: Given | str | None = None,
    weight_decay: Given | str | None = None,
    *,
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
        on_mismatch: "error", the default; "keep_saved", continue with the saved schedule; or "keep_new", continue at
            the saved step with this one.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If no schedule is given, a text is not a schedule, or the trainer has a scheduler.
    """
    owner = _check_trainer(trainer)
    given: dict[str, Any] = {"schedule": schedule, "momentum": momentum, "weight_decay": weight_decay}
    given["on_mismatch"] = on_mismatch
    written = owner.args.lr_scheduler_kwargs or {}
    if schedule is None:
        for name in written:
            choice("a name in lr_scheduler_kwargs", name, given)
    given = {name: written.get(name) if value is None else value for name, value in given.items()}
    if given["schedule"] is None:
        advice = "pass one, or set TrainingArguments(lr_scheduler_kwargs={'schedule': 'Triangular(...)'})"
        raise ValueError(problem("a schedule must be given", None, advice))
    _check_no_scheduler(owner)
    mismatch = choice("on_mismatch", given.pop("on_mismatch") or "error", MISMATCH)
    check_given({name: _read(given[name], owner) for name in DRIVEN})  # an error now, not when training begins

    def create_scheduler(num_training_steps: int, optimizer: Any = None) -> Any:
        """Takes the place of `Trainer.create_scheduler`."""
        if owner.lr_scheduler is None:
            drives = owner.optimizer if optimizer is None else optimizer
            read = {name: _read(value, owner) for name, value in given.items()}
            owner.lr_scheduler = Scheduler(drives, **read, on_mismatch=mismatch)
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
    owner = _check_trainer(trainer)
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
        return _test(owner, {**how, **asked.size(kind, steps, epoch)._asdict()}, begin)

    with voice:
        found = enough(test, lambda: steps, steps=search.ramp.steps, signal=search.signal, evaluates=asked.by_reference)
    tuned = asked.tuned(found, steps, epoch)
    use_schedule(trainer, tuned.plan, tuned.momentum, on_mismatch=on_mismatch)
    voice.found(tuned)
    return tuned


class Snapshots(TrainerCallback):
    """Saves the model's weights where cycles end: `Trainer(callbacks=[Snapshots("folder")])`.

    A step is the Trainer's `global_step`. A training that resumes from a checkpoint continues with the snapshots that
    are there. Where it is stopped in the middle of a cycle, a log line says at which rate.

    Args:
        folder: Where to save; created if it does not exist.
        plan: A `Plan` or a `Schedule`; by default that of the scheduler, as from `use_schedule`.
        keep: Number of snapshots to keep: the last ones, or the best ones by `metric`. None keeps all.
        metric: Judges the model at the end of each cycle, on validation data, as in `cyclr.torch.Snapshots`.
        patience: Stop the training after this number of cycle ends in a row without a better metric.
        on_error: "raise", or "warn" once and go on without, when the disk is full or the folder cannot be written to.

    Raises:
        TypeError: At the start of the training, if an argument is of the wrong kind.
        ValueError: At the start of the training, as from `cyclr.torch.Snapshots`.
        OSError: Likewise, unless `on_error` is "warn".
    """

    #: What was saved; None before the first training.
    snapshots: cyclr.torch.Snapshots | None = None

    def __init__(
        self,
        folder: str | os.PathLike[str],
        plan: Plan | Schedule | None = None,
        *,
        keep: int | None = None,
        metric: GivenMetric | None = None,
        patience: int | None = None,
        on_error: str = "raise",
    ) -> None:
        self._saving = Saving(folder, plan, keep=keep, metric=metric, patience=patience, on_error=on_error)

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, lr_scheduler: Any = None, **_: object
    ) -> None:
        """Look at what is there."""
        self.snapshots = self._saving.begin(model, lr_scheduler, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Save where a cycle ends."""
        control.should_training_stop |= self._saving.step(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: object) -> None:
        """Say where the training was stopped."""
        self._saving.end(state.global_step)


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


def _check_trainer(trainer: Any) -> Any:
    """The same trainer, without its declared types: much of it is None until the training begins."""
    if not isinstance(trainer, Trainer):
        raise TypeError(problem("trainer must be a transformers.Trainer", trainer, "pass the trainer itself"))
    return trainer


def _check_no_scheduler(trainer: Any) -> None:
    if trainer.lr_scheduler is not None and not trainer._created_lr_scheduler:
        advice = "leave the second of Trainer(optimizers=...) out"
        raise ValueError(problem("the trainer must not have a scheduler already", trainer.lr_scheduler, advice))


@dataclass(frozen=True, slots=True)
class _Batches:
    """The batches of one update, and how many targets they hold together. No tuple: the Trainer moves them, not we."""

    batches: list[Any]
    targets: Any


class _Feed:
    """The Trainer's batches, those of one update at a time."""

    def __init__(self, trainer: Any, loader: Any) -> None:
        self.loader, self._passes = loader, 0
        # No attribute holds the trainer: what a loader holds is put back to the place where the test found it.
        args = trainer.args
        self._get, self._how = trainer.get_batch_samples, (args.gradient_accumulation_steps, args.device)

    @property
    def loaders(self) -> list[Any]:
        """Where the batches come from."""
        return [self.loader]

    def __iter__(self) -> Iterator[_Batches]:
        if callable(tell := getattr(self.loader, "set_epoch", None)):
            tell(self._passes)
        batches = start_pass(self.loader, self._passes)
        self._passes += 1
        while (found := self._get(batches, *self._how))[0]:
            yield _Batches(*found)


class _Step(Evaluates):
    """One update, as the Trainer makes it: the body of its training loop without callbacks."""

    def __init__(self, trainer: Any, model: Any) -> None:
        self.trainer, self.model = trainer, model
        self.scaler = trainer.accelerator.scaler  # found, and so restored, as part of the step function

    def __call__(self, update: _Batches) -> Any:
        """Make the update and return its loss."""
        trainer, accelerator = self.trainer, self.trainer.accelerator
        trainer.current_gradient_accumulation_steps = len(update.batches)
        total: Any = 0.0
        for number, batch in enumerate(update.batches, 1):
            last = number == len(update.batches)
            accelerator.gradient_state._set_sync_gradients(last)
            with contextlib.nullcontext() if last else accelerator.no_sync(self.model):
                total = total + checked_loss(trainer.training_step(self.model, batch, update.targets))
        if trainer.args.max_grad_norm > 0:
            trainer._clip_grad_norm(self.model)
        trainer.optimizer.step()
        self.model.zero_grad()
        return total

    def evaluated(self, update: _Batches, /) -> Any:
        """The loss of an update's batches, without the update."""
        losses = []
        for batch in update.batches:
            inputs = self.trainer._prepare_inputs(batch)
            with self.trainer.compute_loss_context_manager():
                losses.append(self.trainer.compute_loss(self.model, inputs, num_items_in_batch=update.targets).mean())
        return checked_loss(sum(losses[1:], losses[0]))
