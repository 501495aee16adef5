"""A schedule for the training to come, given or found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil, inf
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.core.optimizer import _configure_optimizers
from torch.optim import Optimizer

from cyclr._check import choice, problem
from cyclr._goals import GOAL_0_1, Goal
from cyclr._plan import Plan
from cyclr._range import Bounds, Curve, Kind, Search, Size, enough
from cyclr._renamed import renamed
from cyclr._schedules import Schedule
from cyclr._tuned import Asked, Tuned
from cyclr.lightning._callbacks import StopWhenFinished
from cyclr.lightning._range_test import Only, check_parts, run
from cyclr.torch._groups import Given, check_given, initial, resolve
from cyclr.torch._scheduler import MISMATCH
from cyclr.torch._timed import check_minutes, scheduler_of
from cyclr.torch._trainer import Chosen


def use_schedule(
    module: LightningModule,
    schedule: Given | Plan,
    momentum: Given | None = None,
    weight_decay: Given | None = None,
    *,
    optimizer: int | None = None,
    minutes: float | None = None,
    on_mismatch: str = "error",
) -> None:
    """Let schedules drive the trainings to come, step by step, without a change of `configure_optimizers`.

    What `configure_optimizers` returns is given a `cyclr.torch.Scheduler` with the interval "step". Groups and
    optimizers keep the ratios of their rates. A second call replaces the schedules of the first. With manual
    optimization Lightning steps no scheduler: `training_step` calls `self.lr_schedulers().step()`.

    Args:
        module: The LightningModule, whose `configure_optimizers` returns no scheduler of its own.
        schedule: The learning rate at each step: a schedule, a `Plan`, or one for each group as in
            `cyclr.torch.Scheduler`.
        momentum: Drives momentum or the first beta.
        weight_decay: Drives weight decay.
        optimizer: Where there are several, the index of the one to drive; by default all.
        minutes: The schedule ends, and the training stops, when this time is up, as with a
            `cyclr.torch.TimedScheduler`: only the shape of the schedule counts. Let the trainer's own length be more
            than enough.
        on_mismatch: What a checkpoint of another schedule does: "error"; "keep_saved", continue with the saved
            schedule; or "keep_new", continue at the saved step with this one.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range.

    >>> from cyclr import Triangular
    >>> from lightning.pytorch.demos.boring_classes import BoringModel
    >>> class Net(BoringModel):
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=0.1)
    >>> import torch
    >>> net = Net()
    >>> use_schedule(net, Triangular(0.01, 0.1, step_size=20))
    >>> net.configure_optimizers()[0]["lr_scheduler"]["scheduler"].get_last_lr()
    [0.01]
    """
    if not isinstance(module, LightningModule):
        raise TypeError(problem("module must be a LightningModule", module, "pass the module itself"))
    given = {"schedule": schedule, "momentum": momentum, "weight_decay": weight_decay}
    check_given(given)
    check_minutes(minutes, schedule.schedule if isinstance(schedule, Plan) else schedule)
    choice("on_mismatch", on_mismatch, MISMATCH)
    how = (given, optimizer, minutes, on_mismatch)
    # A bound method and a partial of it are copied and pickled with the module.
    setattr(module, "configure_optimizers", partial(_configured, _own(module, "configure_optimizers"), *how))  # noqa: B010
    if minutes is not None:
        setattr(module, "configure_callbacks", partial(_with_stop, _own(module, "configure_callbacks")))  # noqa: B010


@renamed(GOAL_0_1)
def auto(
    trainer: Trainer,
    module: LightningModule,
    train_dataloaders: Any = None,
    *,
    datamodule: Any = None,
    optimizer: int | None = None,
    loss: str = "loss",
    goal: str | Goal = "final",
    momentum: tuple[float, float] | None = None,
    search: Search = Search(),  # noqa: B008 (a frozen value)
    on_mismatch: str = "error",
) -> Tuned:
    """Find the bounds, plan the training, and let the plan drive the `fit` to come: four lines as one.

    The same as `range_test`, `Curve.bounds`, `plan` and `use_schedule` one after the other, for a training as long as
    the trainer's `max_epochs` or `max_steps` make it. Nothing else is changed. The reasons for each choice go to the
    logger "cyclr" (level INFO).

    Args:
        trainer: The Trainer of the training to come.
        module: The LightningModule, whose `configure_optimizers` returns no scheduler of its own.
        train_dataloaders: Training data, as for `Trainer.fit`.
        datamodule: A LightningDataModule in place of `train_dataloaders`.
        optimizer: Where there are several, the index of the one to drive; by default all.
        loss: The key of the loss, where `training_step` returns a dict.
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
        ValueError: If a value is out of range, the training has no end or is too short, or the module has a scheduler.
        Inconclusive: If the range test gives no answer; the message says what to try.

    >>> import torch
    >>> from lightning import LightningModule, seed_everything
    >>> class Net(LightningModule):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.net = torch.nn.Linear(8, 1)
    ...     def training_step(self, batch, batch_idx):
    ...         return (self.net(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean()
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=0.1)
    >>> _ = seed_everything(0, verbose=False)
    >>> loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(640, 8)), batch_size=16)
    >>> quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
    >>> trainer = Trainer(max_epochs=5, accelerator="cpu", logger=False, **quiet)
    >>> tuned = auto(trainer, Net(), loader)
    >>> tuned.plan.steps
    200
    """
    check_parts(trainer, module)
    asked = Asked(search, Goal.of(goal), momentum)
    choice("on_mismatch", on_mismatch, MISMATCH)
    voice = asked.voice(first=trainer.is_global_zero)
    how = {"ramp": search.ramp, "held_out": search.held_out, "progress": voice.progress}
    callbacks: list[Any] = getattr(trainer, "callbacks", [])
    length = _Length(asked, optimizer, callbacks)

    def test(kind: Kind) -> Curve:
        made = Only(optimizer=optimizer, loss=loss, **how)
        made.size_in = partial(length, kind)
        return run(made, trainer, module, train_dataloaders, datamodule)

    evaluates = asked.by_reference and (module.automatic_optimization or search.held_out is None)
    with voice:
        found = enough(test, lambda: length.steps, steps=search.ramp.steps, signal=search.signal, evaluates=evaluates)
    tuned = asked.tuned(found, length.steps, length.epoch)
    use_schedule(module, tuned.plan, tuned.momentum, optimizer=optimizer, on_mismatch=on_mismatch)
    voice.found(tuned)
    return tuned


class _Length:
    """Checks a training that has begun, and notes how long it will be."""

    def __init__(self, asked: Asked, which: int | None, callbacks: list[Any]) -> None:
        self.asked, self.which = asked, which
        self.changing = [one for one in callbacks if isinstance(one, GradientAccumulationScheduler)]
        self.steps = 0
        self.epoch: int | None = None

    def __call__(self, kind: Kind, trainer: Trainer) -> Size:
        module, optimizers = trainer.lightning_module, trainer.optimizers
        if trainer.lr_scheduler_configs and not _is_ours(module):
            raise _has_scheduler([config.scheduler for config in trainer.lr_scheduler_configs])
        steps = self._stepping_batches(trainer)
        if not 0 < steps < float("inf"):
            advice = "set Trainer(max_steps=...), or max_epochs where the data have a length"
            raise ValueError(problem("the training must have an end", steps, advice))
        batches = trainer.num_training_batches
        epoch = None if batches == inf or self.changing else ceil(batches / trainer.accumulate_grad_batches)
        self.steps, self.epoch = int(steps), epoch
        _, opposed = self.asked.planned(Bounds(0.1, 1.0), self.steps, epoch)
        if opposed is not None:
            resolve("momentum", opposed, Chosen(optimizers, self.which).param_groups)
        return self.asked.size(kind, self.steps, epoch)

    def _stepping_batches(self, trainer: Trainer) -> float:
        """Steps of the whole training; Lightning's estimate does not know of an accumulation that changes."""
        steps, batches = trainer.estimated_stepping_batches, trainer.num_training_batches
        if not self.changing or trainer.max_epochs in (None, -1) or batches == inf:
            return steps
        counts = map(self.changing[0].get_accumulate_grad_batches, range(trainer.max_epochs))
        made = sum(ceil(batches / count) for count in counts)
        return made if trainer.max_steps == -1 else min(made, trainer.max_steps)


