"""Notices a scheduler that is not stepped once per optimizer step."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from weakref import WeakMethod

import torch
from torch.optim import Optimizer

from cyclr.torch._trainer import Chosen

STEPS = 10  #: scheduler steps that are looked at, after the first one
AT_LEAST = 4  #: optimizer steps among them; where they are fewer, more scheduler steps are looked at
AT_MOST = 100  #: scheduler steps; an optimizer whose steps are not seen until then makes them where no hook is called
STEADY = 0.8  #: share of the steps that must have the same ratio
LATE = 2  #: scheduler steps, each after several optimizer steps and the last after a whole epoch, before the verdict


class Pace:
    """Counts optimizer steps between the first few scheduler steps, by hooks that are removed afterwards.

    Args:
        optimizer: The optimizer that the scheduler drives.
        epoch: Optimizer steps in an epoch; None if unknown.
    """

    def __init__(self, optimizer: Optimizer, epoch: int | None) -> None:
        self.epoch, self.several = epoch, isinstance(optimizer, Chosen)
        self._counts: list[int] = []
        self._made = self._depth = 0
        if isinstance(optimizer, Chosen):  # where one of several makes steps, the others do
            optimizer = optimizer.optimizers[optimizer.which or 0]
        self._handles: list[Any] = []
        if hasattr(optimizer, "_optimizer_step_post_hooks"):
            self._handles = [
                optimizer.register_step_pre_hook(_weak(self._begin)),
                optimizer.register_step_post_hook(_weak(self._end)),
            ]

    def look(self) -> float | None:
        """Note that the scheduler makes a step. Scheduler steps per optimizer step, if that is known now.

        Returns:
            1 if it is one, or there is no steady ratio; None as long as more steps must be seen.
        """
        if not self._depth:  # else a step failed, and what was counted since is not sure
            self._counts.append(self._made)
        self._made = self._depth = 0
        if self._once_an_epoch():
            return self._over(1 / self._counts[-1])
        counts = self._counts[1:]  # before the first one there may have been anything
        if len(counts) < STEPS or (sum(map(bool, counts)) < AT_LEAST and len(counts) < AT_MOST):
            return None
        # Of several optimizers one may well make more steps than another.
        return self._over(1 if self.several or _in_accelerate() else _steady(counts), keep=not any(counts))

    def _once_an_epoch(self) -> bool:
        late = self._counts[-LATE:]
        return (
            self.epoch is not None and self.epoch > 1 and len(late) == LATE and min(late) > 1 and late[-1] >= self.epoch
        )

    def _over(self, ratio: float, *, keep: bool = False) -> float:
        if not keep:  # a compiled step, in which they do nothing, would be compiled again
            for handle in self._handles:
                handle.remove()
        return ratio

    # A step of an optimizer's class may be that of its base, whose hooks are called, too: only the outer one counts.
    def _begin(self) -> None:
        self._depth += 1

    def _end(self) -> None:
        self._depth -= 1
        self._made += self._depth <= 0


def _steady(counts: Sequence[int]) -> float:
    """Scheduler steps per optimizer step, if it is much the same all the time, else 1."""
    usual = statistics.median_low(counts)
    if usual > 1 and counts.count(usual) >= STEADY * len(counts):
        return 1 / usual
    gaps = [after - before for before, after in pairwise(place for place, made in enumerate(counts) if made)]
    if gaps and max(counts) == 1:
        usual = statistics.median_low(gaps)
        if gaps.count(usual) >= STEADY * len(gaps):
            return usual
    return 1


def _in_accelerate() -> bool:
    """Whether Accelerate makes the present step: it makes one for each process, and plans are made for that."""
    frame = sys._getframe()
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_globals.get("__name__", "").startswith("accelerate."):
            return True
    return False


def _weak(method: Callable[[], None]) -> Callable[..., None]:
    """A hook that does not keep its owner alive, and is not part of a compiled step."""
    known = WeakMethod(method)

    def hook(*_: Any) -> None:
        if not torch.compiler.is_compiling() and (own := known()) is not None:
            own()

    return hook
