"""Probe cycles: short whole cycles at a few candidate peaks, judged at their low-rate end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer

from cyclr._range import candidates, cycle, further
from cyclr._range.probe import LENGTH, MOST, TAIL
from cyclr._schedules import Schedule
from cyclr.torch._distributed import averaged
from cyclr.torch._groups import put, shares
from cyclr.torch._restore.transaction import Transaction

Array = NDArray[np.float64]
Progress = Callable[[int, int, float, float], Any]
BLOCK = 10  #: losses are read from the device in blocks


def probe(
    max_lr: float,
    *,
    transaction: Transaction,
    optimizer: Optimizer,
    step: Callable[[Iterator[Any]], torch.Tensor],
    batches: Callable[[], Iterator[Any]],
    group: Any,
    progress: Progress | None,
) -> tuple[Array, Array]:
    """Peaks around `max_lr` and the losses of a short cycle to each, NaN from the first that is not finite.

    All cycles have the same start, the same randomness and, where the loader can be taken back, the same batches, so
    that they differ by their peaks alone.

    Args:
        max_lr: What the ramp says.
        transaction: Takes the training back to its start before each cycle.
        optimizer: Its rates are set.
        step: Makes one update from the next batches.
        batches: Starts on the loader anew.
        group: The processes that train together, if several do.
        progress: Called after each block with (steps done, steps in all, rate, loss).

    Returns:
        Shapes (peaks,) and (peaks, steps of a cycle).
    """
    found: dict[float, Array] = {}

    def one(peak: float) -> None:
        transaction.rewind(everything=True)
        losses = found[peak] = _cycle(cycle(peak), optimizer, step, batches(), group)
        if progress is not None:
            known = losses[np.isfinite(losses)]
            progress(
                len(found) * (LENGTH + TAIL), MOST * (LENGTH + TAIL), peak, float(known[-1]) if len(known) else np.nan
            )

    for peak in candidates(max_lr):
        one(peak)
    while True:
        peaks = np.array(sorted(found))
        losses = np.array([found[peak] for peak in peaks])
        peak = further(peaks, losses)
        if peak is None:
            return peaks, losses
        one(peak)


def _cycle(
    schedule: Schedule,
    optimizer: Optimizer,
    step: Callable[[Iterator[Any]], torch.Tensor],
    batches: Iterator[Any],
    group: Any,
) -> Array:
    """The losses of one cycle and of some steps more at its last rate, zero."""
    losses, share = np.full(LENGTH + TAIL, np.nan), shares(optimizer)
    for start in range(0, len(losses), BLOCK):
        unread = []
        for index in range(start, min(start + BLOCK, len(losses))):
            for one, part in zip(optimizer.param_groups, share, strict=True):
                put(one, "lr", schedule(index) * part)
            unread.append(step(batches))
        values = averaged(torch.stack(unread), group).tolist()
        losses[start : start + len(values)] = values
        if not np.isfinite(values).all():
            losses[start + int(np.argmin(np.isfinite(values))) :] = np.nan
            break
    return losses
