"""Range tests whose repeats each begin from a network that is made anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import inf
from os import PathLike
from typing import Any, TypeAlias, TypeGuard

import torch

from cyclr._check import count, problem
from cyclr._range import Curve, HeldOut, Ramp, StepProgress
from cyclr._range.walk import walk
from cyclr.torch._batches import in_order
from cyclr.torch._restore import preserved
from cyclr.torch._task import Task
from cyclr.torch._training import Stepped, besides, measured, recorder_of, step_of
from cyclr.torch._update import StepFunction, Update

#: Makes a task for a seed.
TaskFunction: TypeAlias = Callable[[int], Task]


def is_task_function(given: Any) -> TypeGuard[TaskFunction]:
    """Whether this is a function that makes tasks; networks can be called, too."""
    return callable(given) and not isinstance(given, torch.nn.Module | type)


class Anew:
    """The trainings of the seeds 0, 1, … as one: the next of them for each sweep, the first one for probe cycles.

    Args:
        make: The function of a seed.
        given: What else was given by name, and must not be.
        repeats: Number of sweeps, and of tasks.
        update: How a step is made.
        held_out: Held-out batches with metrics.
        where: Where copies of the trainings are kept.

    Raises:
        TypeError: If something is given that is part of the task, or a step function, which knows one network only.
    """

    def __init__(
        self,
        make: TaskFunction,
        given: Mapping[str, Any],
        *,
        repeats: int,
        update: Update | StepFunction | None,
        held_out: HeldOut | None,
        where: str | PathLike[str] | None,
    ) -> None:
        for name, value in given.items():
            if value is not None:
                raise TypeError(problem(f"{name} must be left out where a function makes the task", value))
        if not isinstance(update, Update | None):
            what = "update must be a cyclr.torch.Update where a function makes the task"
            raise TypeError(problem(what, update, "a step function knows one network only"))
        self._make, self._repeats, self._update = make, count("repeats", repeats), update
        self._held_out, self._where = held_out, where
        self._made: list[Stepped] = []
        self._at = 0
        self._stack = ExitStack()

    def tested(
        self, ramp: Ramp, *, effort: str, budget: int | None, progress: StepProgress | None, seconds: float = inf
    ) -> Curve:
        """The curve of a whole test. Random states are as before afterwards; the tasks are let go of.

        No further sweep is begun once `seconds` have passed.
        """
        with preserved([]), self._stack:
            first = self._task()
            how = {"repeats": self._repeats, "effort": effort, "budget": budget, "progress": progress}
            recorder = recorder_of(ramp, self._held_out, first.loss_fn, reference=True, **how)
            recorder.in_order, recorder.seconds = in_order(first.train_loader, recorder.ramp.steps), seconds
            self._recorder = recorder
            self._begin(first)
            curve = walk(self, recorder)
        return replace(curve, anew=recorder.repeats > 1)

    def step(self, rate: float) -> torch.Tensor:
        return self._made[self._at].step(rate)

    @property
    def examples(self) -> int:
        """Examples that a step takes; 0 if unknown."""
        return self._made[self._at].examples

    @property
    def groups(self) -> tuple[tuple[str, float], ...]:
        """Name and rate ratio of each parameter group, where they differ."""
        return self._made[self._at].groups

    @property
    def plain_sgd(self) -> bool:
        """Whether the optimizer is SGD without momentum."""
        return self._made[self._at].plain_sgd

    @property
    def weights(self) -> int:
        """How many are trained, as in `Curve.weights`."""
        return self._made[self._at].weights

    @property
    def single_layer(self) -> bool:
        """Whether a single layer is trained, as in `Curve.single_layer`."""
        return self._made[self._at].single_layer

    def reference(self) -> torch.Tensor:
        return self._made[self._at].reference()

    def read(self, losses: Sequence[torch.Tensor]) -> list[float]:
        return self._made[self._at].read(losses)

    def agreed(self, seconds: float | None) -> float | None:
        return self._made[self._at].agreed(seconds)

    def measure(self) -> dict[str, float]:
        return self._made[self._at].measure()

    def rewind(self, *, data: bool) -> None:
        """To the first task, or on to the next one; after the last, to its initial weights."""
        after = 0 if data else self._at + 1
        if after == len(self._made) < self._recorder.repeats:
            self._begin(self._task())
        elif after < len(self._made):
            self._made[after].rewind(data=True)
        else:
            self._made[self._at].rewind(data=False)
            return
        self._at = after

    def _task(self) -> Task:
        made = self._make(len(self._made))
        if not isinstance(made, Task):
            raise TypeError(problem("the function must return a cyclr.torch.Task", made))
        return made

    def _begin(self, task: Task) -> None:
        """Make a training of a task."""
        model, optimizer, loss_fn, loader = task.model, task.optimizer, task.loss_fn, task.train_loader
        kept = besides(loader, loss_fn, self._update, self._held_out)
        transaction = self._stack.enter_context(preserved(model, optimizer, **kept, where=self._where))
        if not model.training:
            model.train()
        measure = measured(model, self._held_out, loss_fn, self._update)
        step = step_of(model, optimizer, loss_fn, self._update)
        self._made.append(Stepped(model, optimizer, loader, measure, transaction, None, step))