def _is_ours(module: Any, hook: str = "configure_optimizers") -> bool:
    """Whether `use_schedule` has replaced that hook of the module."""
    configure = vars(module).get(hook)
    return isinstance(configure, partial) and configure.func in (_configured, _with_stop)


def _own(module: Any, hook: str) -> Callable[[], Any]:
    """The module's own hook."""
    return getattr(module, hook).args[0] if _is_ours(module, hook) else getattr(module, hook)


def _with_stop(own: Callable[[], Any]) -> list[Callback]:
    """What `configure_callbacks` returns, with the one that stops when the time is up."""
    made = own()
    return [*(made if isinstance(made, Sequence) else [made]), StopWhenFinished()]


def _configured(
    own: Callable[[], Any], given: dict[str, Any], which: int | None, minutes: float | None, on_mismatch: str
) -> list[dict[str, Any]]:
    """What `configure_optimizers` returns, with our schedulers."""
    made = own()
    optimizers, schedulers, _ = _configure_optimizers(made if made is not None else [])
    if schedulers:
        raise _has_scheduler(schedulers)
    if which is not None and not (isinstance(which, int) and 0 <= which < len(optimizers)):
        raise ValueError(problem(f"optimizer must be None or an index below {len(optimizers)}", which))
    chosen = optimizers if which is None else [optimizers[which]]
    largest = max((_largest(one) for one in chosen), default=0.0)
    found: list[dict[str, Any]] = [{"optimizer": one} for one in optimizers]
    for entry in found:
        if (driven := entry["optimizer"]) in chosen:
            ratio = _largest(driven) / largest if largest > 0 else 1.0
            schedule = _in_ratio(given["schedule"], ratio)
            scheduler = scheduler_of(driven, {**given, "schedule": schedule}, minutes, on_mismatch)
            entry["lr_scheduler"] = {"scheduler": scheduler, "interval": "step"}
    return found


def _largest(optimizer: Optimizer) -> float:
    return max(map(initial, optimizer.param_groups))


def _in_ratio(schedule: Any, ratio: float) -> Any:
    """One schedule for all in the ratio of an optimizer's rate to the largest; others are for groups already."""
    if ratio == 1:
        return schedule
    if isinstance(schedule, Plan) and ratio > 0:
        return replace(schedule, schedule=ratio * schedule.schedule)  # which still says where to save
    return ratio * schedule if isinstance(schedule, Schedule) and ratio > 0 else schedule


def _has_scheduler(found: list[Any]) -> ValueError:
    advice = "return the optimizer alone"
    return ValueError(problem("configure_optimizers must not return a scheduler of its own", found, advice))
