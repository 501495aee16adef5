"""A task's name, by which other processes find its function."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

from cyclr import _check


def name_of(task: str | Callable[..., Any]) -> str:
    """`module:function` of a function that other processes can import; a string is returned unchanged.

    Raises:
        TypeError: If it is neither a string nor a function.
        ValueError: If other processes could not find the function: a lambda, a nested function, or a function of the
            running script.

    >>> from json import dumps
    >>> name_of(dumps), name_of("my_task.py:task")
    ('json:dumps', 'my_task.py:task')
    """
    if isinstance(task, str):
        return task
    if not callable(task):
        advice = "pass 'file.py:function'"
        raise TypeError(_check.problem("task must be a string or a function of a seed", task, advice))
    module, name = getattr(task, "__module__", None), getattr(task, "__qualname__", "")
    if module == "__main__":
        raise ValueError(
            f"task must be a function that other processes can import, got {name!r} of the running script or notebook; "
            f"move it to a file and pass 'file.py:{name}', or import it from there"
        )
    try:
        if module and name and pkgutil.resolve_name(f"{module}:{name}") is task:
            return f"{module}:{name}"
    except (ImportError, AttributeError, ValueError):  # a lambda or a nested function
        pass
    raise ValueError(
        _check.problem("task must be a function that other processes can import", task, "define it at module level")
    )
