"""Descriptions of objects: panels register themselves, `describe` collects their parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import singledispatch
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

from cyclr import _check
from cyclr._page import panels
from cyclr._page.blocks import Part, Section

View = TypeVar("View")
Panel = Callable[[View], Part | None]

_PANELS: dict[type, dict[str, tuple[float, Panel[Any]]]] = {}


def panel(view: type[View], *, place: float = 100) -> Callable[[Panel[View]], Panel[View]]:
    """Register a function that describes an object; terminal, HTML and Markdown then show its part.

    Args:
        view: The type that the function takes: `Comparison` (a study), `Reading` (one signal of a curve), `Curve`,
            `Plan`, `Shown` (a schedule) or `Run`.
        place: Panels are sorted by their places; by default they come after the built-in ones. A function with the same
            name and module replaces an earlier one, so that a notebook's cell can be run again.

    Returns:
        A decorator. The function returns a `Part`, or None for nothing.

    >>> from cyclr import Plan
    >>> from cyclr._page.blocks import Sentences
    >>> def closes(plan: Plan) -> Part:
    ...     return Part("Cycles", (Sentences((f"{len(plan.snapshots)} cycles.",)),))
    >>> panel(Plan)(closes) is closes
    True
    >>> withdraw(Plan, closes)
    """

    def register(function: Panel[View]) -> Panel[View]:
        _PANELS.setdefault(view, {})[_name(function)] = place, function
        return function

    return register


def withdraw(view: type[View], function: Panel[View]) -> None:
    """Unregister a panel.

    Args:
        view: As in `panel`.
        function: The panel's function.

    Raises:
        KeyError: If it is not registered.
    """
    del _PANELS[view][_name(function)]


def _name(function: Panel[Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


@singledispatch
def read(thing: object) -> tuple[str, Sequence[object]]:
    """The title of an object and its views, which panels take; each type of object registers its own.

    Raises:
        TypeError: If objects of this type cannot be shown.
    """
    own = [kind for kind in read.registry if kind is not object and not kind.__module__.startswith("cyclr._page")]
    kinds = sorted(kind.__name__ for kind in own)
    raise TypeError(_check.problem(f"an object to be shown must be one of {', '.join(kinds)}", thing))


def describe(thing: object) -> Section:
    """Describe an object by blocks, which terminal, HTML and Markdown all render.

    Args:
        thing: A `Study`, `Run`, `Curve`, `Plan` or `Schedule`; or a view with its own options: `Reading`, one signal
            of a curve, or `Shown`, a schedule up to some step.

    Returns:
        The section.

    Raises:
        TypeError: If it is none of these.
        ValueError: If a record contradicts itself.

    >>> from cyclr import Linear
    >>> describe(Linear(0.1, 0, steps=100)).title
    'Schedule'
    """
    for module in iter_modules(panels.__path__):  # one file each: a new one needs no registration elsewhere
        import_module(f"{panels.__name__}.{module.name}")
    title, views = read(thing)
    return Section(title, tuple(part for view in views for part in _parts(view)))


def _parts(view: object) -> Iterator[Part]:
    for _, function in sorted(_PANELS.get(type(view), {}).values(), key=lambda entry: entry[0]):
        if (part := function(view)) is not None:
            yield part
