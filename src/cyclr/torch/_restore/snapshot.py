"""The state of a web of objects, remembered, and put back in place: the same objects, with the old contents."""

from __future__ import annotations

import copy
import functools
import warnings
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from io import IOBase
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from cyclr import _rng as rng
from cyclr.torch._restore import undo
from cyclr.torch._restore.place import InMemory, Place
from cyclr.torch._restore.reachable import is_own, named_in
from cyclr.torch._restore.tensors import Memory

_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None), torch.device, torch.dtype, torch.Size, range})
_CODE = (type, ModuleType, _BaseDataLoaderIter)
_CONTAINERS = frozenset({list, tuple, dict, set, deque})  #: exactly these: without attributes
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, functools.partial)
#: Objects of these packages are tools, not state.
_TOOLS = {"logging", "threading", "multiprocessing", "queue", "concurrent", "asyncio", "weakref"}
#: What a training consists of.
KNOWN = (torch.nn.Module, Optimizer, LRScheduler, torch.amp.GradScaler)
#: A dataset may be wrapped: loader, batch sampler, sampler, dataset, the dataset within, a transform.
LOADER_REACH = 6
_SHORT = 64  #: a longer container, found from a loader, holds samples and not parts
_SMALL = (
    1 << 24
)  #: bytes of one row of numbers which, found from a loader, may be an order or weights; more are samples


