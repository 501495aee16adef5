"""Each step sets what the schedules say, whatever happens in between."""

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


@given(
    events=st.lists(st.sampled_from(EVENTS), max_size=25),
    kind=st.sampled_from(["SGD", "Adam", "tensor"]),
    groups=st.integers(1, 3),
    schedule=st.sampled_from([*(one for one in EXAMPLES if one.lowest > 0), plan(Bounds(0.01, 0.1), steps=99)]),
    momentum=st.sampled_from([None, Opposed(WAVE, 0.8, 0.95), of_group]),
    decay=st.sampled_from([None, Linear(0.1, 0.2, steps=7)]),
)
def test_every_step_sets_what_the_schedules_say(
    events: list[str], kind: str, groups: int, schedule: Any, momentum: Any, decay: Any
) -> None:
    step, factors = 0, [1.0] * groups
    with warnings.catch_warnings(action="ignore"):
        scheduler = Scheduler(optimizer_of(kind, groups), schedule, momentum, decay)
        for event in events:
            scheduler = happens(event, scheduler)
            step = 4 if event == "jump" else step + 1
            factors += [1.0] * (event == "add")
            factors[-1] *= 0.5 if event == "set" else 1.0
            own = scheduler.optimizer.param_groups
            expected = [
                factor * one(step) for factor, one in zip(factors, scheduler.schedules["schedule"], strict=True)
            ]
            close = {"rel": 1e-6 if kind == "tensor" else 1e-12}
            assert [float(group["lr"]) for group in own] == pytest.approx(expected, **close)
            assert [float(rate) for rate in scheduler.get_last_lr()] == pytest.approx(expected, **close)
            if momentum is not None:
                now = [group["betas"][0] if kind == "Adam" else group["momentum"] for group in own]
                assert now == [one(step) for one in scheduler.schedules["momentum"]]
            if decay is not None:
                assert [group["weight_decay"] for group in own] == [decay(step)] * len(own)
            assert scheduler.last_epoch == step


def test_a_training_that_outlives_its_schedule_is_still_warned_of() -> None:
    scheduler = Scheduler(optimizer_of("SGD", 1), Linear(0.1, 0, steps=40))
    with warnings.catch_warnings(action="error"):
        for _ in range(42):
            happens("step", scheduler)
    with pytest.warns(UserWarning, match="the training has made 43 steps, but its schedule was made for 40"):
        happens("step", scheduler)
