"""One-line error messages: what went wrong and, if the error came from the user's code, where."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

_OURS = Path(__file__).parent
_LIBRARIES = tuple({Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib", "platlib")})
# Raised deliberately, with a self-contained message; for any other exception the message also names its type.
_PLAIN = (ValueError, TypeError, OSError, ConnectionError, ImportError)


class TaskError(ValueError):
    """A task that was not found, or whose code fails. The message is one line and says where."""


def explain(error: BaseException) -> str:
    """The line for `error`."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif type(error).__module__.partition(".")[0] == "cyclr" or type(error) in _PLAIN:
        text = str(error) or type(error).__name__
    elif isinstance(error, ModuleNotFoundError) and error.name in ("torch", "matplotlib"):
        extra = {"torch": "torch", "matplotlib": "plot"}[error.name]
        text = f"{error.name} is not installed; pip install cyclr[{extra}]"
    else:
        text = f"{type(error).__name__}: {error}"
    return one_line(text) + ("" if isinstance(error, TaskError) else where(error, " ({})"))


def where(error: BaseException, template: str = "{}") -> str:
    """`my_task.py, line 12`: the innermost line of the user's code in the traceback, if any."""
    if isinstance(error, SyntaxError) and error.filename:
        return template.format(f"{shown(error.filename)}, line {error.lineno}")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.suffix == ".py" and path.exists() and not _is_library(path.resolve()):
            return template.format(f"{shown(frame.filename)}, line {frame.lineno}")
    return ""


def shown(path: str) -> str:
    """A path as the user would write it: relative if it is inside the current folder."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, which must not reach the terminal."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def _is_library(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in (_OURS, *_LIBRARIES))