class Snapshot:
    """Remembers objects and all that is reached from them; `restore` may be called as often as wanted.

    Followed are containers, the attributes of modules, optimizers, schedulers and scalers, and those of other objects
    as long as no more than `reach` of them lie on the way.

    Args:
        place: Where the contents of tensors are kept; by default beside them.
    """

    def __init__(self, place: Place | None = None) -> None:
        self.sources: list[Any] = []  #: what gives random numbers and was met on the way
        self._seen: dict[int, Any] = {}  # by identity; keeps alive what it names, so that no identity is used twice
        self._memory = Memory(InMemory() if place is None else place)
        self._undo: list[undo.Undo] = []
        self._empty: list[Any] = []  # containers that hold nothing: most of those of a module
        self._unfollowed: list[Any] = []  # functions, plain objects, classes
        self._stateful: list[Any] = []
        self._loaders: list[DataLoader[Any]] = []
        self._running: list[tuple[dict[str, Any], str]] = []  # where iterators of loaders are held, besides
        self._iterators: list[Any] = []

    def keep(self, *roots: Any, reach: int = 0, contents: bool = True) -> None:
        """Note the present state of `roots`, and of all that hangs on them.

        Args:
            roots: Objects or containers of objects; they are opened whatever they are.
            reach: How many objects of unknown kinds may lie between a root and what is followed.
            contents: Whether to copy tensors and arrays too, and not only short rows of numbers.
        """
        todo = [(root, reach + 1) for root in roots]
        while todo:
            value, left = todo.pop()
            kind = type(value)
            if kind in _ATOMS or id(value) in self._seen or isinstance(value, _CODE):
                continue
            self._seen[id(value)] = value
            # The most frequent kinds first: a module holds a dozen containers, mostly empty ones.
            if kind in _CONTAINERS or (kind is OrderedDict and not value.__dict__):
                if value:
                    parts = self._container(value, contents)
                    todo.extend([(part, left) for part in parts if type(part) not in _ATOMS])
                else:
                    self._empty.append(value)
            elif isinstance(value, torch.Tensor):
                kept = contents or (value.ndim < 2 and undo.size(value) <= _SMALL)
                todo.extend((part, left) for part in (self._memory.keep(value) if kept else ()))
            elif rng.is_source(value):
                self.sources.append(value)
            elif isinstance(value, (array, bytearray)) or undo.is_array(value):
                self._undo.extend([undo.array(value)] if contents or _is_row(value) else ())
            elif isinstance(value, _FUNCTIONS):
                self._unfollowed.append(value)
                todo.extend((part, left) for part in _of_function(value, contents))
            elif isinstance(value, IOBase) or (isinstance(value, Iterator) and not hasattr(value, "__dict__")):
                self._iterators.extend(() if contents or _is_written(value) else [value])
            else:
                todo.extend(self._opened(value, left, contents))

    def keep_alone(self, *objects: Any) -> None:
        """Note objects by themselves: their attributes, and what lists and the like among these hold; no more."""
        for one in objects:
            for held in (one, vars(one), *vars(one).values()):
                if isinstance(held, (list, dict, set, deque)):
                    self._undo.append(undo.container(held))

    def finish(self) -> None:
        """Copy what was noted. The sources of randomness come first: to ask others for their state may use them up."""
        states = [(source, rng.state(source)) for source in self.sources]
        asked = [(value, copy.deepcopy(value.state_dict())) for value in self._stateful]
        self._memory.copy()
        self._undo[:0] = [*self._memory.undo(), undo.emptied(self._empty)]
        self._undo.extend(undo.stateful(value, state) for value, state in asked)
        self._undo.extend(rng.putting_back(source, state) for source, state in states)
        for loader in self._loaders:
            vars(loader)["_iterator"] = None  # live workers stay as they are: whoever iterates now gets others
        for attributes, name in self._running:
            attributes[name] = self._another(attributes[name])
        for iterator in self._iterators:
            position = undo.position(iterator)
            if position is None:
                _warn(iterator)
            else:
                self._undo.append(position)

    def hold(self, *put_back: undo.Undo) -> None:
        """Note what puts back something else."""
        self._undo.extend(put_back)

    def take_unfollowed(self) -> list[Any]:
        """Functions and plain objects that were met since the last call and not followed."""
        met = self._unfollowed.copy()
        self._unfollowed.clear()
        return met

    @property
    def has_workers(self) -> bool:
        """Whether a loader was met that starts processes."""
        return any(loader.num_workers for loader in self._loaders)

    def undo(self) -> list[undo.Undo]:
        """What puts all back, in order."""
        return self._undo

    def _opened(self, value: Any, left: int, contents: bool) -> Iterable[tuple[Any, int]]:
        """Note what a container or an object holds, and give it with what may still lie on the way."""
        if isinstance(value, (tuple, list, dict, set, deque)):
            yield from ((part, left) for part in self._container(value, contents))
            if not getattr(value, "__dict__", None):
                return
        if isinstance(value, KNOWN):
            if is_own((kind := type(value)).__module__):
                self._unfollowed.append(kind)
            yield from ((part, left) for part in self._attributes(value, contents) if type(part) not in _ATOMS)
        elif left > 0 and type(value).__module__.partition(".")[0] not in _TOOLS:
            yield from ((part, left - 1) for part in self._attributes(value, contents))
        else:
            self._unfollowed.append(value)

    def _another(self, iterator: Any) -> Any:
        """A new iterator of the loader that gave this one, which so stays where it is."""
        for loader in self._loaders:
            if loader._index_sampler is iterator._index_sampler:
                return loader._get_iterator()
        _warn(iterator)
        return iterator

    def _container(self, value: Any, contents: bool) -> Iterable[Any]:
        """Note what a container holds, and give it."""
        if not isinstance(value, tuple):
            self._undo.append(undo.container(value))
        if len(value) > _SHORT and not contents:
            return ()
        if not contents:  # batches, or the columns of a dataset
            parts = value.values() if isinstance(value, dict) else value
            return [part for part in parts if not (isinstance(part, torch.Tensor) or undo.is_array(part))]
        if isinstance(value, dict):  # an optimizer's state has tensors for keys
            return [*value.values(), *(key for key in value if isinstance(key, torch.Tensor))]
        return list(value)

    def _attributes(self, value: Any, contents: bool) -> Iterable[Any]:
        """Note an object's attributes, and give them."""
        attributes = getattr(value, "__dict__", None)
        parts: list[Any] = []
        if isinstance(value, torch.nn.Module):
            self._undo.append(undo.training(value))
            if isinstance(value, torch.jit.ScriptModule):  # keeps its flag and its parts elsewhere
                parts = [*value.parameters(), *value.buffers(), *value.children()]
        elif isinstance(value, DataLoader):
            self._loaders.append(value)
        elif not contents and all(hasattr(value, name) for name in ("state_dict", "load_state_dict")):
            self._stateful.append(value)
        self._undo.append(undo.kind(value))
        for slot in undo.slots(value):
            self._undo.append(undo.slot(value, slot))
            parts.append(undo.in_slot(value, slot))
        if isinstance(attributes, dict):
            self._undo.append(undo.container(attributes))
            self._seen[id(attributes)] = attributes
            parts.extend(attributes.values())
            own = "_iterator" if isinstance(value, DataLoader) else None
            running = (name for name, part in attributes.items() if isinstance(part, _BaseDataLoaderIter))
            self._running.extend((attributes, name) for name in running if name != own)
        return parts


def sources_of(loader: Any) -> list[Any]:
    """What gives random numbers in a loader, its samplers and its dataset, always in the same order."""
    found = Snapshot()
    found.keep(loader, reach=LOADER_REACH, contents=False)
    return found.sources


def _of_function(value: Any, contents: bool) -> list[Any]:
    """What is followed from a function: what it is bound to, and the sources of randomness that it names."""
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, FunctionType):
        return [part for part in named_in(value) if rng.is_source(part)]
    owner = [part for part in (value.__self__,) if not contents or rng.is_source(part)]
    return [*owner, value.__func__] if isinstance(value, MethodType) else owner


def _is_row(value: Any) -> bool:
    """Whether an array may be an order or weights, which are copied, and not samples."""
    view = memoryview(value) if not undo.is_array(value) else value
    return view.ndim < 2 and view.nbytes <= _SMALL


def _is_written(value: Any) -> bool:
    """Whether it is a file that is written to, such as a log, or one that is closed."""
    return isinstance(value, IOBase) and (value.closed or value.writable())


def _warn(iterator: Any) -> None:
    what = f"the loader holds a {type(iterator).__name__}, which cannot be rewound to its present position"
    warnings.warn(f"{what}; create it at the start of each pass, in __iter__", RuntimeWarning, stacklevel=6)
