"""Schedules and torch: the numbers of its schedulers where they are right, its tensors, its compiler."""

import numpy as np
import pytest
import torch

import cyclr
from tests.schedules.many import assert_near
from tests.schedules.strategies import EXAMPLES

BASE, MAX, GAMMA = 0.001, 0.006, 0.99994
STEPS = range(10_000)


def lrs_of_torch(make, steps=10_000, lr=BASE):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)
    scheduler = make(optimizer)
    lrs = []
    for _ in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return lrs


@pytest.mark.parametrize(
    ("mode", "kind", "extra"),
    [
        ("triangular", cyclr.Triangular, {}),
        ("triangular2", cyclr.Triangular2, {}),
        ("exp_range", cyclr.ExpRange, {"gamma": GAMMA}),
    ],
)
@pytest.mark.parametrize(("up", "down"), [(2000, None), (7, None), (30, 50)])
def test_waves_equal_torchs_cyclic_lr(mode, kind, extra, up, down):
    wave = kind(BASE, MAX, step_size=up, step_size_down=down, **extra)
    steps = min(len(STEPS), 1000 * wave.period)  # torch overflows in cycle 1,025
    expected = lrs_of_torch(
        lambda optimizer: torch.optim.lr_scheduler.CyclicLR(
            optimizer, BASE, MAX, step_size_up=up, step_size_down=down, mode=mode, **extra
        ),
        steps,
    )
    assert_near([wave(t) for t in range(steps)], expected, rel=1e-12)


@pytest.mark.parametrize(("period", "growth", "low"), [(10, 1, 0.0), (700, 2, 1e-5), (3, 3, 0.0), (1, 2, 1e-3)])
def test_warm_restarts_equal_torchs(period, growth, low):
    schedule = cyclr.WarmRestarts(low, MAX, period=period, growth=growth)
    expected = lrs_of_torch(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, period, growth, low), lr=MAX
    )
    assert_near([schedule(t) for t in STEPS], expected, rel=1e-12)


def test_the_pieces_agree_with_torchs_schedulers():
    schedulers = torch.optim.lr_scheduler
    pairs = [
        (cyclr.Linear(0.1, 0.02, steps=500), lambda o: schedulers.LinearLR(o, 1.0, 0.2, 500)),
        (cyclr.Power(0.1, 0, steps=500, power=2), lambda o: schedulers.PolynomialLR(o, 500, 2.0)),
        (cyclr.Cosine(0.1, 0.01, steps=500), lambda o: schedulers.CosineAnnealingLR(o, 500, 0.01)),
    ]
    for piece, make in pairs:
        expected = lrs_of_torch(make, steps=500, lr=0.1)
        # torch multiplies step by step, so its roundings add up
        assert [piece(t) for t in range(500)] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_torch_tensors_give_the_same_values(schedule):
    several = np.arange(10_000)
    expected = schedule(several)
    whole = schedule(torch.from_numpy(several))
    assert whole.dtype == torch.float32
    assert_near(whole.numpy(), expected, rel=1e-5, least=1e-8)
    exact = schedule(torch.from_numpy(several).double())
    assert exact.dtype == torch.float64
    assert_near(exact.numpy(), expected, rel=1e-11, least=1e-15)
    assert schedule(torch.tensor(7)).shape == ()


@pytest.mark.slow
def test_torch_compiles_every_schedule_into_one_graph():
    several = torch.arange(100)
    compiled = torch.compile(lambda step: [one(step) for one in EXAMPLES], fullgraph=True, backend="eager")
    for schedule, values in zip(EXAMPLES, compiled(several), strict=True):
        assert torch.equal(values, schedule(several)), schedule


@pytest.mark.parametrize("size", [1, 1024, 4096])
def test_float32_steps_beyond_2_to_the_24_are_exact_at_the_turning_points(size):
    wave = cyclr.Triangular(0.1, 0.7, step_size=size)
    start = 2**31 // wave.period * wave.period  # each of these steps is a float32
    for array in (np.float32([start, start + 4096 * size]), torch.tensor([start, start + 4096.0 * size])):
        assert float(array[1]) - float(array[0]) == 4096 * size
        assert wave(array).tolist() == [np.float32(0.1)] * 2
    if size > 1000:
        assert wave(np.float32([start + size])).tolist() == [np.float32(0.7)]
        assert wave(torch.tensor([float(start + size)])).tolist() == [np.float32(0.7)]


def test_integer_steps_beyond_2_to_the_24_are_exact_in_float32_results():
    wave = cyclr.Triangular(0.1, 0.7, step_size=3)
    start = (2**53 - 1) // 6 * 6
    values = wave(torch.tensor([start - 3, start, start - 6]))
    assert values.dtype == torch.float32
    assert values.tolist() == [np.float32(0.7), np.float32(0.1), np.float32(0.1)]
