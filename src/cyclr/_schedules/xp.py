"""The step's own array library, or `math` if the step is a plain number.

Every formula is written once, with the few functions of `Namespace`. An array has its own namespace (NumPy, torch,
JAX, … through array-api-compat), a Python number uses `scalars`. Formulas are typed for one number; arrays go through
the same operations.
"""

from __future__ import annotations

import math
import numbers
import sys
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Protocol, TypeVar

from cyclr import _check

_NEAR = 8  # calls between Optax and a schedule that a user's own functions may make
_BLOCK = 32_768  # values per block: a formula's intermediate arrays then stay in the processor's cache


class Namespace(Protocol):
    """The functions that formulas use, for numbers or arrays, named as in the array API standard."""

    def cos(self, x: float, /) -> float: ...
    def exp(self, x: float, /) -> float: ...
    def sqrt(self, x: float, /) -> float: ...
    def minimum(self, x1: float, x2: float, /) -> float: ...
    def where(self, condition: bool, x1: float, x2: float, /) -> float: ...


_R = TypeVar("_R")


class Part(Protocol):
    """A part of `piecewise`: a schedule."""

    def value(self, step: float, xp: Namespace) -> float: ...
    def _plain(self) -> Callable[[float], float]: ...


class OneNumber(ABC):
    """A namespace for single numbers: it can branch, and computes only what is needed."""

    @abstractmethod
    def call(self, function: Callable[[float], _R], x: float) -> _R:
        """The value of a function that takes numbers only."""

    @abstractmethod
    def piecewise(self, step: float, starts: Sequence[int], parts: Sequence[Part]) -> float:
        """The value of the part that `step` lies in."""


class _Scalars(OneNumber):
    """The namespace for Python numbers. It has more functions than `Namespace`, for formulas of users."""

    abs = staticmethod(abs)
    ceil, floor, round = staticmethod(math.ceil), staticmethod(math.floor), staticmethod(round)
    sin, cos, tan = staticmethod(math.sin), staticmethod(math.cos), staticmethod(math.tan)
    sinh, cosh, tanh = staticmethod(math.sinh), staticmethod(math.cosh), staticmethod(math.tanh)
    asin, acos, atan = staticmethod(math.asin), staticmethod(math.acos), staticmethod(math.atan)
    exp, expm1 = staticmethod(math.exp), staticmethod(math.expm1)
    log, log1p, log2, log10 = map(staticmethod, (math.log, math.log1p, math.log2, math.log10))
    sqrt, pow = staticmethod(math.sqrt), staticmethod(pow)
    minimum, maximum = staticmethod(min), staticmethod(max)

    @staticmethod
    def where(condition: bool, x1: float, x2: float, /) -> float:
        return x1 if condition else x2

    def call(self, function: Callable[[float], _R], x: float) -> _R:
        return function(x)

    def piecewise(self, step: float, starts: Sequence[int], parts: Sequence[Part]) -> float:
        place = 0
        while place + 1 < len(starts) and starts[place + 1] <= step:
            place += 1
        return parts[place].value(step - starts[place], scalars)


scalars = _Scalars()


def plain_step(step: numbers.Real) -> float:
    """A step as an int or a float: np.int64(3) becomes 3, so that the value is a plain number, too."""
    plain = int(step) if isinstance(step, numbers.Integral) else float(step)
    if -math.inf < plain < 0 and _is_asked_by_optax():
        return type(plain)(0)  # as an array would: `optax.join_schedules` calls its parts before their turn, too
    if not 0 <= plain < math.inf:
        raise ValueError(_check.problem("step must be a finite number of at least 0", step, "the first step is 0"))
    return plain


def _is_asked_by_optax() -> bool:
    """Whether the schedule is called by code of Optax, perhaps through a few functions of the user's own."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and _package(frame) == "cyclr":
        frame = frame.f_back
    for _ in range(_NEAR):
        if frame is None:
            return False
        if _package(frame) == "optax":
            return True
        frame = frame.f_back
    return False


def _package(frame: FrameType) -> str:
    return frame.f_globals.get("__name__", "").partition(".")[0]


def traced_by_torch() -> bool:
    """Whether torch.compile is tracing: it can trace formulas, but not their compilation here."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def over_array(formula: Callable[[float, Namespace], float], steps: Any) -> Any:
    """The values of a formula at an array of steps. Negative steps count as 0, as a traced value cannot raise.

    Raises:
        TypeError: If `steps` is not an array of integers or floats, or a user's formula changes the shape.
    """
    try:
        xp = _namespace(steps)
        whole = xp.isdtype(steps.dtype, "integral")
        if not whole and not xp.isdtype(steps.dtype, "real floating"):
            raise TypeError
    except TypeError:
        raise TypeError(
            _check.problem("step must be a number or an array of integers or floats", steps, "count steps from 0")
        ) from None

    def values(steps: Any) -> Any:
        if whole:
            # the library's default integer: a period of 4,000 does not fit into int8, nor 0 - 1 into uint64
            steps = xp.astype(steps, xp.asarray(0).dtype, copy=False)
        return formula(at_least(xp, steps, 0), xp)

    found = _in_blocks(values, steps) if _numpy(steps) and steps.size > _BLOCK else values(steps)
    if getattr(found, "shape", ()) != steps.shape:
        must = f"the value of a schedule must have the shape of the step, {tuple(steps.shape)}"
        raise TypeError(_check.problem(must, found, "add 0.0 * step in value(step, xp)"))
    return found


