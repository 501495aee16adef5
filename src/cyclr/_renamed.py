"""Old names, which still work until version 0.3, and arguments that are unknown."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import signature
from os import PathLike
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

OLD = "_old_arguments"  #: the attribute of a function with the names that it takes besides those of its signature
#: A new argument, the function that makes its value, and the old arguments with the names of its parameters.
Move = tuple[str, Callable[..., Any], Mapping[str, str]]

#: Short forms of a new argument, such as a path: beside old arguments they are the first argument of its function.
_PLAIN = (str, PathLike, tuple)


def renamed(*moves: Move) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take old arguments, too; one that it does not know is an error that names the nearest.

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
        parameters = list(signature(function).parameters)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            _refuse_unknown(function.__qualname__.removesuffix(".__init__"), kwargs, parameters, moves)
            for name, make, words in moves:
                old = [word for word in kwargs if word in words and not (word == name and not _is_old(kwargs[word]))]
                if old:
                    plain = name not in words and isinstance(kwargs.get(name), _PLAIN)
                    first = [kwargs.pop(name)] if plain else []
                    given = {words[word]: kwargs.pop(word) for word in old}
                    if name in kwargs:
                        raise TypeError(f"{', '.join(old)} must be left out if {name} is given; set them in {name}")
                    made = make(*first, **given)
                    said = f"{', '.join(old)}: pass {name}={_source(made)} instead; to be removed in version 0.3"
                    warnings.warn(said, DeprecationWarning, stacklevel=2)
                    kwargs[name] = made
            return function(*args, **kwargs)

        setattr(call, OLD, frozenset(word for _, _, words in moves for word in words))
        return call

    return decorate


def has_new_name(old: str, new: str) -> None:
    """Warn the caller's caller that a function or an attribute has another name now."""
    warnings.warn(f"{old} is now {new}; to be removed in version 0.3", DeprecationWarning, stacklevel=3)


def same(*words: str) -> dict[str, str]:
    """Old arguments that keep their names as fields."""
    return {word: word for word in words}


def _refuse_unknown(function: str, given: Iterable[str], parameters: list[str], moves: tuple[Move, ...]) -> None:
    """An error for the first word that is neither an argument nor an old one."""
    inside: dict[str, str] = {}
    for name, make, words in moves:
        made = f"{make.__name__}({{}}=...)" if isinstance(make, type) else "..."
        inside.update({word: f"{name}={made.format(field)}" for word, field in words.items() if word not in parameters})
    for word in given:
        if word not in parameters and word not in inside:
            near = difflib.get_close_matches(word, [*parameters, *inside], n=1)
            hint = f"did you mean {inside.get(near[0], near[0])}?" if near else f"it takes {', '.join(parameters)}"
            raise TypeError(f"{function}() got an unexpected keyword argument {word!r}; {hint}")


def _source(made: object) -> str:
    """What the caller writes for it: of a dataclass no field that is as it would be anyway."""
    if not is_dataclass(made):
        return repr(made)
    given = {field.name: getattr(made, field.name) for field in fields(made) if field.repr}
    default = {field.name: field.default for field in fields(made)}
    said = (f"{name}={value!r}" for name, value in given.items() if value is not default[name])
    return f"{type(made).__name__}({', '.join(said)})"


def _is_old(value: object) -> bool:
    """Whether an argument that kept its name has a value of the old kind: `ramp` was a text."""
    return isinstance(value, str)
