"""Sweeps whose steps take the same few batches in turn: the mean loss of as many steps has no noise of batches.

That is for step functions, which give no loss without a step. The loss that a step returns is that at the weights
before it, so a round of steps gives about what an evaluation of all their batches would. The network is trained on what
it is judged by; in the 30 to 60 steps of a short sweep this moves the rate at which it loses its gain by little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rounds(rates: Array, losses: Array, batches: int) -> tuple[Array, Array]:
    """The mean loss of each round of the batches, at the rate of its first step, which may be any but the last few.

    Args:
        rates: Of each step; shape (steps,).
        losses: Of each step; shape (repeats, steps). A round with a loss that is no number has none.
        batches: How many are taken in turn.

    Returns:
        Rates of shape (steps - batches + 1,), and losses of shape (repeats, steps - batches + 1).

    >>> rates, losses = rounds(np.array([1.0, 2.0, 4.0, 8.0]), np.array([[1.0, 5.0, 1.0, 3.0]]), 2)
    >>> rates.tolist(), losses.tolist()
    ([1.0, 2.0, 4.0], [[3.0, 3.0, 2.0]])
    """
    means = np.lib.stride_tricks.sliding_window_view(losses, batches, axis=-1).mean(axis=-1)
    return rates[: means.shape[-1]], means


def ended_rounds(before: Sequence[float], values: Sequence[float], batches: int) -> Iterator[tuple[int, float]]:
    """The step at which each round ends, and its mean loss, for the steps of `values` that follow those `before`.

    That of a step whose loss is not finite is no number; later rounds pass it over.
    """
    every = np.array([*before, *values])
    for at in range(max(len(before), batches - 1), len(every)):
        together = every[at - batches + 1 : at + 1]
        yield at, float(together[np.isfinite(together)].mean()) if np.isfinite(every[at]) else float("nan")
