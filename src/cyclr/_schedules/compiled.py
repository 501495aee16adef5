"""A formula as one plain function of a number, compiled when a schedule is first called.

The formula runs once, with a `Symbol` for the step. Each operation on a symbol is recorded as a line of Python, and
everything that depends on the fields alone is a constant. `Linear(0.0, 0.1, steps=4)` becomes

    def value(step):
        v0 = step if (step) < (4) else 4
        v1 = (4) - (v0)
        v2 = (v1) / (4)
        …

The operations and their order are those of the formula, so the value is bit-for-bit the same. Only formulas of this
library are compiled: they do not branch on the step, and no text of a user becomes code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from cyclr._schedules.xp import OneNumber, Part

_R = TypeVar("_R")


class Symbol:
    """A number that is not known yet: a variable of the generated function, or a comparison of such variables."""

    def __init__(self, lines: list[str], text: str) -> None:
        self.lines = lines
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        raise TypeError("a formula must not branch on the step; use xp.where")


def _assigned(lines: list[str], text: str) -> Symbol:
    """A new variable with the value of the expression `text`."""
    lines.append(f"v{len(lines)} = {text}")
    return Symbol(lines, f"v{len(lines) - 1}")


def _operation(template: str) -> Callable[[Symbol, object], Symbol]:
    return lambda self, other: _assigned(self.lines, template.format(self, other))


def _comparison(operator: str) -> Callable[[Symbol, object], Symbol]:
    # no separate variable: it is inlined in the condition of a `where`
    return lambda self, other: Symbol(self.lines, f"({self!r}) {operator} ({other!r})")


_ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**"}
for _name, _operator in _ARITHMETIC.items():
    setattr(Symbol, f"__{_name}__", _operation(f"({{0!r}}) {_operator} ({{1!r}})"))
    setattr(Symbol, f"__r{_name}__", _operation(f"({{1!r}}) {_operator} ({{0!r}})"))
for _name, _operator in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Symbol, f"__{_name}__", _comparison(_operator))
Symbol.__getitem__ = _operation("({0!r})[{1!r}]")


class Recorder(OneNumber):
    """The namespace that records a formula as it runs."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, object] = {"cos": math.cos, "exp": math.exp, "sqrt": math.sqrt}
        self.step = cast(float, Symbol(self.lines, "step"))

    def _assigned(self, text: str) -> float:
        return cast(float, _assigned(self.lines, text))

    def _named(self, function: object) -> str:
        name = f"f{len(self.names)}"
        self.names[name] = function
        return name

    def cos(self, x: float) -> float:
        return self._assigned(f"cos({x!r})")

    def exp(self, x: float) -> float:
        return self._assigned(f"exp({x!r})")

    def sqrt(self, x: float) -> float:
        return self._assigned(f"sqrt({x!r})")

    def minimum(self, x1: float, x2: float) -> float:
        return self.where(x2 < x1, x2, x1)

    def where(self, condition: bool, x1: float, x2: float) -> float:
        return self._assigned(f"{x1!r} if {condition!r} else {x2!r}")

    def call(self, function: Callable[[float], _R], x: float) -> _R:
        return cast(_R, self._assigned(f"{self._named(function)}({x!r})"))

    def piecewise(self, step: float, starts: Sequence[int], parts: Sequence[Part]) -> float:
        functions = [self._named(part._plain()) for part in parts]

        def bisected(first: int, end: int) -> str:
            if end - first == 1:
                return f"{functions[first]}({step!r} - {starts[first]})"
            middle = (first + end) // 2
            return f"({bisected(first, middle)} if {step!r} < {starts[middle]} else {bisected(middle, end)})"

        return self._assigned(bisected(0, len(parts)))

    def function(self, value: float) -> Callable[[float], float]:
        """The function of the step that has this value."""
        source = "\n    ".join(["def value(step):", *self.lines, f"return {value!r}"])
        exec(compile(source, "<formula of a schedule>", "exec"), self.names)
        # not kept among its own globals: this avoids a reference cycle, so schedules are freed at once
        return cast("Callable[[float], float]", self.names.pop("value"))
