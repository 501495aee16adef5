"""What functions and plain objects of the user's own work with."""

from __future__ import annotations

import functools
import gc
import inspect
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

from cyclr.torch._restore import undo

FEW = 64  #: a longer container holds data
MOST = 20_000  #: objects that are looked at
#: Packages whose objects and functions are known, or tools: nothing in there is a user's state, but for namespaces and
#: classes without a module.
_CLOSED = {*sys.stdlib_module_names, "accelerate", "jax", "keras", "lightning", "numpy", "pytorch_lightning",
           "torch", "transformers"} - {"__main__", "argparse", "builtins", "types"}  # fmt: skip
#: Modules of closed packages whose objects hold what the user put in there.
_HOLDERS = {"_thread", "collections", "functools", "weakref"}
_CONTAINERS = (list, tuple, set, dict, deque)
#: Objects without attributes that hold others: iterators, caches, suspended generators.
_OPAQUE = {"builtins", "functools", "itertools"}
#: Methods that a framework calls, whoever names them.
_CALLED = {"forward", "backward", "step", "training_step", "compute_loss", "optimizer_step", "optimizer_zero_grad",
           "on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad"}  # fmt: skip


SUSPENDED = (AsyncGeneratorType, CoroutineType, GeneratorType)


def frame_of(suspended: Any) -> FrameType | None:
    """The frame of a generator or coroutine that waits; None if it has ended or is running."""
    for name in ("gi", "cr", "ag"):
        if hasattr(suspended, f"{name}_frame"):
            return None if getattr(suspended, f"{name}_running") else getattr(suspended, f"{name}_frame")
    return None


def _referents(value: Any) -> list[Any]:
    """What an object written in C holds; of a generator not its frame, which newer Pythons would name, too."""
    frame = frame_of(value) if isinstance(value, SUSPENDED) else None
    own = None if frame is None else frame.f_locals
    return [part for part in gc.get_referents(value) if part is not own and not isinstance(part, FrameType)]


class Closed:
    """What is not looked into, although a user's variables hold it."""


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
        self._asked = set(_CALLED)  # the names that code asks for
        self._methods: dict[str, list[Reached]] = {}  # those of classes that no code asked for yet
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
            if id(now.value) in self._seen or isinstance(now.value, (int, float, str, bytes, type(None), CodeType)):
                continue
            if isinstance(now.value, type) and not is_own(now.value.__module__):
                continue
            if len(self._seen) >= MOST:
                self.full = True
                return
            self._seen[id(now.value)] = now.value
            yield now
            if not (self._closed(now.value) or isinstance(now.value, Closed)):
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
            yield from self._of_function(now)
        elif isinstance(value, FrameType):
            yield from self._of_frame(now)
        elif isinstance(value, type):
            yield from self._of_class(now)
        elif isinstance(value, (weakref.ref, ContextVar)):
            yield Reached(value() if isinstance(value, weakref.ref) else value.get(None), now.name)
        elif isinstance(value, _CONTAINERS):
            yield from self._of_container(now)
        elif isinstance(value, BuiltinFunctionType) or (_is_opaque(value) and not hasattr(value, "__dict__")):
            yield from (Reached(part, now.name, value, now) for part in _referents(value))
        elif not isinstance(value, ModuleType) and (root or not _is_closed(type(value).__module__, _HOLDERS)):
            yield from self._of_object(now)

    def _of_container(self, now: Reached) -> Iterator[Reached]:
        value = now.value
        if len(value) <= self.few:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            yield from (Reached(part, f"{now.name}[{key!r}]", value, now) for key, part in items)
        if hasattr(value, "__dict__"):  # of a class of the user's own
            yield from self._of_object(now)

    def _of_object(self, now: Reached) -> Iterator[Reached]:
        value = now.value
        held = dict(vars(value)) if hasattr(value, "__dict__") else {}
        held.update((slot.__name__, undo.in_slot(value, slot)) for slot in undo.slots(value))
        for name, part in held.items():
            separator = ": " if now.name and now.before is None and now.holder is None else "."
            yield Reached(part, f"{now.name}{separator}{name}", value, now)
        kind = type(value)
        if _is_opaque(value):  # such as a cache: attributes are not all that it holds
            yield from (Reached(part, now.name, value, now) for part in gc.get_referents(value))
        elif is_own(kind.__module__):
            yield Reached(kind, kind.__qualname__)
        elif isinstance(call := inspect.getattr_static(kind, "__call__", None), FunctionType):
            yield Reached(call, now.name)
            yield from (Reached(one, now.name) for one in _methods(kind, call))

    def _of_class(self, now: Reached) -> Iterator[Reached]:
        """What a class holds, and those of its methods that code asks for, or that are called without being named."""
        kind = now.value
        yield from (Reached(base, base.__qualname__) for base in (*kind.__bases__, type(kind)))
        for name, part in dict(vars(kind)).items():
            special = name.startswith("__") and name.endswith("__")
            if functions := _functions(part):
                methods = [Reached(one, f"{now.name}.{name}") for one in functions]
                if special or name in self._asked:
                    yield from methods
                else:
                    self._methods.setdefault(name, []).extend(methods)
            elif not (special or isinstance(part, (MemberDescriptorType, GetSetDescriptorType))):
                yield Reached(part, f"{now.name}.{name}", kind, now)

    def _of_function(self, now: Reached) -> Iterator[Reached]:
        for name, part, holder in of_function(now.value):
            yield Reached(part, f"{now.name}: {name}", holder)
        for name, part in vars(now.value).items():
            yield Reached(part, f"{now.name}.{name}", now.value, now)
        yield from self._ask(now.value.__code__)

    def _of_frame(self, now: Reached) -> Iterator[Reached]:
        """What running code has in its variables, and finds by name in its globals."""
        frame = now.value
        if frame.f_locals is not frame.f_globals:
            yield from (Reached(part, name, frame) for name, part in frame.f_locals.items())
        for name, part, holder in _of_globals(frame.f_code, frame.f_globals):
            yield Reached(part, name, holder)
        yield from self._ask(frame.f_code)

    def _ask(self, code: CodeType) -> Iterator[Reached]:
        for name in _names(code):
            self._asked.add(name)
            yield from self._methods.pop(name, ())


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
    yield from _of_globals(function.__code__, function.__globals__)


