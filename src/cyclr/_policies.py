"""Policies by name: each makes a schedule for given bounds, stretched to a given budget, with the same peak."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from types import MappingProxyType

from cyclr import _check
from cyclr._plan import plan
from cyclr._range.bounds import Bounds
from cyclr._schedules import (
    Constant,
    Cosine,
    Exponential,
    ExpRange,
    Linear,
    Rex,
    Schedule,
    Triangular2,
    WarmRestarts,
    one_cycle,
    step_decay,
    wsd,
)

STEP_SIZE_EPOCHS = (2, 10)  # the paper's range for half a cycle

Policy = Callable[[Bounds, int, int | None], Schedule]


def policy(name: str, bounds: Bounds, *, steps: int, steps_per_epoch: int | None = None) -> Schedule:
    """The schedule of a policy for a budget. All policies have the peak `bounds.max_lr` and the same length.

    Args:
        name: One of `POLICIES`.
        bounds: Between which rates.
        steps: The budget in optimizer steps.
        steps_per_epoch: Optimizer steps in an epoch; without it, cyclical policies make three cycles.

    Returns:
        A schedule of duration `steps`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no such policy, or the budget is below 20 steps, too short for all parts of each.

    >>> policy("linear", Bounds(0.001, 0.01), steps=500)
    Linear(0.01, 0.0, steps=500)
    """
    make = POLICIES[_check.choice("policy", name, POLICIES)]
    if not isinstance(bounds, Bounds):
        raise TypeError(_check.problem("bounds must be a Bounds", bounds, "write Bounds(base_lr, max_lr)"))
    steps = _check.count("steps", steps, "a shorter budget has no room for the parts of every policy", least=20)
    if steps_per_epoch is not None:
        steps_per_epoch = _check.count("steps_per_epoch", steps_per_epoch)
    return make(bounds, steps, steps_per_epoch)


def _auto(bounds: Bounds, steps: int, steps_per_epoch: int | None) -> Schedule:
    return plan(bounds, steps=steps, steps_per_epoch=steps_per_epoch).schedule


def _step(bounds: Bounds, steps: int, _: int | None) -> Schedule:
    return step_decay(bounds.max_lr, milestones=(steps // 2, 3 * steps // 4)).take(steps)


def cycles_for(epochs: float) -> int:
    """How many equal cycles fit the paper's advice: half a cycle of 2 to 10 epochs, three cycles or more.

    Below 12 epochs the two cannot both hold, and the length of a cycle wins.

    >>> [cycles_for(epochs) for epochs in (1, 8, 12, 50, 100)]
    [1, 2, 3, 3, 5]
    """
    shortest, longest = STEP_SIZE_EPOCHS
    return max(min(3, max(1, int(epochs / (2 * shortest)))), ceil(epochs / (2 * longest)))


def _count(steps: int, steps_per_epoch: int | None) -> int:
    return min(cycles_for(steps / steps_per_epoch) if steps_per_epoch else 3, steps // 2)


def _step_size(steps: int, steps_per_epoch: int | None) -> tuple[int, int]:
    """Rise and fall of equal cycles; the last one is cut by fewer steps than there are cycles."""
    period = ceil(steps / _count(steps, steps_per_epoch))
    return period // 2, period - period // 2


def _triangular(bounds: Bounds, steps: int, steps_per_epoch: int | None) -> Schedule:
    count = _count(steps, steps_per_epoch)
    return plan(bounds, steps=steps, cycles=count, anneal=False).schedule


def _triangular2(bounds: Bounds, steps: int, steps_per_epoch: int | None) -> Schedule:
    up, down = _step_size(steps, steps_per_epoch)
    return Triangular2(bounds.base_lr, bounds.max_lr, step_size=up, step_size_down=down).take(steps)


def _exp_range(bounds: Bounds, steps: int, steps_per_epoch: int | None) -> Schedule:
    # the paper's 0.99994 over 42,000 iterations leaves 8 %
    up, down = _step_size(steps, steps_per_epoch)
    gamma = 0.08 ** (1 / steps)
    return ExpRange(bounds.base_lr, bounds.max_lr, step_size=up, step_size_down=down, gamma=gamma).take(steps)


def _warm_restarts(bounds: Bounds, steps: int, _: int | None) -> Schedule:
    # three cycles, each twice as long as the one before
    return WarmRestarts(0, bounds.max_lr, period=ceil(steps / 7), growth=2).take(steps)


#: What can be asked for by name.
POLICIES: MappingProxyType[str, Policy] = MappingProxyType(
    {
        "auto": _auto,
        "fixed": lambda bounds, steps, _: Constant(bounds.max_lr).take(steps),
        "step": _step,
        "exp": lambda bounds, steps, _: Exponential(bounds.max_lr, bounds.max_lr / 100, steps=steps),
        "linear": lambda bounds, steps, _: Linear(bounds.max_lr, 0, steps=steps),
        "cosine": lambda bounds, steps, _: Cosine(bounds.max_lr, 0, steps=steps),
        "rex": lambda bounds, steps, _: Rex(bounds.max_lr, 0, steps=steps),
        "wsd": lambda bounds, steps, _: wsd(bounds.max_lr, steps=steps),
        "one_cycle": lambda bounds, steps, _: one_cycle(bounds.max_lr, steps=steps),
        "triangular": _triangular,
        "triangular2": _triangular2,
        "exp_range": _exp_range,
        "warm_restarts": _warm_restarts,
    }
)
