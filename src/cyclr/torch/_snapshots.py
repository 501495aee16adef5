"""Snapshots of a model's weights at the ends of cycles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.optim.lr_scheduler import LRScheduler

from cyclr._check import count, problem
from cyclr._metrics import GivenMetric
from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr._snapshots import Course, Folder, Snapshot, judge_of
from cyclr._stopping import Interruption, Patience, interruption, tell_interruption
from cyclr.torch._batches import check_callable
from cyclr.torch._distributed import everybody, group_of, once
from cyclr.torch._members import check_savable, shapes_of, size_of_weights, to_save, unwrapped, weights_of
from cyclr.torch._scheduler import Scheduler
from cyclr.torch._task import check_model


class Snapshots:
    """Saves a model's weights where cycles end. Call `step()` after each `scheduler.step()`, or where a cycle ends.

    Each snapshot is a safetensors file with the state_dict of the model, without what `DistributedDataParallel` and
    `torch.compile` add to names. A file is complete or absent: killing the process cannot leave half of one. It holds
    the schedule, too, so that a folder is continued only by the same plan, or by one that extends it.
    A training that is resumed continues with the snapshots that are there.

    In a distributed training every process makes one and calls `step()`; the first one writes. Of a sharded model
    (FSDP2) the whole weights are gathered.

    Args:
        folder: Where to save; created if it does not exist.
        model: The model that is trained.
        scheduler: Counts the steps, as `last_epoch`; may be wrapped by Accelerate. None if `step(done)` gets the count.
        plan: A `Plan`, whose `snapshots` are the steps to save at, or a `Schedule`, whose `cycle_ends` are; by default
            those of a `cyclr.torch.Scheduler`.
        every: Save after every so many steps: for an endless schedule, such as `warm_up(Constant(0.01), steps=500)`,
            which has no cycles that end.
        keep: Number of snapshots to keep: the last ones, or the best ones by `metric`. None keeps all.
        metric: Judges the model at the end of each cycle, on validation data: a function of the model, such as
            `(lambda model: cyclr.torch.evaluate(model, loader, loss_fn)["loss"], "min")`. In a distributed training
            all processes call it, and the value of the first one counts. A value that is not finite is the worst.
        on_error: What to do when the disk is full or the folder cannot be written to: "raise", or "warn" once and go
            on without. Earlier snapshots stay complete in either case.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, the schedule is endless without `every` or ends beside it, or the folder
            holds snapshots of another plan or of another model.
        OSError: If the folder cannot be written to or the disk has less room than `needed`, unless `on_error` is
            "warn".

    >>> import tempfile, torch, cyclr
    >>> plan = cyclr.plan(cyclr.Bounds(0.01, 0.1), steps=40, goal="ensemble")
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> scheduler = Scheduler(optimizer, plan)
    >>> snapshots = Snapshots(tempfile.mkdtemp(), model, scheduler)
    >>> for _ in range(plan.steps):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     _ = snapshots.step()
    >>> [snapshot.step for snapshot in snapshots], snapshots.paths[-1].name
    ([20, 25, 30, 35, 40], 'snapshot-40.safetensors')

    Reference:
        Huang et al. (2017), Snapshot Ensembles. https://arxiv.org/abs/1704.00109
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        model: torch.nn.Module,
        scheduler: LRScheduler | None = None,
        plan: Plan | Schedule | Course | None = None,
        *,
        every: int | None = None,
        keep: int | None = None,
        metric: GivenMetric | None = None,
        on_error: str = "raise",
    ) -> None:
        check_model("model", model)
        self.scheduler = _counting(scheduler)
        course = Course.of(_planned(self.scheduler) if plan is None else plan, every)
        self.metric, judged, better = judge_of(metric)
        if self.metric is not None:
            check_callable("metric", self.metric.function, "pass a pair (function of the model, 'min')")
        check_savable(unwrapped(model).state_dict())
        if any(type(part).__name__ == "FullyShardedDataParallel" for part in model.modules()):
            raise ValueError(
                "the model must be sharded by fully_shard (FSDP2) to be saved, got one of FSDP1; shard it so"
            )
        self.model, self.group = model, group_of(model) or everybody()
        shapes, size = shapes_of(model), size_of_weights(model)
        self._folder: Folder = once(
            lambda: Folder(folder, course, shapes, size, keep=keep, judged=judged, better=better, on_error=on_error),
            self.group,
        )
        #: The value of the metric at each cycle end that was judged, before an interruption, too.
        self.values: dict[int, float] = dict(self._folder.values)

    def step(self, done: int | None = None) -> Path | None:
        """Save if a cycle ends here.

        Args:
            done: Completed optimizer steps; by default those of the scheduler.

        Returns:
            The file that was written, if any.

        Raises:
            ValueError: If a new training would mix its snapshots with those of an earlier one.
            OSError: If the file cannot be written, unless `on_error` is "warn".

        Warns:
            UserWarning: If the end of a cycle was passed between two calls.
        """
        done = self._done(done)
        if not self._folder.begun and isinstance(self.scheduler, Scheduler):
            self._folder.begin(self.scheduler.begun_at)
        if not self._folder.due(done):
            return None
        value = None if self.metric is None else float(self.metric(self.model))
        weights = weights_of(self.model)

        def save() -> tuple[Path | None, tuple[Snapshot, ...], float | None]:
            path = self._folder.save(done, lambda path, said: _write(weights, path, said), value)
            return path, self._folder.kept, value

        path, self._folder.kept, value = once(save, self.group)
        if value is not None:
            self.values[done] = value
        return path

    def cost(self, done: int | None = None) -> Interruption:
        """What it costs to stop here, in the middle of a cycle or at its end; `str` of it is a sentence."""
        return interruption(self._folder.course, self._done(done))

    @property
    def ends(self) -> tuple[int, ...]:
        """Numbers of completed steps at which snapshots are saved; empty with `every`."""
        return self._folder.course.ends

    @property
    def needed(self) -> int:
        """The most bytes of disk that the training will still take; of an endless one without `keep`, the next."""
        return self._folder.needed

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order of their steps."""
        return tuple(snapshot.path for snapshot in self)

    def _done(self, done: int | None) -> int:
        if done is None and self.scheduler is None:
            raise ValueError(problem("done must be given without a scheduler", None, "pass the completed steps"))
        return count("done", self.scheduler.last_epoch if done is None else done, least=0)

    def __iter__(self) -> Iterator[Snapshot]:
        """The snapshots, in the order of their steps, each with `step`, `path` and `value`."""
        return iter(self._folder.kept)

    def __len__(self) -> int:
        return len(self._folder.kept)

    def __repr__(self) -> str:
        return f"<{len(self)} snapshots in {self._folder.path}>"


class Saving:
    """Snapshots and early stopping as the callback of a trainer has them: made when the training begins."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        plan: Plan | Schedule | None,
        *,
        every: int | None = None,
        keep: int | None,
        metric: GivenMetric | None,
        patience: int | None,
        on_error: str,
    ) -> None:
        self.patience = Patience(patience, judged=metric is not None)
        self.given: dict[str, Any] = {
            "folder": folder,
            "plan": plan,
            "every": every,
            "keep": keep,
            "metric": metric,
            "on_error": on_error,
        }
        self.snapshots: Snapshots | None = None

    def begin(self, model: torch.nn.Module, scheduler: LRScheduler | None, done: int) -> Snapshots:
        """Look at what is there; early stopping goes on where the training was interrupted, after `done` steps."""
        self.snapshots = found = Snapshots(model=model, scheduler=scheduler, **self.given)
        found._folder.begin(done)
        self.patience.begin(found._folder.course, found._folder.better, found._folder.values)
        return found

    def step(self, done: int) -> bool:
        """Save where a cycle ends; whether to stop."""
        assert self.snapshots is not None
        self.snapshots.step(done)
        return self.patience.exhausted(done, self.snapshots.values.get(done))

    def end(self, done: int) -> None:
        """Say what it costs to have stopped here."""
        if self.snapshots is not None:
            tell_interruption(self.snapshots._folder.course, done)


def _write(weights: dict[str, torch.Tensor], path: Path, said: dict[str, str]) -> None:
    tensors, shared = to_save(weights)
    save_file(tensors, path, metadata={"format": "pt", **shared, **said})  # the first is what Transformers looks for


def _counting(scheduler: Any) -> Any:
    """The scheduler that counts optimizer steps; Accelerate wraps it."""
    inner = getattr(scheduler, "scheduler", None)
    scheduler = inner if isinstance(inner, LRScheduler) else scheduler
    if scheduler is not None and not hasattr(scheduler, "last_epoch"):
        raise TypeError(problem("scheduler must be a learning-rate scheduler", scheduler, "pass Scheduler(...)"))
    return scheduler


def _planned(scheduler: Any) -> Plan | Schedule:
    """The plan or the schedule of a scheduler; of several schedules, the one with the highest rate."""
    if not isinstance(scheduler, Scheduler):
        advice = "pass cyclr.plan(...) or a schedule as plan"
        raise ValueError(problem("plan must be given without a cyclr.torch.Scheduler", scheduler, advice))
    return scheduler.plan or max(scheduler.schedules["schedule"], key=lambda schedule: schedule.highest)
