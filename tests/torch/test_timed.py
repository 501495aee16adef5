"""A budget in minutes: the schedule ends when the time is up, however long steps take."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import Bounds, Constant, Linear, Opposed, one_cycle, plan
from cyclr.torch import Scheduler, Snapshots, Task, TimedScheduler, train


class Simulated:
    """A clock that moves on by what a step takes."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.1, momentum=0.9)


def trained(scheduler: TimedScheduler, clock: Simulated, seconds: Any, most: int = 100_000) -> list[tuple[int, float]]:
    """The position and the rate of each optimizer step, until it is finished."""
    found = []
    while not scheduler.finished:
        assert len(found) < most
        found.append((scheduler.last_epoch, scheduler.get_last_lr()[0]))
        scheduler.optimizer.step()
        clock.now += seconds(len(found) - 1)
        scheduler.step()
    return found


@settings(deadline=None, max_examples=30)
@given(
    first=st.floats(0.5, 50),
    later=st.floats(0.5, 50),
    turn=st.floats(0, 1),
    planned=st.integers(20, 3000),
)
def test_it_ends_low_and_in_time_however_fast_steps_are(first: float, later: float, turn: float, planned: int) -> None:
    """Steps change their speed by up to a factor of 100 at any moment; time is 600 s."""
    clock = Simulated()
    scheduler = TimedScheduler(optimizer(), one_cycle(0.1, steps=planned, shape="linear"), minutes=10, clock=clock)
    found = trained(scheduler, clock, lambda step: first if clock.now - 100 < 600 * turn else later)
    positions = [position for position, _ in found]
    assert positions == sorted(positions)
    assert clock.now - 100 <= 600 * 1.02 + 2 * max(first, later)
    assert scheduler.get_last_lr() == [0.0]
    assert min(rate for _, rate in found) > 0
    assert positions[-1] < planned


@settings(deadline=None, max_examples=30)
@given(each=st.floats(0.5, 5), planned=st.integers(500, 3000))
def test_constant_steps_go_through_the_schedule_evenly(each: float, planned: int) -> None:
    clock = Simulated()
    scheduler = TimedScheduler(optimizer(), Linear(1.0, 0.0, steps=planned), minutes=10, clock=clock)
    found = trained(scheduler, clock, lambda _: each)
    assert abs(len(found) - 600 / each) <= 2 + 0.01 * len(found)
    for step, (position, _) in enumerate(found):
        assert abs(position - planned * step / len(found)) <= 1 + planned * (0.01 + 2 / len(found))


def test_no_end_of_a_cycle_is_skipped_although_a_step_is_many_planned_ones() -> None:
    clock = Simulated()
    made = plan(Bounds(0.01, 0.1), steps=3100, goal="anytime")
    assert len(made.snapshots) > 2
    scheduler = TimedScheduler(optimizer(), made, minutes=10, clock=clock)
    found = trained(scheduler, clock, lambda _: 15.0)  # 40 steps for 3,100
    positions = [position for position, _ in found] + [scheduler.last_epoch]
    assert set(made.snapshots) <= set(positions)


def test_momentum_follows() -> None:
    clock, wave = Simulated(), one_cycle(0.1, steps=100)
    scheduler = TimedScheduler(optimizer(), wave, Opposed(wave, 0.85, 0.95), minutes=1, clock=clock)
    trained(scheduler, clock, lambda _: 0.5)
    assert scheduler.optimizer.param_groups[0]["momentum"] == 0.95


@settings(deadline=None, max_examples=30)
@given(stop=st.integers(1, 110), pause=st.floats(0, 1e6))
def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(stop: int, pause: float) -> None:
    """The time between two processes does not count."""

    def rates(interrupted: bool) -> list[tuple[int, float]]:
        clock = Simulated()
        scheduler = TimedScheduler(optimizer(), one_cycle(0.1, steps=1000), minutes=1, clock=clock)
        found = []
        while not scheduler.finished:
            found.append((scheduler.last_epoch, scheduler.get_last_lr()[0]))
            scheduler.optimizer.step()
            clock.now += 0.5
            scheduler.step()
            if interrupted and len(found) == stop:
                state = scheduler.state_dict()
                clock.now += pause
                scheduler = TimedScheduler(optimizer(), one_cycle(0.1, steps=1000), minutes=1, clock=clock)
                scheduler.load_state_dict(state)
        return found

    whole, parts = rates(False), rates(True)
    assert len(whole) == pytest.approx(len(parts), abs=1)
    for (one, _), (other, _) in zip(whole, parts, strict=False):
        assert abs(one - other) <= 25  # the pace is computed again at once, in place of once in a hundredth


