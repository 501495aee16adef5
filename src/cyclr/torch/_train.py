"""A simple training loop: a number of steps under a schedule, with evaluations and checkpoints."""

from __future__ import annotations

import os
import pickle
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from cyclr._check import count, non_negative, problem
from cyclr._files import replacing
from cyclr._plan import Plan
from cyclr._renamed import renamed
from cyclr.torch._batches import check_callable
from cyclr.torch._distributed import averaged, group_of, of_each, once, place_in
from cyclr.torch._feed import Feed
from cyclr.torch._groups import Given, plain
from cyclr.torch._scheduler import DRIVEN, Scheduler
from cyclr.torch._snapshots import Snapshots
from cyclr.torch._task import Task
from cyclr.torch._timed import TimedScheduler, scheduler_of
from cyclr.torch._update import Update, evaluate_together

ENDLESS = 2**62  #: steps of a training that ends by the clock
REPORT = 10  #: steps between two calls of `progress`, each of which waits for the device
FORMAT = "cyclr.train.1"
Point = dict[str, float]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where `train` keeps its checkpoint, and how often it writes it.

    Args:
        folder: Its folder; created if it does not exist.
        every: Steps between two checkpoints; by default one at every evaluation.
        seconds: Minimum time between two checkpoints; any that would come sooner, even the last one, is skipped, as
            writing a file safely takes time.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range.

    >>> Checkpoint("run-1", every=500)
    Checkpoint(folder='run-1', every=500, seconds=0)
    """

    folder: str | os.PathLike[str]
    every: int | None = None
    seconds: float = 0

    def __post_init__(self) -> None:
        try:
            os.fspath(self.folder)
        except TypeError:
            must = "checkpoint must be a folder or a Checkpoint"
            raise TypeError(problem(must, self.folder, "pass a path")) from None
        if self.every is not None:
            count("every", self.every)
        non_negative("seconds", self.seconds)

    @property
    def file(self) -> Path:
        """The file that is written."""
        return Path(self.folder) / "checkpoint.pt"

    def is_due(self, step: int, *, last: bool, evaluated: bool) -> bool:
        """Whether one is due after `step` steps, as far as its steps say."""
        return evaluated if self.every is None else step % self.every == 0 or last


@renamed(("checkpoint", Checkpoint, {"checkpoint_every": "every", "checkpoint_seconds": "seconds"}))
def train(
    task: Task,
    schedule: Given | Plan,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    eval_every: int | None = None,
    eval_at: Iterable[int] = (),
    momentum: Given | None = None,
    weight_decay: Given | None = None,
    average: AveragedModel | None = None,
    snapshots: Snapshots | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    progress: Callable[[int, int, float, float], Any] | None = None,
) -> list[Point]:
    """Train a task for a number of steps, or of minutes, under a schedule. Changes model and optimizer.

    With `checkpoint`, a file in that folder is replaced atomically, by default at every evaluation; the same call in a
    new process resumes from it and ends with bit-for-bit the same weights, provided that the computation is
    deterministic.

    Args:
        task: The task to train. A model that is entirely in evaluation mode is put into training mode.
        schedule: The learning rate: a schedule or a `Plan`; groups keep the ratios of their initial rates. Or one for
            each group, as in `Scheduler`.
        steps: Number of optimizer steps.
        minutes: The budget in minutes, in place of `steps`: the training ends with its schedule when the time is up,
            evaluations included, as with a `TimedScheduler`. `eval_at` and `progress` then count the schedule's steps.
        eval_every: Steps between two evaluations; by default an epoch, or the whole training if the loader has no
            length.
        eval_at: Further steps after which to evaluate, such as `Plan.snapshots`.
        momentum: Schedule of the momentum or the first beta, as in `Scheduler`.
        weight_decay: Schedule of the weight decay.
        average: A copy of the task's model that averages its weights after each step and is evaluated, too: from
            `averaged_model`, or any `AveragedModel` of torch.
        snapshots: Saves the task's model where cycles end: `Snapshots(folder, task.model, plan=plan)`.
        checkpoint: Folder of the checkpoint, or a `Checkpoint`, which says how often it is written, too.
        progress: Called every 10 steps with (steps done, total steps, rate, loss of the last step).

    Returns:
        The evaluations: "step" (steps done), "lr" (rate of the last step, the largest of the groups), "loss" (mean
        training loss since the previous evaluation), then "val_loss", "val_..." for each metric, and the same with
        "test_". With `average`, also those of the averaged model: "averaged_val_loss" and so on. Where several
        processes train one model, held-out values are means over the examples of all, each of which counts once.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, neither or both of `steps` and `minutes` are given, or the checkpoint is
            damaged or belongs to another training.

    >>> import torch
    >>> from cyclr import Triangular
    >>> model = torch.nn.Linear(1, 1)
    >>> batches = [(torch.ones(4, 1), torch.ones(4, 1))] * 5
    >>> task = Task(model, torch.optim.SGD(model.parameters()), torch.nn.functional.mse_loss, batches, batches)
    >>> points = train(task, Triangular(0.01, 0.1, step_size=5), steps=10)
    >>> [(point["step"], round(point["lr"], 3)) for point in points], sorted(points[0])
    ([(5, 0.082), (10, 0.028)], ['loss', 'lr', 'step', 'val_loss'])
    """
    if not isinstance(task, Task):
        raise TypeError(problem("task must be a cyclr.torch.Task", task, "call the task with a seed"))
    if (steps is None) == (minutes is None):
        raise ValueError(problem("either steps or minutes must be given", {"steps": steps, "minutes": minutes}))
    end = ENDLESS if steps is None else count("steps", steps)
    every = count("eval_every", task.steps_per_epoch or end if eval_every is None else eval_every)
    also = frozenset(count("eval_at", step) for step in eval_at)
    kept = checkpoint if isinstance(checkpoint, Checkpoint | None) else Checkpoint(checkpoint)
    if progress is not None:
        check_callable("progress", progress, "pass a function of (step, total, rate, loss)")
    _check_average(average)
    driven = dict(zip(DRIVEN, (schedule, momentum, weight_decay), strict=True))
    run = _Run(task, scheduler_of(task.optimizer, driven, minutes), end, every, also, average)
    _begin(run, kept, snapshots)
    while not run.finished:
        run.advance()
        if snapshots is not None:
            snapshots.step(run.done)
        if progress is not None and (run.step % REPORT == 0 or run.finished):
            progress(run.done, run.whole, run.rate, float(run.loss))
        if at_point := run.is_at_point:
            run.evaluate()
        due = kept is not None and kept.is_due(run.step, last=run.finished, evaluated=at_point)
        if kept is not None and due and run.waited(kept.seconds):
            run.save(kept.file)
    return run.points


def _begin(run: _Run, kept: Checkpoint | None, snapshots: Snapshots | None) -> None:
    """Go on from the checkpoint, if there is one."""
    if kept is not None:
        run.begin(kept.file)
    if snapshots is not None:
        snapshots._folder.begin(run.done)
    if not run.task.model.training:
        run.task.model.train()  # otherwise parts that are in evaluation mode deliberately stay in it


def _check_average(average: Any) -> None:
    if average is not None and not isinstance(average, AveragedModel):
        raise TypeError(problem("average must be an AveragedModel", average, "pass averaged_model(task.model)"))


class _Run:
    """A running training."""

    def __init__(
        self,
        task: Task,
        scheduler: Scheduler,
        steps: int,
        every: int,
        also: frozenset[int],
        average: AveragedModel | None,
    ) -> None:
        self.task, self.scheduler, self.steps, self.every, self.also = task, scheduler, steps, every, sorted(also)
        self.average = average
        self.group = group_of(task.model)
        self.timed = scheduler if isinstance(scheduler, TimedScheduler) else None
        self.step = 0
        self._before = 0  # steps of the schedule before the last one
        self.saved = time.monotonic()
        self.points: list[Point] = []
        self.rate = float("nan")
        self.loss: torch.Tensor | float = float("nan")
        self.update = Update().of(task.model, task.optimizer, task.loss_fn)
        self.feed = Feed(task.train_loader)
        self._sum: torch.Tensor | None = None  # of the losses since the last evaluation, still on the device
        self._since = 0

    @property
    def done(self) -> int:
        """Completed steps; by the clock, of the schedule."""
        return self.step if self.timed is None else self.timed.last_epoch

    @property
    def whole(self) -> int:
        """All steps; by the clock, of the schedule."""
        return self.steps if self.timed is None else int(self.timed.duration)

    @property
    def finished(self) -> bool:
        """Whether the training is at its end."""
        return self.step >= self.steps if self.timed is None else self.timed.finished

    @property
    def is_at_point(self) -> bool:
        """Whether to evaluate after this step."""
        passed = bisect_right(self.also, self.done) > bisect_right(self.also, self._before)
        return self.step % self.every == 0 or passed or self.finished

    def advance(self) -> None:
        """One step."""
        self._before = self.done
        self.rate = max(plain(rate) for rate in self.scheduler.get_last_lr())
        self.loss = self.update(self.feed)
        self.scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.task.model)
        self.step += 1
        self._sum = self.loss if self._sum is None else self._sum + self.loss
        self._since += 1

    def evaluate(self) -> None:
        """Evaluate and record."""
        task = self.task
        assert self._sum is not None
        point: Point = {
            "step": self.step,
            "lr": self.rate,
            "loss": float(averaged(self._sum, self.group)) / self._since,
        }
        models = {"": task.model} if self.average is None else {"": task.model, "averaged_": self.average.module}
        for which, model in models.items():
            for name, loader in (("val", task.val_loader), ("test", task.test_loader)):
                if loader is not None:
                    found = evaluate_together(model, loader, task.loss_fn, task.metrics, self.group)
                    point.update({f"{which}{name}_{key}": value for key, value in found.items()})
        self.points.append(point)
        self._sum, self._since = None, 0

    def waited(self, seconds: float) -> bool:
        """Whether a checkpoint is due; all processes of a group get the same answer."""
        return seconds == 0 or once(lambda: time.monotonic() - self.saved >= seconds, self.group)

    def save(self, file: Path) -> None:
        """Write everything that is needed to resume, atomically."""
        model = self.task.model.state_dict()
        own, *others = of_each({"sum": self._sum, "feed": self.feed.state()}, self.group)
        state = {
            "format": FORMAT,
            "steps": self.steps,
            **({} if self.timed is None else {"minutes": self.timed.seconds / 60}),
            "eval_every": self.every,
            **({"eval_at": self.also} if self.also else {}),
            "step": self.step,
            "points": self.points,
            "since": self._since,
            "model": model,
            "buffers": {name: buffer for name, buffer in self.task.model.named_buffers() if name not in model},
            "optimizer": self.task.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            **own,
            **({"others": others} if others else {}),  # of the other processes that train the model
            **({} if self.average is None else {"average": self.average.state_dict()}),
        }
        if place_in(self.group)[0] == 0:
            with replacing(file) as stream:
                torch.save(state, stream)

    def begin(self, file: Path) -> None:
        """Resume from the checkpoint, if there is one: all processes from the one that the first process finds."""
        if any(hasattr(parameter, "device_mesh") for parameter in self.task.model.parameters()):
            raise ValueError(
                "the model must not be sharded to write checkpoints; leave out checkpoint, or replicate the model (DDP)"
            )
        state = once(lambda: _read(file), self.group)
        if state is None:
            return
        minutes = None if self.timed is None else self.timed.seconds / 60
        own = {"minutes": minutes, "steps": self.steps, "eval_every": self.every, "eval_at": self.also}
        for name, here in own.items():
            absent: list[int] | None = [] if name == "eval_at" else None  # in checkpoints without further evaluations
            if (there := state.get(name, absent)) != here:
                what = problem(f"{name} must be that of the checkpoint, {there}", here, "choose another folder")
                raise ValueError(f"{file}: {what}")
        if ("average" in state) != (self.average is not None):
            what = "with" if "average" in state else "without"
            raise ValueError(
                f"{file}: the checkpoint was written {what} an average; pass the same, or choose another folder"
            )
        each = [state, *state.get("others", [])]
        rank, size = place_in(self.group)
        if len(each) != size:
            what = problem(
                f"the number of processes must be that of the checkpoint, {len(each)}", size, "start as many"
            )
            raise ValueError(f"{file}: {what}")
        self._load(state, each[rank])

    def _load(self, state: dict[str, Any], own: dict[str, Any]) -> None:
        """Restore the training that wrote `state`; `own` is the part of this process."""
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.task.model.load_state_dict(state["model"])
        with torch.no_grad():
            for name, buffer in state["buffers"].items():  # those that state_dict() leaves out
                self.task.model.get_buffer(name).copy_(buffer)
        self.task.optimizer.load_state_dict(state["optimizer"])
        self.step, self.points = state["step"], state["points"]
        self._sum, self._since = own["sum"], state["since"]
        if not self.finished:
            self.feed.resume(own["feed"])


def _read(file: Path) -> dict[str, Any] | None:
    """The checkpoint in `file`, or None if there is none; creates its folder, so that one can be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        return None
    try:
        state = torch.load(file, weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        what = next(iter(str(error).splitlines()), "empty")
        raise ValueError(f"{file}: the checkpoint is damaged ({what}); delete it to start again") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{file} must be a checkpoint of train, in format {FORMAT!r}; choose another folder")
    return state
