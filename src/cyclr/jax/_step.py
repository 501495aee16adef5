"""A user's step as a pure function of arrays, with its checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr

from cyclr._check import problem
from cyclr.jax._rates import same_effect

Step = Callable[[Any, Any, jax.Array], tuple[Any, Any]]
Arrays = list[Any]


def is_array(leaf: Any) -> bool:
    """Whether JAX can trace this leaf."""
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


@dataclass(frozen=True, eq=False)  # JAX identifies a function by its identity
class PureStep:
    """A step on the arrays of a state alone: other leaves cannot be traced and are kept unchanged.

    Args:
        step: The user's step.
        form: The structure of the state.
        leaves: All leaves of the state.
        traced: Which leaves are arrays, or numbers that the step changes.
        paths: Names of the leaves.
    """

    step: Step
    form: Any
    leaves: list[Any]
    traced: list[bool]
    paths: list[str]

    def state(self, arrays: Arrays) -> Any:
        """The whole state."""
        source = iter(arrays)
        whole = [next(source) if here else leaf for here, leaf in zip(self.traced, self.leaves, strict=True)]
        return jax.tree.unflatten(self.form, whole)

    def leaves_after(self, arrays: Arrays, batch: Any, rate: jax.Array) -> tuple[list[Any], Any]:
        """All leaves of the next state, and the loss."""
        result = self.step(self.state(arrays), batch, rate)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(problem("step must return a pair (state, loss)", type(result), "return state, loss"))
        new, form = jax.tree.flatten(result[0])
        if form != self.form:
            what = "step must return a state of the structure"
            raise ValueError(f"{what} that it was given, {self.form}, got {form}; return every part of it")
        return new, result[1]

    def __call__(self, arrays: Arrays, batch: Any, rate: jax.Array) -> tuple[Arrays, jax.Array]:
        """One step."""
        new, loss = self.leaves_after(arrays, batch, rate)
        return [leaf for here, leaf in zip(self.traced, new, strict=True) if here], loss

    def guarded(self, arrays: Arrays, batch: Any, rate: jax.Array) -> tuple[Arrays, jax.Array]:
        """One step; if its loss is not finite, the state stays as it is: one bad batch must not spoil what follows."""
        new, loss = self(arrays, batch, rate)
        finite = jnp.isfinite(loss)
        return [jnp.where(finite, leaf, old) for leaf, old in zip(new, arrays, strict=True)], loss

    def changed(self, arrays: Arrays, batch: Any) -> list[int]:
        """The leaves that the step changes although they are not traced."""
        found: list[int] = []

        def trial(arrays: Arrays, batch: Any, rate: jax.Array) -> None:
            new, _ = self.leaves_after(arrays, batch, rate)
            pairs = enumerate(zip(self.traced, self.leaves, new, strict=True))
            found.extend(index for index, (here, old, leaf) in pairs if not here and _differ(old, leaf))

        jax.eval_shape(trial, arrays, batch, _rate())
        return found


def pure_step(
    step: Step, state: Any, batch: Any, repeats: int | None, stacked: bool, rates: Sequence[float]
) -> tuple[PureStep, Arrays, int]:
    """A step as a function of arrays, these arrays, and the number of sweeps; checked on a batch without computing.

    Args:
        step: The user's step.
        state: The initial state.
        batch: One batch.
        repeats: Number of sweeps, if given.
        stacked: Whether all arrays of the state have a first axis with a state for each sweep.
        rates: Those of a sweep.

    Raises:
        TypeError: If `step` does not return (state, loss).
        ValueError: If it changes the form of the state, does not return a scalar loss or ignores its rate.
    """
    named, form = jax.tree_util.tree_flatten_with_path(state)
    leaves = [leaf for _, leaf in named]
    paths = [f"state{jax.tree_util.keystr(path)}" for path, _ in named]
    traced = [is_array(leaf) for leaf in leaves]
    if stacked:
        repeats = first_axis("stacked state", [leaf for leaf in leaves if is_array(leaf)], repeats)
    pure = PureStep(step, form, leaves, traced, paths)
    while True:
        arrays = [leaf for here, leaf in zip(traced, leaves, strict=True) if here]
        one = [array[0] for array in arrays] if stacked else arrays
        changed = pure.changed(one, batch)
        if not changed:
            break
        for index in changed:
            if not isinstance(leaves[index], (bool, int, float, complex)):
                advice = "make it an array with jnp.asarray, or do not change it"
                raise ValueError(
                    problem(f"{paths[index]}, which step changes, must be an array", leaves[index], advice)
                )
            array = jnp.asarray(leaves[index])
            leaves[index] = jnp.broadcast_to(array, (repeats,)) if stacked else array
            traced[index] = True
    _check(pure, one, batch, rates)
    return pure, arrays, repeats or 1


def first_axis(name: str, leaves: list[Any], length: int | None) -> int:
    """The common length of the first axis of all arrays, which must be `length` if given."""
    found = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(found) != 1 or 0 in found or (length is not None and found != {length}):
        must = f"every array of the {name} must have the same first axis" + (f" of {length}" if length else "")
        raise ValueError(problem(must, sorted(found), "stack them with jnp.stack"))
    return found.pop()


def _differ(old: Any, new: Any) -> bool:
    return old is not new and (is_array(new) or bool(old != new))


def _rate() -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((), jnp.asarray(0.0).dtype)


def _check(pure: PureStep, arrays: Arrays, batch: Any, rates: Sequence[float]) -> None:
    """Check that a step returns a state of the same form and a scalar loss, and that the rate has an effect."""
    new, loss = jax.eval_shape(pure, arrays, batch, _rate())
    paths = [path for here, path in zip(pure.traced, pure.paths, strict=True) if here]
    for path, old, leaf in zip(paths, arrays, new, strict=True):
        if (old.shape, old.dtype) != (leaf.shape, leaf.dtype):
            given = f"{leaf.dtype}{list(leaf.shape)} for {old.dtype}{list(old.shape)} in {path}"
            raise ValueError(f"step must keep shapes and types of the state, got {given}; cast the rate or the result")
    if not isinstance(loss, jax.ShapeDtypeStruct):
        advice = "return (state, loss) without further outputs"
        raise ValueError(problem("the loss must be one real number", type(loss), advice))
    if loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        given = f"{loss.dtype}{list(loss.shape)}"
        raise ValueError(f"the loss must be one real number, got {given}; reduce it, as with jnp.mean")
    program = jax.make_jaxpr(pure)(arrays, batch, _rate())
    needed = _needed(program.jaxpr, len(arrays))
    slim, inputs = dce_jaxpr(program.jaxpr, [*needed, False])
    if not inputs[-1]:
        raise ValueError(
            "step must train at the given rate, but no later loss depends on it; use the argument lr in the "
            "update (with Optax: inject_hyperparams, and set hyperparams['learning_rate'] = lr)"
        )

    every = rates[:: max(1, len(rates) // 12)]  # far enough from one another to differ in half precision, too
    if same := same_effect(slim, program.consts, every):
        what = f"step must train at the given rate, but it does the same at {same[0]:.3g} and at {same[1]:.3g}"
        raise ValueError(f"{what}; do not clip or round lr, or test only rates that it leaves alone: Ramp(low, high)")


def _needed(program: Any, size: int) -> list[bool]:
    """Which parts of the state a loss depends on, over any number of steps.

    The rate may be stored in the state without being used, or affect only the current loss. So it must change one of
    these.
    """
    needed = [False] * size
    outputs = [False] * size + [True]
    while True:
        _, inputs = dce_jaxpr(program, outputs)
        further = [old or new for old, new in zip(needed, inputs[:size], strict=True)]
        if further == needed:
            return needed
        needed, outputs = further, [*further, True]
