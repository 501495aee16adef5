"""Recipes only put pieces together; these are the pieces."""

import numpy as np
import pytest

import cyclr
from cyclr import Constant, Cosine, Linear, Sqrt, Triangular


def test_one_cycle_rises_and_falls_to_zero():
    assert cyclr.one_cycle(0.5, steps=100) == Cosine(0.02, 0.5, steps=30) >> Cosine(0.5, 0, steps=70)


def test_one_cycle_with_a_tail_is_the_one_of_its_author():
    schedule = cyclr.one_cycle(1.2, steps=100, base_lr=0.1, rise=0.45, tail=0.1, shape="linear")
    assert schedule == (Linear(0.1, 1.2, steps=45) >> Linear(1.2, 0.1, steps=45) >> Linear(0.1, 0, steps=10))
    assert schedule.cycle_ends() == (90, 100)


def test_a_warm_up_ends_where_the_schedule_begins():
    wave = Triangular(0.1, 0.5, step_size=4)
    assert cyclr.warm_up(wave, steps=10, start=0.01) == Linear(0.01, 0.1, steps=10) >> wave


def test_a_slanted_triangle_rises_for_a_tenth():
    assert cyclr.slanted_triangular(0.32, steps=50) == Linear(0.01, 0.32, steps=5) >> Linear(0.32, 0.01, steps=45)


def test_step_decay_drops_at_its_milestones():
    schedule = cyclr.step_decay(0.1, milestones=[60_000, 65_000])
    values = schedule(np.array([0, 59_999, 60_000, 64_999, 65_000, 10**9]))
    assert values.tolist() == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]


def test_wsd_is_a_trapezoid():
    assert cyclr.wsd(1, steps=100) == Linear(0, 1, steps=5) >> Constant(1).take(75) >> Sqrt(1, 0, steps=20)


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
def test_wsd_ends_at_the_end(shape):
    schedule = cyclr.wsd(1, steps=1000, shape=shape, end_lr=0.1)
    assert schedule.duration == 1000
    assert schedule(1000) == 0.1


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
@pytest.mark.parametrize("start", [1, 5, 40, 10_000])
def test_a_cool_down_changes_nothing_before_and_ends_low(shape, start):
    stable = cyclr.warm_up(Constant(0.1), steps=10)
    schedule = cyclr.cool_down(stable, start=start, steps=30, end_lr=0.001, shape=shape)
    before = np.arange(start + 1)
    assert (schedule(before) == stable(before)).all()
    after = schedule(np.arange(start, start + 31))
    assert (np.diff(after) < 0).all()
    assert schedule.duration == start + 30
    assert after[-1] == 0.001


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cyclr.one_cycle(0, steps=100), "max_lr must be positive"),
        (lambda: cyclr.one_cycle(1, steps=100, base_lr=2), "base_lr must not exceed max_lr"),
        (lambda: cyclr.one_cycle(1, steps=100, end_lr=2), "end_lr must not exceed max_lr"),
        (lambda: cyclr.one_cycle(1, steps=100, rise=1), "steps for each part"),
        (lambda: cyclr.one_cycle(1, steps=1), "steps for each part"),
        (lambda: cyclr.one_cycle(1, steps=100, rise=1.5), "rise must lie between 0 and 1"),
        (lambda: cyclr.one_cycle(1, steps=100, shape="cos"), "did you mean 'cosine'"),
        (lambda: cyclr.one_cycle(1, steps=0), "steps must be a positive integer"),
        (lambda: cyclr.step_decay(0.1, milestones=()), "milestones must be a sequence"),
        (lambda: cyclr.step_decay(0.1, milestones="12"), "milestones must be a sequence"),
        (lambda: cyclr.step_decay(0.1, milestones=(8, 6)), "milestones must increase"),
        (lambda: cyclr.step_decay(0.1, milestones=(0, 6)), "a milestone must be a positive integer"),
        (lambda: cyclr.step_decay(0.1, milestones=(6,), factor=0), "factor must be positive"),
        (lambda: cyclr.wsd(1, steps=100, cool_down=1), "steps for each part"),
        (lambda: cyclr.wsd(1, steps=100, shape="bent"), "shape must be one of"),
        (lambda: cyclr.slanted_triangular(1, steps=100, ratio=0), "ratio must be positive"),
        (lambda: cyclr.cool_down(Constant(0.1), start=0, steps=10), "start must be a positive integer"),
        (lambda: cyclr.cool_down(Constant(0.1), start=5, steps=10, end_lr=1), "end_lr must not exceed"),
    ],
)
def test_recipes_refuse_what_makes_no_schedule(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_warm_up_needs_a_schedule():
    with pytest.raises(TypeError, match=r"schedule must be a schedule, got 0\.1"):
        cyclr.warm_up(0.1, steps=10)
