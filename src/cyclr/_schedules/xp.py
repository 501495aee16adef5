"""The step's own array library, or `math` where the step is a plain number.

Every formula is written once, against the few functions that are named here. An array brings its own
namespace (NumPy, torch, JAX, ... through array-api-compat), a Python number gets `scalars`.
"""

from __future__ import annotations

import math
import numbers
import sys
from typing import Any

from cyclr import _check


class scalars:  # noqa: N801 - it stands where a module stands
    """The array functions that formulas use, for one Python number."""

    cos = math.cos
    exp = math.exp
    sqrt = math.sqrt
    minimum = min

    @staticmethod
    def where(condition: bool, if_true: Any, if_false: Any) -> Any:
        return if_true if condition else if_false


def step_and_namespace(step: Any) -> tuple[Any, Any]:
    """The step made ready for a formula, and the namespace to compute it in.

    A number below zero is an error. In an array it is taken as 0, because a traced value cannot raise.
    """
    if isinstance(step, numbers.Real) and type(step) is not bool:
        # np.int64(3) and np.float64(3) become plain numbers, and so does what the formula returns
        plain = int(step) if isinstance(step, numbers.Integral) else float(step)
        if not 0 <= plain < math.inf:
            raise ValueError(_check.problem("step must be a finite number, not below 0", step, "the first step is 0"))
        return plain, scalars
    return _array_and_namespace(step)


def _array_and_namespace(step: Any) -> tuple[Any, Any]:
    try:
        xp = _namespace(step)
        whole = xp.isdtype(step.dtype, "integral")
        if not whole and not xp.isdtype(step.dtype, "real floating"):
            raise TypeError
    except TypeError:
        raise TypeError(
            _check.problem("step must be a number or an array of integers or floats", step, "count steps from 0")
        ) from None
    if whole:
        # the library's own default integer: a period of 4,000 does not fit an int8, and 0 - 1 not a uint64
        step = xp.astype(step, xp.asarray(0).dtype, copy=False)
    return xp.where(step < 0, 0, step), xp


def _namespace(array: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        # array_namespace answers the same, but its caches make torch.compile warn
        import array_api_compat.torch

        return array_api_compat.torch
    import array_api_compat

    return array_api_compat.array_namespace(array)


def mix(xp: Any, start: float, end: float, remaining: Any, gone: Any, scale: str = "linear") -> Any:
    """The value between `start` and `end` of which `remaining` (1 .. 0) is left and `gone` (0 .. 1) is over.

    The two shares add up to 1. Both are asked for because `start + (end - start) * gone` misses `end` by a
    rounding, and because the share that goes to zero is then not the small difference of two large ones.
    """
    if scale == "log":
        value = start**remaining * end**gone
    else:
        value = start * remaining + end * gone
    # rounding must not carry a value over a bound, nor let it miss one: under jit XLA divides by multiplying with an
    # inverse, and 41 * (1 / 41) is not 1 in float32
    low, high = min(start, end), max(start, end)
    value = xp.where(value < low, low, xp.where(value > high, high, value))
    return xp.where(remaining == 0, end, xp.where(gone == 0, start, value))
