"""Fashion-MNIST, ten classes of clothing: `small` at 14x14 is part of the package, `full` is read from a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from cyclr import _check
from cyclr.torch import Task

from . import _idx
from ._classify import Examples, classification
from ._resnet import ResNet

DEBIAN = "/usr/share/datasets/fashion-mnist"
"""The folder in which Debian's package `dataset-fashion-mnist` installs the four files."""


def small(seed: int, *, tuning: bool = False, network: str = "mlp") -> Task:
    """6,000 training and 2,000 test images of 14x14, a small network, SGD with momentum 0.9.

    Batches of 50, so 120 steps per epoch; 10 epochs of "mlp" take less than half a second on one core. The images are
    the first ones of the official files, with each square of 2x2 pixels replaced by its mean.

    Args:
        seed: Random seed for the weights and the order of the batches.
        tuning: Hold out the last 1,000 training images as `val_loader`, for tuning rates; there is then no test data.
        network: "mlp", one hidden layer; or "resnet", a residual network with 8 layers, 8 to 32 channels, batch
            normalisation and 19,074 weights, with weight decay 1e-4.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the seed is negative, or there is no such network.

    >>> task = small(0)
    >>> task.steps_per_epoch, len(task.test_loader.dataset)
    (120, 2000)
    >>> task = small(0, tuning=True)
    >>> task.steps_per_epoch, len(task.val_loader.dataset), task.test_loader
    (100, 1000, None)

    Source:
        Xiao, Rasul and Vollgraf (2017), Fashion-MNIST. https://arxiv.org/abs/1708.07747
    """
    make_network, make_optimizer = SMALL[_check.choice("network", network, SMALL)]
    held_out = 1_000 if tuning else 0
    return classification(*_embedded(), make_network, make_optimizer, seed=seed, batch=50, held_out=held_out)


resnet = partial(small, network="resnet")
"""`small` with a residual network, under a name for the command line."""


def full(seed: int, *, data: str | Path = DEBIAN, tuning: bool = False) -> Task:
    """All 60,000 training and 10,000 test images of 28x28, a convolutional network, SGD with momentum 0.9.

    Batches of 100, so 600 steps per epoch.

    Args:
        seed: Random seed for the weights and the order of the batches.
        data: The folder with the four idx files, plain or gzipped.
        tuning: Hold out the last 10,000 training images as `val_loader`, for tuning rates; there is then no test data.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If the seed is not an integer.
        FileNotFoundError: If a file is missing; the message says where to get it.
        ValueError: If the seed is negative, or a file is damaged or does not contain images of 28x28.

    Source:
        Xiao, Rasul and Vollgraf (2017), Fashion-MNIST. https://arxiv.org/abs/1708.07747
    """
    held_out = 10_000 if tuning else 0
    return classification(*_folder(str(data)), _full_network, _sgd, seed=seed, batch=100, held_out=held_out)


def _small_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(14 * 14, 128), nn.ReLU(), nn.Linear(128, 10))


def _full_network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
    )


def _sgd(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), lr=0.01, momentum=0.9)


SMALL: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Optimizer]]] = {
    "mlp": (_small_network, _sgd),
    "resnet": (
        partial(ResNet, depth=8, width=8, channels=1),
        lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4),
    ),
}


# Read once per process: a study makes the task anew for each run. These tensors are never modified.
@lru_cache(maxsize=1)
def _embedded() -> tuple[Examples, Examples]:
    with (files("cyclr.tasks") / "data/fashion14.npz").open("rb") as file, np.load(file) as arrays:
        return _examples(arrays)


@lru_cache(maxsize=1)
def _folder(folder: str) -> tuple[Examples, Examples]:
    arrays = _idx.read_folder(
        folder, advice="install Debian's package dataset-fashion-mnist, or pass data=FOLDER with the four idx files"
    )
    for part in ("train_images", "test_images"):
        if arrays[part].shape[1:] != (28, 28):
            raise ValueError(_check.problem(f"{part} of {folder} must contain images of 28x28", arrays[part].shape))
    return _examples(arrays)


def _examples(arrays: Mapping[str, np.ndarray]) -> tuple[Examples, Examples]:
    """The images with one channel, standardised by the mean and standard deviation of the training images."""
    train, test = (torch.tensor(arrays[part]).unsqueeze(1).float() for part in ("train_images", "test_images"))
    spread, mean = torch.std_mean(train)
    return (
        Examples(train.sub_(mean).div_(spread), torch.tensor(arrays["train_labels"]).long()),
        Examples(test.sub_(mean).div_(spread), torch.tensor(arrays["test_labels"]).long()),
    )
