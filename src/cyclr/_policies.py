"""Policies: rules that make a schedule for given bounds and a given budget.

A policy is the text of a schedule with free names. Only what a text cannot express (the number of cycles for a
budget) is a function.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from math import ceil
from types import MappingProxyType

from cyclr import _check
from cyclr._plan import plan
from cyclr._range.bounds import Bounds
from cyclr._schedules import ExpRange, Schedule, Triangular2, parse

FREE_NAMES = ("base_lr", "max_lr", "steps", "epoch")
STEP_SIZE_EPOCHS = (2, 10)  # the paper's range for half a cycle

#: Makes the schedule for bounds, a budget in steps and the steps in an epoch.
Make = Callable[[Bounds, int, int | None], Schedule]


def policy(name: str, bounds: Bounds, *, steps: int, steps_per_epoch: int | None = None) -> Schedule:
    """The schedule of a policy for a budget. All built-in policies have the peak `bounds.max_lr` and the same length.

    Args:
        name: A built-in policy, or the text of a schedule with the free names `base_lr`, `max_lr`, `steps` (the budget)
            and `epoch` (the optimizer steps in an epoch).
        bounds: Lower and upper bound of the learning rate.
        steps: The budget in optimizer steps.
        steps_per_epoch: Optimizer steps in an epoch; without it, cyclical policies make three cycles.

    Returns:
        A schedule of duration `steps`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no such policy, if the text is not a schedule or its duration is not the budget, or if
            the budget is below 20 steps, too short for some policies.

    >>> policy("linear", Bounds(0.001, 0.01), steps=500)
    Linear(0.01, 0.0, steps=500)
    >>> policy("Linear(base_lr, max_lr, steps=epoch) >> Cosine(max_lr, 0, steps=steps - epoch)",
    ...        Bounds(0.001, 0.01), steps=500, steps_per_epoch=100)
    Linear(0.001, 0.01, steps=100) >> Cosine(0.01, 0.0, steps=400)
    """
    text = POLICIES.get(check_policy("policy", name), name)
    if not isinstance(bounds, Bounds):
        raise TypeError(_check.problem("bounds must be a Bounds", bounds, "write Bounds(base_lr, max_lr)"))
    steps = _check.count("steps", steps, "a shorter budget is too short for some policies", least=20)
    if steps_per_epoch is not None:
        steps_per_epoch = _check.count("steps_per_epoch", steps_per_epoch)
    if not isinstance(text, str):
        return text(bounds, steps, steps_per_epoch)
    schedule = read(text, bounds, steps=steps, epoch=steps_per_epoch)
    if schedule.duration != steps:
        lasts = "endlessly" if schedule.duration == float("inf") else f"{schedule.duration} steps"
        raise ValueError(f"a policy must last the whole budget of {steps} steps, got {text!r}, which lasts {lasts}; "
                         "use the name steps for its length, or end it with .take(steps)")  # fmt: skip
    return schedule


def read(text: str, bounds: Bounds | None = None, *, steps: int, epoch: int | None = None) -> Schedule:
    """The schedule that a text with free names describes; the text may use the names whose values are known."""
    values: dict[str, float] = {"steps": steps}
    if bounds is not None:
        values |= {"base_lr": bounds.base_lr, "max_lr": bounds.max_lr}
    if epoch is not None:
        values["epoch"] = epoch
    return parse(text, **values)


def check_policy(name: str, text: str) -> str:
    """A built-in policy, or a text as `check_text` takes it.

    Raises:
        TypeError: If it is not a text.
        ValueError: If there is no such policy, or the text is wrong.
    """
    if not isinstance(text, str) or text.isidentifier() or not text.strip():
        return _check.choice(name, text, POLICIES)
    return check_text(name, text)


def check_text(name: str, text: str) -> str:
    """A text whose syntax and free names are right; its numbers are checked when the budget is known.

    Args:
        name: Its name in error messages.
        text: The text of a schedule.

    Raises:
        ValueError: If the text is not a Python expression or has other free names.
    """
    try:
        unknown = sorted(free_names(text) - {*FREE_NAMES})
    except (SyntaxError, RecursionError, MemoryError) as error:
        said = f"; {error.msg}" if isinstance(error, SyntaxError) else ""
        raise ValueError(f"{name} must be a Python expression, got {text!r}{said}") from None
    if unknown:
        advice = _check.did_you_mean(unknown[0], FREE_NAMES) or "write its value"
        known = ", ".join(FREE_NAMES)
        raise ValueError(f"{name} may use the names {known}, got {unknown[0]!r} in {text!r}; {advice}")
    return text


def free_names(text: str) -> set[str]:
    """The names in a text that are not called; the module of a class that is called is none of them.

    >>> sorted(free_names("Linear(max_lr, 0, steps=steps) >> my_task.Knee(max_lr, 60, 100)"))
    ['max_lr', 'steps']
    """
    nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    called = {id(_first(node.func)) for node in nodes if isinstance(node, ast.Call)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called}


def _first(node: ast.expr) -> ast.expr:
    """The first part of a dotted name: `my_task` of `my_task.Knee`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def uses_bounds(name: str) -> bool:
    """Whether a policy depends on the bounds; a text that uses neither of their names has fixed rates.

    >>> uses_bounds("linear"), uses_bounds("Linear(0.1, 0, steps=steps)")
    (True, False)
    """
    return name in POLICIES or bool(free_names(name) & {"base_lr", "max_lr"})


def cycles_for(epochs: float) -> int:
    """The number of equal cycles that fits the paper's advice: half a cycle of 2 to 10 epochs, at least three cycles.

    Below 12 epochs both cannot hold; the length of a cycle then takes precedence.

    >>> [cycles_for(epochs) for epochs in (1, 8, 12, 50, 100)]
    [1, 2, 3, 3, 5]
    """
    shortest, longest = STEP_SIZE_EPOCHS
    return max(min(3, max(1, int(epochs / (2 * shortest)))), ceil(epochs / (2 * longest)))


def _count(steps: int, steps_per_epoch: int | None) -> int:
    return min(cycles_for(steps / steps_per_epoch) if steps_per_epoch else 3, steps // 2)


def _step_size(steps: int, steps_per_epoch: int | None) -> tuple[int, int]:
    """Half cycles (up, down) of equal length; the last cycle may be shorter, by fewer steps than there are cycles."""
    period = ceil(steps / _count(steps, steps_per_epoch))
    return period // 2, period - period // 2


def _auto(bounds: Bounds, steps: int, steps_per_epoch: int | None) -> Schedule:
    return plan(bounds, steps=steps, steps_per_epoch=steps_per_epoch).schedule


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


#: The built-in policies by name.
POLICIES: MappingProxyType[str, str | Make] = MappingProxyType(
    {
        "auto": _auto,
        "fixed": "Constant(max_lr).take(steps)",
        "step": "step_decay(max_lr, milestones=(steps // 2, 3 * steps // 4)).take(steps)",
        "exp": "Exponential(max_lr, max_lr / 100, steps=steps)",
        "linear": "Linear(max_lr, 0, steps=steps)",
        "cosine": "Cosine(max_lr, 0, steps=steps)",
        "rex": "Rex(max_lr, 0, steps=steps)",
        "wsd": "wsd(max_lr, steps=steps)",
        "one_cycle": "one_cycle(max_lr, steps=steps)",
        "triangular": _triangular,
        "triangular2": _triangular2,
        "exp_range": _exp_range,
        # three cycles, each twice as long as the one before
        "warm_restarts": "WarmRestarts(0, max_lr, period=(steps + 6) // 7, growth=2).take(steps)",
    }
)
