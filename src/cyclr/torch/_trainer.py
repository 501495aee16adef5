"""Shared by the integrations of trainers: several optimizers as one."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer


class Chosen(Optimizer):
    """The groups of one or all of a trainer's optimizers, as if they were one; the trainer steps them itself.

    Args:
        optimizers: All of them; those that are not chosen are included so that they are restored, too.
        which: The index of the one whose rates move; None for all, which keep their ratios.
    """

    def __init__(self, optimizers: Sequence[Optimizer], which: int | None = None) -> None:
        # Without the constructor of Optimizer: the groups belong to other optimizers.
        self.optimizers = list(optimizers)
        chosen = self.optimizers if which is None else [self.optimizers[which]]
        self.param_groups = [group for optimizer in chosen for group in optimizer.param_groups]

    def __repr__(self) -> str:
        return f"Chosen({self.optimizers!r})"
