"""Arguments of version 0.1 that are now fields of an object: they still work, with a warning, until version 0.3."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: A new argument, the function that makes its value, and the old arguments with the names of its parameters.
Move = tuple[str, Callable[..., Any], Mapping[str, str]]


def renamed(*moves: Move) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function accept old arguments, too.

    Args:
        moves: For each new argument: its name, the function that makes it, and the old arguments with that function's
            names for them.

    >>> @renamed(("size", lambda wide, high: (wide, high), {"width": "wide", "height": "high"}))
    ... def area(*, size):
    ...     return size[0] * size[1]
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     area(width=2, height=3)
    6
    >>> print(caught[0].message)
    width, height: pass size=(2, 3) instead; to be removed in version 0.3
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, make, fields in moves:
                old = [word for word in kwargs if word in fields and not (word == name and not _is_old(kwargs[word]))]
                if old:
                    made = make(**{fields[word]: kwargs.pop(word) for word in old})
                    if name in kwargs:
                        raise TypeError(f"{', '.join(old)} must be left out if {name} is given; set them in {name}")
                    said = f"{', '.join(old)}: pass {name}={made!r} instead; to be removed in version 0.3"
                    warnings.warn(said, DeprecationWarning, stacklevel=2)
                    kwargs[name] = made
            return function(*args, **kwargs)

        return call

    return decorate


def same(*words: str) -> dict[str, str]:
    """Old arguments that keep their names as fields."""
    return {word: word for word in words}


def _is_old(value: object) -> bool:
    """Whether an argument that kept its name has a value of the old kind: `ramp` was a text."""
    return isinstance(value, str)
