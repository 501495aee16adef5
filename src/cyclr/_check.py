"""Argument checks with uniform messages: what must hold, what was given, what to do.

A wrong kind of value is a `TypeError`, a wrong value of the right kind a `ValueError`.
NumPy scalars count as numbers and come back as Python ones, so that `repr` stays valid source.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import reprlib
from collections.abc import Iterable

LONGEST = 200  #: characters of what was given in a message: a network or a dataset would fill a page


def problem(must: str, given: object, advice: str = "") -> str:
    """The one wording: `x must be positive, got -1; pass a rate such as 1e-3`."""
    return f"{must}, got {shown(given)}" + (f"; {advice}" if advice else "")


def shown(given: object) -> str:
    """The `repr` of anything on one line, with a short start and end where it is long.

    >>> shown([0.1, "a"]), len(shown(list(range(10_000))))
    ("[0.1, 'a']", 95)
    """
    text = _SHORT.repr(given)
    if "\n" in text:
        text = " ".join(text.split())
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} ... {text[-LONGEST // 4 :]}"


# Long containers are not written out first, only to be cut: a list may hold a whole dataset.
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = _SHORT.maxfrozenset = _SHORT.maxdeque = 25
_SHORT.maxarray = 25
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = LONGEST


def plain(value: object) -> object:
    """A NumPy scalar as the equivalent Python number, so that its `repr` is valid source; anything else unchanged."""
    if type(value).__module__ != "numpy" or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def number(name: str, value: object, advice: str = "") -> float:
    """A finite real number, as a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(problem(f"{name} must be a number", value, advice or "pass an int or a float"))
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(problem(f"{name} must be finite", found, advice))
    return found


def positive(name: str, value: object, advice: str = "") -> float:
    """A finite number above zero, as a float."""
    found = number(name, value, advice)
    if found <= 0:
        raise ValueError(problem(f"{name} must be positive", value, advice))
    return found


def non_negative(name: str, value: object, advice: str = "") -> float:
    """A finite number, zero or above, as a float."""
    found = number(name, value, advice)
    if found < 0:
        raise ValueError(problem(f"{name} must not be negative", value, advice))
    return found


def fraction(name: str, value: object, advice: str = "") -> float:
    """A number from 0 to 1, both included, as a float."""
    found = number(name, value, advice)
    if not 0 <= found <= 1:
        raise ValueError(problem(f"{name} must lie between 0 and 1", value, advice))
    return found


def count(name: str, value: object, advice: str = "", *, least: int = 1) -> int:
    """An integer of at least `least`, as an int. Floats are refused, even integral ones."""
    what = "a positive integer" if least == 1 else f"an integer of at least {least}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(problem(f"{name} must be {what}", value, advice or "pass an int"))
    if value < least:
        raise ValueError(problem(f"{name} must be {what}", value, advice))
    return operator.index(value)


def ordered(low_name: str, low: float, high_name: str, high: float) -> None:
    """`low` must not exceed `high`."""
    if low > high:
        raise ValueError(
            f"{low_name} must not exceed {high_name}, got {low_name}={low!r} and {high_name}={high!r}; swap them"
        )


def choice(name: str, value: object, options: Iterable[str]) -> str:
    """One of `options`; the error names the nearest one."""
    options = list(options)
    if isinstance(value, str) and value in options:
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    listed = ", ".join(repr(option) for option in options)
    raise kind(problem(f"{name} must be one of {listed}", value, did_you_mean(value, options)))


def did_you_mean(word: object, options: Iterable[str]) -> str:
    """`did you mean 'step'?` for the nearest of `options`, or nothing."""
    near = difflib.get_close_matches(word, list(options), n=1) if isinstance(word, str) else []
    return f"did you mean {near[0]!r}?" if near else ""
