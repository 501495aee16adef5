"""Whether the steps of a user's own step function are made at the rates of the range test."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._range import Curve
from cyclr.torch._groups import Group, mark, plain
from cyclr.torch._objective import Objective
from cyclr.torch._trainer import Chosen


class Watch:
    """Compares the rates that an optimizer steps with to those that were put.

    Losses would be recorded at the wrong rates otherwise. Its hooks go where the optimizer is restored.

    Args:
        optimizer: The one whose rates the test sets; with a `Chosen`, all that it stands for.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._put: dict[int, Any] = {}
        self._moving: list[Any] = []  # the optimizers whose rates are set
        self._groups: list[list[Group]] = []  # those that each of them has at the start
        self._stepped = self._trained = self._now = False
        self._calls = self._without = 0
        self._hooks: list[tuple[Any, int]] = []
        self._versions: list[tuple[int, int]] = []
        self.objective = Objective()  #: to be entered for the test
        optimizers = optimizer.optimizers if isinstance(optimizer, Chosen) else [optimizer]
        which = optimizer.which if isinstance(optimizer, Chosen) else None
        for index, one in enumerate(optimizers):
            inner: Any = one
            while not hasattr(inner, "_optimizer_step_pre_hooks") and hasattr(inner, "optimizer"):
                inner = inner.optimizer
            self._hooks.append((inner, inner.register_step_pre_hook(self._check).id))
            inner.register_step_post_hook(self._check_rates)  # a closure may set them, too
            if which in (None, index):
                self._moving.append(inner)
                self._groups.append(list(inner.param_groups))

    def before(self, groups: list[Group]) -> None:
        """Remember the rates that were put for a step."""
        self._put.update((id(group), mark(group["lr"])) for group in groups)
        self._now = False
        self.objective.before()
        self._versions = [] if self._stepped else _versions(groups)

    def after(self, groups: list[Group], loss: torch.Tensor) -> None:
        """See what the step has done, and returned."""
        self.objective.after(loss)
        self._trained = self._trained or (not self._stepped and self._versions != _versions(groups))
        if all(number in one._optimizer_step_pre_hooks for one, number in self._hooks):  # until the first sweep ends
            self._calls += 1
            self._without += not self._now

    def finish(self, curve: Curve) -> Curve:
        """An error if weights were changed, but never by a step at these rates; a warning if mostly no step was made.

        A loss that stayed the same has no answer that could be wrong.

        Returns:
            The curve, which says whether its losses are those that were minimised.
        """
        losses = curve.losses[np.isfinite(curve.losses)]
        if self._trained and not self._stepped and np.ptp(losses) > 0:
            what = "the step function must step the optimizer whose rates the range test sets"
            advice = "pass the optimizer that it steps, or call optimizer.step() in it"
            raise ValueError(problem(what, "no step", advice))
        if self._stepped and self._without > self._calls / 2:  # a GradScaler skips fewer, also where it begins too high
            warnings.warn(
                f"no optimizer made a step in {self._without} of {self._calls} steps of the range test, so most losses "
                "are recorded at rates that were not used; let one step do all that leads to an optimizer.step(), as "
                "all batches whose gradients are accumulated",
                UserWarning,
                stacklevel=4,
            )
        return replace(curve, loss_kind=self.objective.kind)

    def _check(self, stepping: Optimizer, *_: Any) -> None:
        self._now = True
        moving = any(stepping is one for one in self._moving)
        self._stepped, self._trained = self._stepped or moving, self._trained or not moving
        for inner, groups in zip(self._moving, self._groups, strict=True):
            if inner is stepping and any(all(one is not group for one in stepping.param_groups) for group in groups):
                what = "the step function must keep the groups of the optimizer, whose rates the range test sets"
                raise ValueError(problem(what, "others", "load states and make optimizers outside of it"))
        self._check_rates(stepping)

    def _check_rates(self, stepping: Optimizer, *_: Any) -> None:
        for group in stepping.param_groups:
            if mark(group["lr"]) != self._put.get(id(group), mark(group["lr"])):
                what = "the step function must not set the learning rate, which the range test sets"
                advice = "leave out what sets it (a line of the loop, a scheduler) for the test"
                raise ValueError(problem(what, plain(group["lr"]), advice))


def _versions(groups: list[Group]) -> list[tuple[int, int]]:
    return [(parameter._version, parameter.data_ptr()) for group in groups for parameter in group["params"]]
