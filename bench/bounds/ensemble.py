"""Many trainings of one network at once, which differ in seed and rate: two to six times as fast as one by one."""

from __future__ import annotations

import numpy as np
import torch
from problem import Problem
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

Tensors = dict[str, Tensor]


class Ensemble:
    """Networks stacked along a first dimension.

    The optimizer is the task's own, over the stacked weights at a rate of one. Each network then goes its own rate
    times that step: the step of every optimizer in use here is proportional to the rate, weight decay included.

    Args:
        problems: One for each training, all of the same task.
        seeds: The seed of each; those with the same seed have the same batches.
    """

    def __init__(self, problems: list[Problem], seeds: list[int]) -> None:
        self.problems, first = problems, problems[0]
        self.weights = _stacked([dict(one.model.named_parameters()) for one in problems])
        # Only statistics of batches differ between networks; what else is stored is shared, which is faster.
        self.moving = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in first.model.modules())
        stored = [dict(one.model.named_buffers()) for one in problems]
        self.buffers = _stacked(stored) if self.moving else stored[0]
        names = {id(weight): name for name, weight in first.model.named_parameters()}
        groups = [
            {**group, "lr": ratio, "params": [self.weights[names[id(weight)]] for weight in group["params"]]}
            for group, ratio in zip(first.optimizer.param_groups, first.ratios, strict=True)
        ]
        self.optimizer = type(first.optimizer)(groups)
        kinds = sorted(set(seeds))
        self.sources = [iter(problems[seeds.index(seed)].batches) for seed in kinds]
        self.which = torch.tensor([kinds.index(seed) for seed in seeds])
        over = 0 if self.moving else None
        self.gradients = vmap(
            grad_and_value(self._loss, has_aux=True), in_dims=(0, over, 0, 0), out_dims=(0, (0, over)),
            randomness="different",
        )  # fmt: skip

    def _loss(self, weights: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> tuple[Tensor, Tensors]:
        out = functional_call(self.problems[0].model, (weights, buffers), (x,))
        return self.problems[0].loss(out, y), buffers  # the network has changed its buffers in place

    def step(self, rates: Tensor) -> Tensor:
        """One step of each, at its own rate; returns the losses before it."""
        x, y = (torch.stack(parts)[self.which] for parts in zip(*map(next, self.sources), strict=True))
        gradients, (losses, self.buffers) = self.gradients(self.weights, self.buffers, x, y)
        self._clip(gradients)
        before = {name: weight.clone() for name, weight in self.weights.items()}
        for name, weight in self.weights.items():
            weight.grad = gradients[name]
        self.optimizer.step()
        for name, weight in self.weights.items():
            torch.lerp(before[name], weight, rates.view(-1, *[1] * (weight.dim() - 1)), out=weight)
        return losses

    def _clip(self, gradients: Tensors) -> None:
        most = self.problems[0].clip
        if most is not None:
            squares = [gradient.flatten(1).square().sum(1) for gradient in gradients.values()]
            factor = (most / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1)
            for gradient in gradients.values():
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))

    def judge(self) -> list[float]:
        """The held-out score of each."""
        found = []
        for place, problem in enumerate(self.problems):
            own = {name: weight[place] for name, weight in self.weights.items()}
            stored = {name: value[place] if self.moving else value for name, value in self.buffers.items()}
            problem.model.load_state_dict(own | stored)
            found.append(problem.judge())
        return found


def _stacked(parts: list[Tensors]) -> Tensors:
    return {name: torch.stack([part[name].detach() for part in parts]) for name in parts[0]}


def train(
    problems: list[Problem], seeds: list[int], rates: np.ndarray, *, judge: bool
) -> tuple[np.ndarray, list[float]]:
    """The losses of each training, shape (trainings, steps), up to its first that is not finite, and its score.

    Args:
        problems: One for each training.
        seeds: The seed of each.
        rates: Shape (trainings, steps).
        judge: Whether scores are wanted; an empty list if not.
    """
    ensemble, losses = Ensemble(problems, seeds), np.full(rates.shape, np.nan)
    going = np.full(len(problems), True)
    for step, column in enumerate(torch.tensor(rates.T, dtype=torch.float32)):
        values = ensemble.step(column).numpy()
        going &= np.isfinite(values)
        if not going.any():
            break
        losses[going, step] = values[going]
    return losses, ensemble.judge() if judge else []
