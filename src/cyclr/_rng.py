"""Random number generators with one interface to read and set their state: Python's, NumPy's and torch's.

A library that is not loaded has drawn no random numbers, so none is imported here.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

REACH = 6  #: attributes from a loader to its sources: batch sampler, sampler, dataset, the dataset within, a transform
SHORT = 64  #: a longer container holds samples, not components


def everywhere() -> list[Any]:
    """The global generators of this process: NumPy's and torch's if loaded, those of a device if it is in use."""
    sources: list[Any] = [random._inst]  # type: ignore[attr-defined]
    if "numpy.random" in sys.modules:
        sources.append(sys.modules["numpy.random"].mtrand._rand)
    torch = _torch()
    if torch is None:
        return sources
    sources.append(torch.default_generator)
    for backend in (torch.cuda, torch.xpu):
        if backend.is_initialized():
            sources.extend(backend.default_generators)
    if torch.backends.mps.is_available():
        sources.append(torch.mps._get_default_mps_generator())
    return sources


def is_source(value: Any) -> bool:
    """Whether `value` is a random number generator whose state can be read."""
    if isinstance(value, random.SystemRandom):
        return False  # the operating system's generator has no state
    return isinstance(value, random.Random) or _is_torch(value) or _is_numpy(value)


def within(value: Any) -> list[Any]:
    """The generators that an object holds, directly or in its parts, as a loader does in its sampler and its dataset.

    >>> class Loader:
    ...     def __init__(self):
    ...         self.shuffler = random.Random(0)
    >>> within([Loader()])
    [<random.Random object at 0x...>]
    """
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo = deque([(value, REACH)])  # breadth first, so that each object is found by its shortest path
    while todo:
        now, reach = todo.popleft()
        if id(now) in seen:
            continue
        seen.add(id(now))
        if is_source(now):
            found[id(now)] = now
        elif reach:
            todo.extend((part, reach - 1) for part in _parts(now))
    return list(found.values())


def _parts(value: Any) -> list[Any]:
    if isinstance(value, (type, ModuleType, FunctionType)):
        return []
    if isinstance(value, (list, tuple, dict)):
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        return parts if len(parts) <= SHORT else []
    return list(getattr(value, "__dict__", {}).values())


def state(source: Any) -> Any:
    """The state as plain data: numbers, tuples, dicts, a tensor."""
    if _is_torch(source):
        return source.get_state()
    if isinstance(source, random.Random):
        return source.getstate()
    numpy_state = source.get_state(legacy=False) if hasattr(source, "get_state") else _bits(source).state
    return _plain(numpy_state)


def set_state(source: Any, value: Any) -> None:
    """Set `source` to a state that `state` returned."""
    if isinstance(source, random.Random):
        source.setstate(value)
    elif hasattr(source, "set_state"):
        source.set_state(value)
    else:
        _bits(source).state = value


def kept(*values: Any) -> list[Callable[[], object]]:
    """Remember the global sources and those within `values`.

    Returns:
        Functions that put them back, one for each; they may be called as often as wanted.

    >>> undo = kept()
    >>> first = random.random()
    >>> for one in undo:
    ...     one()
    >>> random.random() == first
    True
    """
    return [putting_back(source, state(source)) for source in (*everywhere(), *within(values))]


@contextmanager
def same_draws() -> Iterator[None]:
    """The same random numbers of the global sources in each such block; their states are as before afterwards.

    >>> with same_draws():
    ...     first = random.random()
    >>> with same_draws():
    ...     random.random() == first
    True
    """
    undo = kept()
    try:
        for source in everywhere():
            source.manual_seed(0) if _is_torch(source) else source.seed(0)
        yield
    finally:
        for one in undo:
            one()


def putting_back(source: Any, value: Any) -> Callable[[], object]:
    """A function that puts `source` into this state."""

    def undo() -> None:
        set_state(source, value)

    return undo


def _torch() -> Any:
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "default_generator") else None  # no generator yet while torch is being imported


def _is_torch(value: Any) -> bool:
    torch = _torch()
    return torch is not None and isinstance(value, torch.Generator)


def _is_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy.random")
    return numpy is not None and isinstance(value, (numpy.Generator, numpy.RandomState, numpy.BitGenerator))


def _bits(source: Any) -> Any:
    return getattr(source, "bit_generator", source)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value
