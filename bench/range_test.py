"""Overhead of a range test compared with a bare loop that makes the same updates.

    python bench/range_test.py          # a minute on one core

CPU time of both, alternating, with updates of about 1 ms and ramps of 100 and 300 steps. Goal: a ratio of 1.03.

Last result, torch 2.13 on one core of two: 1.02 to 1.03 for 300 steps (the default), 1.04 for 100. A step takes 20
microseconds longer than a bare one; the call itself takes 2 ms, half of it for the transaction.
"""

from __future__ import annotations

import statistics
from time import process_time

import torch
from torch import nn

from cyclr.torch import range_test

TURNS = 15


def training() -> tuple[nn.Module, torch.optim.Optimizer, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A network whose update takes about 1 ms on one core."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
    batches = [(torch.randn(128, 256), torch.randint(10, (128,))) for _ in range(20)]
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), batches


def bare(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list, steps: int) -> None:
    """The updates alone."""
    for step in range(steps):
        x, y = batches[step % len(batches)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def seconds(function, *arguments, **options) -> float:
    start = process_time()
    function(*arguments, **options)
    return process_time() - start


def main() -> None:
    """Print the ratio of each length."""
    torch.set_num_threads(1)
    for steps in (100, 300):
        alone, tested = [], []
        for _ in range(TURNS):
            alone.append(seconds(bare, *training(), steps))
            # A ramp with such low rates that the sweep is not stopped.
            ramp = {"low": 1e-6, "high": 1e-3, "steps": steps}
            tested.append(seconds(range_test, *training(), nn.functional.cross_entropy, **ramp))
        ratios = [one / other for one, other in zip(tested, alone, strict=True)]
        step = 1e3 * statistics.median(alone) / steps
        print(
            f"{steps} steps of {step:.2f} ms: range_test / bare loop {statistics.median(ratios):.3f}"
            f" (of the fastest {min(tested) / min(alone):.3f})"
        )


if __name__ == "__main__":
    main()
