"""CIFAR-10 with the network on which cyclical rates were first shown: Caffe's `cifar10_full`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.optim import SGD, Adadelta, Adagrad, Adam, Optimizer, RMSprop

from cyclr import _check
from cyclr.torch import Task

from . import _cifar_files
from ._caffe import Full, SigmoidBatchNorm
from ._caffe_sgd import CaffeSGD
from ._classify import accuracy
from ._images import Drawn, Images, InOrder
from ._precision import PRECISIONS
from ._resnet import ResNet
from ._seeds import seeded

HELD_OUT = 5_000
JUDGED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network and its published training settings."""

    network: Callable[..., Full | SigmoidBatchNorm | ResNet]
    batch: int
    base_lr: float
    weight_decay: float
    shuffled: bool  # and augmented by default


NETWORKS = {
    "full": Recipe(Full, 100, 0.001, 0.004, shuffled=False),
    "sigmoid": Recipe(SigmoidBatchNorm, 100, 0.001, 0.004, shuffled=False),
    "resnet": Recipe(ResNet, 128, 0.1, 1e-4, shuffled=True),
    "resnet56": Recipe(partial(ResNet, depth=56), 128, 0.1, 1e-4, shuffled=True),
}
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": partial(SGD, momentum=0.9),
    "nesterov": partial(SGD, momentum=0.9, nesterov=True),
    "caffe-sgd": partial(CaffeSGD, momentum=0.9),
    "caffe-nesterov": partial(CaffeSGD, momentum=0.9, nesterov=True),
    "adam": Adam,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
}
"""All add weight decay to the gradient, as in Caffe."""


