"""The residual networks for small images of He, Zhang, Ren and Sun (2015), section 4.2.

Source: Deep residual learning for image recognition. https://arxiv.org/abs/1512.03385
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

from cyclr import _check

from ._precision import computing_in


class Block(nn.Module):
    """Two convolutions of 3x3, added to their input.

    If the size is halved, the shortcut takes every second pixel and pads the new channels with zeros: the paper's
    option A, which has no weights.

    Args:
        given: Channels of the input.
        channels: Channels of the output.
        survival: The probability with which the convolutions are computed for a training batch; otherwise the block
            is its shortcut. In evaluation mode their result is multiplied by it.
        centred: Whether half of the new channels come before the old ones, as in some published weights.
    """

    def __init__(self, given: int, channels: int, survival: float = 1.0, *, centred: bool = False) -> None:
        super().__init__()
        self.before = (channels - given) // 2 if centred else 0
        self.stride, self.survival = 1 if given == channels else 2, survival
        self.conv1 = nn.Conv2d(given, channels, 3, stride=self.stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.stride == 2:
            new = self.conv1.out_channels - x.shape[1]
            shortcut = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.before, new - self.before))
        # drawn on the CPU from torch's own generator, as dropout is: the block is not computed at all when it is off
        if self.training and self.survival < 1 and torch.rand(()).item() >= self.survival:
            return relu(shortcut)
        found = self.norm2(self.conv2(relu(self.norm1(self.conv1(x)))))
        if not self.training and self.survival < 1:
            found = self.survival * found
        return relu(found + shortcut)


class ResNet(nn.Module):
    """One convolution, three stages of (depth - 2) / 6 blocks, the mean over all pixels, a linear classifier.

    With the defaults, on images of 32x32, this is the paper's ResNet-20 with 269,722 parameters. Convolutions are
    initialised as in He et al. (2015), Delving deep into rectifiers, https://arxiv.org/abs/1502.01852.

    Args:
        depth: Layers with weights, 6n + 2.
        width: Channels of the first stage; the next stages have twice and four times as many.
        channels: Channels of the images.
        classes: Number of classes.
        survival: The probability that the last block is computed in a training step; it falls linearly from 1 at the
            input (stochastic depth, Huang et al. (2016), https://arxiv.org/abs/1603.09382, which uses 0.5). Which
            blocks are left out is drawn from torch's global generator.
        centred: Whether shortcuts put half of the new channels before the old ones.
        precision: The type to compute in.
    """

    def __init__(
        self,
        *,
        depth: int = 20,
        width: int = 16,
        channels: int = 3,
        classes: int = 10,
        survival: float = 1.0,
        centred: bool = False,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(_check.problem("depth must be 6n + 2", depth, "pass for example 8, 20, 32, 44 or 56"))
        self.precision = precision
        self.conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        widths = [width * 2**stage for stage in range(3) for _ in range((depth - 2) // 6)]
        kept = [1 - (1 - survival) * number / len(widths) for number in range(1, len(widths) + 1)]
        shapes = zip([width, *widths[:-1]], widths, kept, strict=True)
        self.blocks = nn.Sequential(*(Block(*shape, centred=centred) for shape in shapes))
        self.classify = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.classify.weight, nonlinearity="linear")
        nn.init.zeros_(self.classify.bias)

    def forward(self, x: Tensor) -> Tensor:
        with computing_in(self.precision, x.device):
            scores = self.classify(self.blocks(relu(self.norm(self.conv(x)))).mean(dim=(2, 3)))
        return scores.float()

    def multipliers(self) -> dict[str, tuple[float, float]]:
        """Factors of the rate and of the weight decay for each parameter. All parameters decay, as in the paper."""
        return {name: (1, 1) for name, _ in self.named_parameters()}
