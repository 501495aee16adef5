"""A task's name: what other processes find its function by."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

from cyclr import _check


def name_of(task: str | Callable[..., Any]) -> str:
    """`module:function` of a function that other processes can import; a text is taken as it is.

    Raises:
        TypeError: If it is neither a text nor a function.
        ValueError: If other processes could not find the function: a lambda, one inside another function, or one of the
            script that is running.

    >>> from json import dumps
    >>> name_of(dumps), name_of("my_task.py:task")
    ('json:dumps', 'my_task.py:task')
    """
    if isinstance(task, str):
        return task
    if not callable(task):
        raise TypeError(_check.problem("task must be a text or a function of a seed", task, "pass 'file.py:function'"))
    module, name = getattr(task, "__module__", None), getattr(task, "__qualname__", "")
    if module == "__main__":
        raise ValueError(
            f"task must be a function that other processes can import, got {name!r} of the running script or notebook; "
            f"move it to a file and pass 'file.py:{name}', or import it from there"
        )
    try:
        if module and name and pkgutil.resolve_name(f"{module}:{name}") is task:
            return f"{module}:{name}"
    except (ImportError, AttributeError, ValueError):  # such as of a lambda, or of a function inside another one
        pass
    raise ValueError(
        _check.problem("task must be a function that other processes can import", task, "define it at a module's top")
    )