def cifar10(
    seed: int,
    *,
    data: str | Path | None = None,
    tuning: bool = False,
    network: str = "full",
    optimizer: str = "sgd",
    pictures: int | None = None,
    augment: bool | None = None,
    precision: str = "float32",
    device: str = "cpu",
    compiled: bool = False,
) -> Task:
    """CIFAR-10 trained as in Caffe's example, or as the residual networks of He et al.

    Caffe's networks, "full" and "sigmoid": no augmentation, pixels from 0 to 255 minus their mean, batches of 100, so
    500 steps per epoch; SGD with momentum 0.9 and weight decay 0.004. The images are in the order of the files in every
    epoch and for every seed. Rates and weight decays differ between parameters: biases have twice the rate of weights,
    and the classifier has 250 times the weight decay. Each group of the optimizer stores the factor of its rate as
    `lr_mult`. Rates in the paper are those of the weights, with `lr_mult` 1; the rate of the whole task, as in
    `cyclr.torch.train(task, schedule)`, is that of the group with the largest rate, so twice the paper's rate.

    Residual networks: pixels minus their mean, batches of 128, so 391 steps per epoch; SGD with momentum 0.9, weight
    decay 1e-4 and rate 0.1. Each epoch has a new order, and each image is shifted by up to 4 pixels and mirrored with a
    probability of one half.

    Args:
        seed: Random seed for the weights, and for residual networks also for the order and the augmentation.
        data: The official archive `cifar-10-binary.tar.gz`, which is read without unpacking it; or the folder with
            `data_batch_1.bin` to `test_batch.bin`, or its parent; or an `.npz` file with `train_images` (n, 32, 32, 3),
            `train_labels`, `test_images` and `test_labels`, all bytes. By default the path in the environment variable
            CYCLR_DATA.
        tuning: Hold out the last 5,000 training images as `val_loader`, for tuning rates; there is then no test data.
        network: "full"; "sigmoid": sigmoids and batch normalisation, no weight decay; "resnet": ResNet-20; "resnet56".
        optimizer: "sgd", "nesterov", "adam", "rmsprop", "adagrad" or "adadelta", otherwise with torch's defaults;
            or "caffe-sgd", "caffe-nesterov": with the rate inside the velocity, which differs when the rate changes.
        pictures: Number of training images to use, from the start of the files; by default all.
        augment: Shift and mirror the training images randomly; by default for residual networks only.
        precision: "float32" or "bfloat16", which makes convolutions faster on hardware that supports it.
        device: The device of the network and of all images.
        compiled: Compile a residual network with `torch.compile`, on a GPU into CUDA graphs; the first steps are slow.
            Not for Caffe's networks: compiled by torch 2.13 on a CPU, "full" had gradients that were off by a third.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If the data is missing; the message says what is needed.
        ValueError: If an argument or a file has an invalid value.

    Source:
        Krizhevsky (2009), Learning multiple layers of features from tiny images. Caffe's networks and their solver:
        https://github.com/BVLC/caffe/tree/master/examples/cifar10. He et al. (2015), Deep residual learning for image
        recognition, https://arxiv.org/abs/1512.03385, section 4.2.
    """
    seed = _check.count("seed", seed, "pass an int such as 0", least=0)
    recipe = NETWORKS[_check.choice("network", network, NETWORKS)]
    make_optimizer = OPTIMIZERS[_check.choice("optimizer", optimizer, OPTIMIZERS)]
    dtype = PRECISIONS[_check.choice("precision", precision, PRECISIONS)]
    if compiled and recipe.network in (Full, SigmoidBatchNorm):
        advice = "leave it out: torch.compile gives Caffe's networks wrong gradients"
        raise ValueError(_check.problem("compiled must be False for this network", compiled, advice))
    arrays = _arrays(_cifar_files.locate(data))
    total = len(arrays["train_labels"])
    used = total if pictures is None else _check.count("pictures", pictures)
    if used > total:
        raise ValueError(_check.problem(f"pictures must not exceed the {total} images of the data", pictures))
    held_out = min(HELD_OUT, used // 10) if tuning else 0

    train = _part(arrays, "train", slice(0, used - held_out), device)
    mean = torch.tensor(train.images.cpu().numpy().mean(axis=0, dtype=np.float64), dtype=torch.float32, device=device)
    held = _part(arrays, "train", slice(used - held_out, used), device) if tuning else None
    test = None if tuning else _part(arrays, "test", slice(None), device)
    with seeded(seed):
        model = recipe.network(precision=dtype).to(device)
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    if compiled:
        model.compile(mode="reduce-overhead" if torch.device(device).type == "cuda" else "default", dynamic=False)
    moved = recipe.shuffled if augment is None else augment
    source = torch.Generator().manual_seed(seed)
    return Task(
        model=model,
        optimizer=make_optimizer(groups(model, recipe), lr=recipe.base_lr),
        loss_fn=nn.functional.cross_entropy,
        train_loader=Drawn(train, mean, recipe.batch, source, shuffled=recipe.shuffled, augment=moved)
        if recipe.shuffled or moved
        else InOrder(train, mean, recipe.batch),
        val_loader=None if held is None else InOrder(held, mean, JUDGED_AT_ONCE),
        test_loader=None if test is None else InOrder(test, mean, JUDGED_AT_ONCE),
        metrics={"accuracy": accuracy},
    )


resnet = partial(cifar10, network="resnet")
"""`cifar10` with a residual network, under a name for the command line."""


def groups(model: Full | SigmoidBatchNorm | ResNet, recipe: Recipe) -> list[dict[str, Any]]:
    """The parameters grouped by their factors of rate and weight decay, for an optimizer."""
    found: dict[tuple[float, float], list[Tensor]] = {}
    factors = model.multipliers()
    for name, parameter in model.named_parameters():
        found.setdefault(factors[name], []).append(parameter)
    return [
        {"params": params, "lr": recipe.base_lr * rate, "weight_decay": recipe.weight_decay * decay, "lr_mult": rate}
        for (rate, decay), params in found.items()
    ]


def _part(arrays: dict[str, np.ndarray], half: str, chosen: slice, device: str) -> Images:
    images, labels = (torch.from_numpy(arrays[f"{half}_{what}"][chosen]) for what in ("images", "labels"))
    return Images(images.to(device), labels.to(device, torch.int64))


# Read once per process: a study makes the task anew for each run. These arrays are never modified.
@lru_cache(maxsize=1)
def _arrays(path: Path) -> dict[str, np.ndarray]:
    return _cifar_files.read(path)
