"""The number sequences that torch and Ignite test their own schedulers with, with our schedules in their place."""

import math

import pytest
import torch

import cyclr
import cyclr.torch
from cyclr import Cosine, ExpRange, Linear, Opposed, Triangular, Triangular2, WarmRestarts

RISE_AND_FALL = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0, 0.25, 0.5]


def driven(schedule, momentum, steps):
    """The rates and momenta that an optimizer sees."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5, momentum=0.5)
    scheduler = cyclr.torch.Scheduler(optimizer, schedule, momentum)
    seen = []
    for _ in range(steps):
        seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        scheduler.step()
    return [list(values) for values in zip(*seen, strict=True)]


# torch's tests let momentum run from 1 to 5, which Scheduler refuses: no training survives that. A tenth is as good.
@pytest.mark.parametrize(
    ("schedule", "rates", "momenta"),
    [
        (
            Triangular(1, 5, step_size=4),
            [1, 2, 3, 4, 5, 4, 3, 2, 1, 2, 3],
            [0.5, 0.4, 0.3, 0.2, 0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3],
        ),
        (
            Triangular(1, 5, step_size=4, step_size_down=6),
            [1, 2, 3, 4, 5, 13 / 3, 11 / 3, 3, 7 / 3, 5 / 3, 1],
            [0.5, 0.4, 0.3, 0.2, 0.1, 1 / 6, 0.7 / 3, 0.3, 1.1 / 3, 1.3 / 3, 0.5],
        ),
        (
            Triangular2(1, 5, step_size=4),
            [1, 2, 3, 4, 5, 4, 3, 2, 1, 1.5, 2, 2.5, 3, 2.5, 2, 1.5, 1, 1.25, 1.5, 1.75, 2, 1.75],
            [0.5 - 0.1 * (rise / 2**cycle) for cycle in range(3) for rise in (0, 1, 2, 3, 4, 3, 2, 1)][:22],
        ),
        (
            ExpRange(1, 5, step_size=4, gamma=0.9),
            [1 + 4 * height * 0.9**step for step, height in enumerate(RISE_AND_FALL)],
            [0.5 - 0.4 * height * 0.9**step for step, height in enumerate(RISE_AND_FALL)],
        ),
    ],
)
def test_numbers_of_torchs_cyclic_lr(schedule, rates, momenta):
    lr, momentum = driven(schedule, Opposed(schedule, 0.1, 0.5), len(rates))
    assert lr == pytest.approx(rates, rel=1e-12)
    assert momentum == pytest.approx(momenta, rel=1e-12)


def test_numbers_of_torchs_cyclic_lr_for_two_groups():
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(2)], lr=0.5)
    waves = [Triangular(1, 5, step_size=4), Triangular(2, 3, step_size=4)]
    scheduler = cyclr.torch.Scheduler(optimizer, waves)
    seen = []
    for _ in range(6):
        seen.append(scheduler.get_last_lr())
        optimizer.step()
        scheduler.step()
    assert seen == [[1, 2], [2, 2.25], [3, 2.5], [4, 2.75], [5, 3], [4, 2.75]]


def annealed(start, end, share):
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


@pytest.mark.parametrize(
    ("schedule", "momentum", "rates", "momenta"),
    [
        (
            Linear(1, 25, steps=2) >> Linear(25, 0.5, steps=7),
            Linear(0.88, 0.04, steps=2) >> Linear(0.04, 0.88, steps=7),
            [1, 13, 25, 21.5, 18, 14.5, 11, 7.5, 4, 0.5],
            [0.88, 0.46, 0.04, 0.16, 0.28, 0.4, 0.52, 0.64, 0.76, 0.88],
        ),
        (
            Linear(1, 25, steps=3) >> Linear(25, 1, steps=3) >> Linear(1, 0.25, steps=3),
            Linear(0.88, 0.04, steps=3) >> Linear(0.04, 0.88, steps=3) >> cyclr.Constant(0.88),
            [1, 9, 17, 25, 17, 9, 1, 0.75, 0.5, 0.25],
            [0.88, 0.6, 0.32, 0.04, 0.32, 0.6, 0.88, 0.88, 0.88, 0.88],
        ),
        (
            Cosine(1, 25, steps=2) >> Cosine(25, 0.5, steps=7),
            Cosine(0.88, 0.04, steps=2) >> Cosine(0.04, 0.88, steps=7),
            [1, 13, *(annealed(25, 0.5, step / 7) for step in range(8))],
            [0.88, 0.46, *(annealed(0.04, 0.88, step / 7) for step in range(8))],
        ),
    ],
)
def test_numbers_of_torchs_one_cycle_lr(schedule, momentum, rates, momenta):
    lr, driven_momentum = driven(schedule, momentum, 10)
    assert lr == pytest.approx(rates, rel=1e-12)
    assert driven_momentum == pytest.approx(momenta, rel=1e-12)


def test_the_recipe_is_torchs_one_cycle_lr_but_for_the_step_of_the_peak():
    """Torch puts the peak at step 0.3 * total - 1 and the end at total - 1; the recipe at 0.3 * total and total."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.5, total_steps=101, pct_start=31 / 101, final_div_factor=10, cycle_momentum=False
    )
    ours = cyclr.one_cycle(0.5, steps=100, rise=0.3, end_lr=0.002)
    for step in range(100):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(ours(step), rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("growth", [1, 2, 4])
def test_numbers_of_torchs_warm_restarts(growth):
    schedule = WarmRestarts(1e-10, 0.05, period=10, growth=growth)
    now, length, rates = 0, 10, []
    for _ in range(100):
        rates.append(1e-10 + (0.05 - 1e-10) * (1 + math.cos(math.pi * now / length)) / 2)
        now += 1
        if now == length:
            now, length = 0, length * growth
    assert driven(schedule, None, 100)[0] == pytest.approx(rates, rel=1e-12)


def test_numbers_of_ignites_linear_cycle():
    saw = (Linear(1, 0, steps=5) >> Linear(0, 1, steps=5)).repeat()
    expected = [1, 0.8, 0.6, 0.4, 0.2, 0, 0.2, 0.4, 0.6, 0.8] * 2
    assert driven(saw, None, 20)[0] == pytest.approx(expected, abs=1e-15)


def test_numbers_of_ignites_cosine_annealing():
    expected = [0.0, 0.02447174, 0.0954915, 0.20610737, 0.3454915, 0.5, 0.6545085, 0.79389263, 0.9045085, 0.97552826]
    assert driven(Cosine(0, 1, steps=10).repeat(), None, 20)[0] == pytest.approx(expected * 2, abs=1e-8)
