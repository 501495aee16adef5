"""Sources of randomness, read and set alike: Python's, NumPy's and torch's, global or somebody's own."""

from __future__ import annotations

import random
import sys
from typing import Any

import torch


def everywhere() -> list[Any]:
    """The global sources of this process; NumPy's if it is loaded, a device's if it is in use."""
    sources: list[Any] = [random._inst, torch.default_generator]  # type: ignore[attr-defined]
    if "numpy.random" in sys.modules:
        sources.append(sys.modules["numpy.random"].mtrand._rand)
    for backend in (torch.cuda, torch.xpu):
        if backend.is_initialized():
            sources.extend(backend.default_generators)
    if torch.backends.mps.is_available():
        sources.append(torch.mps._get_default_mps_generator())
    return sources


def is_source(value: Any) -> bool:
    """Whether `value` is a generator of random numbers that `state` can read."""
    if isinstance(value, random.SystemRandom):
        return False  # the system's own: it has no state
    return isinstance(value, (torch.Generator, random.Random)) or _is_numpy(value)


def state(source: Any) -> Any:
    """The state as plain data: numbers, tuples, dicts, a tensor."""
    if isinstance(source, torch.Generator):
        return source.get_state()
    if isinstance(source, random.Random):
        return source.getstate()
    numpy_state = source.get_state(legacy=False) if hasattr(source, "get_state") else _bits(source).state
    return _plain(numpy_state)


def set_state(source: Any, value: Any) -> None:
    """Put `source` into a state that `state` read."""
    if isinstance(source, torch.Generator):
        source.set_state(value)
    elif isinstance(source, random.Random):
        source.setstate(value)
    elif hasattr(source, "set_state"):
        source.set_state(value)
    else:
        _bits(source).state = value


def _is_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy.random")
    return numpy is not None and isinstance(value, (numpy.Generator, numpy.RandomState, numpy.BitGenerator))


def _bits(source: Any) -> Any:
    return getattr(source, "bit_generator", source)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value
