"""Two networks of Caffe's CIFAR-10 example, layer by layer, with its rates and weight decays for each parameter.

Source: Jia et al. (2014), Caffe, examples/cifar10/cifar10_full_train_test.prototxt and
cifar10_full_sigmoid_train_test_bn.prototxt. https://github.com/BVLC/caffe
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from ._precision import computing_in

ALPHA, BETA = 5e-5, 0.75


class _Normalize(torch.autograd.Function):
    """A hand-written derivative, with fewer passes over memory and smaller saved tensors than autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyrefly: ignore[bad-override] how torch has it written
        wide = torch.promote_types(x.dtype, torch.float32)
        root = (avg_pool2d(x * x, 3, 1, 1).to(wide) * ALPHA).add_(1).rsqrt_()  # s**-1/2
        power = root.sqrt().mul_(root)  # s**-3/4, faster than pow
        slope = (root.square_().mul_(power)).to(x.dtype)  # s**-7/4
        power = power.to(x.dtype)
        ctx.save_for_backward(x, power, slope)
        return x * power

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        x, power, slope = ctx.saved_tensors
        spread = avg_pool2d((grad * x).mul_(slope), 3, 1, 1)  # the window is symmetric, so it is its own transpose
        return spread.mul_(x).mul_(-2 * ALPHA * BETA).addcmul_(grad, power)


def normalize(x: Tensor) -> Tensor:
    """Local response normalisation within each channel: x / (1 + 5e-5 * mean of x**2 over 3x3) ** 0.75.

    Beyond the border, x counts as 0 and the mean is still over nine values. `torch.nn.LocalResponseNorm` differs: it
    normalises across channels.
    """
    return _Normalize.apply(x)


def _channels_last(grad: Tensor) -> Tensor:
    return grad.contiguous(memory_format=torch.channels_last)


class _Caffe(nn.Module):
    """Base class of both networks: sizes, Gaussian initial weights, and optional half precision."""

    def __init__(self, *, bias: bool, precision: torch.dtype) -> None:
        super().__init__()
        self.precision = precision
        self.conv1 = nn.Conv2d(3, 32, 5, padding=2, bias=bias)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2, bias=bias)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2, bias=bias)
        self.ip1 = nn.Linear(64 * 4 * 4, 10)
        for layer, spread in ((self.conv1, 1e-4), (self.conv2, 0.01), (self.conv3, 0.01), (self.ip1, 0.01)):
            nn.init.normal_(layer.weight, std=spread)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        with computing_in(self.precision, x.device):
            found = self._features(x)
            if (
                found.requires_grad
            ):  # the last pool's backward is six times faster on channels last, and bit-for-bit equal
                found.register_hook(_channels_last)
            scores = self.ip1(found.flatten(1))
        return scores.float()

    def _features(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Full(_Caffe):
    """cifar10_full: three convolutions with ReLU, pooling and normalisation, and a linear classifier.

    Its pooling layers round sizes up, as in Caffe: 32, 16, 8, 4 pixels, so 1,024 inputs for the classifier.
    """

    def __init__(self, *, precision: torch.dtype = torch.float32) -> None:
        super().__init__(bias=True, precision=precision)

    def _features(self, x: Tensor) -> Tensor:
        x = normalize(relu(max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)))
        x = normalize(avg_pool2d(relu(self.conv2(x)), 3, 2, ceil_mode=True))
        return avg_pool2d(relu(self.conv3(x)), 3, 2, ceil_mode=True)

    def multipliers(self) -> dict[str, tuple[float, float]]:
        """Factors of the rate and of the weight decay for each parameter."""
        return {
            **{f"{layer}.weight": (1, 1) for layer in ("conv1", "conv2", "conv3")},
            **{f"{layer}.bias": (2, 1) for layer in ("conv1", "conv2")},
            "conv3.bias": (1, 1),  # the file sets no rates for this layer
            "ip1.weight": (1, 250),
            "ip1.bias": (2, 0),
        }


class SigmoidBatchNorm(_Caffe):
    """cifar10_full with sigmoids, and batch normalisation instead of local response normalisation and biases.

    As in Caffe, the layer has no scale and shift, and its running statistics have a momentum of 0.001 per step.
    """

    def __init__(self, *, precision: torch.dtype = torch.float32) -> None:
        super().__init__(bias=False, precision=precision)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(n, affine=False, momentum=1e-3) for n in (32, 32, 64))

    def _features(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.norm1(max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)))
        x = avg_pool2d(torch.sigmoid(self.norm2(self.conv2(x))), 3, 2, ceil_mode=True)
        return avg_pool2d(torch.sigmoid(self.norm3(self.conv3(x))), 3, 2, ceil_mode=True)

    def multipliers(self) -> dict[str, tuple[float, float]]:
        """Factors of the rate and of the weight decay for each parameter; the solver has no weight decay."""
        return {name: (1, 0) for name, _ in self.named_parameters()}
