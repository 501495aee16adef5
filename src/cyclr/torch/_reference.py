"""The loss of batches that stay the same while a network is trained on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from cyclr._range.horizon import REFERENCE


class Evaluates:
    """A step function of a framework, which can evaluate the loss of its batches without a step, too."""

    can_evaluate = True  #: whether this training can

    def evaluated(self, batch: Any, /) -> torch.Tensor:
        """The loss of what one step takes."""
        raise NotImplementedError


class ReferenceBatches:
    """Sets batches aside, and evaluates their mean loss as a training computes it: in training mode, with dropout.

    An evaluation changes neither buffers, such as the statistics of BatchNorm, nor torch's random state; all draw the
    same random numbers, so that their losses differ for no other reason than the weights.

    Args:
        model: The network.
        loss: The loss of a batch.
        accumulate: Batches for one step.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        loss: Callable[[Any], torch.Tensor],
        accumulate: int = 1,
    ) -> None:
        self._model, self._loss = model, loss
        self._number, self._kept = REFERENCE * accumulate, list[Any]()

    def __call__(self, batches: Iterator[Any]) -> torch.Tensor:
        """The mean loss at the present weights, still on the device. The first evaluation takes the batches."""
        if not self._kept:
            self._kept = [next(batches) for _ in range(self._number)]
        devices = {weight.device for weight in self._model.parameters() if weight.device.type == "cuda"}
        buffers = list(self._model.buffers())
        before = [buffer.clone() for buffer in buffers]
        try:
            with torch.random.fork_rng(list(devices)):
                torch.manual_seed(0)
                # With gradients, as a loss may need them, and a compiled model would be compiled anew without them.
                losses = [self._loss(batch).detach() for batch in self._kept]
        finally:
            with torch.no_grad():
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)
        return torch.stack(losses).mean()
