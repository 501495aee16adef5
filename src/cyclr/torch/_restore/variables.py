"""The variables of a running function or module, put back while it waits: counts, sums, states that a loop carries."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from types import FrameType, FunctionType, ModuleType
from typing import Any

from cyclr._interrupt import Undo
from cyclr.torch._restore import undo

_MOST = 1_000_000  #: entries of a list that is copied
_CONTAINERS = (list, dict, set, deque)
_CODE = (type, FunctionType, ModuleType)


def variables(frame: FrameType) -> Undo:
    """The variables that exist now, what lists and the like among them hold, and the attributes of `self`.

    >>> import sys
    >>> def loop():
    ...     count, seen = 0, []
    ...     put_back = variables(sys._getframe())
    ...     count, seen = count + 1, seen + [1]
    ...     put_back()
    ...     return count, seen
    >>> loop()
    (0, [])
    """
    # Only those that the code names: a module has many others.
    named = {name: frame.f_globals[name] for name in frame.f_code.co_names if name in frame.f_globals}
    of_module = {name: value for name, value in named.items() if not isinstance(value, _CODE)}
    own = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
    held = [value for value in (*own.values(), *of_module.values()) if type(value) in _CONTAINERS]
    inner = [undo.container(value) for value in held if len(value) <= _MOST]
    if (trainer := own.get("self")) is not None and hasattr(trainer, "__dict__"):
        inner.append(undo.container(vars(trainer)))

    def put_back() -> None:
        for one in inner:
            one()
        for name, value in of_module.items():
            if frame.f_globals.get(name) is not value:
                frame.f_globals[name] = value
        present = frame.f_locals if own else {}
        changed = {name: value for name, value in own.items() if present.get(name) is not value}
        if changed:
            _set(frame, present, changed)

    return put_back


def _set(frame: FrameType, present: Any, values: dict[str, Any]) -> None:
    present.update(values)
    if sys.version_info < (3, 13):  # later ones write through (PEP 667); this is what debuggers call
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
