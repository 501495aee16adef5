"""A scheduler that is not stepped once per optimizer step is told of once; one that is, or may well be, never."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import nn

from cyclr import Bounds, Linear, Triangular, plan
from cyclr.torch import Chosen, Scheduler, TimedScheduler

PLAN = plan(Bounds(1e-3, 1e-2), steps=400)


def sgd(kind: Any = torch.optim.SGD) -> Any:
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return kind([parameter], lr=0.1)


def go(scheduler: Any, made: Iterable[int], optimizer: Any = None) -> None:
    """So many optimizer steps before each scheduler step."""
    for number in made:
        for _ in range(number):
            (optimizer or scheduler.optimizer).step()
        scheduler.step()


def told(given: Any, made: Iterable[int], caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        go(Scheduler(sgd(), given), made)
    said = [str(one.message) for one in caught if "scheduler.step() is called" in str(one.message)]
    return said + [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([2] * 20, "once per 2 optimizer steps, but the schedule of 400 steps counts optimizer steps"),
        ([0, 1] * 20, "2 times per optimizer step"),
        ([0, 0, 0, 1] * 20, "4 times per optimizer step"),
        ([1, 0, 0] * 20, "3 times per optimizer step"),
        ([5] * 20, "once per 5 optimizer steps"),
        ([400] * 12, "once per 400 optimizer steps"),
        ([0] * 31 + ([1] + [0] * 31) * 6, "32 times per optimizer step"),
        (([0, 0, 0, 1] * 6 + [1]) * 2, "4 times per optimizer step"),  # an epoch's last batch makes a step, too
    ],
)
def test_a_ratio_other_than_one_is_told_once_where_the_plan_counts_optimizer_steps(
    made: list[int], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    (one,) = told(PLAN, made, caplog)
    assert said in one
    assert "call it once after every optimizer.step()" in one
    assert ("accumulated gradients" in one) == ("times per" in one)


@pytest.mark.parametrize(
    "made",
    [
        [1] * 150,
        [0, 0, 0, 0, 0, 0] + [1] * 30,  # a GradScaler that begins too high
        [1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 1, 1] * 3,  # and one that often skips
        [0, 2] * 20,
        [300] + [1] * 30,  # a SequentialLR, or a warm-up by hand, before it
        [0] * 150,  # an optimizer whose steps are not seen: captured in a graph, fused into backward
        [2] * 5,  # too few to know
        [1, 3, 2, 1, 4, 2, 3, 1, 2, 2, 4, 1, 3],
    ],
)
def test_other_trainings_are_not_told(made: list[int], caplog: pytest.LogCaptureFixture) -> None:
    assert told(PLAN, made, caplog) == []


def test_a_schedule_that_may_count_something_else_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    endless, finite = Triangular(0.1, 0.5, step_size=50), Linear(0.1, 0, steps=400)
    assert (
        "called once per 2 optimizer steps, so that its 400 steps take 800 optimizer steps; if that is not meant"
        in (told(finite, [2] * 20, caplog)[0])
    )
    assert (
        "4 times per optimizer step, so that a step of the schedule takes 0.25 optimizer steps"
        in (told(endless, [0, 0, 0, 1] * 10, caplog)[0])
    )
    assert told(finite, [20] * 20, caplog) == []  # it may well count epochs


def test_nothing_is_left_in_the_optimizer(caplog: pytest.LogCaptureFixture) -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, PLAN)
    hooks = [optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks]
    go(scheduler, [1] * 5)
    assert list(map(len, hooks)) == [1, 1]
    go(scheduler, [1] * 6)
    assert list(map(len, hooks)) == [0, 0]
    go(scheduler, [2] * 40)  # a look at the first steps costs nothing later
    assert caplog.records == []


def test_an_optimizer_that_calls_the_step_of_its_base_makes_one_step(caplog: pytest.LogCaptureFixture) -> None:
    class Clipped(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    sgd().step()  # torch hooks the base's step when the first of its kind is made
    scheduler = Scheduler(sgd(Clipped), PLAN)
    with warnings.catch_warnings(action="error"):
        go(scheduler, [1] * 20)
    assert scheduler.last_epoch == 20


def test_a_step_that_failed_is_forgotten() -> None:
    optimizer = sgd()
    scheduler = Scheduler(optimizer, PLAN)

    def fails() -> float:
        raise FloatingPointError

    with warnings.catch_warnings(action="error"):
        for _ in range(20):
            with pytest.raises(FloatingPointError):
                optimizer.step(fails)
            go(scheduler, [1, 1])
    assert scheduler.last_epoch == 40


def test_copies_and_resumed_trainings_go_on(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Scheduler(sgd(), PLAN)
    go(scheduler, [1] * 3)
    for copied in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        go(copied, [1] * 30)
        assert copied.last_epoch == 33
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    resumed = Scheduler(sgd(), PLAN)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    with pytest.warns(UserWarning, match="once per 2 optimizer steps"):
        go(resumed, [2] * 20)


def test_of_several_optimizers_one_may_make_more_steps(caplog: pytest.LogCaptureFixture) -> None:
    critic, generator = sgd(), sgd()
    with warnings.catch_warnings(action="error"):
        for which in (None, 0, 1):
            scheduler = Scheduler(Chosen([critic, generator], which), PLAN)
            for _ in range(20):
                for _ in range(5):
                    critic.step()
                generator.step()
                scheduler.step()
    assert caplog.records == []


def test_by_time_a_step_is_nobodys(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = TimedScheduler(sgd(), PLAN, minutes=10)
    with warnings.catch_warnings(action="error"):
        go(scheduler, [2] * 20)
    assert caplog.records == []


def test_a_grad_scaler_steps_as_if_nothing_watched(caplog: pytest.LogCaptureFixture) -> None:
    optimizer = sgd()
    scheduler, scaler = Scheduler(optimizer, PLAN), torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=4)
    parameter = optimizer.param_groups[0]["params"][0]
    with warnings.catch_warnings(action="error"):
        for number in range(40):
            optimizer.zero_grad()
            scaler.scale((parameter * (float("inf") if number % 5 == 1 else 1)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
    assert scheduler.last_epoch == 40
    assert caplog.records == []
