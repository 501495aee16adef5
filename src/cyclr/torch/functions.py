"""What a function works with, besides its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any


def named_in(function: FunctionType) -> list[Any]:
    """What a function finds in its closure, its defaults and, by name, among the globals of its file.

    Functions of the same file that it names are looked into in turn: a step often is one of several.

    >>> secret = object()
    >>> def inner():
    ...     return secret
    >>> named_in(lambda: inner()) == [inner, secret]
    True
    """
    todo = [function]
    found: dict[int, Any] = {}
    while todo:
        one = todo.pop()
        for value in _of(one):
            if id(value) not in found:
                found[id(value)] = value
                if isinstance(value, FunctionType) and value.__globals__ is function.__globals__:
                    todo.append(value)
    return list(found.values())


def _of(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    """The names that code asks for, in order, and those that code within it does, such as a comprehension's."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
