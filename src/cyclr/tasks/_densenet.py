"""The densely connected networks for small images of Huang, Liu, van der Maaten and Weinberger (2017).

Source: Densely connected convolutional networks. https://arxiv.org/abs/1608.06993
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from cyclr import _check

from ._precision import computing_in


class Layer(nn.Module):
    """Normalisation, ReLU and a convolution; the result is appended to the input."""

    def __init__(self, given: int, growth: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(given), nn.Conv2d(given, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(relu(self.norm(x)))], dim=1)


class Transition(nn.Module):
    """Normalisation, ReLU, a convolution of 1x1, then the mean over each square of 2x2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(self.conv(relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """One convolution to 16 channels, three blocks of (depth - 4) / 3 layers with transitions, a linear classifier.

    With the defaults, on images of 32x32 with 10 classes, this is the DenseNet (k = 12) of 40 layers, with 1.0 million
    parameters: without bottlenecks, compression and dropout, as in its authors' results with augmentation.

    Args:
        depth: Layers with weights, 3n + 4.
        growth: Channels that each layer adds: the article's k.
        classes: Number of classes.
        precision: The type to compute in.
    """

    def __init__(
        self, *, depth: int = 40, growth: int = 12, classes: int = 10, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        if depth < 7 or depth % 3 != 1:
            raise ValueError(_check.problem("depth must be 3n + 4", depth, "pass for example 10, 22, 40 or 100"))
        self.precision = precision
        channels = 16
        self.conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        parts: list[nn.Module] = []
        for block in range(3):
            if block:
                parts.append(Transition(channels))
            for _ in range((depth - 4) // 3):
                parts.append(Layer(channels, growth))
                channels += growth
        self.blocks, self.norm = nn.Sequential(*parts), nn.BatchNorm2d(channels)
        self.classify = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(self.classify.bias)

    def forward(self, x: Tensor) -> Tensor:
        with computing_in(self.precision, x.device):
            scores = self.classify(relu(self.norm(self.blocks(self.conv(x)))).mean(dim=(2, 3)))
        return scores.float()

    def multipliers(self) -> dict[str, tuple[float, float]]:
        """Factors of the rate and of the weight decay for each parameter: all alike."""
        return {name: (1, 1) for name, _ in self.named_parameters()}
