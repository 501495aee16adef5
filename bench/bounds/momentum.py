"""Short range tests of SGD with momentum: where its best peaks lie beside the rates at which sweeps lose their gain.

    python bench/bounds/momentum.py run --data PATH    # all that is missing, two hours of one core; PATH: finetune.py
    python bench/bounds/momentum.py table              # the table of docs/bounds.md

The networks of plain_sgd.py with a momentum of 0.9, and two for images, ResNet-20 and DenseNet-13, trained from scratch on
a part of CIFAR-100.

Appends to records/momentum.csv, with the columns of plain_sgd.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import finetune
import plain_sgd
import tasks
import torch
from problem import Batches, Problem, accuracy, sgd
from torch import nn
from torch.nn import functional as F

from cyclr.tasks._densenet import DenseNet
from cyclr.tasks._resnet import ResNet

FILE = Path(__file__).parent / "records" / "momentum.csv"
POWERS = range(1, 13)


def with_momentum(make: Callable[[int], Problem], seed: int) -> Problem:
    problem = make(seed)
    for group in problem.optimizer.param_groups:
        group["momentum"] = 0.9
    return problem


def images(make: Callable[[], nn.Module], seed: int) -> Problem:
    """A network from scratch on real images."""
    x, y, vx, vy = finetune.images()
    model = make()
    made = sgd(model.parameters(), weight_decay=1e-4)
    return Problem(model, made, F.cross_entropy, Batches(x, y, 32, seed), (vx, vy), accuracy, True)


SMALL: dict[str, Callable[[int], Problem]] = {
    name.replace("-sgd", "-momentum"): partial(with_momentum, make) for name, make in plain_sgd.TASKS.items()
}
LARGE: dict[str, Callable[[int], Problem]] = {
    "resnet20-momentum": partial(images, partial(ResNet, depth=20, classes=20, precision=torch.bfloat16)),
    "densenet13-momentum": partial(images, partial(DenseNet, depth=13, classes=20, precision=torch.bfloat16)),
}
TASKS = SMALL | LARGE


def make(name: str, seed: int) -> Problem:
    torch.manual_seed(seed)
    problem = TASKS[name](seed)
    problem.model.train()
    return problem


def run() -> None:
    plain_sgd.record(FILE, make, LARGE, (60, 200), POWERS)
    plain_sgd.record(FILE, make, SMALL, (60, 200, 400, 1000), POWERS)
    plain_sgd.record(FILE, make, LARGE, (1000,), POWERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", type=Path, help="folder of pre-trained weights and data: see finetune.py")
    given = parser.parse_args()
    finetune.DATA = given.data
    torch.set_num_threads(1)
    run()


if __name__ == "__main__":
    main()
