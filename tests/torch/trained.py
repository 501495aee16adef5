"""A task for `train`; run as a program it trains in a process of its own, slowly enough to be killed if asked."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from cyclr import Triangular
from cyclr.torch import Checkpoint, Task, train
from tests.torch.networks import Net, data

WAVE = Triangular(0.001, 0.02, step_size=5)
LOADERS = ("own generator", "global randomness", "augmented")


class Augmented(Dataset[Any]):
    """Adds noise from generators of its own and from the global ones."""

    def __init__(self) -> None:
        self.plain, self.random = data(80), np.random.default_rng(3)

    def __len__(self) -> int:
        return 80

    def __getitem__(self, index: int) -> Any:
        x, y = self.plain[index]
        return x + 0.01 * self.random.standard_normal() + 0.01 * torch.randn(4), y


def task(seed: int, kind: str = "own generator") -> Task:
    """With BatchNorm and Dropout, two groups, held-out data that draws from the global randomness."""
    torch.manual_seed(seed)
    model = Net()
    model.register_buffer("mask", torch.ones(6))  # an expanded one can be saved, but torch cannot load it
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [{"params": parameters[:3]}, {"params": parameters[3:], "lr": 0.02}]
    generator = torch.Generator().manual_seed(seed) if kind == "own generator" else None
    examples = Augmented() if kind == "augmented" else data(80)
    return Task(
        model,
        torch.optim.SGD(groups, lr=0.05, momentum=0.9),
        nn.functional.cross_entropy,
        DataLoader(examples, batch_size=8, shuffle=True, generator=generator),
        val_loader=DataLoader(data(30), batch_size=8),
        metrics={"accuracy": lambda outputs, targets: (outputs.argmax(1) == targets).float().mean()},
        test_loader=DataLoader(data(20), batch_size=8, shuffle=True),
    )


def main(folder: Path, *, slowly: bool) -> None:
    """Train, or go on, with a loader of every kind. Slowly: begin all of them, then wait to be killed."""
    for kind in LOADERS:
        made = task(0, kind)

        def progress(step: int, *_: Any) -> None:
            if slowly and step == 20:
                raise InterruptedError

        options = {"checkpoint": Checkpoint(folder / kind, every=7), "progress": progress}
        try:
            points = train(made, WAVE, steps=37, eval_every=8, **options)
        except InterruptedError:
            continue
        end = [tensor.tolist() for tensor in made.model.state_dict().values()]
        torch.save((points, end), folder / f"{kind}.pt")
    if slowly:
        print("all have begun", flush=True)  # noqa: T201
        time.sleep(600)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), slowly="slowly" in sys.argv)
