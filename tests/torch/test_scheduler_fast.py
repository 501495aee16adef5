"""A step in the ordinary case does what the ordinary way does, whatever happens in between."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, Linear, Opposed, Triangular, plan
from cyclr.torch import Scheduler
from tests.schedules.strategies import EXAMPLES

WAVE = Triangular(0.01, 0.1, step_size=4)


class Plainly(Scheduler):
    """Has a `get_lr` of its own, and so always goes the ordinary way."""

    def get_lr(self) -> list[Any]:
        return super().get_lr()


def optimizer_of(kind: str, groups: int) -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(groups)]
    given = [{"params": [one], "lr": 0.1 / (index + 1)} for index, one in enumerate(parameters)]
    if kind == "Adam":
        return torch.optim.AdamW(given)
    return torch.optim.SGD(given, lr=torch.tensor(0.1) if kind == "tensor" else 0.1, momentum=0.9)


def of_group(group: dict[str, Any]) -> Any:
    return (0.9 if group["lr"] > 0.04 else 0.8) * Opposed(WAVE, 0.8, 0.95)


EVENTS = ["step", "step", "step", "set", "add", "load", "copy", "jump", "optimizer", "behind"]


def happens(event: str, scheduler: Scheduler) -> Scheduler:
    """Something, and then a step."""
    optimizer = scheduler.optimizer
    if event == "set":
        optimizer.param_groups[-1]["lr"] = optimizer.param_groups[-1]["lr"] * 0.5
    elif event == "add":
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": 0.05})
    elif event == "load":
        scheduler.load_state_dict(scheduler.state_dict())
    elif event == "copy":
        scheduler = pickle.loads(pickle.dumps(scheduler))
        optimizer = scheduler.optimizer
    elif event == "jump":
        scheduler.step(3)
    elif event == "optimizer":
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    if event != "behind":
        optimizer.step()
    scheduler.step()
    return scheduler


def seen(scheduler: Scheduler) -> list[object]:
    groups = [
        {key: value for key, value in group.items() if key != "params"} for group in scheduler.optimizer.param_groups
    ]
    return [groups, scheduler.get_last_lr(), scheduler.state_dict(), scheduler._step_count]


@given(
    events=st.lists(st.sampled_from(EVENTS), max_size=25),
    kind=st.sampled_from(["SGD", "Adam", "tensor"]),
    groups=st.integers(1, 3),
    schedule=st.sampled_from([*(one for one in EXAMPLES if one.lowest >= 0), plan(Bounds(0.01, 0.1), steps=9)]),
    momentum=st.sampled_from([None, Opposed(WAVE, 0.8, 0.95), of_group]),
    decay=st.sampled_from([None, Linear(0.1, 0.2, steps=7)]),
)
def test_it_does_what_the_ordinary_way_does(
    events: list[str], kind: str, groups: int, schedule: Any, momentum: Any, decay: Any
) -> None:
    with warnings.catch_warnings(action="ignore"):
        pair = [of(optimizer_of(kind, groups), schedule, momentum, decay) for of in (Scheduler, Plainly)]
        for event in events:
            pair = [happens(event, one) for one in pair]
            assert seen(pair[0]) == seen(pair[1]), event
    assert pair[1]._advance is None


def test_most_steps_are_made_so() -> None:
    scheduler = Scheduler(optimizer_of("SGD", 3), WAVE, Opposed(WAVE, 0.8, 0.95))
    for _ in range(3):
        happens("step", scheduler)
    ordinary, scheduler._present_marks = scheduler._advance, None  # type: ignore[method-assign, assignment]
    for _ in range(30):  # the other way would need what is gone
        happens("step", scheduler)
    assert scheduler._advance is ordinary is not None


def test_a_training_that_outlives_its_schedule_is_still_warned_of() -> None:
    scheduler = Scheduler(optimizer_of("SGD", 1), Linear(0.1, 0, steps=40))
    with warnings.catch_warnings(action="error"):
        for _ in range(42):
            happens("step", scheduler)
    with pytest.warns(UserWarning, match="the training has made 43 steps, but its schedule was made for 40"):
        happens("step", scheduler)
