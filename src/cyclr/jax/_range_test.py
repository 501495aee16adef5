"""The range test of a pure training step."""

from __future__ import annotations

import logging
from dataclasses import replace
from operator import itemgetter
from typing import Any

import jax

from cyclr import _rng
from cyclr._check import count, problem
from cyclr._interrupt import Restored, Undo, put_back
from cyclr._range import Curve, HeldOut, Ramp, Recorder, StepProgress
from cyclr._range.fall import neighbours
from cyclr._range.ramp import RAMP_0_1
from cyclr._range.walk import walk
from cyclr._renamed import renamed
from cyclr.jax._step import Step, pure_step
from cyclr.jax._training import BLOCK, AtHand, Evaluation, Feed, OneByOne, number_of

_log = logging.getLogger("cyclr")


@renamed(RAMP_0_1)
def range_test(
    step: Step,
    state: Any,
    batches: Any,
    *,
    ramp: Ramp = Ramp(),
    repeats: int | None = None,
    stacked: bool = False,
    effort: str = "quick",
    budget: int | None = None,
    held_out: HeldOut | None = None,
    progress: StepProgress | None = None,
) -> Curve:
    """Train while the learning rate rises, and record the loss at each rate (an LR range test, or LR finder).

    The state is a value and `step` a pure function, so nothing has to be restored: the states that the sweeps produce
    are discarded. The random states of Python, NumPy and torch, and those in a loader, are restored afterwards.

    Where all batches are at hand as arrays, one compiled program makes a block of steps at a time. Other batches are
    fed to the compiled step one by one. A sweep ends at two non-finite losses in a row, or when the loss exceeds its
    starting value by as much as it had fallen; what comes after is NaN. A single non-finite loss is a bad batch: the
    state stays as it was before that step, and the bounds name it.

    Args:
        step: One update, a pure function `step(state, batch, lr) -> (state, loss)`. Loss and rate are
            scalars.
        state: The initial state of every sweep: any pytree. Plain numbers that the step changes (the count in a Flax
            `TrainState`) are converted to arrays; any other leaf that is not an array (a function in an Equinox module)
            is kept unchanged.
        batches: Either all batches at once: an array, or a tuple, dict or other pytree of arrays whose first axis
            counts the batches (repeated if there are fewer batches than steps; each repeat begins at a different
            batch). Or one batch after the other: a list or a loader, started again when it ends, or an iterator such as
            an endless generator, whose batches are consumed.
        ramp: The rates of a sweep.
        repeats: Number of sweeps; by default 1, or the number of stacked states.
        stacked: Whether `state` holds one state for each repeat, stacked along a first axis of all its arrays, as
            `jax.vmap(init)(jax.random.split(key, 3))` makes them.
        effort: "quick" (the sweeps alone) or "thorough": also short probe cycles around the max_lr that the sweeps
            suggest, and sweeps three times as slow first if they are inconclusive.
        budget: Steps of the training that the test prepares. It then costs at most 15 % of them (but 30 steps a sweep):
            sweeps get shorter, and so do probe cycles, or there are none. Data in a fixed order may cost that twice.
        held_out: Held-out data and metrics: the loader in one of the forms of `batches` (but not an iterator), and
            metrics as functions of (state, batch) that return a scalar. Means are weighted by batch size.
        progress: Called after each block of steps with (steps done, total steps, rate, loss).

    Returns:
        The curve: rates, losses and metrics, one row per repeat.

    Raises:
        TypeError: If an argument is of the wrong kind, or `step` does not return (state, loss).
        ValueError: If a value is out of range, there are no batches or too few, `step` changes the form of the state
            or ignores or clips its rate, or the loss is not finite at the first step.

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
    if repeats is not None:
        count("repeats", repeats)
    if held_out is not None and not isinstance(held_out, HeldOut):
        raise TypeError(problem("held_out must be a cyclr.HeldOut", held_out, "write HeldOut(loader, metrics)"))
    how = {"effort": effort, "budget": budget, "progress": progress, "block": BLOCK}
    recorder = Recorder(ramp, reference=True, measured=held_out is not None, **how)
    number = number_of(batches)
    with _Randomness(batches, held_out) as randomness:
        feed = None if number is not None else Feed(batches, randomness.put_back)
        try:
            example = jax.tree.map(itemgetter(0), batches) if feed is None else feed.first
            pure, arrays, starts = pure_step(step, state, example, repeats, stacked, ramp.rates.tolist())
            recorder.set_repeats(starts)
            if held_out is not None:
                recorder.every, recorder.maximize = held_out.steps_between(recorder.ramp.steps), held_out.maximize
            one = [array[0] for array in arrays] if stacked else arrays
            evaluation = None if held_out is None else Evaluation(held_out, pure, one)
            recorder.in_order = not feed.once if feed is not None else (number or 0) > neighbours(recorder.ramp.steps)
            if feed is not None:
                walker: Any = OneByOne(pure, arrays, feed, stacked=stacked, held_out=evaluation)
            else:
                walker = AtHand(pure, arrays, batches, starts=starts, stacked=stacked, held_out=evaluation)
            curve = walk(walker, recorder)
            together = starts > 1 if stacked else isinstance(walker, AtHand) and recorder.extent.reference
            known = None if together else curve.step_seconds  # one program makes several steps, or evaluates, too
            return replace(curve, anew=stacked and starts > 1, step_seconds=known)
        finally:
            if feed is not None and feed.once:
                _log.warning(
                    "batches is an iterator, which cannot be rewound: the range test consumed %d batches", feed.taken
                )


class _Randomness(Restored):
    """The random states of the process and of loaders, put back after a block even if Ctrl-C is pressed twice."""

    def __init__(self, *data: Any) -> None:
        self._data = data
        self._kept: list[Undo] = []

    def _remember(self) -> None:
        self._kept = _rng.kept(*self._data)

    def _undo(self) -> list[Undo]:
        return self._kept

    def put_back(self) -> None:
        """In the middle of the block, too."""
        put_back(self._kept)
