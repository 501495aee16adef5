"""Callbacks that save the weights where cycles end, and stop a training whose time is up."""

from __future__ import annotations

import os
from typing import Any

from transformers import TrainerCallback

import cyclr.torch
from cyclr._metrics import GivenMetric
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr.torch._snapshots import Saving
from cyclr.torch._timed import TimedScheduler, is_over


class Snapshots(TrainerCallback):
    """Saves the model's weights where cycles end: `Trainer(callbacks=[Snapshots("folder")])`.

    A step is the Trainer's `global_step`, or with a `cyclr.torch.TimedScheduler` one of the schedule. A training that
    resumes from a checkpoint continues with the snapshots that are there. Where it is stopped in the middle of a cycle,
    a log line says at which rate.

    Args:
        folder: Where to save; created if it does not exist.
        plan: A `Plan` or a `Schedule`; by default that of the scheduler, as from `use_schedule`.
        every: Save after every so many steps: for an endless schedule, such as `warm_up(Constant(0.01), steps=500)`,
            which has no cycles that end.
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
        every: int | None = None,
        keep: int | None = None,
        metric: GivenMetric | None = None,
        patience: int | None = None,
        on_error: str = "raise",
    ) -> None:
        self._saving = Saving(folder, plan, every=every, keep=keep, metric=metric, patience=patience, on_error=on_error)

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, lr_scheduler: Any = None, **_: object
    ) -> None:
        """Look at what is there."""
        self.snapshots = self._saving.begin(model, lr_scheduler, _done(state, lr_scheduler))

    def on_step_end(self, args: Any, state: Any, control: Any, lr_scheduler: object = None, **_: object) -> None:
        """Save where a cycle ends."""
        control.should_training_stop |= self._saving.step(_done(state, lr_scheduler))

    def on_train_end(self, args: Any, state: Any, control: Any, lr_scheduler: object = None, **_: object) -> None:
        """Say where the training was stopped."""
        self._saving.end(_done(state, lr_scheduler))


class StopWhenFinished(TrainerCallback):
    """Stops the training when its `cyclr.torch.TimedScheduler` is finished: the time is up and the rate at its lowest.

    `use_schedule(trainer, schedule, minutes=30)` brings it along. It is needed where the scheduler is given to the
    Trainer: `Trainer(optimizers=(optimizer, TimedScheduler(...)), callbacks=[StopWhenFinished()])`. Let the training
    arguments ask for more steps than there is time for.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, lr_scheduler: object = None, **_: object) -> None:
        """Stop after the step with which the time is up."""
        control.should_training_stop |= is_over([lr_scheduler])


def _done(state: Any, scheduler: object) -> int:
    """Completed steps; by the clock, of the schedule."""
    return scheduler.last_epoch if isinstance(scheduler, TimedScheduler) else int(state.global_step)
