"""The base class of all schedules: a formula for the value at a step."""

from __future__ import annotations

import dataclasses
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, overload

from cyclr import _check
from cyclr._schedules import hooks
from cyclr._schedules.compiled import Recorder
from cyclr._schedules.xp import Namespace, over_array, plain_step, scalars, traced_by_torch

if TYPE_CHECKING:
    from numpy import float64, floating, integer
    from numpy.typing import NDArray

    _F = TypeVar("_F", bound=floating)


class _Array(Protocol):
    """An array of NumPy, torch, JAX, …; array-api-compat provides everything else."""

    @property
    def dtype(self) -> object: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


_A = TypeVar("_A", bound=_Array)


class Formula(ABC):
    """A frozen dataclass with a formula for the value at a step; subclasses define the hooks. Users see `Schedule`."""

    __slots__ = ("__weakref__", "_function")  # jax.jit(schedule) keeps a weak reference
    _function: Callable[[float], float] | None  # cached by `_plain`; not a field, so neither compared nor pickled

    def __init_subclass__(cls) -> None:
        hooks.register(cls)
        if "__repr__" not in vars(cls):
            setattr(cls, "__repr__", cls.__repr__)  # noqa: B010 - or @dataclass writes one that says no module

    def __new__(cls, *args: object, **words: object) -> Self:
        hooks.expect_complete(cls)
        schedule = object.__new__(cls)
        store(schedule, _function=None)
        return schedule

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, object]) -> None:
        store(self, **state)

    @property
    @abstractmethod
    def duration(self) -> float:
        """Whole length in steps: an int, or `math.inf` for an endless schedule."""

    @property
    @abstractmethod
    def lowest(self) -> float:
        """The lower bound of all its values."""

    @property
    @abstractmethod
    def highest(self) -> float:
        """The upper bound of all its values."""

    @overload
    def __call__(self, step: float | integer | floating) -> float: ...
    @overload
    def __call__(self, step: NDArray[integer]) -> NDArray[float64]: ...
    @overload
    def __call__(self, step: NDArray[_F]) -> NDArray[_F]: ...
    @overload
    def __call__(self, step: _A) -> _A: ...
    def __call__(self, step: object) -> object:
        """The value at `step`.

        Args:
            step: Completed optimizer steps: an int, a float, or an array of either (NumPy, torch, JAX, even a traced
                one). The result has the same shape and the array library's float type.

        Raises:
            ValueError: If a plain number is negative or not finite. In arrays, negative steps count as 0.
            TypeError: If the step is neither a number nor an array of numbers.
        """
        if type(step) is int and step >= 0:  # nearly every call
            return (self._function or self._plain())(step)
        if isinstance(step, numbers.Real) and type(step) is not bool:
            return self._plain()(plain_step(step))
        return over_array(self.value, step)

    def cycle_ends(self, until: int | None = None) -> tuple[int, ...]:
        """The steps at which a cycle ends at its lowest value: where to stop, to evaluate or to take a snapshot.

        Args:
            until: The last step to consider; by default the duration. Required for an endless schedule.

        Raises:
            ValueError: If the schedule is endless and `until` is not given.

        >>> from cyclr import Triangular
        >>> Triangular(0.1, 0.5, step_size=4).cycle_ends(until=20)
        (8, 16)
        """
        if until is None:
            if self.duration == math.inf:
                raise ValueError(
                    _check.problem("until must be given for an endless schedule", None, "pass until=steps")
                )
            until = int(self.duration)
        return tuple(self.ends(_check.count("until", until, least=0)))

    def __repr__(self) -> str:
        return hooks.source(self)

    @abstractmethod
    def value(self, step: float, xp: Namespace) -> float:
        """The formula for the value at a step, to be defined by a subclass. To evaluate a schedule, call it.

        Args:
            step: A number or an array of numbers, at least 0.
            xp: The functions to compute with, named as in the array API standard: `xp.where`, `xp.cos`, …. Do not
                branch on the step with `if`: it may be an array.

        Returns:
            A number, or an array in the shape of the step.
        """

    @abstractmethod
    def ends(self, until: int) -> Iterable[int]:
        """The increasing steps above 0, up to `until`, at which a cycle ends at its lowest value."""

    def _plain(self) -> Callable[[float], float]:
        """This schedule as a function of one Python number of at least 0; compiled on first use, then cached."""
        if self._function is not None:
            return self._function
        if traced_by_torch():
            return self._checked_value
        function = self._checked_value
        if hooks.is_built_in(type(self)):
            recorder = Recorder()
            function = recorder.function(self.value(recorder.step, recorder))
        store(self, _function=function)
        return function

    def _checked_value(self, step: float) -> float:
        """The value at a number, as a float. The result of a user's formula can only be checked when it runs."""
        value = self.value(step, scalars)
        if type(value) is not float:
            value = _check.number(f"the value of {hooks.name_of(type(self))}", value, "return one from value(step, xp)")
        return value

    def _at(self, step: float, xp: Namespace) -> float:
        """`value` as a part of another formula; a user's formula is called there, not compiled."""
        if isinstance(xp, Recorder) and not hooks.is_built_in(type(self)):
            return xp.call(xp.shared(self)._plain(), step)
        return self.value(step, xp)

    def _before(self, step: int) -> float:
        """The limit of the value as the step approaches `step` from below: the value held if the schedule is cut there.

        It differs from the value at `step` only if the schedule jumps there.
        """
        return self._plain()(step)


def store(formula: Formula, **values: object) -> None:
    """Set attributes of a frozen dataclass during its initialisation."""
    for name, value in values.items():
        object.__setattr__(formula, name, value)
