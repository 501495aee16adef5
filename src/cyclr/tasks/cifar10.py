"""CIFAR-10 with the network on which cyclical rates were first shown: Caffe's `cifar10_full`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from ._classify import accuracy
from ._seeds import seeded

BATCH = 100
BASE_LR = 0.001
WEIGHT_DECAY = 0.004
HELD_OUT = 5_000
JUDGED_AT_ONCE = 500

NETWORKS: dict[str, Callable[..., Full | SigmoidBatchNorm]] = {"full": Full, "sigmoid": SigmoidBatchNorm}
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": partial(SGD, momentum=0.9),
    "nesterov": partial(SGD, momentum=0.9, nesterov=True),
    "adam": Adam,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
}
"""All add weight decay to the gradient, as Caffe's do."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def cifar10(
    seed: int,
    *,
    data: str | Path | None = None,
    tuning: bool = False,
    network: str = "full",
    optimizer: str = "sgd",
    pictures: int | None = None,
    precision: str = "float32",
    device: str = "cpu",
) -> Task:
    """CIFAR-10 as Caffe's example trains it: no augmentation, pixels from 0 to 255 less their mean, batches of 100.

    SGD with momentum 0.9 and weight decay 0.004, 500 steps an epoch. The order of the pictures is that of the files,
    the same in each epoch and for each seed. Parameters have rates and decays of their own: biases learn twice as fast
    as weights, the classifier decays 250 times as much. Each group of the optimizer keeps the factor of its rate as
    `lr_mult`. Rates in the paper are those of the weights, `lr_mult` 1; a rate for the task as a whole, as in
    `cyclr.torch.train(task, schedule)`, is that of the fastest group, so the paper's rate times two.

    Args:
        seed: Decides the weights.
        data: The folder with `data_batch_1.bin` to `test_batch.bin` (or its parent), or an `.npz` file with
            `train_images` (n, 32, 32, 3), `train_labels`, `test_images` and `test_labels`, all bytes; by default
            what the environment variable CYCLR_DATA names.
        tuning: Hold out the last 5,000 training pictures as `val_loader`, for choosing rates; no test data then.
        network: "full", or "sigmoid": sigmoids and batch normalisation, no weight decay.
        optimizer: "sgd", "nesterov", "adam", "rmsprop", "adagrad" or "adadelta", else with torch's defaults.
        pictures: Train on so many of the first pictures only.
        precision: "float32", or "bfloat16", in which convolutions are faster on machines that have it.
        device: Where the network and all the pictures are.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If the data is not there; the message says what is wanted.
        ValueError: If an argument or a file has a wrong value.

    Source:
        Krizhevsky (2009), Learning multiple layers of features from tiny images. The network and its solver:
        https://github.com/BVLC/caffe/tree/master/examples/cifar10
    """
    seed = _check.count("seed", seed, "pass an int such as 0", least=0)
    make_network = NETWORKS[_check.choice("network", network, NETWORKS)]
    make_optimizer = OPTIMIZERS[_check.choice("optimizer", optimizer, OPTIMIZERS)]
    dtype = PRECISIONS[_check.choice("precision", precision, PRECISIONS)]
    arrays = _arrays(_cifar_files.locate(data))
    total = len(arrays["train_labels"])
    used = total if pictures is None else _check.count("pictures", pictures)
    if used > total:
        raise ValueError(_check.problem(f"pictures must not exceed the {total} of the data", pictures))
    held_out = min(HELD_OUT, used // 10) if tuning else 0

    train = _part(arrays, "train", slice(0, used - held_out), device)
    mean = torch.tensor(train.pictures.cpu().numpy().mean(axis=0, dtype=np.float64), dtype=torch.float32, device=device)
    held = _part(arrays, "train", slice(used - held_out, used), device) if tuning else None
    test = None if tuning else _part(arrays, "test", slice(None), device)
    with seeded(seed):
        model = make_network(precision=dtype).to(device)
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    return Task(
        model=model,
        optimizer=make_optimizer(groups(model), lr=BASE_LR),
        loss_fn=nn.functional.cross_entropy,
        train_loader=InOrder(train, mean, BATCH),
        val_loader=None if held is None else InOrder(held, mean, JUDGED_AT_ONCE),
        test_loader=None if test is None else InOrder(test, mean, JUDGED_AT_ONCE),
        metrics={"accuracy": accuracy},
    )


def groups(model: Full | SigmoidBatchNorm) -> list[dict[str, Any]]:
    """The parameters by their factors of rate and decay, as an optimizer takes them."""
    found: dict[tuple[float, float], list[Tensor]] = {}
    factors = model.multipliers()
    for name, parameter in model.named_parameters():
        found.setdefault(factors[name], []).append(parameter)
    return [
        {"params": params, "lr": BASE_LR * rate, "weight_decay": WEIGHT_DECAY * decay, "lr_mult": rate}
        for (rate, decay), params in found.items()
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Pictures:
    pictures: Tensor  # bytes, (n, 32, 32, 3)
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class InOrder:
    """A loader: batches in the order of the file, less the mean, in the layout that convolutions are fastest on."""

    dataset: _Pictures
    mean: Tensor
    batch: int

    def __len__(self) -> int:
        """Batches in a pass."""
        return -(-len(self.dataset) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass."""
        for start in range(0, len(self.dataset), self.batch):
            chosen = slice(start, start + self.batch)
            # the view has its channels last in memory already
            yield (self.dataset.pictures[chosen] - self.mean).permute(0, 3, 1, 2), self.dataset.labels[chosen]


def _part(arrays: dict[str, np.ndarray], half: str, chosen: slice, device: str) -> _Pictures:
    pictures, labels = (torch.from_numpy(arrays[f"{half}_{what}"][chosen]) for what in ("images", "labels"))
    return _Pictures(pictures.to(device), labels.to(device, torch.int64))


# Read once in a process: a study makes the task anew for each run. Nothing writes into these arrays.
@lru_cache(maxsize=1)
def _arrays(path: Path) -> dict[str, np.ndarray]:
    return _cifar_files.read(path)