def test_it_goes_on_from_a_scheduler_that_counts_steps() -> None:
    steps = Scheduler(optimizer(), one_cycle(0.1, steps=1000))
    for _ in range(300):
        steps.optimizer.step()
        steps.step()
    clock = Simulated()
    scheduler = TimedScheduler(optimizer(), one_cycle(0.1, steps=1000), minutes=1, clock=clock)
    scheduler.load_state_dict(steps.state_dict())
    assert scheduler.get_last_lr() == steps.get_last_lr()
    found = trained(scheduler, clock, lambda _: 1.0)
    assert found[0][0] == 300
    assert len(found) == pytest.approx(60, abs=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"minutes": 0}, ValueError, "minutes must be positive"),
        ({"minutes": "3"}, TypeError, "minutes must be a number"),
        ({"minutes": 1, "schedule": Constant(0.1)}, ValueError, "must have an end"),
    ],
)
def test_what_cannot_be_timed(options: dict[str, Any], error: type[Exception], message: str) -> None:
    schedule = options.pop("schedule", one_cycle(0.1, steps=10))
    with pytest.raises(error, match=message):
        TimedScheduler(optimizer(), schedule, **options)


# ---------------------------------------------------------------- in `train`


def task() -> Task:
    torch.manual_seed(0)
    x = torch.randn(40, 3)
    model = torch.nn.Linear(3, 1)
    batches = list(zip(x.split(8), x.sum(1, keepdim=True).split(8), strict=True))
    return Task(model, torch.optim.SGD(model.parameters(), lr=0.1), torch.nn.functional.mse_loss, batches, batches)


def test_train_stops_when_the_time_is_up_at_the_last_rate_and_saves_where_cycles_end(tmp_path: Path) -> None:
    made, said, goal = task(), [], plan(Bounds(0.01, 0.1), steps=1000, goal="ensemble")
    snapshots = Snapshots(tmp_path, made.model, plan=goal)
    began = time.monotonic()
    how = {"eval_every": 10**6, "eval_at": goal.snapshots, "snapshots": snapshots}
    points = train(made, goal, minutes=0.005, progress=lambda *told: said.append(told), **how)
    assert 0.2 < time.monotonic() - began < 2
    assert len(points) == len(goal.snapshots)
    assert tuple(one.step for one in snapshots) == goal.snapshots
    assert said[-1][:2] == (1000, 1000)
    assert points[-1]["lr"] > 0, "no step is made at a rate of zero"
    assert made.optimizer.param_groups[0]["lr"] == 0


def test_a_timed_training_goes_on_from_its_checkpoint_with_the_time_that_is_left(tmp_path: Path) -> None:
    whole, how = one_cycle(0.1, steps=100), {"minutes": 0.01, "eval_every": 5, "checkpoint": tmp_path}

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task(), whole, progress=stop, **how)
    before = torch.load(tmp_path / "checkpoint.pt")
    points = train(task(), whole, **how)
    after = torch.load(tmp_path / "checkpoint.pt")["scheduler"]
    assert points[: len(before["points"])] == before["points"]
    assert [point["step"] for point in points[:-1]] == list(range(5, 5 * len(points), 5))
    assert after["made"] == points[-1]["step"] > before["scheduler"]["made"] == 5
    assert after["elapsed"] > before["scheduler"]["elapsed"] > 0
    assert train(task(), whole, **how) == points, "it is finished"
    for changed in ({"minutes": 1}, {"minutes": None, "steps": 5}):
        with pytest.raises(ValueError, match=r"minutes must be that of the checkpoint, 0\.01"):
            train(task(), whole, **{**how, **changed})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "either steps or minutes must be given"),
        ({"steps": 5, "minutes": 1}, ValueError, "either steps or minutes must be given"),
        ({"minutes": 0}, ValueError, "minutes must be positive"),
        ({"minutes": 1, "schedule": Constant(0.1)}, ValueError, "the schedule must have an end"),
    ],
)
def test_a_training_without_one_end_is_refused(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train(task(), **{"schedule": one_cycle(0.1, steps=10)} | options)


def test_a_step_to_jump_to_is_refused() -> None:
    scheduler = TimedScheduler(optimizer(), one_cycle(0.1, steps=10), minutes=1)
    with pytest.raises(TypeError, match="takes no step"):
        scheduler.step(3)
