"""Handwritten digits of 8x8 pixels, from scikit-learn: the fastest task."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from cyclr.torch import Task

from ._classify import Examples, classification


def digits(seed: int, *, tuning: bool = False) -> Task:
    """1,400 training and 397 test images, a network with one hidden layer, SGD with momentum 0.9.

    Batches of 50, so 28 steps per epoch. The first 1,400 images of the file are for training.

    Args:
        seed: Random seed for the weights and the order of the batches.
        tuning: Hold out the last 300 training images as `val_loader`, for tuning rates; there is then no test data.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If the seed is not an integer.
        ValueError: If the seed is negative.
        ModuleNotFoundError: If scikit-learn is not installed.

    Source:
        Alpaydin and Kaynak (1998), Optical recognition of handwritten digits. https://doi.org/10.24432/C50P49
    """
    return classification(*_examples(), _network, _sgd, seed=seed, batch=50, held_out=300 if tuning else 0)


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def _sgd(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), lr=0.01, momentum=0.9)


@lru_cache(maxsize=1)
def _examples() -> tuple[Examples, Examples]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the task digits needs scikit-learn; install it with: pip install 'cyclr[digits]'", name="sklearn"
        ) from None
    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32) / 16  # pixels range from 0 to 16
    return Examples(inputs, torch.tensor(labels)).cut(1_400)
