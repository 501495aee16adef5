"""Whether a step does something else at another rate, as far as that can be seen without computing the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

#: Equations that call a program; any other one that contains programs is taken as it stands.
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr",
          "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}  # fmt: skip
_SMALL = 64  #: elements of a value that is computed here


def same_effect(program: Any, consts: Sequence[Any], rates: Sequence[float]) -> tuple[float, float] | None:
    """Two rates in a row at which a program gets the same values from its rate, such as a clipped one.

    Followed is what is computed from the rate and constants alone, up to where it meets state or batch.

    Args:
        program: The program, whose last input is the rate; without what does not matter.
        consts: Its constants.
        rates: Rising rates.
    """
    before: list[np.ndarray] | None = None
    for index, rate in enumerate(rates):
        inputs = [None] * (len(program.invars) - 1) + [jnp.asarray(rate, program.invars[-1].aval.dtype)]
        met: list[Any] = []
        outputs = _followed(program, list(consts), inputs, {program.invars[-1]}, met)
        reached = [np.asarray(value) for value in (*met, *(value for value, moves in outputs if moves))]
        if before is not None and all(map(np.array_equal, before, reached)):
            return rates[index - 1], rate
        before = reached
    return None


def _followed(
    program: Any, consts: list[Any], inputs: Sequence[Any], moving: set[Any], met: list[Any]
) -> list[tuple[Any, bool]]:
    """The outputs, None where not known, and whether they depend on the rate; `met` gets what meets unknown values.

    Args:
        program: The equations.
        consts: Values of its constants.
        inputs: Values of its inputs, None where not known.
        moving: The inputs that depend on the rate.
        met: Filled.
    """
    known: dict[Any, Any] = dict(zip(program.constvars, consts, strict=True))
    known |= {name: value for name, value in zip(program.invars, inputs, strict=True) if value is not None}
    moving = set(moving)

    def read(name: Any) -> tuple[Any, bool]:
        return (name.val, False) if hasattr(name, "val") else (known.get(name), name in moving)

    for equation in program.eqns:
        given = [read(name) for name in equation.invars]
        inner = equation.params.get(_CALLS.get(equation.primitive.name, ""))
        if inner is not None:
            called = getattr(inner, "jaxpr", inner)
            names = {name for name, (_, moves) in zip(called.invars, given, strict=True) if moves}
            values = [value for value, _ in given]
            made = _followed(called, getattr(inner, "consts", []), values, names, met)
        elif all(value is not None for value, _ in given) and _is_small(equation):
            found = equation.primitive.bind(*(value for value, _ in given), **equation.params)
            moves = any(moves for _, moves in given)
            made = [(value, moves) for value in (found if equation.primitive.multiple_results else [found])]
        else:
            met.extend(value for value, moves in given if moves)
            continue
        for name, (value, moves) in zip(equation.outvars, made, strict=True):
            if value is not None:
                known[name] = value
                if moves:
                    moving.add(name)
    return [read(name) for name in program.outvars]


def _is_small(equation: Any) -> bool:
    """Whether an equation is quickly computed: one operation on a few numbers."""
    if equation.effects or any(hasattr(one, "eqns") or hasattr(one, "jaxpr") for one in _flat(equation.params)):
        return False
    kinds = [name.aval for name in equation.outvars]
    numbers = all(
        hasattr(kind, "size") and not jax.dtypes.issubdtype(kind.dtype, jax.dtypes.extended) for kind in kinds
    )
    return numbers and max((kind.size for kind in kinds), default=0) <= _SMALL


def _flat(params: dict[str, Any]) -> list[Any]:
    """Parameters, and those in tuples: the branches of a condition."""
    return [one for value in params.values() for one in (value if isinstance(value, (tuple, list)) else [value])]
