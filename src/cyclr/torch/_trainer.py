"""What the adapters of whole trainers share: which options are left to the user, several optimizers as one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from cyclr._check import did_you_mean, problem
from cyclr.torch._range_test import range_test

#: What of `range_test` is the trainer's own business.
_SETTLED = {"scheduler", "scaler", "step_fn", "clip_norm", "accumulate", "device", "autocast"}
_SETTLED |= {"metrics", "val_loader", "val_every"}


def check_options(options: dict[str, Any]) -> None:
    """`options` must be arguments of `range_test` that a trainer leaves open: the ramp, its repeats, progress."""
    every = inspect.signature(range_test).parameters.values()
    left = [one.name for one in every if one.kind is one.KEYWORD_ONLY and one.name not in _SETTLED]
    for name in options:
        if name in _SETTLED:
            raise TypeError(problem("what the trainer settles must be left out", name, "set it on the trainer"))
        if name not in left:
            raise TypeError(problem(f"options must be of {left}", name, did_you_mean(name, left)))


class Chosen(Optimizer):
    """The groups of one or all of a trainer's optimizers, as if they were one; the trainer steps them itself.

    Args:
        optimizers: All of them; those that are not chosen are known here so that they are put back too.
        which: The index of the one whose rates move; None for all, which keep their ratios.
    """

    def __init__(self, optimizers: Sequence[Optimizer], which: int | None = None) -> None:
        # Not the constructor of Optimizer: these are groups that others own.
        self.optimizers = list(optimizers)
        chosen = self.optimizers if which is None else [self.optimizers[which]]
        self.param_groups = [group for optimizer in chosen for group in optimizer.param_groups]

    def __repr__(self) -> str:
        return f"Chosen({self.optimizers!r})"
