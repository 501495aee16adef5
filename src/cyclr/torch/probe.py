"""Probe cycles: short whole cycles at a few candidate peaks, judged at their low-rate end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer

from cyclr._range import cycle
from cyclr.torch.groups import put, shares
from cyclr.torch.preserve import Transaction
from cyclr.torch.together import averaged

Array = NDArray[np.float64]
Progress = Callable[[int, int, float, float], Any]
BLOCK = 10  #: losses are read from the device in blocks


def probe(
    peaks: tuple[float, ...],
    *,
    transaction: Transaction,
    optimizer: Optimizer,
    step: Callable[[Iterator[Any]], torch.Tensor],
    batches: Iterator[Any],
    group: Any,
    progress: Progress | None,
) -> Array:
    """Losses of a short cycle to each of the peaks, each from the same start; NaN from the first that is not finite.

    Args:
        peaks: The candidates.
        transaction: Takes the training back to its start before each cycle.
        optimizer: Its rates are set.
        step: Makes one update from the next batches.
        batches: Go on from one cycle to the next.
        group: The processes that train together, if several do.
        progress: Called after each block with (steps done, steps in all, rate, loss).

    Returns:
        Shape (peaks, steps of a cycle).
    """
    cycles = [cycle(peak) for peak in peaks]
    length, share = int(cycles[0].duration), shares(optimizer)
    losses = np.full((len(peaks), length), np.nan)
    for row, schedule in zip(losses, cycles, strict=True):
        transaction.rewind()
        for start in range(0, length, BLOCK):
            unread = []
            for index in range(start, min(start + BLOCK, length)):
                rate = schedule(index)
                for one, part in zip(optimizer.param_groups, share, strict=True):
                    put(one, "lr", rate * part)
                unread.append(step(batches))
            values = averaged(torch.stack(unread), group).tolist()
            row[start : start + len(values)] = values
            if progress is not None:
                done = int(np.isfinite(losses).sum())
                progress(done, losses.size, rate, values[-1])
            if not np.isfinite(values).all():
                row[start + int(np.argmin(np.isfinite(values))) :] = np.nan
                break
    return losses
