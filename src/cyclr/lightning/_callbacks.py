"""Callbacks that save the weights where cycles end, and stop a training whose time is up."""

from __future__ import annotations

import os
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

import cyclr.torch
from cyclr._metrics import GivenMetric
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr.torch._scheduler import Scheduler
from cyclr.torch._snapshots import Saving
from cyclr.torch._timed import is_over


class Snapshots(Callback):
    """Saves the module's weights where cycles end: `Trainer(callbacks=[Snapshots("folder")])`.

    Steps are those of the first `cyclr.torch.Scheduler` of the training, or else the Trainer's `global_step`. A `fit`
    that resumes from a checkpoint continues with the snapshots that are there. Where a training is stopped in the
    middle of a cycle, a log line says at which rate.

    Args:
        folder: Where to save; created if it does not exist.
        plan: A `Plan` or a `Schedule`; by default that of the scheduler.
        every: Save after every so many steps: for an endless schedule, such as `warm_up(Constant(0.01), steps=500)`,
            which has no cycles that end.
        keep: Number of snapshots to keep: the last ones, or the best ones by `metric`. None keeps all.
        metric: Judges the module at the end of each cycle, on validation data: a function of the LightningModule, as in
            `cyclr.torch.Snapshots`.
        patience: Stop the training after this number of cycle ends in a row without a better metric.
        on_error: "raise", or "warn" once and go on without, when the disk is full or the folder cannot be written to.

    Raises:
        TypeError: At the start of `fit`, if an argument is of the wrong kind.
        ValueError: At the start of `fit`, as from `cyclr.torch.Snapshots`.
        OSError: Likewise, unless `on_error` is "warn".

    >>> import tempfile, torch
    >>> from lightning.pytorch.demos.boring_classes import BoringModel
    >>> from cyclr import Triangular
    >>> from cyclr.lightning import use_schedule
    >>> class Net(BoringModel):
    ...     def configure_optimizers(self):
    ...         return torch.optim.SGD(self.parameters(), lr=0.1)
    >>> net, saving = Net(), Snapshots(tempfile.mkdtemp())
    >>> use_schedule(net, Triangular(0.01, 0.1, step_size=16).take(64))
    >>> quiet = {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
    >>> Trainer(max_epochs=1, accelerator="cpu", callbacks=[saving], enable_model_summary=False, **quiet).fit(net)
    >>> [snapshot.step for snapshot in saving.snapshots]
    [32, 64]
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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what is there."""
        self.snapshots = self._saving.begin(pl_module, _scheduler(trainer), _done(trainer))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where a cycle ends."""
        if self._saving.step(_done(trainer)):
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the training was stopped."""
        self._saving.end(_done(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say where the training was stopped by Ctrl-C or an error."""
        self._saving.end(_done(trainer))


class StopWhenFinished(Callback):
    """Stops the training when its `cyclr.torch.TimedScheduler` is finished: the time is up and the rate at its lowest.

    `use_schedule(module, schedule, minutes=30)` brings it along. It is needed where `configure_optimizers` returns a
    `TimedScheduler`, with the interval "step": `Trainer(max_epochs=-1, callbacks=[StopWhenFinished()])`. Where there
    are several, all must be finished.

    >>> import torch
    >>> from lightning.pytorch.demos.boring_classes import BoringModel
    >>> from cyclr import one_cycle
    >>> class Net(BoringModel):
    ...     def configure_optimizers(self):
    ...         optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
    ...         scheduler = cyclr.torch.TimedScheduler(optimizer, one_cycle(0.1, steps=100), minutes=0.001)
    ...         return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
    >>> net, quiet = Net(), {"enable_progress_bar": False, "enable_checkpointing": False, "logger": False}
    >>> quiet |= {"enable_model_summary": False, "limit_val_batches": 0}
    >>> Trainer(max_epochs=-1, accelerator="cpu", callbacks=[StopWhenFinished()], **quiet).fit(net)
    >>> net.lr_schedulers().get_last_lr()
    [0.0]
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if a checkpoint of a finished training was loaded."""
        self._stop(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after the step with which the time is up."""
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        if is_over(config.scheduler for config in trainer.lr_scheduler_configs):
            trainer.should_stop = True


def _scheduler(trainer: Trainer) -> Scheduler | None:
    schedulers = (config.scheduler for config in trainer.lr_scheduler_configs)
    return next((one for one in schedulers if isinstance(one, Scheduler)), None)


def _done(trainer: Trainer) -> int:
    scheduler = _scheduler(trainer)
    return trainer.global_step if scheduler is None else scheduler.last_epoch
