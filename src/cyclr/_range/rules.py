"""Rules that read one rate off a range test; the published ones as their authors implemented them, for comparison."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cyclr._check import problem

Array = NDArray[np.float64]
Rule = Callable[[Array, Array], float | None]

#: Rules by name. Each takes the rates and the losses of one sweep; None means no suggestion.
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a rule that reads one rate off a range test, for `Curve.suggest`, `cyclr find` and reports.

    Args:
        name: Its name.

    Returns:
        A decorator for a function of the rates and the losses of one sweep, both of shape (steps,), that returns one
        rate, or None for no suggestion. A non-finite last loss is passed on as NaN.

    Raises:
        TypeError: If the name is not a string, or the rule is not callable.
        ValueError: If a rule of that name exists.

    >>> import numpy as np
    >>> from cyclr import Curve, rule
    >>> @rule("quarter")
    ... def quarter(rates, losses):
    ...     return float(rates[np.nanargmin(losses)] / 4)
    >>> Curve([0.1, 1.0, 10.0], [3.0, 1.0, 2.0]).suggest("quarter")
    0.25
    """
    if not isinstance(name, str) or not name:
        raise TypeError(problem("the name of a rule must be a non-empty string", name, 'write @rule("name")'))
    if name in RULES:
        raise ValueError(problem("the name of a rule must be new", name, "choose another name"))

    def register(read: Rule) -> Rule:
        if not callable(read):
            raise TypeError(problem("a rule must be a function of (rates, losses)", read))
        RULES[name] = read
        return read

    return register


def _average(losses: Array, beta: float, power: int) -> Array:
    """Exponential average from zero, divided by 1 - beta**(i + power)."""
    out, value = np.empty_like(losses), 0.0
    for i, loss in enumerate(losses):
        value = beta * value + (1 - beta) * loss
        out[i] = value / (1 - beta ** (i + power))
    return out


def _average_from_first(losses: Array) -> Array:
    """Exponential average with weight 0.05 on the new loss, starting from the first loss."""
    out = losses.copy()
    for i in range(1, len(losses)):
        out[i] = 0.05 * losses[i] + 0.95 * out[i - 1]
    return out


def _until(losses: Array, times: float) -> int:
    """Number of losses kept by "stop when the loss exceeds `times` the best so far"; NaN never stops."""
    return _first(losses > times * np.fmin.accumulate(losses)) + 1


def _first(where: NDArray[np.bool_]) -> int:
    """Index of the first True; the length if there is none."""
    return int(np.argmax(where)) if where.any() else len(where)


def _fastai(rates: Array, losses: Array) -> tuple[Array, Array]:
    """The average, stop rule and trimming of fastai: the first tenth, the last five points, all from the first NaN."""
    losses = _average(losses, 0.98, 1)
    losses = losses[: _until(losses, 4)]
    kept = slice(len(rates) // 10, max(len(losses) - 5, 0))
    rates, losses = rates[: len(losses)][kept], losses[kept]
    known = _first(np.isnan(losses))
    return rates[:known], losses[:known]


@rule("valley")
def valley(rates: Array, losses: Array) -> float | None:
    """The default of fastai: half-way through the longest falling subsequence."""
    rates, losses = _fastai(rates, losses)
    if len(losses) < 1:
        return None
    lengths, start, end = np.ones(len(losses), int), 0, 0
    for i in range(1, len(losses)):
        longer = lengths[:i][losses[i] < losses[:i]]
        lengths[i] = 1 + longer.max(initial=0)
        if lengths[i] > lengths[end]:
            end, start = i, i - int(lengths[i])
    section = (end - start) / 3
    return float(rates[start + int(section) + int(section / 2)])  # -1 on the shortest curves: the last rate


@rule("slide")
def slide(rates: Array, losses: Array) -> float | None:
    """fastai: go left from the end until the slope has levelled off."""
    rates, losses = _fastai(rates, losses)
    if len(losses) < 16:
        return None
    slope = np.gradient(losses)
    right, left = -1, -16
    found = rates[left]
    while left >= -len(losses) and abs(slope[right] - slope[left]) > 0.005:
        found = rates[left]
        right, left = right - 1, left - 1
    return float(found)


@rule("minimum")
def minimum(rates: Array, losses: Array) -> float | None:
    """fastai: a tenth of the rate of the lowest loss."""
    rates, losses = _fastai(rates, losses)
    return float(rates[np.argmin(losses)]) / 10 if len(losses) else None


@rule("steep")
def steep(rates: Array, losses: Array) -> float | None:
    """fastai: the rate of steepest descent with respect to the logarithm of the rate."""
    rates, losses = _fastai(rates, losses)
    return float(rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))]) if len(losses) > 1 else None


@rule("lightning")
def lightning(rates: Array, losses: Array) -> float | None:
    """Lightning 2.5.3 and later: steepest descent with respect to the rate itself (not its logarithm)."""
    losses = _average(losses, 0.98, 2)  # its exponent is off by one; reproduced here
    # Its stop rule compares each loss with the best before it.
    losses = losses[: _first(losses[1:] > 4 * np.fmin.accumulate(losses)[:-1]) + 2][10:-1]
    rates, known = rates[10:][: len(losses)], np.isfinite(losses)
    rates, losses = rates[known], losses[known]
    return float(rates[np.argmin(np.gradient(losses, rates))]) if len(losses) > 1 else None


@rule("torch-lr-finder")
def torch_lr_finder(rates: Array, losses: Array) -> float | None:
    """torch-lr-finder: the steepest descent from one step to the next, skipping the first 10 and the last 5 steps."""
    losses = _average_from_first(losses)
    losses = losses[: _until(losses, 5)][10:-5]
    return float(rates[10 + int(np.argmin(np.gradient(losses)))]) if len(losses) > 1 else None


@rule("ignite")
def ignite(rates: Array, losses: Array) -> float | None:
    """Ignite: the steepest descent before the lowest loss."""
    losses = _average_from_first(losses)
    losses = losses[: _until(losses, 5)]
    losses = losses[: int(np.argmin(losses)) + 1] if len(losses) else losses
    return float(rates[1 + int(np.argmin((losses[2:] - losses[:-2]) / 2))]) if len(losses) > 2 else None