def _of_globals(code: CodeType, variables: dict[str, Any]) -> Iterator[tuple[str, Any, Variable]]:
    """What code finds by name in its globals."""
    names = list(dict.fromkeys(_names(code)))
    for name in names:
        value = variables.get(name, sys.modules.get(name))  # the latter is imported by the code itself
        if isinstance(value, ModuleType):
            yield from _of_module(value, name, names) if is_own(value.__name__) else ()
        elif not isinstance(value, FunctionType) or value.__globals__ is variables or is_own(value.__module__ or ""):
            yield name, value, Variable(variables, name)


def _of_module(module: ModuleType, name: str, names: list[str]) -> Iterator[tuple[str, Any, Variable]]:
    """What code that asks for these names finds in a module of the user's own, and in modules within it."""
    own = vars(module)
    for inner in names:
        value = own.get(inner)
        if not isinstance(value, ModuleType):
            yield f"{name}.{inner}", value, Variable(own, inner)
        elif value.__name__.startswith(f"{module.__name__}."):
            yield from _of_module(value, f"{name}.{inner}", names)


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


def _functions(part: Any) -> list[FunctionType]:
    """The functions that an attribute of a class is made of: a method, a property."""
    if isinstance(part, (staticmethod, classmethod)):
        part = part.__func__
    parts = (part.fget, part.fset) if isinstance(part, property) else (getattr(part, "func", part),)
    return [one for one in parts if isinstance(one, FunctionType)]


def _is_opaque(value: Any) -> bool:
    return type(value).__module__ in _OPAQUE


def _is_closed(module: str | None, but: Iterable[str] = ()) -> bool:
    package = (module or "").partition(".")[0]
    return package in _CLOSED and package not in but


def is_own(name: str) -> bool:
    """Whether the module of this name is the user's and not a library's."""
    if name == "builtins" or _is_closed(name) or name.partition(".")[0] == "cyclr":
        return False
    if name not in sys.modules or name == "__main__":  # run by `exec`; a notebook, which has no file
        return True
    file = getattr(sys.modules[name], "__file__", None) or "site-packages"
    return "site-packages" not in file and "dist-packages" not in file
