"""Several optimizers as one: a GAN's, an actor's and a critic's, those of a trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from torch.optim import Optimizer

from cyclr._check import problem


class Chosen(Optimizer):
    """The groups of one or all of several optimizers, as if they were one. Whoever owns the optimizers steps them.

    `range_test`, `auto` and `Scheduler` take it in place of an optimizer, together with your own step function. A list
    of optimizers is short for `Chosen(optimizers)`.

    Args:
        optimizers: All that the training has. Those that are not chosen keep their rates, and are restored, too.
        which: The index of the one whose rates move; None for all, which keep the ratios of their rates.

    Raises:
        TypeError: If `optimizers` holds anything else.
        ValueError: If there is none, one is there twice, or `which` is out of range.

    >>> import torch
    >>> generator, critic = (torch.optim.Adam(torch.nn.Linear(2, 2).parameters(), lr=lr) for lr in (1e-4, 4e-4))
    >>> [group["lr"] for group in Chosen([generator, critic]).param_groups]
    [0.0001, 0.0004]
    >>> [group["lr"] for group in Chosen([generator, critic], which=1).param_groups]
    [0.0004]
    """

    def __init__(self, optimizers: Sequence[Optimizer], which: int | None = None) -> None:
        # Not the constructor of Optimizer: these are groups that others own.
        self.optimizers = list(optimizers)
        if not self.optimizers:
            raise ValueError(problem("there must be at least one optimizer", self.optimizers))
        for index, optimizer in enumerate(self.optimizers):
            if not isinstance(optimizer, Optimizer) or isinstance(optimizer, Chosen):
                raise TypeError(problem(f"optimizers[{index}] must be a torch.optim.Optimizer", optimizer))
        if len({id(optimizer) for optimizer in self.optimizers}) < len(self.optimizers):
            raise ValueError(problem("the optimizers must be different ones", self.optimizers))
        if which is not None and not (type(which) is int and 0 <= which < len(self.optimizers)):
            raise ValueError(problem(f"which must be None or an index below {len(self.optimizers)}", which))
        self.which = which
        self._places: list[tuple[int, int]] = []
        self._opt_called = True  # torch asks before the first step of a scheduler; those that are stepped are others

    # Read anew each time: an optimizer that loads a state has other dicts afterwards.
    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The groups, in the order in which they were first seen: one that is added later comes last."""
        chosen = range(len(self.optimizers)) if self.which is None else [self.which]
        there = [(one, place) for one in chosen for place in range(len(self.optimizers[one].param_groups))]
        self._places = [known for known in self._places if known in there]
        self._places += [found for found in there if found not in self._places]
        return [self.optimizers[one].param_groups[place] for one, place in self._places]

    def step(self, closure: Callable[[], Any] | None = None) -> NoReturn:  # type: ignore[override]
        """An error: each of the optimizers makes its own steps."""
        raise RuntimeError("several optimizers make no step together; step each of them, in your own step function")

    def add_param_group(self, param_group: dict[str, Any]) -> NoReturn:
        """An error: a group belongs to one of the optimizers."""
        raise RuntimeError("a group must be added to one of the optimizers, not to all of them together")

    def __getstate__(self) -> dict[str, Any]:  # without what a scheduler has tied to it, as in torch
        return {name: vars(self)[name] for name in ("optimizers", "which", "_places", "_opt_called")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def __repr__(self) -> str:
        return f"Chosen({self.optimizers!r}, which={self.which})"
