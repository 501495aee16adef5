"""The rim for JAX: a range test. A schedule needs no adapter, Optax takes it as it is.

>>> import optax
>>> from cyclr import Triangular
>>> optimizer = optax.sgd(learning_rate=Triangular(0.001, 0.006, step_size=2000))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclr._check import choice, count, problem
from cyclr._range import Curve, StopRule
from cyclr._range import ramp as make_ramp
from cyclr._range.cut import cut

try:
    import jax
    import jax.numpy as jnp
except ModuleNotFoundError as error:
    raise ImportError("cyclr.jax needs JAX, which is not installed; run: pip install 'cyclr[jax]'") from error

BLOCK = 10  #: losses are read from the device in blocks: to wait for each would slow every step
Step = Callable[[Any, Any, jax.Array], tuple[Any, Any]]


def range_test(
    step: Step,
    state: Any,
    batches: Any,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 300,
    repeats: int | None = None,
    ramp: str = "log",
    stacked: bool = False,
) -> Curve:
    """Train while the learning rate rises, and record the loss at each rate.

    The state is a value and `step` a pure function, so there is nothing to put back: what the ramps make of the state
    is thrown away. Where all batches are at hand as arrays, the whole test is one compiled program: a `lax.scan` over
    the ramp, under `vmap` over the repeats. Other batches are fed to the compiled step one by one, and a ramp ends
    early when it has diverged.

    A ramp ends at the first loss that is not finite, or when what was gained is lost again; what is beyond is NaN.

    Args:
        step: One update, a pure function `step(state, batch, lr) -> (state, loss)`. The loss is a scalar; the rate is
            one too.
        state: Where every ramp starts: any pytree. What is no array in it (a function in an Equinox module) stays as it
            is.
        batches: Either all batches at once: an array, or a tuple, dict or other pytree of arrays whose first axis
            counts the batches (used over again if they are fewer than the steps; each repeat begins elsewhere).
            Or one batch after the other: a list or a loader, started again when it ends.
        low: First learning rate.
        high: Last learning rate.
        steps: Optimizer steps in a ramp.
        repeats: Number of ramps; by default 1, or as many as there are states.
        ramp: "log" or "linear".
        stacked: Whether `state` holds one state for each repeat, stacked along a first axis of all its arrays, as
            `jax.vmap(init)(jax.random.split(key, 3))` makes them.

    Returns:
        The curve: rates and losses, one row a repeat.

    Raises:
        TypeError: If an argument is of the wrong kind, or `step` does not return (state, loss).
        ValueError: If a value is out of range, there are no batches, `step` changes the form of the state, or the loss
            is not finite at the very first step.

    >>> import jax, jax.numpy as jnp
    >>> x, noise = jax.random.normal(jax.random.key(0), (2, 50, 8, 3))  # 50 batches of 8 examples
    >>> batches = {"x": x, "y": x.sum(2) + noise[..., 0]}
    >>> def loss(w, batch):
    ...     return jnp.mean((batch["x"] @ w - batch["y"]) ** 2)
    >>> def step(w, batch, lr):
    ...     value, slope = jax.value_and_grad(loss)(w, batch)
    ...     return w - lr * slope, value
    >>> curve = range_test(step, jnp.zeros(3), batches)
    >>> curve.losses.shape, curve.stops
    ((1, 300), ('diverged',))

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """
    if not callable(step):
        raise TypeError(problem("step must be callable", step, "pass a function step(state, batch, lr)"))
    choice("ramp", ramp, ("log", "linear"))
    rates = np.asarray(make_ramp(low, high, steps=steps, scale=ramp)(np.arange(count("steps", steps))))
    if repeats is not None:
        count("repeats", repeats)
    arrays, pure = _on_arrays(step, state)
    repeats = _check_first_axis("stacked state", arrays, repeats) if stacked else repeats or 1
    number = _number_of(batches)
    example = next(iter(batches)) if number is None else jax.tree.map(itemgetter(0), batches)
    _check_step(pure, [array[0] for array in arrays] if stacked else arrays, example)
    if number is None:
        losses = _one_by_one(pure, arrays, batches, rates, repeats, stacked)
    else:
        losses = _all_at_once(pure, arrays, batches, rates, repeats, stacked, number)
    losses, stops = cut(losses)
    return Curve(rates, losses, {}, ramp, stops)


def _all_at_once(
    pure: Step, arrays: Any, batches: Any, rates: NDArray[Any], repeats: int, stacked: bool, number: int
) -> NDArray[Any]:
    """Every ramp inside one program."""

    def one_ramp(arrays: Any, start: jax.Array, batches: Any, rates: jax.Array) -> jax.Array:
        def body(arrays: Any, now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            index, rate = now
            return pure(arrays, jax.tree.map(itemgetter(index), batches), rate)

        order = (start + jnp.arange(len(rates))) % number
        return jax.lax.scan(body, arrays, (order, rates))[1]

    starts = jnp.arange(repeats) * number // repeats
    run = jax.jit(jax.vmap(one_ramp, in_axes=(0 if stacked else None, 0, None, None)))
    return np.asarray(run(arrays, starts, jax.tree.map(jnp.asarray, batches), jnp.asarray(rates)), dtype=np.float64)


def _one_by_one(
    pure: Step, arrays: Any, batches: Iterable[Any], rates: NDArray[Any], repeats: int, stacked: bool
) -> NDArray[Any]:
    """A compiled step for each batch; a ramp that is over ends."""
    losses = np.full((repeats, len(rates)), np.nan)
    compiled, source = jax.jit(pure), _endless(batches)
    for repeat, row in enumerate(losses):
        now = [array[repeat] for array in arrays] if stacked else arrays
        rule = StopRule()
        unread: list[jax.Array] = []
        for index, rate in enumerate(jnp.asarray(rates)):
            now, loss = compiled(now, next(source), rate)
            unread.append(loss)
            if len(unread) == BLOCK or index + 1 == len(rates):
                start = index + 1 - len(unread)
                row[start : index + 1] = np.asarray(jnp.stack(unread))
                unread.clear()
                if rule.feed(enumerate(row[start : index + 1], start)) != "go":
                    break
    return losses


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        yield from batches


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic))


def _on_arrays(step: Step, state: Any) -> tuple[list[Any], Step]:
    """The arrays of the state, and `step` as a function of them alone: what is no array cannot be traced."""
    leaves, form = jax.tree.flatten(state)
    which = [_is_array(leaf) for leaf in leaves]
    others = [None if here else leaf for here, leaf in zip(which, leaves, strict=True)]

    def pure(arrays: list[Any], batch: Any, rate: jax.Array) -> tuple[list[Any], jax.Array]:
        source = iter(arrays)
        whole = [next(source) if here else other for here, other in zip(which, others, strict=True)]
        result = step(jax.tree.unflatten(form, whole), batch, rate)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(problem("step must return a pair (state, loss)", type(result), "return state, loss"))
        new, new_form = jax.tree.flatten(result[0])
        if new_form != form:
            what = "step must return a state of the same structure"
            raise ValueError(f"{what} as it was given, got {new_form} for {form}; return every part of it")
        for here, other, leaf in zip(which, others, new, strict=True):
            if not here and other is not leaf and (_is_array(leaf) or bool(other != leaf)):
                advice = "make it an array with jnp.asarray"
                raise ValueError(problem("what step changes in the state must be an array", other, advice))
        return [leaf for here, leaf in zip(which, new, strict=True) if here], result[1]

    return [leaf for here, leaf in zip(which, leaves, strict=True) if here], pure


def _check_step(pure: Step, arrays: list[Any], batch: Any) -> None:
    """One step in the abstract: it must give back what it got, and a scalar."""
    rate = jax.ShapeDtypeStruct((), jnp.asarray(0.0).dtype)
    new, loss = jax.eval_shape(pure, arrays, batch, rate)
    for old, leaf in zip(arrays, new, strict=True):
        if (old.shape, old.dtype) != (leaf.shape, leaf.dtype):
            given = f"{leaf.dtype}{list(leaf.shape)} for {old.dtype}{list(old.shape)}"
            raise ValueError(f"step must keep shapes and types of the state, got {given}; cast the rate or the result")
    if loss.shape != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        given = f"{loss.dtype}{list(loss.shape)}"
        raise ValueError(f"the loss must be one real number, got {given}; reduce it, as with jnp.mean")


def _number_of(batches: Any) -> int | None:
    """How many batches arrays hold; None where they come one by one."""
    one_by_one = isinstance(batches, Iterable) and not (
        isinstance(batches, (tuple, Mapping, str)) or _is_array(batches)
    )
    if not one_by_one:
        leaves = jax.tree.leaves(batches)
        if leaves and all(_is_array(leaf) and leaf.ndim for leaf in leaves):
            return _check_first_axis("batches", leaves, None)
        advice = "a list gives one batch after the other"
        raise TypeError(problem("batches must be arrays that share their first axis, or a list", batches, advice))
    if isinstance(batches, Iterator):
        advice = "its batches would be lost; pass a loader, or list(itertools.islice(batches, 300))"
        raise TypeError(problem("batches must be arrays, a list or a loader, not an iterator", batches, advice))
    if next(iter(batches), None) is None:
        raise ValueError(problem("batches must hold at least one batch", batches, "is the data set empty?"))
    return None


def _check_first_axis(name: str, leaves: list[Any], length: int | None) -> int:
    """The length of the first axis of all arrays: `length`, or what they agree on."""
    found = {leaf.shape[0] if leaf.ndim else 0 for leaf in leaves}
    if len(found) != 1 or 0 in found or (length is not None and found != {length}):
        must = f"every array of the {name} must have the same first axis" + (f" of {length}" if length else "")
        raise ValueError(problem(must, sorted(found), "stack them with jnp.stack"))
    return found.pop()
