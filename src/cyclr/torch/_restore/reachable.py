"""What a function works with, besides its arguments."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_FEW = 64  #: a longer container holds data


def around(functions: Iterable[Any]) -> list[Any]:
    """What functions of the user's own work with: what they name or are bound to, and what that holds directly.

    Args:
        functions: Functions, methods, parts of these (`functools.partial`), objects that can be called.

    Returns:
        All of it, the functions too, in no order that matters.

    >>> class Trainer:
    ...     def __init__(self):
    ...         self.average = [1.0]
    ...     def step(self, batch):
    ...         pass
    >>> trainer = Trainer()
    >>> any(one is trainer.average for one in around([lambda batch: trainer.step(batch)]))
    True
    """
    found: dict[int, Any] = {}
    for function in functions:
        for value in (function, *named_in(function)):
            for part in (value, *_inside(value)):
                found[id(part)] = part
    return list(found.values())


def named_in(function: Any) -> list[Any]:
    """What a function finds in its closure, its defaults and, by name, among the globals of its file.

    So do the functions in there and those of the same file that it names: a step often is one of several.

    >>> secret = object()
    >>> def inner():
    ...     return secret
    >>> named_in(lambda: inner()) == [inner, secret]
    True
    """
    todo, found = [function], dict[int, Any]()
    while todo:
        for value, followed in _of(todo.pop()):
            if id(value) not in found:
                found[id(value)] = value
                todo.extend([value] if followed else [])
    return list(found.values())


def _of(function: Any) -> Iterator[tuple[Any, bool]]:
    """What a function names, each with whether it is a function to look into in turn."""
    if isinstance(function, functools.partial):
        yield from ((part, True) for part in (function.func, *function.args, *function.keywords.values()))
    elif isinstance(function, MethodType):
        yield from ((function.__func__, True), (function.__self__, False))
    if not isinstance(function, FunctionType):
        return
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents, True
        except ValueError:  # not filled yet
            continue
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield value, True
    for name in _names(function.__code__):
        if name in function.__globals__:
            value = function.__globals__[name]
            yield value, getattr(value, "__globals__", None) is function.__globals__


def _names(code: CodeType) -> Iterator[str]:
    """The names that code asks for, in order, and those that code within it does, such as a comprehension's."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _inside(value: Any) -> list[Any]:
    """What a short container or an object holds."""
    if isinstance(value, (list, tuple, set, dict)):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        return parts if len(parts) <= _FEW else []
    if isinstance(value, (type, ModuleType, FunctionType)) or not hasattr(value, "__dict__"):
        return []
    return list(vars(value).values())