def _in_blocks(function: Callable[[Any], Any], steps: Any) -> Any:
    """Apply `function` to a large NumPy array, one block at a time."""
    flat = steps.reshape(-1)
    first = function(flat[:_BLOCK])
    if getattr(first, "shape", ()) != (_BLOCK,):
        return first  # an error, which the caller reports
    values = _namespace(flat).empty(flat.shape, dtype=first.dtype)
    values[:_BLOCK] = first
    for start in range(_BLOCK, len(flat), _BLOCK):
        values[start : start + _BLOCK] = function(flat[start : start + _BLOCK])
    return values.reshape(steps.shape)


def _numpy(array: object) -> Any:
    """NumPy if it is loaded and the array is one of its own, else None."""
    numpy = sys.modules.get("numpy")
    return numpy if numpy is not None and isinstance(array, numpy.ndarray) else None


def _namespace(array: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        # array_namespace gives the same, but its caches make torch.compile warn
        import array_api_compat.torch

        return array_api_compat.torch
    import array_api_compat

    return array_api_compat.array_namespace(array)


def mix(xp: Namespace, start: float, end: float, remaining: float, gone: float, scale: str = "linear") -> float:
    """Interpolate between `start` and `end`, with weights `remaining` (1 .. 0) and `gone` (0 .. 1).

    The weights add up to 1. Both are needed because `start + (end - start) * gone` can miss `end` by a rounding error,
    and because the weight that goes to zero is then not the small difference of two large numbers.
    """
    if scale == "log":
        value = start**remaining * end**gone
    else:
        value = start * remaining + end * gone
    # rounding must not move a value beyond a bound
    value = _between(xp, value, min(start, end), max(start, end))
    if scale == "linear" and (isinstance(xp, OneNumber) or _numpy(value)):
        return value
    # nor short of one: under jit, XLA divides by multiplying by the inverse, and 41 * (1 / 41) is not 1 in float32
    return xp.where(remaining == 0, end, xp.where(gone == 0, start, value))


def at_least(xp: Namespace, value: float, least: float) -> float:
    """The maximum of `value` and `least`."""
    # NumPy's function takes half the time of `where`; torch's would copy the number to the device
    return numpy.maximum(value, least) if (numpy := _numpy(value)) else xp.where(value < least, least, value)


def at_most(xp: Namespace, value: float, most: float) -> float:
    """The minimum of `value` and `most`."""
    return numpy.minimum(value, most) if (numpy := _numpy(value)) else xp.where(value > most, most, value)


def _between(xp: Namespace, value: float, low: float, high: float) -> float:
    if numpy := _numpy(value):
        return numpy.clip(value, low, high)  # one pass
    return at_least(xp, at_most(xp, value, high), low)


def largest_step(xp: Any, steps: Any) -> int:
    """The limit up to which steps of an array's type exist and are exact."""
    return int(xp.iinfo(steps.dtype).max) if xp.isdtype(steps.dtype, "integral") else 2**53


def locate(xp: Any, steps: Any, starts: Sequence[int], lengths: Sequence[int]) -> tuple[Any, Any]:
    """Start and length of the interval that contains each of `steps`; for arrays."""
    device = getattr(steps, "device", None)  # a tracer has none
    # floats, as the last interval may end beyond the largest integer
    real = xp.asarray(0.0).dtype if xp.isdtype(steps.dtype, "integral") else steps.dtype
    edges = xp.asarray(starts, dtype=steps.dtype, device=device)
    place = xp.searchsorted(edges, steps, side="right") - 1
    return edges[place], xp.asarray([*map(float, lengths)], dtype=real, device=device)[place]


def piecewise(xp: Namespace, step: float, starts: Sequence[int], parts: Sequence[Part]) -> float:
    """The value of the part that contains `step`; each part counts steps from its own start."""
    if isinstance(xp, OneNumber):
        return xp.piecewise(step, starts, parts)
    if _numpy(step):
        return _piecewise_in_numpy(xp, step, starts, parts)
    value = parts[0].value(step, xp)
    for start, part in zip(starts[1:], parts[1:], strict=True):
        # `where` computes both sides: no part may see a negative step
        own_step = xp.where(step < start, 0, step - start)
        value = xp.where(step < start, value, part.value(own_step, xp))
    return value


def _piecewise_in_numpy(xp: Any, steps: Any, starts: Sequence[int], parts: Sequence[Part]) -> Any:
    """Evaluate each part at its own steps only."""
    first = last = 0
    if steps.size:
        first, last = (bisect_right(starts, step) - 1 for step in (steps.min(), steps.max()))
    if first == last:
        return parts[first].value(steps - starts[first], xp)
    values: Any = None
    for place in range(first, last + 1):
        own = steps >= starts[place]
        if place < last:
            own &= steps < starts[place + 1]
        found: Any = parts[place].value(steps[own] - starts[place], xp)
        if values is None:
            values = xp.empty(steps.shape, dtype=found.dtype)
        values[own] = found
    return values
