from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD

from cyclr import Triangular
from cyclr.tasks._caffe_sgd import CaffeSGD
from cyclr.torch import Scheduler

STEPS = 12
rates = st.floats(1e-3, 0.2)
moments = st.floats(0, 0.99)
decays = st.sampled_from([0.0, 0.1])


def path(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter, lrs: list[float]) -> list[float]:
    """Where the weight is after each step down (w - 3)^4 / 4 + w^2."""
    found = []
    for lr in lrs:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        ((weight - 3) ** 4 / 4 + weight**2).sum().backward()
        weight.grad.clamp_(-5, 5)
        optimizer.step()
        found.append(weight.item())
    return found


def fresh() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor([1.0], dtype=torch.float64))


@given(lr=rates, momentum=moments, decay=decays, nesterov=st.booleans())
def test_at_a_constant_rate_it_is_torch_s_sgd(lr: float, momentum: float, decay: float, nesterov: bool) -> None:
    if nesterov and momentum == 0:
        return  # torch refuses it
    ours, theirs = fresh(), fresh()
    options = {"lr": lr, "momentum": momentum, "weight_decay": decay, "nesterov": nesterov}
    assert path(CaffeSGD([ours], **options), ours, [lr] * STEPS) == pytest.approx(
        path(SGD([theirs], **options), theirs, [lr] * STEPS), rel=1e-9
    )


@given(lrs=st.lists(rates, min_size=STEPS, max_size=STEPS), momentum=moments, decay=decays, nesterov=st.booleans())
def test_under_a_moving_rate_it_is_caffe_s_recursion(
    lrs: list[float], momentum: float, decay: float, nesterov: bool
) -> None:
    weight = fresh()
    found = path(CaffeSGD([weight], lr=1, momentum=momentum, weight_decay=decay, nesterov=nesterov), weight, lrs)
    w, v, expected = 1.0, 0.0, []
    for lr in lrs:  # SGDSolver and NesterovSolver: history = momentum * history + local_rate * diff; data -= update
        gradient = max(-5.0, min(5.0, (w - 3) ** 3 + 2 * w)) + decay * w
        before, v = v, momentum * v + lr * gradient
        w -= (1 + momentum) * v - momentum * before if nesterov else v
        expected.append(w)
    assert found == pytest.approx(expected, rel=1e-9)


def test_after_a_drop_caffe_runs_on_and_torch_does_not() -> None:
    gone = {}
    for kind in (SGD, CaffeSGD):
        weight = fresh()
        optimizer = kind([weight], lr=0.1, momentum=0.9)
        for step in range(300):
            weight.grad = torch.ones_like(weight)
            optimizer.param_groups[0]["lr"] = 0.1 if step < 100 else 0.01
            optimizer.step()
            if step == 99:
                start = weight.item()
        gone[kind] = start - weight.item()
    assert gone[SGD] == pytest.approx(200 * 0.1, rel=0.01)  # 200 steps at a velocity of 0.01 / (1 - 0.9)
    assert gone[CaffeSGD] - gone[SGD] == pytest.approx(9 * 0.9, rel=0.01)  # m / (1 - m) steps of what was dropped


def test_groups_without_gradients_closures_schedules_and_states_are_as_with_any_optimizer() -> None:
    used, idle = fresh(), fresh()
    optimizer = CaffeSGD([{"params": [used]}, {"params": [idle], "lr": torch.tensor(0.5)}], lr=0.1)
    scheduler = Scheduler(optimizer, Triangular(0.1, 0.2, step_size=2), same_rate=True)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (used**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1
    scheduler.step()
    assert idle.item() == 1
    assert used.item() == pytest.approx(0.8)
    copy = CaffeSGD([{"params": [used]}, {"params": [idle]}], lr=9)
    copy.load_state_dict(optimizer.state_dict())
    assert copy.state[used]["velocity"].item() == pytest.approx(0.2)
    assert copy.param_groups[0]["lr"] == pytest.approx(0.15)


@pytest.mark.parametrize(
    "bad", [{"lr": -1}, {"lr": math.nan}, {"lr": 1, "momentum": 1.1}, {"lr": 1, "weight_decay": -1}]
)
def test_settings_out_of_range_are_errors(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        CaffeSGD([fresh()], **bad)
