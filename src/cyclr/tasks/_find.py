"""Finds the task that TASK names: a built-in name, `file.py:function` or `module:function`.

Arguments by name may follow: `tabular(data="diamonds.csv", target="price")`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import random
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cyclr import _check
from cyclr._failure import TaskError, one_line, shown, where
from cyclr._renamed import OLD
from cyclr._schedules.spec import makers

if TYPE_CHECKING:
    from cyclr.torch import Task

DEFAULT = "task"  # the default name of the function
SMALL = 100_000_000  #: bytes of a file whose content is hashed, which takes a tenth of a second


def build(text: str, seed: int, *, tuning: bool = False, **options: bool | float | str) -> Task:
    """Make the task for a seed, which also seeds all global generators, in case the function uses them.

    Args:
        text: The name of the task.
        seed: Random seed for the task.
        tuning: Whether the task is for tuning: there is then no test data, and a function that takes `tuning` holds out
            training data.
        options: Further arguments of the function.

    Raises:
        TaskError: If it cannot be found or made; one line says where.
        ImportError: If torch is not installed.
    """
    from cyclr.torch import Task

    make = load(text)
    if tuning and "tuning" in arguments(text):
        options["tuning"] = True
    _seed(seed)
    with _Blame(text):
        made = make(seed, **options)
    if not isinstance(made, Task):
        raise TaskError(f"task {text}: the function must return a cyclr.torch.Task, got {type(made).__name__}")
    return replace(made, test_loader=None) if tuning else made


def load(text: str) -> Callable[..., Any]:
    """The function that `text` names.

    Raises:
        TaskError: If the name, file, module or function does not exist, or importing it fails.
    """
    from cyclr.tasks import BUILT_IN

    whole = text
    text, given = _parted(text)
    module_name, _, function_name = BUILT_IN.get(text, text).rpartition(":")
    if not module_name:
        module_name, function_name = function_name, DEFAULT
    if module_name.endswith(".py"):
        module = _from_file(Path(module_name))
    elif ":" in text or "." in text or text in BUILT_IN:
        module = _from_name(module_name, text)
    else:
        near = _check.did_you_mean(text, BUILT_IN)
        raise TaskError(f"unknown task {text!r}; {near + ' ' if near else ''}use a built-in task "
                        f"({', '.join(BUILT_IN)}), file.py:function or module:function")  # fmt: skip
    function = getattr(module, function_name, None)
    if not callable(function):
        own = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        advice = _check.did_you_mean(function_name, own) or f"write {module_name}:FUNCTION"
        raise TaskError(f"{module_name} has no function {function_name!r}; {advice}")
    old = getattr(getattr(function, "func", function), OLD, frozenset())
    unknown = sorted(set(given) - set(inspect.signature(function).parameters) - old)
    if unknown:
        near = _check.did_you_mean(unknown[0], inspect.signature(function).parameters)
        raise TaskError(f"task {whole}: the function has no argument {unknown[0]!r}{'; ' if near else ''}{near}")
    return partial(function, **given) if given else function


def _parted(text: str) -> tuple[str, dict[str, Any]]:
    """The name of a task, and the arguments that follow it in brackets."""
    name, bracket, rest = text.partition("(")
    if not bracket or not text.endswith(")"):
        return text, {}
    try:
        call = ast.parse(f"task({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        return name, {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, ValueError):
        example = "tabular(data='diamonds.csv', target='price')"
        raise TaskError(f"task {text}: arguments must be constants by name, as in {example}") from None


def arguments(text: str) -> tuple[str, ...]:
    """The names of the arguments of the task's function."""
    return tuple(inspect.signature(load(text)).parameters)


def check_classes(text: str, names: Iterable[str]) -> None:
    """Import the task's module, and check that schedules of these classes, `module.Name`, can then be parsed.

    Raises:
        TaskError: If the task or a class cannot be found.
    """
    with redirect_stdout(sys.stderr):  # stdout is reserved for results
        load(text)
    for name in sorted({*names} - makers().keys()):
        module = name.rpartition(".")[0]
        near = _check.did_you_mean(name, [known for known in makers() if known.startswith(f"{module}.")])
        advice = near or f"define it there, or import {module} there: the processes that train import the task alone"
        raise TaskError(f"no schedule {name!r} once the module of task {text} is imported; {advice}")


def fingerprint(text: str) -> str:
    """A hash of the file with the user's function and of the files that its arguments name, to detect changes.

    Empty for a built-in task without files. No code of the user's is run, except on importing a package.
    """
    from cyclr.tasks import BUILT_IN

    text, given = _parted(text)
    found = b"" if text in BUILT_IN else _source(text)
    paths = [Path(value) for value in given.values() if isinstance(value, str) and value]
    stamps = [stamp for path in paths for stamp in _stamps(path)]
    if stamps:
        found += b"\n".join([b"", *stamps])
    return hashlib.sha256(found).hexdigest()[:12] if found else ""


def _source(text: str) -> bytes:
    """The file with the user's function; empty if it is not found, which `load` reports."""
    name, _, function = text.rpartition(":")
    path = Path(name or function)
    if path.suffix != ".py":
        _look_here()
        try:
            spec = importlib.util.find_spec(str(path))
        except ImportError:
            return b""
        path = Path("" if spec is None else spec.origin or "")
    return path.read_bytes() if path.is_file() else b""


def _stamps(path: Path) -> list[bytes]:
    """What changes with a file, or with those directly in a folder: the content of small ones, else size and time."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [_stamp(file) for file in files if file.exists()]
    except OSError:  # not a path, or one that may not be read: the task says so
        return []


def _stamp(path: Path) -> bytes:
    known = path.stat()
    if path.is_file() and known.st_size <= SMALL:
        return hashlib.sha256(path.read_bytes()).digest()
    return f"{path.name} {known.st_size} {known.st_mtime_ns}".encode()


def _seed(seed: int) -> None:
    """Seed Python, NumPy and torch; otherwise a process would continue from the random state of an earlier run."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class _Blame:
    """Turn any exception of the user's code into one line that says where."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SystemExit):
            raise TaskError(f"task {self.text}: the code exits while it is imported; put its main part under "
                            '`if __name__ == "__main__":`') from error  # fmt: skip
        if isinstance(error, Exception):
            place = where(error) or self.text
            said = error.msg if isinstance(error, SyntaxError) else str(error)
            raise TaskError(f"{place}: {type(error).__name__}: {one_line(said)}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskError(f"no file {path}; TASK must be file.py:function, module:function or a built-in name")
    path = path.resolve()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path) and module.__name__ != "__main__":
            return module
    name = path.stem if path.stem not in sys.modules else f"_cyclr_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path} cannot be imported")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # as `python file.py` does, so that it can import modules next to it
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with _Blame(shown(str(path))):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_name(name: str, text: str) -> ModuleType:
    _look_here()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TaskError(f"no module {name!r} for task {text!r}; is it on Python's path?") from None
        if error.name in ("torch", "sklearn", "PIL") and name.startswith("cyclr."):
            raise
        with _Blame(text):
            raise
    except Exception:
        with _Blame(text):
            raise
    raise AssertionError


def _look_here() -> None:
    """As `python -m` does: modules in the current folder take precedence."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
