"""Sees what a user's own step function differentiates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from cyclr._interrupt import Restored, Undo
from cyclr._range.objective import kind_of
from cyclr.torch._distributed import everybody

MOST = 400  #: steps that are looked at


class Objective(Restored):
    """Notes the losses that steps return and those that they differentiate, inside of a `with` statement.

    `Tensor.backward` ends in `torch.autograd.backward`, which is replaced as long; gradients that are asked for by
    `torch.autograd.grad` are not seen.
    """

    def __init__(self) -> None:
        self._reported: list[torch.Tensor] = []
        self._differentiated: list[list[torch.Tensor]] = []
        self._now: list[torch.Tensor] = []
        self._optimizers: set[int] = set()
        self._put_back: list[Undo] = []

    def before(self) -> None:
        """A step begins."""
        self._now = []

    def after(self, loss: torch.Tensor) -> None:
        """A step has returned this loss."""
        if len(self._reported) < MOST:
            self._reported.append(loss.detach().clone())
            self._differentiated.append(self._now)
        self._now = []

    @property
    def kind(self) -> str:
        """What the losses are, as in `Curve.loss_kind`.

        Nothing is said of several processes: what a step returns may be a mean over them, what it differentiates is
        not, and all processes must give the same answer.
        """
        if everybody() is not None:
            return ""
        numbers = [[float(one) for one in values] for values in self._differentiated]
        return kind_of([float(one) for one in self._reported], numbers, optimizers=len(self._optimizers))

    def _remember(self) -> None:
        own = cast("Any", torch.autograd.backward)

        def backward(tensors: Any, grad_tensors: Any = None, *args: object, **kwargs: object) -> None:
            if len(self._reported) < MOST:
                self._now.append(_value(tensors, grad_tensors))
            own(tensors, grad_tensors, *args, **kwargs)

        def put_back() -> None:
            if torch.autograd.backward is backward:
                torch.autograd.backward = own

        self._put_back.append(put_back)
        torch.autograd.backward = backward
        hook = register_optimizer_step_post_hook(lambda stepped, *_: self._optimizers.add(id(stepped)))
        self._put_back.append(hook.remove)

    def _undo(self) -> list[Undo]:
        undo = self._put_back.copy()
        self._put_back.clear()
        return undo


def _value(tensors: torch.Tensor | Sequence[torch.Tensor], weights: Any) -> torch.Tensor:
    """The number whose gradient is computed."""
    several = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
    given = [weights] if weights is None or isinstance(weights, torch.Tensor) else list(weights)
    given += [None] * (len(several) - len(given))
    with torch.no_grad():
        parts = [(one if by is None else one * by).sum() for one, by in zip(several, given, strict=True)]
        return torch.stack([part.float() for part in parts]).sum()
