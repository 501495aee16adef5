"""The scheduler as timm's training script calls one."""

from __future__ import annotations

from torch.optim import Optimizer

from cyclr._check import count, problem
from cyclr._plan import Plan
from cyclr.torch._groups import Given, initial, plain, put
from cyclr.torch._scheduler import Scheduler
from cyclr.torch._task import check_optimizer


class TimmScheduler(Scheduler):
    """A `Scheduler` for timm's `train.py`, in place of what `timm.scheduler.create_scheduler_v2` makes.

    The script calls `step_update(num_updates)` after each update and `step(epoch)` after each epoch, and where it
    resumes only one of them; both set the rates of that very update. The factors of layer decay (`lr_scale` in the
    groups) move into the groups' rates, whose ratios are kept.

    Args:
        optimizer: The optimizer to drive.
        schedule: The learning rate at each update, as in `Scheduler`.
        updates_per_epoch: Optimizer steps in an epoch; not needed with a `Plan` that knows them.
        momentum: As in `Scheduler`.
        weight_decay: As in `Scheduler`.
        on_mismatch: As in `Scheduler`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, or `updates_per_epoch` is not known.

    >>> import torch
    >>> from cyclr import Linear
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1)
    >>> scheduler = TimmScheduler(optimizer, Linear(0.1, 0, steps=100), updates_per_epoch=10)
    >>> scheduler.step(3)  # as the script does when it resumes at epoch 3
    >>> round(scheduler.get_last_lr()[0], 3)
    0.07
    """

    #: The script prints it: rates change with each update, not with each epoch.
    t_in_epochs = False

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Given | Plan,
        updates_per_epoch: int | None = None,
        momentum: Given | None = None,
        weight_decay: Given | None = None,
        *,
        on_mismatch: str = "error",
    ) -> None:
        known = schedule.steps_per_epoch if isinstance(schedule, Plan) else None
        if updates_per_epoch is None and known is None:
            advice = "pass the script's updates_per_epoch, or a plan that was made with steps_per_epoch"
            raise ValueError(problem("updates_per_epoch must be known", None, advice))
        self.updates_per_epoch = count("updates_per_epoch", known if updates_per_epoch is None else updates_per_epoch)
        self._epoch = 0
        check_optimizer("optimizer", optimizer)
        before = [(group, dict(group), plain(group["lr"])) for group in optimizer.param_groups]
        try:
            for group, _, rate in before:
                scale = group.pop("lr_scale", 1.0)
                group["initial_lr"] = initial(group) * scale
                put(group, "lr", rate * scale)
            super().__init__(optimizer, schedule, momentum, weight_decay, on_mismatch=on_mismatch)
            self._step_count = 2  # a script that resumes calls us before its first update, of which torch would warn
        except (TypeError, ValueError):
            for group, old, rate in before:
                group.clear()
                group.update(old)
                put(group, "lr", rate)
            raise

    def step(self, epoch: int | None = None, metric: float | None = None) -> None:
        """Set everything to its value at the first update of an epoch; without `epoch`, at the next update.

        Args:
            epoch: Epochs done.
            metric: Not used.

        Raises:
            TypeError: If `epoch` is not an integer.
        """
        if epoch is None:
            super().step()
            return
        self._epoch = count("epoch", epoch, least=0)
        self._jump(self._epoch * self.updates_per_epoch)

    def step_update(self, num_updates: int, metric: float | None = None) -> None:
        """Set everything to its value at an update. Call it after each update.

        Args:
            num_updates: Updates done, those of earlier epochs included.
            metric: Not used.

        Raises:
            TypeError: If `num_updates` is not an integer.
            ValueError: If there are more updates in an epoch than was said.
        """
        updates = count("num_updates", num_updates, least=0)
        if self.last_epoch == 0:  # a training that is resumed begins at another epoch
            self._epoch = updates // self.updates_per_epoch
        if updates > (self._epoch + 1) * self.updates_per_epoch:
            what = (
                f"updates_per_epoch must be the updates between two calls of step(epoch), got {self.updates_per_epoch}"
            )
            raise ValueError(f"{what} and update {updates} in epoch {self._epoch}; pass the number that the script has")
        self._jump(updates)

    def _jump(self, updates: int) -> None:
        """Set everything to its value after that number of updates."""
        if updates == self.last_epoch + 1:
            super().step()
        elif updates != self.last_epoch:
            self.load_state_dict(self.state_dict() | {"last_epoch": updates})
