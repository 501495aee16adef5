"""What we drive executes few instructions beside what it replaces: counted, never timed, so that no machine matters.

Counted are the bytecode instructions of Python (`frame.f_trace_opcodes`), which are the same in each run. Time would
differ; `make bench` measures it. Each limit is a tenth above what was counted when it was set.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CyclicLR
from torch.utils._python_dispatch import TorchDispatchMode

from cyclr import Cosine, Linear, Opposed, Ramp, Sequential, Triangular, one_cycle
from cyclr.torch import Scheduler, range_test
from tests import forked

BASE, MAX, SIZE = 0.001, 0.006, 2000
WAVE = Triangular(BASE, MAX, step_size=SIZE)


def instructions(function: Callable[..., Any], *arguments: Any) -> int:
    """The bytecode instructions that a call executes, in all functions of Python that it calls."""
    counted = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal counted
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return counted


def triangular(step: int) -> float:
    """The formula of the paper."""
    cycle = math.floor(1 + step / (2 * SIZE))
    x = abs(step / SIZE - 2 * cycle + 1)
    return BASE + (MAX - BASE) * max(0.0, 1 - x)


def cosine(step: int) -> float:
    return MAX * (1 + math.cos(math.pi * min(step, 10_000) / 10_000)) / 2


def cycle(step: int) -> float:
    if step < 3000:
        return MAX / 25 + (MAX - MAX / 25) * (1 - math.cos(math.pi * step / 3000)) / 2
    return MAX * (1 + math.cos(math.pi * min(step - 3000, 7000) / 7000)) / 2


def many(step: int) -> float:
    stage = min(step // 500, 19)
    start = MAX / 2**stage
    return start - start / 2 * min(step - 500 * stage, 500) / 500


PARTS = [Linear(MAX / 2**stage, MAX / 2 ** (stage + 1), steps=500) for stage in range(20)]
FORMULAS = [
    ("Triangular", WAVE, triangular, 2.2),
    ("Cosine", Cosine(MAX, 0, steps=10_000), cosine, 4.0),
    ("one_cycle", one_cycle(MAX, steps=10_000), cycle, 3.6),
    ("20 parts", Sequential(*PARTS), many, 3.2),
]


@pytest.mark.parametrize(("name", "schedule", "by_hand", "limit"), FORMULAS, ids=[one[0] for one in FORMULAS])
def test_a_schedule_beside_the_formula_by_hand(name: str, schedule: Any, by_hand: Any, limit: float) -> None:
    schedule(0)  # compiled once
    ratio = max(instructions(schedule, step) / instructions(by_hand, step) for step in (7, 2999, 3001, 9999))
    assert ratio <= limit


def optimizers(groups: int, layerwise: bool) -> tuple[list[torch.optim.SGD], list[float]]:
    ratios = [0.9**group if layerwise else 1.0 for group in range(groups)]
    given = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.1 * ratio} for ratio in ratios]
    return [torch.optim.SGD([dict(one) for one in given], lr=0.1, momentum=0.9) for _ in range(3)], ratios


def counted(groups: int, layerwise: bool, schedule: Any = WAVE) -> tuple[int, int, int]:
    """Instructions of a step: ours, by hand, torch's CyclicLR."""
    (own, other, third), ratios = optimizers(groups, layerwise)
    scheduler = Scheduler(own, schedule, momentum=Opposed(WAVE, 0.85, 0.95))
    low, high = ([bound * ratio for ratio in ratios] for bound in (BASE, MAX))
    theirs = CyclicLR(third, low, high, SIZE, base_momentum=0.85, max_momentum=0.95)

    def by_hand(step: int) -> None:
        rate = triangular(step)
        momentum = 0.95 - 0.1 * (rate - BASE) / (MAX - BASE)
        for group, ratio in zip(other.param_groups, ratios, strict=True):
            group["lr"] = rate * ratio
            group["momentum"] = momentum

    for optimizer, one in ((own, scheduler), (third, theirs)):
        for _ in range(12):  # the first few are compared with the optimizer's
            optimizer.step()
            one.step()
    return instructions(scheduler.step), instructions(by_hand, 7), instructions(theirs.step)


# Instructions are not equally fast: by time, the distances from torch's scheduler are about 1.5 times as large.
@pytest.mark.parametrize(("groups", "by_hand", "cyclic"), [(1, 2.6, 1.55), (10, 1.95, 3.8), (100, 1.66, 5.5)])
@pytest.mark.parametrize("layerwise", [False, True])
def test_a_step_of_the_scheduler(groups: int, by_hand: float, cyclic: float, layerwise: bool) -> None:
    ours, hand, theirs = counted(groups, layerwise)
    assert ours <= by_hand * hand
    assert theirs >= cyclic * ours


def test_a_planted_slowdown_is_found() -> None:
    class Slow(Scheduler):
        """Evaluates the schedule for each group, as this library did."""

        def step(self, epoch: int | None = None) -> None:
            for schedule in self.schedules["schedule"]:
                schedule(self.last_epoch + 1)
            super().step(epoch)

    (own, *_), _ = optimizers(100, layerwise=False)
    slow = Slow(own, WAVE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        slow.step()
        slow.step()
    assert instructions(slow.step) > 1.3 * counted(100, False)[1]


def test_a_range_test_beside_a_bare_loop() -> None:
    """Its steps are the difference between two lengths; the rest is what it costs once, in bare steps."""
    torch.manual_seed(0)
    model, x, y = torch.nn.Linear(4, 2), torch.randn(8, 4), torch.randint(2, (8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)

    def bare(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    def tested(steps: int) -> None:
        range_test(model, optimizer, [(x, y)], torch.nn.functional.cross_entropy, ramp=Ramp(1e-9, 1e-8, steps))

    for steps in (60, 30):
        tested(steps)
    long, short, step = instructions(tested, 60), instructions(tested, 30), instructions(bare, 30) / 30
    assert (long - short) / 30 <= 1.48 * step
    assert short - (long - short) <= 15.2 * step


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors, for each of which a GPU would be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_reads_no_tensor() -> None:
    parameters = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": torch.tensor(rate)} for rate in (0.1, 0.01)]
    optimizer = torch.optim.Adam(parameters, betas=(torch.tensor(0.9), torch.tensor(0.99)))
    for group in optimizer.param_groups:
        group["weight_decay"] = torch.tensor(0.1)
    scheduler = Scheduler(optimizer, WAVE, Opposed(WAVE, 0.85, 0.95), 0.1 * WAVE)
    optimizer.step()
    with Reads() as reads:
        optimizer.param_groups[0]["lr"].item()
        assert reads.count == 1  # they are seen
        for _ in range(20):
            scheduler.step()
    assert reads.count == 1
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    assert rates == pytest.approx([WAVE(20), 0.1 * WAVE(20)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would be run")
def test_the_script_for_gpus_says_why_it_does_nothing() -> None:
    script = Path(__file__).parents[1] / "bench" / "gpu.py"
    ran = forked.run(script, needs=forked.TORCH)
    assert ran.returncode == 2
    assert ran.stderr == "bench/gpu.py: torch sees no CUDA device here, so nothing was measured\n"
