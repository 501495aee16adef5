"""Shared by the tasks on CIFAR-10 and CIFAR-100: networks with their published settings, and a task made of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from torch.optim import SGD, Adadelta, Adagrad, Adam, Optimizer, RMSprop

from cyclr import _check
from cyclr._renamed import Move
from cyclr.torch import Task

from . import _cifar_files
from ._caffe import Full, SigmoidBatchNorm
from ._caffe_sgd import CaffeSGD
from ._classify import accuracy
from ._densenet import DenseNet
from ._groups import groups
from ._images import Drawn, Images, InOrder
from ._precision import PRECISIONS
from ._resnet import ResNet
from ._seeds import seeded

HELD_OUT = 5_000
FEWEST = 10  # images of which one can be held out
JUDGED_AT_ONCE = 500
Network = Full | SigmoidBatchNorm | ResNet | DenseNet


@dataclass(frozen=True, slots=True)
class Recipe:
    """A network and its published training settings; the optimizer is used if none is chosen."""

    network: Callable[..., Network]
    batch: int
    base_lr: float
    weight_decay: float
    shuffled: bool  # and augmented by default
    optimizer: str = "sgd"


CAFFE = {
    "full": Recipe(Full, 100, 0.001, 0.004, shuffled=False),
    "sigmoid": Recipe(SigmoidBatchNorm, 100, 0.001, 0.004, shuffled=False),
}
RESIDUAL = {
    "resnet": Recipe(ResNet, 128, 0.1, 1e-4, shuffled=True),
    "resnet56": Recipe(partial(ResNet, depth=56), 128, 0.1, 1e-4, shuffled=True),
    "resnet110": Recipe(partial(ResNet, depth=110), 128, 0.1, 1e-4, shuffled=True),
    "stochastic-depth": Recipe(partial(ResNet, depth=110, survival=0.5), 128, 0.1, 1e-4, True, "nesterov"),
    "densenet": Recipe(DenseNet, 64, 0.1, 1e-4, True, "nesterov"),
    "densenet-small": Recipe(partial(DenseNet, depth=13), 64, 0.1, 1e-4, True, "nesterov"),
}
"""The networks of the paper's Table 4, and small ones of the same kinds."""


def _same(pictures: int | None) -> int | None:
    return pictures


RENAMED: Move = ("images", _same, {"pictures": "pictures"})  # the name in version 0.1
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The arguments that the tasks have in common."""

    data: str | Path | None
    tuning: bool
    network: str
    optimizer: str | None
    batch: int | None = None
    images: int | None
    augment: bool | None
    precision: str
    device: str
    compiled: bool


def assemble(
    seed: int, chosen: Choices, recipes: Mapping[str, Recipe], layout: _cifar_files.Layout, labels: str
) -> Task:
    """The task of a seed, from the arguments of its function and from the files in a layout."""
    seed = _check.count("seed", seed, "pass an int such as 0", least=0)
    recipe = recipes[_check.choice("network", chosen.network, recipes)]
    optimizer = recipe.optimizer if chosen.optimizer is None else chosen.optimizer
    make_optimizer = OPTIMIZERS[_check.choice("optimizer", optimizer, OPTIMIZERS)]
    dtype = PRECISIONS[_check.choice("precision", chosen.precision, PRECISIONS)]
    batch = recipe.batch if chosen.batch is None else _check.count("batch", chosen.batch)
    if chosen.compiled and recipe.network in (Full, SigmoidBatchNorm):
        advice = "leave it out: torch.compile gives Caffe's networks wrong gradients"
        raise ValueError(_check.problem("compiled must be False for this network", chosen.compiled, advice))
    train, held, test = parts(
        chosen.data, layout, labels, images=chosen.images, tuning=chosen.tuning, device=chosen.device
    )
    mean = torch.tensor(train.images.cpu().numpy().mean(axis=0, dtype=np.float64), dtype=torch.float32)
    mean = mean.to(chosen.device)
    with seeded(seed):
        if recipe in CAFFE.values():
            model = recipe.network(precision=dtype).to(chosen.device)
        else:
            model = recipe.network(precision=dtype, classes=layout.labels[labels]).to(chosen.device)
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    if chosen.compiled:
        on_gpu = torch.device(chosen.device).type == "cuda"
        model.compile(mode="reduce-overhead" if on_gpu else "default", dynamic=False)
    moved = recipe.shuffled if chosen.augment is None else chosen.augment
    source = torch.Generator().manual_seed(seed)
    own = groups(model, model.multipliers(), recipe.base_lr, recipe.weight_decay)
    return Task(
        model=model,
        optimizer=make_optimizer(own, lr=recipe.base_lr),
        loss_fn=nn.functional.cross_entropy,
        train_loader=Drawn(train, mean, batch, source, shuffled=recipe.shuffled, augment=moved)
        if recipe.shuffled or moved
        else InOrder(train, mean, batch),
        val_loader=None if held is None else InOrder(held, mean, JUDGED_AT_ONCE),
        test_loader=None if test is None else InOrder(test, mean, JUDGED_AT_ONCE),
        metrics={"accuracy": accuracy},
    )


def parts(
    data: str | Path | None,
    layout: _cifar_files.Layout,
    labels: str,
    *,
    images: int | None,
    tuning: bool,
    device: str,
) -> tuple[Images, Images | None, Images | None]:
    """The images to train on; those held out, when tuning; those to test on, otherwise."""
    arrays = _arrays(_cifar_files.locate(data, layout), layout, labels)
    total = len(arrays["train_labels"])
    used = total if images is None else _check.count("images", images)
    if used > total:
        raise ValueError(_check.problem(f"images must not exceed the {total} of the data", images))
    if tuning and used < FEWEST:
        raise ValueError(_check.problem(f"images must be at least {FEWEST} if tuning is True", used, "use more"))
    held_out = min(HELD_OUT, used // 10) if tuning else 0
    return (
        _part(arrays, "train", slice(0, used - held_out), device),
        _part(arrays, "train", slice(used - held_out, used), device) if tuning else None,
        None if tuning else _part(arrays, "test", slice(None), device),
    )


def _part(arrays: dict[str, np.ndarray], half: str, chosen: slice, device: str) -> Images:
    images, labels = (torch.from_numpy(arrays[f"{half}_{what}"][chosen]) for what in ("images", "labels"))
    return Images(images.to(device), labels.to(device, torch.int64))


# Read once per process: a study makes the task anew for each run. These arrays are never modified.
@lru_cache(maxsize=1)
def _arrays(path: Path, layout: _cifar_files.Layout, labels: str) -> dict[str, np.ndarray]:
    return _cifar_files.read(path, layout, labels)
