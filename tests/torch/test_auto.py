"""The four lines as one: the same result, with its reasons, and nothing else changed."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cyclr import Search, plan
from cyclr.torch import auto, range_test
from tests.torch.digest import digest

mse_loss = nn.functional.mse_loss


def problem() -> tuple[nn.Module, torch.optim.Optimizer, DataLoader[Any]]:
    torch.manual_seed(0)
    x = torch.randn(320, 8)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    groups = [{"params": model[0].parameters()}, {"params": model[1].parameters(), "lr": 0.01}]
    return model, torch.optim.SGD(groups, lr=0.1, momentum=0.9), loader


def test_it_is_range_test_bounds_plan_and_scheduler_in_one() -> None:
    model, optimizer, loader = problem()
    before, state = digest(model), torch.get_rng_state()
    curve = range_test(model, optimizer, loader, mse_loss)
    expected = plan(curve.bounds(), epochs=4, steps_per_epoch=20)
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=4)
    assert scheduler.plan == expected
    assert scheduler.bounds == curve.bounds()
    assert np.array_equal(scheduler.curve.losses, curve.losses, equal_nan=True)
    assert digest(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    rates = scheduler.get_last_lr()
    assert rates == [pytest.approx(expected.schedule(0)), pytest.approx(0.1 * expected.schedule(0))]


def test_the_reasons_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    model, optimizer, loader = problem()
    with caplog.at_level(logging.INFO, logger="cyclr"):
        scheduler = auto(model, optimizer, loader, mse_loss, epochs=4)
    assert caplog.messages == [*scheduler.bounds.evidence, *scheduler.plan.reasons]


def test_momentum_is_left_alone_unless_asked() -> None:
    model, optimizer, loader = problem()
    auto(model, optimizer, loader, mse_loss, epochs=4)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.9]
    auto(model, optimizer, loader, mse_loss, epochs=4, momentum=(0.85, 0.95))
    assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.95, abs=0.02)


def test_training_with_it_lowers_the_loss_and_a_new_group_keeps_its_ratio() -> None:
    model, optimizer, loader = problem()
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=4)
    losses = []
    for _ in range(4):
        for x, y in loader:
            optimizer.zero_grad()
            loss = mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    assert sum(losses[-20:]) < 0.1 * sum(losses[:20])
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.05})
    assert optimizer.param_groups[2]["lr"] == pytest.approx(0.5 * optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs must be"),
        ({"epochs": 1.5}, TypeError, "epochs must be"),
        ({"epochs": 4, "cycles": 100}, ValueError, "cycles"),
        ({"epochs": 4, "momentum": 0.9}, TypeError, "momentum must be a pair"),
        ({"epochs": 4, "momentum": (0.9, 0.8)}, ValueError, "low must not exceed high"),
        ({"epochs": 4, "steps": 80}, ValueError, "got both"),
        ({}, ValueError, "got neither"),
        ({"epochs": 4, "search": "thorough"}, TypeError, "search must be a cyclr.Search"),
        ({"epochs": 4, "momentum": (0.9, 1.0)}, ValueError, "momentum must stay below 1"),
        ({"epochs": 4, "hihg": 1.0}, TypeError, "hihg"),
    ],
)
def test_bad_input_is_refused_before_the_model_runs(options: Any, error: type[Exception], words: str) -> None:
    model, optimizer, loader = problem()
    calls = []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(error, match=words):
        auto(model, optimizer, loader, mse_loss, **options)
    assert not calls
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]


def test_a_loader_without_length_needs_a_budget_in_steps() -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter(problem()[2].dataset)

    model, optimizer, _ = problem()
    loader = DataLoader(Stream(), batch_size=16)
    with pytest.raises(ValueError, match="steps must be given"):
        auto(model, optimizer, loader, mse_loss, epochs=4)
    assert auto(model, optimizer, loader, mse_loss, steps=80).plan.steps == 80


def test_a_long_training_is_prepared_thoroughly() -> None:
    model, optimizer, loader = problem()
    before = digest(model)
    assert len(auto(model, optimizer, loader, mse_loss, epochs=399).curve.peaks) == 0
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=400)  # 8,000 steps
    assert len(scheduler.curve.peaks) >= 3
    assert scheduler.curve.tuning_cost <= 0.15 * 8000
    assert len(auto(model, optimizer, loader, mse_loss, epochs=400, search=Search(effort="quick")).curve.peaks) == 0
    assert digest(model) == before
