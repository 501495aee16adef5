"""The state of a web of objects, remembered, and put back in place: the same objects, with the old contents."""

from __future__ import annotations

import copy
import operator
import sys
from collections import deque
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from cyclr.torch import rng
from cyclr.torch.memory import Memory

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None), torch.device, torch.dtype, torch.Size, range})
_CODE = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType, _BaseDataLoaderIter)
#: Objects of these packages are tools, not state.
_TOOLS = {"logging", "threading", "multiprocessing", "queue", "concurrent", "asyncio", "weakref"}
_KNOWN = (torch.nn.Module, Optimizer, LRScheduler, torch.amp.GradScaler)
#: A dataset may be wrapped: loader, batch sampler, sampler, dataset, the dataset within, a transform.
LOADER_REACH = 6
_SHORT = 64  #: a longer container, found from a loader, holds samples and not parts


class Snapshot:
    """Remembers objects and all that is reached from them; `restore` may be called as often as wanted.

    Followed are containers, the attributes of modules, optimizers, schedulers and scalers, and those of other objects
    as long as no more than `reach` of them lie on the way.
    """

    def __init__(self) -> None:
        self.sources: list[Any] = []  #: what gives random numbers and was met on the way
        self._seen: dict[int, Any] = {}  # by identity; keeps alive what it names, so that no identity is used twice
        self._memory = Memory()
        self._undo: list[Callable[[], None]] = []
        self._stateful: list[Any] = []
        self._loaders: list[DataLoader[Any]] = []

    def keep(self, *roots: Any, reach: int = 0, contents: bool = True) -> None:
        """Note the present state of `roots`, and of all that hangs on them.

        Args:
            roots: Objects or containers of objects; they are opened whatever they are.
            reach: How many objects of unknown kinds may lie between a root and what is followed.
            contents: Whether to copy tensors and arrays too.
        """
        todo = [(root, reach + 1) for root in roots]
        while todo:
            value, left = todo.pop()
            if type(value) in _ATOMS or id(value) in self._seen or isinstance(value, _CODE):
                continue
            self._seen[id(value)] = value
            if rng.is_source(value):
                self.sources.append(value)
            elif isinstance(value, torch.Tensor):
                todo.extend((part, left) for part in (self._memory.keep(value) if contents else ()))
            elif isinstance(value, (tuple, list, dict, set, deque)):
                todo.extend((part, left) for part in self._container(value, contents))
            elif _is_array(value):
                self._undo.extend([_array(value)] if contents else ())
            elif isinstance(value, _KNOWN):
                todo.extend((part, left) for part in self._attributes(value, contents))
            elif left > 0 and type(value).__module__.partition(".")[0] not in _TOOLS:
                todo.extend((part, left - 1) for part in self._attributes(value, contents))

    def keep_alone(self, *objects: Any) -> None:
        """Note objects by themselves: their attributes, and what lists and the like among these hold; no more."""
        for one in objects:
            for held in (one, vars(one), *vars(one).values()):
                if isinstance(held, (list, dict, set, deque)):
                    self._undo.append(_container(held))

    def finish(self) -> None:
        """Copy what was noted. The sources of randomness come first: to ask others for their state may use them up."""
        states = [(source, rng.state(source)) for source in self.sources]
        asked = [(value, copy.deepcopy(value.state_dict())) for value in self._stateful]
        self._memory.copy()
        self._undo.insert(0, self._memory.restore)
        self._undo.extend(_stateful(value, state) for value, state in asked)
        self._undo.extend(_source(source, state) for source, state in states)
        for loader in self._loaders:
            vars(loader)["_iterator"] = None  # live workers stay as they are: whoever iterates now gets others

    def restore(self) -> list[Exception]:
        """Put all back, whatever fails on the way; what failed is returned."""
        errors = []
        for undo in self._undo:
            try:
                undo()
            except Exception as error:  # noqa: BLE001 (the rest must still be put back)
                errors.append(error)
        return errors

    def _container(self, value: Any, contents: bool) -> Iterable[Any]:
        """Note what a container holds, and give it."""
        if not isinstance(value, tuple):
            self._undo.append(_container(value))
        if len(value) > _SHORT and not contents:
            return ()
        if isinstance(value, dict):  # an optimizer's state has tensors for keys
            return [*value.values(), *(key for key in value if isinstance(key, torch.Tensor))]
        return list(value)

    def _attributes(self, value: Any, contents: bool) -> Iterable[Any]:
        """Note an object's attributes, and give them."""
        attributes = getattr(value, "__dict__", None)
        parts: list[Any] = []
        if isinstance(value, torch.nn.Module):
            self._undo.append(_training(value, value.training))
            if isinstance(value, torch.jit.ScriptModule):  # keeps its flag and its parts elsewhere
                parts = [*value.parameters(), *value.buffers(), *value.children()]
        elif isinstance(value, DataLoader):
            self._loaders.append(value)
        elif not contents and all(hasattr(value, name) for name in ("state_dict", "load_state_dict")):
            self._stateful.append(value)
        if not isinstance(attributes, dict):
            return parts
        self._undo.append(_class(value, type(value)))
        self._undo.append(_container(attributes))
        self._seen[id(attributes)] = attributes
        return [*parts, *attributes.values()]


def sources_of(loader: Any) -> list[Any]:
    """What gives random numbers in a loader, its samplers and its dataset, always in the same order."""
    found = Snapshot()
    found.keep(loader, reach=LOADER_REACH, contents=False)
    return found.sources


def _container(value: Any) -> Callable[[], None]:
    """Puts back what `value` holds; one that holds the same objects in the same order is not touched."""
    if isinstance(value, dict):
        return _dict(value)
    saved = list(value)

    def undo() -> None:
        if len(value) == len(saved) and all(map(operator.is_, value, saved)):
            return
        if isinstance(value, list):
            value[:] = saved
        else:
            value.clear()
            value.update(saved) if isinstance(value, set) else value.extend(saved)

    return undo


def _dict(value: dict[Any, Any]) -> Callable[[], None]:
    saved = dict(value)

    def undo() -> None:
        # Entry by entry: the attributes of an object must not be missing for a moment, another thread may look.
        for key in [key for key in value if key not in saved]:
            del value[key]
        for key, item in saved.items():
            if key not in value or value[key] is not item:
                value[key] = item
        if not all(map(operator.is_, value, saved)):
            value.clear()
            value.update(saved)

    return undo


def _class(value: Any, kind: type) -> Callable[[], None]:
    def undo() -> None:
        if type(value) is not kind:  # a parametrization gives its module another class
            value.__class__ = kind

    return undo


def _training(module: torch.nn.Module, flag: bool) -> Callable[[], None]:
    def undo() -> None:
        if module.training != flag:
            module.training = flag

    return undo


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _array(value: Any) -> Callable[[], None]:
    saved = value.copy()

    def undo() -> None:
        if value.flags.writeable:
            value[...] = saved

    return undo


def _stateful(value: Any, state: Any) -> Callable[[], None]:
    def undo() -> None:
        # Often its attributes, back by now, are all its state; then loading could only do harm.
        if not _equal(value.state_dict(), state):
            value.load_state_dict(copy.deepcopy(state))

    return undo


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):  # tensors or arrays of several elements are neither true nor false
        return False


def _source(source: Any, state: Any) -> Callable[[], None]:
    def undo() -> None:
        rng.set_state(source, state)

    return undo
