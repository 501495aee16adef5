"""SGD as in Caffe: the rate is applied inside the velocity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from cyclr import _check


class CaffeSGD(Optimizer):
    """Momentum with the rate inside: V' = m V + r g, W' = W - V'; with Nesterov's, W' = W - (1 + m) V' + m V.

    `torch.optim.SGD` has U' = m U + g and W' = W - r U'. With V = r U, both are the same
    while the rate r is constant, even with Nesterov's momentum, but not when it changes. With r0 and r1 the previous
    and the current rate, and U = V / r0,

        torch: W' = W - r1 (m V / r0 + g) = W - (r1 / r0) m V - r1 g,
        Caffe: W' = W - m V - r1 g:

    torch rescales the existing velocity by r1 / r0, Caffe does not. While a rate rises, torch's steps are larger than
    Caffe's; after a large drop, Caffe still moves as far as about m / (1 - m) steps at the old rate, 9 with a momentum
    of 0.9. Both add weight decay to the gradient: g + d W.

    Args:
        params: Parameters or groups of them.
        lr: The learning rate r.
        momentum: The momentum m.
        weight_decay: The weight decay d.
        nesterov: Whether to use Nesterov's momentum.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the momentum is not from 0 to 1, or another number is negative.

    >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
    >>> optimizer = CaffeSGD([weight], lr=0.1, momentum=0.5)
    >>> for rate in (0.1, 0.01):
    ...     optimizer.param_groups[0]["lr"] = rate
    ...     weight.grad = torch.tensor([1.0])
    ...     optimizer.step()
    >>> round(weight.item(), 6)  # 1 - 0.1 - (0.5 * 0.1 + 0.01); torch's ends at 0.885
    0.84

    Source:
        Jia et al. (2014), Caffe, src/caffe/solvers/sgd_solver.cpp and nesterov_solver.cpp. Goyal et al. (2017),
        Accurate, large minibatch SGD, https://arxiv.org/abs/1706.02677, remark 3, convert one into the other.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": _check.non_negative("lr", lr),
            "momentum": _check.fraction("momentum", momentum),
            "weight_decay": _check.non_negative("weight_decay", weight_decay),
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update. Returns the result of `closure`, if given, which recomputes the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        momentum, decay = group["momentum"], group["weight_decay"]
        if decay:
            gradient = gradient.add(weight, alpha=decay)
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        velocity = state["velocity"]
        if group["nesterov"]:
            weight.add_(velocity, alpha=momentum)
        velocity.mul_(momentum).add_(gradient * group["lr"])  # not alpha=lr: the rate may be a tensor
        weight.sub_(velocity, alpha=1 + momentum if group["nesterov"] else 1)
