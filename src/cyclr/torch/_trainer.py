"""What the adapters of whole trainers share: several optimizers as one, and checks of what is to drive them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from cyclr._plan import Plan
from cyclr._schedules import Schedule
from cyclr.torch._groups import resolve


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


def check_given(given: Mapping[str, Any]) -> None:
    """What is to be driven, by what: as far as it can be checked before there is an optimizer.

    Raises:
        TypeError: If something else is given where a schedule must be.
        ValueError: If a schedule leaves the range of what it drives.
    """
    for name, value in given.items():
        if isinstance(value, Plan) and name == "schedule":
            continue
        for one in value if isinstance(value, (list, tuple)) else [value]:
            optional = one is None and name != "schedule"
            of_the_group = callable(one) and not isinstance(one, (Schedule, type))  # asked when there are groups
            if not (optional or of_the_group):
                resolve(name, one, [{"lr": 1.0, name: 0.5}])
