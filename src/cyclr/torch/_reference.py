"""The loss of batches that stay the same while a network is trained on others."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import distributed
from torch.utils._pytree import tree_map

from cyclr._range.horizon import REFERENCE
from cyclr._range.short import bad_one, examples_in
from cyclr._rng import same_draws

_log = logging.getLogger("cyclr")


class Evaluates:
    """A step function of a framework, which can evaluate the loss of its batches without a step, too."""

    can_evaluate = True  #: whether this training can

    def evaluated(self, batch: Any, /) -> torch.Tensor:
        """The loss of what one step takes."""
        raise NotImplementedError


LABELS = ("labels", "label", "targets", "target")


def _once(tensor: torch.Tensor) -> torch.Tensor:
    """Each of its numbers in memory once: an expanded tensor shows some of them several times, and takes no others."""
    return tensor[tuple(slice(1) if stride == 0 else slice(None) for stride in tensor.stride())]


def examples_of(batch: Any) -> int:
    """The number of examples or labels in a batch; 0 if unknown. Those of a trainer, several in one, count them."""
    own = getattr(batch, "examples", None)
    return own if isinstance(own, int) else examples_in(arrays_in(batch))


def arrays_in(batch: Any) -> list[Any]:
    """The tensors of a batch, labels last."""
    if isinstance(batch, Mapping):
        labels = [batch[name] for name in LABELS if name in batch]
        return [*(one for name, one in batch.items() if name not in LABELS), *labels]
    return list(batch) if isinstance(batch, (tuple, list)) else [batch]


class TakenInTurn:
    """The next few batches of an iterator, again and again; as copies, since a step may write to its batch.

    Args:
        batches: Where they come from.
        number: How many.

    >>> taken = TakenInTurn(iter(["a", "b", "c"]), 2)
    >>> [next(taken) for _ in range(5)]
    ['a', 'b', 'a', 'b', 'a']
    """

    def __init__(self, batches: Iterator[Any], number: int) -> None:
        self._batches, self._number = batches, number
        self._kept, self._given = list[Any](), 0

    @property
    def examples(self) -> int:
        """Examples in a batch; 0 if unknown, or before the first one is taken."""
        return sum(map(examples_of, self._kept)) // max(1, len(self._kept))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if len(self._kept) < self._number:
            self._kept.append(next(self._batches))
        batch = self._kept[self._given % self._number]
        self._given += 1
        return tree_map(_fresh, batch)


def _fresh(part: Any) -> Any:
    """A copy of a tensor, an array, a mapping or what else copies itself."""
    if callable(getattr(part, "clone", None)):
        return part.clone()
    return copy.copy(part) if isinstance(part, (Mapping, np.ndarray)) else part


class ReferenceBatches:
    """Sets batches aside, and evaluates their mean loss as a training computes it: in training mode, with dropout.

    An evaluation changes neither buffers, such as the statistics of BatchNorm, nor the random states of torch, NumPy
    and Python; all draw the same random numbers, so that their losses differ for no other reason than the weights.

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

    @property
    def examples(self) -> int:
        """Examples that a step takes; 0 if unknown, or before the first evaluation."""
        return sum(map(examples_of, self._kept)) // REFERENCE

    def __call__(self, batches: Iterator[Any]) -> torch.Tensor:
        """The mean loss at the present weights, still on the device. The first evaluation takes the batches."""
        if not self._kept:
            self._kept = self._set_aside(batches)
        return torch.stack(self._losses()).mean()

    def _set_aside(self, batches: Iterator[Any]) -> list[Any]:
        """Batches of which none is bad: their loss decides alone, so one with absurd values would hide all others."""
        self._kept = [next(batches) for _ in range(self._number)]
        for _ in range(0 if distributed.is_available() and distributed.is_initialized() else self._number):
            losses = [float(loss) for loss in self._losses()]
            bad = bad_one(losses)
            if bad is None:
                break
            _log.warning("a batch with a loss of %.3g is not taken as a reference: others have %.3g", losses[bad],
                         min(losses, key=abs))  # fmt: skip
            self._kept[bad] = next(batches)
        return self._kept

    def _losses(self) -> list[torch.Tensor]:
        """The loss of each batch."""
        held = [(module._buffers, name, buffer) for module in self._model.modules()
                for name, buffer in module._buffers.items() if buffer is not None]  # fmt: skip
        before = [_once(buffer).clone() for _, _, buffer in held]
        try:
            with same_draws():
                # With gradients, as a loss may need them, and a compiled model would be compiled anew without them.
                return [self._loss(batch).detach() for batch in self._kept]
        finally:
            with torch.no_grad():
                for (buffers, name, buffer), value in zip(held, before, strict=True):
                    buffers[name] = buffer  # a module may have put another one there
                    _once(buffer).copy_(value)
