"""Parameters grouped by their own rates and weight decays, as in Caffe."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def groups(
    model: nn.Module, factors: dict[str, tuple[float, float]], rate: float, decay: float
) -> list[dict[str, Any]]:
    """The parameters grouped by their factors of rate and weight decay, for an optimizer.

    Args:
        model: The network.
        factors: The two factors of each parameter by its name.
        rate: The rate of a parameter with factor 1; the factor itself is kept in the group as `lr_mult`.
        decay: The weight decay of a parameter with factor 1.
    """
    found: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        found.setdefault(factors[name], []).append(parameter)
    return [
        {"params": params, "lr": rate * own, "weight_decay": decay * decaying, "lr_mult": own}
        for (own, decaying), params in found.items()
    ]
