"""AlexNet and GoogLeNet as in Caffe, and ResNet-50.

Sources: Jia et al. (2014), Caffe, models/bvlc_alexnet and models/bvlc_googlenet, https://github.com/BVLC/caffe; He et
al. (2015), Deep residual learning for image recognition, https://arxiv.org/abs/1512.03385; the last normalisation of
each block begins at zero, as in Goyal et al. (2017), https://arxiv.org/abs/1706.02677.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, relu

from cyclr import _check

from ._precision import computing_in

Scores = Tensor | tuple[Tensor, ...]
LEAST = {"alexnet": 51, "googlenet": 32, "resnet50": 32}  # pixels of the smallest image


class _Network(nn.Module):
    """Computes in a precision; the scores are float32."""

    precision: torch.dtype

    def forward(self, x: Tensor) -> Scores:
        with computing_in(self.precision, x.device):
            scores = self._scores(x)
        return tuple(one.float() for one in scores) if isinstance(scores, tuple) else scores.float()

    def _scores(self, x: Tensor) -> Scores:
        raise NotImplementedError

    def multipliers(self) -> dict[str, tuple[float, float]]:
        """Factors of the rate and of the weight decay for each parameter: in Caffe biases learn twice as fast."""
        return {name: (2, 0) if name.endswith("bias") else (1, 1) for name, _ in self.named_parameters()}


def _pool(x: Tensor) -> Tensor:
    return max_pool2d(x, 3, 2, ceil_mode=True)


def _halved(size: int) -> int:
    """The pixels on a side after `_pool`."""
    return -(-(size - 3) // 2) + 1


class AlexNet(_Network):
    """Five convolutions and three linear layers, with normalisation across channels and dropout.

    Args:
        classes: Number of classes.
        size: Pixels on a side of an image; 227 in Caffe.
        width: The share of Caffe's channels that each layer has; 1 gives 61.0 million parameters with 1,000 classes.
        precision: The type to compute in.
    """

    def __init__(
        self, *, classes: int, size: int = 227, width: float = 1, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.precision = precision
        one, two, three, full = (2 * round(width * channels / 2) for channels in (96, 256, 384, 4096))
        self.conv1 = nn.Conv2d(3, one, 11, stride=4)
        self.conv2 = nn.Conv2d(one, two, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(two, three, 3, padding=1)
        self.conv4 = nn.Conv2d(three, three, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(three, two, 3, padding=1, groups=2)
        side = _halved(_halved(_halved((size - 11) // 4 + 1)))
        self.fc6, self.fc7 = nn.Linear(two * side**2, full), nn.Linear(full, full)
        self.fc8 = nn.Linear(full, classes)
        self.normalize, self.drop = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0), nn.Dropout()
        spreads = {"conv1": 0.01 * width**0.5, "fc6": 0.005, "fc7": 0.005}
        for name, layer in self.named_children():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                # narrower layers need larger weights for signals of the same size; the first always has three channels
                nn.init.normal_(layer.weight, std=spreads.get(name, 0.01) / width**0.5)
                assert layer.bias is not None
                nn.init.constant_(layer.bias, 0.1 if name in ("conv2", "conv4", "conv5", "fc6", "fc7") else 0.0)

    def _scores(self, x: Tensor) -> Tensor:
        x = _pool(self.normalize(relu(self.conv1(x))))
        x = _pool(self.normalize(relu(self.conv2(x))))
        x = _pool(relu(self.conv5(relu(self.conv4(relu(self.conv3(x)))))))
        x = self.drop(relu(self.fc6(x.flatten(1))))
        return self.fc8(self.drop(relu(self.fc7(x))))


def _convolution(given: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution with ReLU, with Caffe's first weights."""
    layer = nn.Conv2d(given, channels, kernel, stride=stride, padding=kernel // 2)
    nn.init.xavier_uniform_(layer.weight)
    assert layer.bias is not None
    nn.init.constant_(layer.bias, 0.2)
    return nn.Sequential(layer, nn.ReLU())


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 and 3x3; 1x1 and 5x5; a pool and 1x1."""

    def __init__(self, given: int, ones: int, threes: tuple[int, int], fives: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.ones = _convolution(given, ones, 1)
        self.threes = nn.Sequential(_convolution(given, threes[0], 1), _convolution(*threes, 3))
        self.fives = nn.Sequential(_convolution(given, fives[0], 1), _convolution(*fives, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), _convolution(given, pooled, 1))
        self.channels = ones + threes[1] + fives[1] + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.ones(x), self.threes(x), self.fives(x), self.pooled(x)], dim=1)


INCEPTIONS = (
    (64, (96, 128), (16, 32), 32),
    (128, (128, 192), (32, 96), 64),
    (192, (96, 208), (16, 48), 64),
    (160, (112, 224), (24, 64), 64),
    (128, (128, 256), (24, 64), 64),
    (112, (144, 288), (32, 64), 64),
    (256, (160, 320), (32, 128), 128),
    (256, (160, 320), (32, 128), 128),
    (384, (192, 384), (48, 128), 128),
)
POOLED, FURTHER = (1, 6), (2, 5)  # after which modules there is a pool, and a further classifier
AUXILIARY = 0.3  # the weight of the losses of the two further classifiers


class GoogLeNet(_Network):
    """Three convolutions, nine Inception modules, the mean over all pixels, a linear classifier.

    On images of at least 224 pixels it has two further classifiers while it trains, as in Caffe: its scores are then
    a tuple.

    Args:
        classes: Number of classes.
        size: Pixels on a side of an image; 224 in Caffe.
        width: The share of Caffe's channels that each layer has.
        precision: The type to compute in.
    """

    def __init__(
        self, *, classes: int, size: int = 224, width: float = 1, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.precision = precision

        def scale(channels: int) -> int:
            return max(4, round(width * channels))

        first, second, third = scale(64), scale(64), scale(192)
        self.conv1 = _convolution(3, first, 7, 2)
        self.conv2, self.conv3 = _convolution(first, second, 1), _convolution(second, third, 3)
        self.normalize = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.inceptions, self.further = nn.ModuleList(), nn.ModuleList()
        given = third
        for number, (ones, threes, fives, pooled) in enumerate(INCEPTIONS):
            pair_3, pair_5 = (scale(threes[0]), scale(threes[1])), (scale(fives[0]), scale(fives[1]))
            module = Inception(given, scale(ones), pair_3, pair_5, scale(pooled))
            given = module.channels
            self.inceptions.append(module)
            if number in FURTHER and size >= 224:
                self.further.append(_further(given, scale(128), scale(1024), classes))
        self.drop, self.classify = nn.Dropout(0.4), _linear(given, classes)

    def _scores(self, x: Tensor) -> Scores:
        x = self.normalize(_pool(self.conv1(x)))
        x = _pool(self.normalize(self.conv3(self.conv2(x))))
        others = []
        for number, module in enumerate(self.inceptions):
            x = module(x)
            if number in FURTHER and self.training and self.further:
                others.append(self.further[len(others)](x))
            if number in POOLED:
                x = _pool(x)
        scores = self.classify(self.drop(x.mean(dim=(2, 3))))
        return (scores, *others) if others else scores


def _linear(given: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(given, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _further(given: int, channels: int, hidden: int, classes: int) -> nn.Sequential:
    pool = nn.AvgPool2d(5, 3, ceil_mode=True)  # 14x14 becomes 4x4
    parts = [pool, _convolution(given, channels, 1), nn.Flatten(), _linear(16 * channels, hidden), nn.ReLU()]
    return nn.Sequential(*parts, nn.Dropout(0.7), _linear(hidden, classes))


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1, added to their input; the second one has the stride."""

    def __init__(self, given: int, inner: int, stride: int) -> None:
        super().__init__()
        outer = 4 * inner
        self.conv1, self.norm1 = nn.Conv2d(given, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3, self.norm3 = nn.Conv2d(inner, outer, 1, bias=False), nn.BatchNorm2d(outer)
        nn.init.zeros_(self.norm3.weight)
        self.shortcut = nn.Sequential()
        if stride > 1 or given != outer:
            self.shortcut = nn.Sequential(nn.Conv2d(given, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        found = relu(self.norm2(self.conv2(relu(self.norm1(self.conv1(x))))))
        return relu(self.norm3(self.conv3(found)) + self.shortcut(x))


class ResNet50(_Network):
    """One convolution, four stages of bottlenecks, the mean over all pixels, a linear classifier.

    Args:
        classes: Number of classes.
        size: Pixels on a side of an image; not used.
        width: The share of the article's channels; 1 gives 25.6 million parameters with 1,000 classes.
        precision: The type to compute in.
    """

    def __init__(
        self, *, classes: int, size: int = 224, width: float = 1, precision: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.precision = precision
        given = first = round(64 * width)
        self.conv, self.norm = nn.Conv2d(3, first, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(first)
        blocks = []
        for stage, count in enumerate((3, 4, 6, 3)):
            for place in range(count):
                inner = first * 2**stage
                blocks.append(Bottleneck(given, inner, 2 if stage and not place else 1))
                given = 4 * inner
        self.blocks, self.classify = nn.Sequential(*blocks), nn.Linear(given, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classify.weight, std=0.01)
        nn.init.zeros_(self.classify.bias)

    def _scores(self, x: Tensor) -> Tensor:
        x = max_pool2d(relu(self.norm(self.conv(x))), 3, 2, 1)
        return self.classify(self.blocks(x).mean(dim=(2, 3)))

    def multipliers(self) -> dict[str, tuple[float, float]]:
        """Factors of the rate and of the weight decay for each parameter; norms and biases do not decay."""
        return {name: (1, 1 if parameter.ndim > 1 else 0) for name, parameter in self.named_parameters()}


def loss(scores: Scores, labels: Tensor) -> Tensor:
    """Cross entropy; of a network with further classifiers plus 0.3 times theirs."""
    if isinstance(scores, Tensor):
        return cross_entropy(scores, labels)
    return cross_entropy(scores[0], labels) + AUXILIARY * sum(cross_entropy(one, labels) for one in scores[1:])


def check_size(network: str, size: int) -> int:
    """A number of pixels that is large enough for the network."""
    least = LEAST[network]
    if _check.count("size", size) < least:
        raise ValueError(_check.problem(f"size must be at least {least} pixels for {network}", size))
    return size
