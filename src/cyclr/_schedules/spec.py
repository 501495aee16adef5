"""Parses the text of a schedule, as `repr` prints it: Python's syntax, but never Python's `eval`."""

from __future__ import annotations

import ast
import inspect
import operator
from collections.abc import Callable

from cyclr import _check
from cyclr._schedules import opposed, recipes, waves  # noqa: F401 - their classes register themselves
from cyclr._schedules.base import Schedule
from cyclr._schedules.hooks import CLASSES

_LONGEST = 10_000  # maximum characters; a spec is a readable line

_RECIPES = {
    name: made
    for name, made in vars(recipes).items()
    if inspect.isfunction(made) and made.__module__ == recipes.__name__ and not name.startswith("_")
}
_METHODS = ("take", "repeat")
_ARITHMETIC: dict[type[ast.operator], Callable[..., object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def makers() -> dict[str, Callable[..., object]]:
    """Everything that a text may call, by name: the recipes and all complete classes of schedules."""
    return {**_RECIPES, **{name: cls for name, cls in CLASSES.items() if not inspect.isabstract(cls)}}


def parse(text: str, **names: float) -> Schedule:
    """Parse the text of a schedule.

    The text is the Python expression that `repr` prints: schedules and recipes by name, `>>`, `*`, `.take(n)`,
    `.repeat(n)`, and arithmetic on numbers. Anything else is an error, and nothing is evaluated as code.

    Args:
        text: For example "Linear(0, 1e-2, steps=epoch) >> Triangular2(1e-3, 1e-2, step_size=2*epoch)".
        **names: Numbers that the text may refer to, for example epoch=390.

    Raises:
        TypeError: If `text` is not a string or a name is bound to something other than a number.
        ValueError: If the text is not such an expression; the message names the wrong part.

    >>> parse("Linear(0, 1e-2, steps=epoch) >> Constant(1e-2)", epoch=390)
    Linear(0.0, 0.01, steps=390) >> Constant(0.01)
    """
    if not isinstance(text, str):
        raise TypeError(_check.problem("a spec must be a string", text, "pass repr(schedule)"))
    if len(text) > _LONGEST:
        raise ValueError(f"a spec must have at most {_LONGEST} characters, got {len(text)}; shorten it")
    for name, value in names.items():
        _check.number(name, value)
    try:
        value = _Reader(names).read(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"a spec must be a Python expression, got {text!r}; {error.msg}") from None
    except UnicodeEncodeError as error:  # bytes of the command line that the locale's encoding does not know
        raise ValueError(f"a spec must be a Python expression, got {text!r}; {error.reason}") from None
    except (RecursionError, MemoryError):
        raise ValueError("a spec must be nested less deeply; join its parts in one sequence with >>") from None
    if not isinstance(value, Schedule):
        raise ValueError(_check.problem("a spec must describe a schedule", text, "for a constant write Constant(rate)"))
    return value


def own_classes(text: str) -> frozenset[str]:
    """The names `module.Name` that a text calls: classes of schedules of the user's, which `parse` may not know.

    >>> own_classes("(my_task.Knee(0.4, 60, 100) >> Constant(0.1)).take(200)")
    frozenset({'my_task.Knee'})
    """
    nodes = ast.walk(ast.parse(text.strip(), mode="eval"))
    called = (_dotted(node.func) for node in nodes if isinstance(node, ast.Call))
    return frozenset(name for name in called if "." in name and name.rpartition(".")[2] not in _METHODS)


class _Reader:
    """Evaluates the syntax tree; every type of node without a method here is refused."""

    def __init__(self, names: dict[str, float]) -> None:
        self.names = names
        self.makers = makers()

    def read(self, node: ast.expr) -> object:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return node.value
            case ast.Name():
                return self.name(node)
            case ast.Tuple() | ast.List():
                return tuple(self.read(item) for item in node.elts)
            case ast.UnaryOp(op=ast.USub()):
                return -self.number(node.operand)
            case ast.BinOp(op=ast.RShift()):
                return self.apply(node, operator.rshift, self.schedule(node.left), self.schedule(node.right))
            case ast.BinOp():
                return self.arithmetic(node)
            case ast.Call():
                return self.call(node)
        raise ValueError(
            f"a spec may contain schedules, numbers, >>, *, .take() and .repeat(), got {ast.unparse(node)!r}; remove it"
        )

    def name(self, node: ast.Name) -> float:
        if node.id in self.names:
            return self.names[node.id]
        if node.id in self.makers:
            raise ValueError(f"{node.id} must be called, got the bare name; write {node.id}(...)")
        known = ", ".join(self.names) or "none"
        advice = _check.did_you_mean(node.id, self.names) or f"pass {node.id}=..."
        raise ValueError(f"a name in a spec must be bound to a number (bound: {known}), got {node.id!r}; {advice}")

    def number(self, node: ast.expr) -> float:
        value = self.read(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(
                f"arithmetic in a spec must be between numbers, got {ast.unparse(node)!r}; use >> between schedules"
            )
        return value

    def schedule(self, node: ast.expr) -> Schedule:
        value = self.read(node)
        if not isinstance(value, Schedule):
            raise ValueError(
                f"both sides of >> must be schedules, got {ast.unparse(node)!r}; for a constant write Constant(rate)"
            )
        return value

    def arithmetic(self, node: ast.BinOp) -> object:
        combine = _ARITHMETIC.get(type(node.op))
        if combine is None:
            raise ValueError(f"a spec may use + - * / // and >>, got {ast.unparse(node)!r}; write the number out")
        left, right = self.read(node.left), self.read(node.right)
        if not (combine is operator.mul and Schedule in (type(left).__mro__ + type(right).__mro__)):
            left, right = self.number(node.left), self.number(node.right)
        return self.apply(node, combine, left, right)

    def call(self, node: ast.Call) -> object:
        words = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise ValueError(f"a spec must not use **, got {ast.unparse(node)!r}; write the arguments out")
            words[keyword.arg] = self.read(keyword.value)
        values = [self.read(argument) for argument in node.args]
        called = _dotted(node.func)
        if called in self.makers:
            return self.apply(node, self.makers[called], *values, **words)
        if isinstance(node.func, ast.Attribute):
            method = node.func.attr
            if method in _METHODS:
                return self.apply(node, getattr(self.schedule_of(node.func), method), *values, **words)
            called = called or method
        called = called or ast.unparse(node.func)
        advice = _check.did_you_mean(called, [*self.makers, *_METHODS]) or f"known: {', '.join(self.makers)}"
        if "." in called:
            advice += f"; import {called.rpartition('.')[0]} first, if it defines the class"
        raise ValueError(f"a spec must call a known schedule, got {called!r}; {advice}")

    def schedule_of(self, node: ast.Attribute) -> Schedule:
        value = self.read(node.value)
        if not isinstance(value, Schedule):
            raise ValueError(
                f".{node.attr}() must be called on a schedule, got {ast.unparse(node.value)!r}; put brackets around it"
            )
        return value

    def apply(self, node: ast.expr, make: Callable[..., object], *values: object, **words: object) -> object:
        """Call `make`; its errors are raised with the part of the text that caused them."""
        try:
            return make(*values, **words)
        except (TypeError, ValueError, ArithmeticError) as error:
            # Python's message for a wrong call mentions __init__
            message = str(error).replace(".__init__()", "()")
            raise ValueError(f"cannot make {ast.unparse(node)}: {message}") from None


def _dotted(node: ast.expr) -> str:
    """`module.Name` as text; empty for any other node."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            before = _dotted(node.value)
            return f"{before}.{node.attr}" if before else ""
    return ""
