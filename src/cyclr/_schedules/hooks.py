"""The hooks that a class of schedules must define, and its name in `repr` and `parse`."""

from __future__ import annotations

import difflib
import inspect
import keyword
from dataclasses import fields

from cyclr import _check

#: Every class of schedules, by its name in texts. Filled by `Schedule.__init_subclass__`.
CLASSES: dict[str, type] = {}
_METHODS = {"value": ("step", "xp"), "ends": ("until",)}
_PROPERTIES = ("duration", "lowest", "highest")


def is_built_in(cls: type) -> bool:
    """Whether the class belongs to this library."""
    return cls.__module__.partition(".")[0] == "cyclr"


def name_of(cls: type) -> str:
    """`Linear` for a class of this library, `module.Name` for a user's, so that the two cannot clash."""
    return cls.__name__ if is_built_in(cls) else f"{cls.__module__}.{cls.__qualname__}"


def register(cls: type) -> None:
    """Check the hooks of a new class and register it by its name. A later class of that name replaces it.

    Raises:
        TypeError: If a hook is invalid, or the name cannot be used in texts.
    """
    name = name_of(cls)
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split(".")):
        advice = "move it to the top level of a module that can be imported by its name"
        raise TypeError(_check.problem("a class of schedules must have a name that can be used in texts", name, advice))
    for hook, arguments in _METHODS.items():
        given = vars(cls).get(hook, inspect.get_annotations(cls).get(hook))
        written = f"def {hook}(self, {', '.join(arguments)})"
        if given is None:
            continue
        if not inspect.isfunction(given):
            raise TypeError(_check.problem(f"{name}.{hook} must be a method", given, f"write {written}"))
        try:
            inspect.signature(given).bind(None, *arguments)
        except TypeError:
            signature = f"def {hook}{inspect.signature(given)}"
            raise TypeError(f"{name}.{hook} must be {written}, got {signature}; change its arguments") from None
    for hook in _PROPERTIES:
        if inspect.isfunction(vars(cls).get(hook)):
            advice = "write @property above it"
            raise TypeError(_check.problem(f"{name}.{hook} must be a property", vars(cls)[hook], advice))
    CLASSES[name] = cls


def expect_complete(cls: type) -> None:
    """Check, before an instance is made, that all hooks are defined and the class is a frozen dataclass.

    Raises:
        TypeError: If something is missing.
    """
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        own = [name for name in vars(cls) if not name.startswith("_")]
        near = {name: difflib.get_close_matches(name, own, n=1) for name in missing}
        advice = next((f"rename {found[0]} to {name}" for name, found in near.items() if found), "define them")
        raise TypeError(f"{name_of(cls)} must define {', '.join(missing)}, got {', '.join(own) or 'nothing'}; {advice}")
    parameters = vars(cls).get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        given = "a plain class" if parameters is None else "a mutable dataclass"
        raise TypeError(
            f"{name_of(cls)} must be a frozen dataclass, got {given}; write @dataclass(frozen=True) above it"
        )


def source(schedule: object) -> str:
    """Python source of an equal schedule; arguments with their default values are left out."""
    words = []
    for field in fields(schedule):  # type: ignore[arg-type]
        value = _check.plain(getattr(schedule, field.name))
        if field.init and value != field.default:
            words.append(f"{field.name}={value!r}" if field.kw_only else repr(value))
    return f"{name_of(type(schedule))}({', '.join(words)})"
