"""Short range tests of step functions, whose steps take the same few batches in turn."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from cyclr import Curve, HeldOut, Inconclusive, Search
from cyclr.torch import AutoLoop, auto, range_test
from cyclr.torch._reference import TakenInTurn
from tests.torch.digest import digest

QUIET = Search(progress=False)
Step = Callable[[Any], torch.Tensor]


def made(*layers: nn.Module, adam: bool = True) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(0)
    x = torch.randn(320, 8)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True) + 0.1 * torch.randn(320, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 16), *layers, nn.Linear(16, 1))
    optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW if adam else torch.optim.SGD
    return model, optimizer(model.parameters(), lr=1e-3), loader  # type: ignore[call-arg]


def step_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    def step(batch: Any) -> torch.Tensor:
        optimizer.zero_grad()
        loss = mse_loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    return step


def curve_of(*parts: Any, budget: int = 400, **how: Any) -> Curve:
    model, optimizer, loader = parts
    return range_test(model, optimizer, loader, update=step_of(model, optimizer), budget=budget, **how)


@pytest.mark.parametrize(("budget", "steps"), [(60, 30), (200, 30), (400, 60), (1999, 60)])
def test_a_short_test_of_a_step_function_costs_what_its_sweep_does(budget: int, steps: int) -> None:
    curve = curve_of(*made(), budget=budget)
    assert curve.in_turn == 3
    assert len(curve.rates) == steps
    assert curve.tuning_cost <= max(30, 0.15 * budget)


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize("budget", [60, 400])
def test_its_answer_is_about_that_of_batches_that_are_evaluated(budget: int, adam: bool) -> None:
    evaluated = range_test(*made(nn.ReLU(), adam=adam), mse_loss, budget=budget).bounds(budget=budget)
    bounds = curve_of(*made(nn.ReLU(), adam=adam), budget=budget).bounds(budget=budget)
    assert evaluated.max_lr / 3 < bounds.max_lr < evaluated.max_lr * 3
    assert "The loss of 3 batches that the steps took in turn" in bounds.evidence[0]


def test_training_losses_alone_show_nothing_where_batches_in_turn_do() -> None:
    def noisy() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
        torch.manual_seed(0)
        x = torch.randn(2000, 8)
        data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True) + 3 * torch.randn(2000, 1))
        model = nn.Linear(8, 1)
        loader = torch.utils.data.DataLoader(data, batch_size=8, shuffle=True)
        return model, torch.optim.SGD(model.parameters(), lr=1e-3), loader

    model, optimizer, loader = noisy()
    scheduler = auto(model, optimizer, loader, update=step_of(model, optimizer), steps=200, search=QUIET)
    assert scheduler.curve.tuning_cost <= 30
    alone = Curve(scheduler.curve.rates, scheduler.curve.losses, stops=scheduler.curve.stops)
    with pytest.raises(Inconclusive):
        alone.bounds(budget=200)
    assert 1e-3 < scheduler.bounds.max_lr < 0.3


def test_the_same_batches_come_with_the_same_dropout_and_randomness_is_restored() -> None:
    parts = made(nn.BatchNorm1d(16), nn.Dropout(0.5))
    before = digest(*parts[:2], loader=parts[2])
    curve = curve_of(*parts)
    assert digest(*parts[:2], loader=parts[2]) == before
    first = curve.losses[0, :12].reshape(4, 3)
    assert np.ptp(first, axis=0) == pytest.approx([0, 0, 0], abs=0.01)
    assert np.ptp(first, axis=1).min() > 0.1


def test_a_step_may_write_to_its_batch() -> None:
    model, optimizer, loader = made()
    step = step_of(model, optimizer)
    batches: list[dict[str, torch.Tensor]] = [{"x": x, "y": y} for x, y in loader]
    kept = copy.deepcopy(batches)

    def writes(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        x, y = batch.pop("x"), batch.pop("y")
        return step((x.mul_(2), y))

    curve = range_test(model, optimizer, batches, update=writes, budget=200)
    pairs = [(2 * batch["x"], batch["y"]) for batch in kept]
    assert np.array_equal(curve.losses, range_test(model, optimizer, pairs, update=step, budget=200).losses, True)
    assert all(torch.equal(one["x"], other["x"]) for one, other in zip(batches, kept, strict=True))


@pytest.mark.parametrize("value", [1e4, float("nan")])
@pytest.mark.parametrize("place", [1, 2])
def test_a_bad_batch_is_not_one_of_them(value: float, place: int, caplog: pytest.LogCaptureFixture) -> None:
    def max_lr(value: float | None) -> float:
        model, optimizer, loader = made()
        batches = list(loader)
        if value is not None:
            batches[place][1][3] = value
        curve = curve_of(model, optimizer, batches)
        assert curve.earlier_steps == (0 if value is None else 3)
        return curve.bounds(budget=400).max_lr

    usual = max_lr(None)
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "cyclr"):
        assert max_lr(value) == pytest.approx(usual, rel=0.5)
    assert "others are taken" in caplog.text


@pytest.mark.parametrize("batches", [1, 2])
def test_a_loader_of_few_batches_is_enough(batches: int) -> None:
    model, optimizer, loader = made()
    assert 1e-3 < curve_of(model, optimizer, list(loader)[:batches]).bounds(budget=400).max_lr < 1


def test_repeats_take_other_batches() -> None:
    curve = curve_of(*made(), budget=1000, repeats=2)
    assert curve.losses.shape == (2, 60)
    assert not set(curve.losses[0, :3]) & set(curve.losses[1, :3])
    assert curve.examples == 16


def test_data_that_would_be_measured_are_measured_of_a_network_that_sees_new_batches() -> None:
    model, optimizer, loader = made()
    held_out = HeldOut(list(loader)[:2], {"error": (lambda out, y: (out - y).abs().mean(), "min")}, 5)
    curve = range_test(
        model, optimizer, loader, mse_loss, update=step_of(model, optimizer), held_out=held_out, budget=400
    )
    assert curve.in_turn == 0


def test_a_loop_is_given_the_same_batches_in_turn() -> None:
    model, optimizer, loader = made()
    loop = AutoLoop(model, optimizer, loader, steps=200, search=QUIET)
    seen: list[float] = []
    for x, y in loop:
        if loop.testing:
            seen.append(float(x.sum()))
        optimizer.zero_grad()
        loss = mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        loop.step(loss)
    assert loop.scheduler is not None
    assert loop.scheduler.curve.in_turn == 3
    assert loop.scheduler.curve.tuning_cost <= 30


@pytest.mark.parametrize("number", [1, 2, 3])
def test_batches_are_taken_once_and_given_as_copies(number: int) -> None:
    taken: list[int] = []

    def source() -> Iterable[torch.Tensor]:
        for at in range(100):
            taken.append(at)
            yield torch.tensor([at])

    batches = TakenInTurn(iter(source()), number)
    given = [next(batches) for _ in range(3 * number)]
    assert [int(batch) for batch in given] == 3 * list(range(number))
    assert taken == list(range(number))
    assert len({batch.data_ptr() for batch in given}) == 3 * number
    assert batches.examples == 1
