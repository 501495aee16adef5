"""Averages of the weights over the last part of a training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from cyclr import _check

Average = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]


def trailing_average(share: float = 0.05) -> Average:
    """An average of the weights over a fraction of all steps so far, for torch's `AveragedModel`.

    average_t = average_{t-1} + (weights_t - average_{t-1}) * min(1, 1 / (share * t))

    The window grows with the training, so that one number is suitable for 1,000 steps and for 100,000, whereas a
    constant decay must be tuned for each. At high rates, the average has much of the benefit of annealing. Values that
    are not floats, such as a count of batches, are copied.

    Args:
        share: Fraction of the steps so far, above 0 and at most 1; 1 gives the mean of all steps.

    Returns:
        The function to pass as `multi_avg_fn`.

    Raises:
        TypeError: If `share` is not a number.
        ValueError: If it is not above 0 and at most 1.

    >>> import torch
    >>> from torch.optim.swa_utils import AveragedModel
    >>> model = torch.nn.Linear(1, 1)
    >>> average = AveragedModel(model, multi_avg_fn=trailing_average(0.5))
    >>> for step in range(100):
    ...     _ = torch.nn.init.constant_(model.weight, step)
    ...     average.update_parameters(model)
    >>> round(average.module.weight.item(), 1)
    66.3

    Reference:
        Karras et al. (2024), Analyzing and Improving the Training Dynamics of Diffusion Models, section 3.1: averages
        whose width is a fraction of the training. https://arxiv.org/abs/2312.02696
    """
    share = _check.positive("share", share)
    if share > 1:
        raise ValueError(_check.problem("share must be at most 1", share, "pass 0.05 for the last twentieth"))

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], averaged: Tensor | int) -> None:
        # `averaged` is the number of averaged models, a tensor on the device, so nothing here waits for it
        weight = torch.clamp(1 / (share * (torch.as_tensor(averaged) + 1)), max=1.0)
        for average, new in zip(averages, weights, strict=True):
            if average.is_floating_point() or average.is_complex():
                average.lerp_(new, weight.to(average.dtype))
            else:
                average.copy_(new)

    return update


def averaged_model(model: torch.nn.Module, share: float = 0.05) -> AveragedModel:
    """A copy of `model` whose weights and buffers are a `trailing_average` of those of `model`.

    Call `update_parameters(model)` on it after each step, and evaluate it instead of `model`.

    Warns:
        UserWarning: If weights are in half precision, where an average of many steps loses small changes.

    >>> import torch
    >>> type(averaged_model(torch.nn.Linear(1, 1))).__name__
    'AveragedModel'
    """
    half = next((one.dtype for one in model.parameters() if one.dtype in (torch.bfloat16, torch.float16)), None)
    if half is not None:
        name = str(half).removeprefix("torch.")
        warnings.warn(
            f"averages in {name} lose small changes; keep the weights in float32 and compute under torch.autocast, or "
            "average snapshots with cyclr.torch.average, which sums in float32",
            UserWarning,
            stacklevel=2,
        )
    return AveragedModel(model, multi_avg_fn=trailing_average(share), use_buffers=True)
