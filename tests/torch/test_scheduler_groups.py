"""Groups with rates of their own keep their ratios; what else changes a rate; and trainings of another length."""

from __future__ import annotations

import copy
import logging
import pickle
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    ReduceLROnPlateau,
    StepLR,
)
from torch.optim.swa_utils import SWALR

from cyclr import Bounds, Constant, Cosine, Linear, Opposed, Triangular, one_cycle, plan
from cyclr.torch import Scheduler

WAVE = Triangular(0.01, 0.05, step_size=4)


def sgd(*lrs: Any) -> torch.optim.SGD:
    groups = [{"params": [nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs or (0.1,)]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def go(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[list[float]]:
    seen = []
    for _ in range(steps):
        seen.append(rates(optimizer))
        optimizer.step()
        scheduler.step()
    return seen


# ---------------------------------------------------------------- ratios


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=5), st.integers(0, 20))
def test_groups_keep_the_ratios_of_their_rates_and_the_largest_follows_the_schedule(lrs: list[float], steps: int):
    optimizer = sgd(*lrs)
    go(optimizer, Scheduler(optimizer, WAVE), steps)
    assert rates(optimizer) == pytest.approx([lr / max(lrs) * WAVE(steps) for lr in lrs])


def test_the_same_rate_for_all_is_asked_for():
    optimizer = sgd(1e-4, 1e-2)
    scheduler = Scheduler(optimizer, WAVE, same_rate=True)
    assert go(optimizer, scheduler, 3)[-1] == [WAVE(2)] * 2


def test_a_plan_a_schedule_and_auto_agree():
    made = plan(Bounds(1e-3, 1e-2), epochs=2, steps_per_epoch=20)
    one, other = sgd(1e-4, 1e-2), sgd(1e-4, 1e-2)
    first, second = Scheduler(one, made), Scheduler(other, made.schedule)
    assert go(one, first, 30) == go(other, second, 30)
    assert first.plan == made
    assert first.state_dict() == second.state_dict()
    assert isinstance(first.state_dict()["schedule"], str)


@pytest.mark.parametrize(("lr", "expected"), [(1e-5, 1e-3), (0.01, 1.0), (0.1, 10.0)])
@pytest.mark.parametrize("tensor", [False, True])
def test_a_group_that_is_unfrozen_later_keeps_its_ratio_to_the_first_rates(lr: float, expected: float, tensor: bool):
    optimizer = sgd(torch.tensor(0.01) if tensor else 0.01)
    scheduler = Scheduler(optimizer, Linear(0.01, 0, steps=20))
    go(optimizer, scheduler, 5)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": lr})
    first, later = rates(optimizer)
    assert later == pytest.approx(expected * first)
    assert scheduler.get_last_lr() == [pytest.approx(first), pytest.approx(later)]


def test_a_rate_of_zero_stays_zero_and_momentum_has_no_ratios():
    optimizer = sgd(0.0, 0.1)
    go(optimizer, Scheduler(optimizer, WAVE, momentum=Opposed(WAVE, 0.8, 0.9)), 4)
    assert rates(optimizer) == [0.0, WAVE(4)]
    assert [group["momentum"] for group in optimizer.param_groups] == pytest.approx([0.8, 0.8])


def test_states_of_version_0_1_that_list_a_text_a_group_are_still_read():
    optimizer = sgd(1e-3, 1e-2)
    scheduler = Scheduler(optimizer, WAVE)
    scheduler.load_state_dict({"last_epoch": 3, "schedule": [repr(0.1 * WAVE), repr(WAVE)]})
    assert rates(optimizer) == pytest.approx([0.1 * WAVE(3), WAVE(3)])


# ---------------------------------------------------------------- what else changes a rate


def test_a_cut_by_reduce_on_plateau_stays_and_is_told_once(caplog: pytest.LogCaptureFixture):
    optimizer, schedule = sgd(0.1, 0.01), Cosine(0.1, 0.0, steps=400)
    scheduler, plateau = Scheduler(optimizer, schedule), ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    with caplog.at_level(logging.WARNING, logger="cyclr"):
        for _ in range(3):
            go(optimizer, scheduler, 10)
            plateau.step(1.0)
    go(optimizer, scheduler, 1)
    assert rates(optimizer) == pytest.approx([0.01 * schedule(31), 0.001 * schedule(31)])
    assert sum("was changed from" in line for line in caplog.messages) == 2  # once for each group


def test_a_rate_that_was_set_to_zero_can_be_set_again():
    optimizer, schedule = sgd(0.1), Cosine(0.1, 0.0, steps=400)
    scheduler = Scheduler(optimizer, schedule)
    go(optimizer, scheduler, 10)
    optimizer.param_groups[0]["lr"] = 0.0  # frozen for a while
    go(optimizer, scheduler, 10)
    assert rates(optimizer) == [0.0]
    optimizer.param_groups[0]["lr"] = 0.02
    go(optimizer, scheduler, 10)
    assert rates(optimizer) == pytest.approx([0.02 / schedule(20) * schedule(30)])


@pytest.mark.parametrize(
    "other",
    [lambda o: LambdaLR(o, lambda step: 0.5), lambda o: CosineAnnealingLR(o, 100), lambda o: SWALR(o, swa_lr=0.01)],
)
def test_a_second_scheduler_that_sets_each_step_is_told_once(other: Any, caplog: pytest.LogCaptureFixture):
    optimizer = sgd(0.1)
    scheduler, second = Scheduler(optimizer, Cosine(0.1, 0.0, steps=400)), other(optimizer)
    with caplog.at_level(logging.WARNING, logger="cyclr"):
        for _ in range(40):
            go(optimizer, scheduler, 1)
            second.step()
    assert sum("such as a second scheduler" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("tensor", [False, True])
def test_the_factor_is_saved_copied_and_resumed(tensor: bool):
    optimizer = sgd(torch.tensor(0.1) if tensor else 0.1)
    scheduler = Scheduler(optimizer, WAVE)
    go(optimizer, scheduler, 2)
    if tensor:
        optimizer.param_groups[0]["lr"].mul_(0.5)
    else:
        optimizer.param_groups[0]["lr"] *= 0.5
    go(optimizer, scheduler, 1)
    assert rates(optimizer) == pytest.approx([0.5 * WAVE(3)])
    again = sgd()
    Scheduler(again, WAVE).load_state_dict(pickle.loads(pickle.dumps(scheduler.state_dict())))
    assert rates(again) == pytest.approx([0.5 * WAVE(3)])
    twin, kept = copy.deepcopy((optimizer, scheduler))
    assert go(twin, kept, 5) == [pytest.approx(rate) for rate in go(optimizer, scheduler, 5)]


def test_a_chain_multiplies():
    optimizer = sgd()
    chain = ChainedScheduler([Scheduler(optimizer, WAVE), ExponentialLR(optimizer, 0.9)])
    assert [rate for (rate,) in go(optimizer, chain, 9)] == pytest.approx([WAVE(t) * 0.9**t for t in range(9)])


def test_rates_that_come_with_a_loaded_state_are_no_factor():
    optimizer, old = sgd(), sgd(1e-6)
    scheduler = Scheduler(optimizer, WAVE)
    go(optimizer, scheduler, 2)
    optimizer.load_state_dict(old.state_dict())
    go(optimizer, scheduler, 1)
    assert rates(optimizer) == [WAVE(3)]


# ---------------------------------------------------------------- continuing otherwise


OTHERS = {
    "CyclicLR": lambda optimizer: CyclicLR(optimizer, 0.01, 0.1, step_size_up=8),
    "CosineAnnealingLR": lambda optimizer: CosineAnnealingLR(optimizer, 40),
    "StepLR": lambda optimizer: StepLR(optimizer, 7),
    "LambdaLR": lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (1 + step)),
    "another schedule": lambda optimizer: Scheduler(optimizer, one_cycle(0.1, steps=50)),
    "another with momentum": lambda optimizer: Scheduler(optimizer, WAVE, momentum=Opposed(WAVE, 0.8, 0.9)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_keep_new_continues_at_the_saved_step_with_the_present_schedule(kind: str):
    optimizer = sgd()
    other = OTHERS[kind](optimizer)
    go(optimizer, other, 13)
    fresh, schedule = sgd(), one_cycle(0.1, steps=100)
    scheduler = Scheduler(fresh, schedule, on_mismatch="keep_new")
    scheduler.load_state_dict(other.state_dict())
    assert scheduler.last_epoch == 13
    assert go(fresh, scheduler, 3) == [[schedule(step)] for step in (13, 14, 15)]


def test_keep_saved_continues_with_the_saved_schedule_and_what_else_it_drove():
    saved, momentum = one_cycle(0.1, steps=50), Opposed(one_cycle(0.1, steps=50), 0.8, 0.9)
    optimizer = sgd(0.1, 0.01)
    old = Scheduler(optimizer, saved, momentum)
    go(optimizer, old, 13)
    fresh = sgd(0.1, 0.01)
    scheduler = Scheduler(fresh, WAVE, weight_decay=Constant(0.1), on_mismatch="keep_saved")
    scheduler.load_state_dict(old.state_dict())
    assert scheduler.state_dict() == old.state_dict()
    assert go(fresh, scheduler, 5) == go(optimizer, old, 5)


def test_the_error_names_both_ways_and_the_right_step():
    optimizer = sgd()
    old = Scheduler(optimizer, one_cycle(0.1, steps=50))
    go(optimizer, old, 13)
    with pytest.raises(ValueError, match=r"continue at the saved step, 13, .*'keep_saved'.*'keep_new'"):
        Scheduler(sgd(), one_cycle(0.1, steps=100)).load_state_dict(old.state_dict())
    with pytest.raises(ValueError, match="on_mismatch must be one of"):
        Scheduler(sgd(), WAVE, on_mismatch="keep")


# ---------------------------------------------------------------- lengths


def planned() -> Any:
    return plan(Bounds(1e-3, 1e-2), epochs=2, steps_per_epoch=20)


def test_a_training_that_goes_on_beyond_its_schedule_is_warned_of_once():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, planned())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go(optimizer, scheduler, 60)  # an epoch too many is not told yet
        assert not caught
        go(optimizer, scheduler, 60)
    (one,) = caught
    assert "has made 61 steps, but its schedule was made for 40 and stays at 0" in str(one.message)


@pytest.mark.parametrize("schedule", [Linear(0, 0.1, steps=10), WAVE, Constant(0.1), Linear(0.1, 0.05, steps=10)])
def test_a_rate_that_is_held_above_zero_is_nobodys_mistake(schedule: Any):
    optimizer = sgd()
    go(optimizer, Scheduler(optimizer, schedule), 100)
    assert rates(optimizer)[0] > 0


def test_a_scheduler_stepped_once_an_epoch_is_warned_of_in_the_second():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, planned())

    def train() -> None:
        for _ in range(2):
            for _ in range(20):
                optimizer.step()
            scheduler.step()

    with pytest.warns(UserWarning, match="called once per 20 optimizer steps, but the schedule of 40 steps"):
        train()


def test_skipped_and_accumulated_steps_are_not_warned_of():
    optimizer = sgd()
    scheduler = Scheduler(optimizer, planned())
    for _ in range(20):
        scheduler.step() if scheduler.last_epoch else go(optimizer, scheduler, 1)  # a GradScaler skipped the step
    for _ in range(5):
        optimizer.step()
        optimizer.step()  # two optimizer steps of one scheduler's step, as in a GAN
        scheduler.step()
    assert scheduler.last_epoch == 25


@pytest.mark.parametrize(
    ("batches", "epochs", "accumulate", "said", "off"),
    [
        (20, 2, 1, "40 steps (2 epochs of 20); the schedule takes 40 and ends at a rate of 0.", False),
        (25, 2, 4, "14 steps (2 epochs of 7); the schedule takes 40 and would be at a rate of", True),
        (20, 5, 1, "100 steps (5 epochs of 20); the schedule takes 40 and ends at a rate of 0", True),
        (20, 3, 1, "60 steps (3 epochs of 20); the schedule takes 40 and ends at a rate of 0", False),
    ],
)
def test_check_says_before_the_training_where_it_would_end(batches, epochs, accumulate, said, off):
    scheduler = Scheduler(sgd(), planned())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = scheduler.check([None] * batches, epochs=epochs, accumulate=accumulate)
    assert found.startswith(said)
    assert found == scheduler._length.check_training(batches, epochs=epochs, accumulate=accumulate) if not off else True
    assert bool(caught) == off


def test_check_of_an_endless_schedule_and_of_a_loader_without_length():
    scheduler = Scheduler(sgd(), WAVE)
    assert "endless and would be at a rate of" in scheduler.check(10, epochs=3)
    with pytest.raises(TypeError, match="loader must have a length"):
        scheduler.check(iter([]), epochs=1)


# ---------------------------------------------------------------- habits of others


@pytest.mark.parametrize("value", [0.73, torch.tensor(0.73), "0.7", True, float("nan"), None.__class__])
def test_a_metric_given_to_step_is_an_error(value: Any):
    optimizer = sgd()
    scheduler = Scheduler(optimizer, WAVE)
    go(optimizer, scheduler, 3)
    with pytest.raises(TypeError, match=r"must be an integer number of steps.*takes no metric"):
        scheduler.step(value)
    assert (scheduler.last_epoch, rates(optimizer)) == (3, [WAVE(3)])


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (lambda step: 0.1 / (1 + step), "it was called with the group, not with the step"),
        (lambda step: 0.1**step, "it was called with the group, not with the step"),
        ("Triangular(0.01, 0.1, step_size=5)", r"convert a text with cyclr.parse\(text\)"),
        (0.1, r"write Constant\(0.1\)"),
        (None, "a Plan"),
        (Triangular, "a Plan"),
        ([0.1], r"write Constant\(0.1\)"),
    ],
)
def test_what_is_no_schedule_is_answered_with_what_to_pass(given: Any, advice: str):
    with pytest.raises(TypeError, match=f"schedule must be a schedule.*{advice}"):
        Scheduler(sgd(), given)
