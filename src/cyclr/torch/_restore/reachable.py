"""What functions and plain objects of the user's own work with."""

from __future__ import annotations

import functools
import inspect
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from cyclr.torch._restore import undo

FEW = 64  #: a longer container holds data
MOST = 20_000  #: objects that are looked at
#: Packages whose objects and functions are known, or tools: nothing in there is a user's state, but for namespaces and
#: classes without a module.
_CLOSED = {*sys.stdlib_module_names, "accelerate", "jax", "keras", "lightning", "numpy", "pytorch_lightning",
           "torch", "transformers"} - {"__main__", "argparse", "builtins", "types"}  # fmt: skip
_CONTAINERS = (list, tuple, set, dict, deque)


@dataclass(frozen=True, slots=True)
class Reached:
    """Something that was reached, by which name, and what it stands in: an object, a container, a cell, a variable."""

    value: Any
    name: str
    holder: Any = None
    before: Reached | None = None  #: how the holder was reached, where that is a container or an object


@dataclass(frozen=True, slots=True)
class Variable:
    """A global variable."""

    variables: dict[str, Any]
    name: str


class Search:
    """Finds what functions name or are bound to, and what objects and containers in there hold, however deep.

    Args:
        closed: Whether a value is not to be looked into.
        few: A container with more entries is not looked into.

    >>> class Average:
    ...     def __init__(self):
    ...         self.shadow = [1.0]
    >>> average = Average()
    >>> found = Search(lambda value: False).reached([("step", lambda batch: average.shadow)])
    >>> [one.name for one in found if one.value is average.shadow]
    ['step: average.shadow']
    """

    def __init__(self, closed: Callable[[Any], bool], few: int = FEW) -> None:
        self._closed, self.few = closed, few
        self._seen: dict[int, Any] = {}  # keeps alive what it names, so that no identity is used twice
        self.full = False  #: whether the search was given up

    def reached(self, roots: Iterable[tuple[str, Any]], *, opened: bool = True) -> Iterator[Reached]:
        """What is reached from these, the nearest first, without what an earlier call gave.

        Args:
            roots: Names and values.
            opened: Whether to look into roots even if they are a library's.
        """
        todo = deque((Reached(value, name), opened) for name, value in roots)
        while todo:
            now, root = todo.popleft()
            if id(now.value) in self._seen or isinstance(now.value, (int, float, str, bytes, type, type(None))):
                continue
            if len(self._seen) >= MOST:
                self.full = True
                return
            self._seen[id(now.value)] = now.value
            yield now
            if not self._closed(now.value):
                todo.extend((part, False) for part in self._parts(now, root=root))

    def _parts(self, now: Reached, *, root: bool) -> Iterator[Reached]:
        value = now.value
        if isinstance(value, functools.partial):
            parts = (value.func, *value.args, *value.keywords.values())
            yield from (Reached(part, now.name) for part in parts)
        elif isinstance(value, MethodType):
            yield Reached(value.__self__, now.name)
            yield Reached(value.__func__, now.name)
            yield from (Reached(one, now.name) for one in _methods(type(value.__self__), value.__func__))
        elif isinstance(value, FunctionType):
            for name, part, holder in of_function(value):
                yield Reached(part, f"{now.name}: {name}", holder)
        elif isinstance(value, _CONTAINERS) and len(value) > self.few:
            return
        elif isinstance(value, dict):
            yield from (Reached(part, f"{now.name}[{key!r}]", value, now) for key, part in value.items())
        elif isinstance(value, _CONTAINERS):
            yield from (Reached(part, f"{now.name}[{index}]", value, now) for index, part in enumerate(value))
        elif not isinstance(value, ModuleType) and (root or not _is_closed(type(value).__module__)):
            yield from self._of_object(now)

    def _of_object(self, now: Reached) -> Iterator[Reached]:
        value = now.value
        held = dict(vars(value)) if hasattr(value, "__dict__") else {}
        held.update((slot.__name__, undo.in_slot(value, slot)) for slot in undo.slots(value))
        for name, part in held.items():
            separator = ": " if now.name and now.before is None and now.holder is None else "."
            yield Reached(part, f"{now.name}{separator}{name}", value, now)
        if isinstance(call := inspect.getattr_static(type(value), "__call__", None), FunctionType):
            yield Reached(call, now.name)
            yield from (Reached(one, now.name) for one in _methods(type(value), call))


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
        now = todo.pop()
        for _, value, _ in of_function(now) if isinstance(now, FunctionType) else ():
            if id(value) not in found:
                found[id(value)] = value
                todo.extend([value] if getattr(value, "__globals__", None) is now.__globals__ else [])
    return list(found.values())


def of_function(function: FunctionType) -> Iterator[tuple[str, Any, CellType | Variable | None]]:
    """What a function finds in its closure, its defaults and its globals: each with its name and where it stands."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents, cell
        except ValueError:  # not filled yet
            continue
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "default", value, None
    if _is_closed(function.__globals__.get("__name__", "")):
        return  # a decorator of a library's, say: what it names is the library's
    names = list(_names(function.__code__))
    for name in names:
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) and _is_own(value):
            own = vars(value)
            yield from ((f"{name}.{inner}", own[inner], Variable(own, inner)) for inner in names if inner in own)
        elif not isinstance(value, FunctionType) or value.__globals__ is function.__globals__ or _is_own(value):
            yield name, value, Variable(function.__globals__, name)


def _methods(kind: type, function: FunctionType) -> Iterator[FunctionType]:
    """The methods of the class that one of its methods names."""
    for name in _names(function.__code__):
        method = inspect.getattr_static(kind, name, None)
        if isinstance(method, FunctionType) and not _is_closed(method.__module__):
            yield method


def _names(code: CodeType) -> Iterator[str]:
    """The names that code asks for, in order, and those that code within it does, such as a comprehension's."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_closed(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _CLOSED


def _is_own(value: ModuleType | FunctionType) -> bool:
    """Whether a module, or a function's, is the user's and not a library's."""
    module = value if isinstance(value, ModuleType) else sys.modules.get(value.__module__ or "")
    name, file = getattr(module, "__name__", ""), getattr(module, "__file__", None) or "site-packages"
    return not ("site-packages" in file or "dist-packages" in file or _is_closed(name) or name.startswith("cyclr"))
