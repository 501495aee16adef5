"""A formula as one plain function of a number, compiled when a schedule is first called.

The formula runs once, with a `Symbol` for the step. Each operation on a symbol is recorded as a line of Python, and
everything that depends on the fields alone is a constant; an operation that was recorded already is not repeated.
`Linear(0.0, 0.1, steps=4)` becomes

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
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from cyclr._schedules.xp import OneNumber, Part

_R = TypeVar("_R")
_P = TypeVar("_P")


class Symbol:
    """A number that is not known yet: a variable of the generated function, or a comparison of such variables."""

    def __init__(self, lines: dict[str, str], text: str) -> None:
        self.lines = lines
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        raise TypeError("a formula must not branch on the step; use xp.where")


def _assigned(lines: dict[str, str], text: str) -> Symbol:
    """The variable with the value of the expression `text`; a new one if the same was not computed before."""
    return Symbol(lines, lines.setdefault(text, f"v{len(lines)}"))


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
        self.lines: dict[str, str] = {}  # the variable of each expression, in the order of their computation
        self._functions: dict[object, str] = {}
        self._parts: dict[object, object] = {}
        self.names: dict[str, object] = {"cos": math.cos, "exp": math.exp, "sqrt": math.sqrt}
        self.step = cast(float, Symbol(self.lines, "step"))

    def _assigned(self, text: str) -> float:
        return cast(float, _assigned(self.lines, text))

    def named(self, function: object) -> str:
        """The name of `function` in the generated code."""
        name = self._functions.setdefault(function, f"f{len(self._functions)}")
        self.names[name] = function
        return name

    def shared(self, part: _P) -> _P:
        """The first of all equal parts, so that its value is computed once; one that has no hash equals itself only."""
        try:
            return cast(_P, self._parts.setdefault(part, part))
        except TypeError:
            return part

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
        return cast(_R, self._assigned(f"{self.named(function)}({x!r})"))

    def piecewise(self, step: float, starts: Sequence[int], parts: Sequence[Part]) -> float:
        functions = [self.named(self.shared(part)._plain()) for part in parts]

        def bisected(first: int, end: int) -> str:
            if end - first == 1:
                return f"{functions[first]}({step!r} - {starts[first]})"
            middle = (first + end) // 2
            return f"({bisected(first, middle)} if {step!r} < {starts[middle]} else {bisected(middle, end)})"

        return self._assigned(bisected(0, len(parts)))

    def function(self, result: _R, arguments: str = "step", statements: Iterable[str] = ()) -> Callable[..., _R]:
        """The function that computes what was recorded and returns `result`.

        Args:
            result: A number, or a list of numbers or of lists.
            arguments: The names of the arguments, one of which is `step`.
            statements: Further lines of the function, after those that were recorded.
        """
        recorded = (f"{name} = {text}" for text, name in self.lines.items())
        source = "\n    ".join([f"def value({arguments}):", *recorded, *statements, f"return {result!r}"])
        exec(compile(source, "<formula of a schedule>", "exec"), self.names)
        # not kept among its own globals: this avoids a reference cycle, so schedules are freed at once
        return cast("Callable[..., _R]", self.names.pop("value"))
