"""Repeats of a range test that begin from new weights: a function of a seed in place of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cyclr import HeldOut, Ramp
from cyclr.torch import Restore, Task, Update, own_loss, range_test

mse_loss = nn.functional.mse_loss
RAMP = Ramp(1e-4, 10, steps=80)


def task(seed: int, shuffle: bool = True) -> Task:
    torch.manual_seed(seed)
    x = torch.randn(640, 8)
    loader: Any = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16, shuffle=shuffle)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 1))
    return Task(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), mse_loss, loader)


def test_each_repeat_is_the_sweep_of_the_task_of_its_seed() -> None:
    curve = range_test(task, ramp=RAMP, repeats=3)
    for seed, losses in enumerate(curve.losses):
        alone = range_test(task(seed), ramp=RAMP).losses[0]
        assert losses[: len(alone)] == pytest.approx(alone, nan_ok=True)
    assert curve.anew
    assert "Each of the 3 sweeps began from new weights." in curve.bounds().evidence
    same = range_test(task(0), ramp=RAMP, repeats=3)
    assert not same.anew
    assert "All sweeps began from the same weights" in same.bounds().evidence[-1]


@pytest.mark.parametrize("budget", [400, 2000])
def test_with_a_budget_sweeps_share_it_and_short_ones_have_batches_of_their_own(budget: int) -> None:
    curve = range_test(task, repeats=2, budget=budget, effort="thorough")
    assert curve.tuning_cost <= 0.15 * budget
    assert (len(curve.peaks) >= 3) == (budget == 2000)
    alone = range_test(task(1), budget=400)
    assert curve.reference[1, :5] == pytest.approx(alone.reference[0, :5])


def test_random_states_are_as_before_and_the_same_call_gives_the_same_curve() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = range_test(task, ramp=RAMP, repeats=2)
    assert torch.equal(torch.get_rng_state(), before)
    other = range_test(task, ramp=RAMP, repeats=2)
    assert np.array_equal(one.losses, other.losses, equal_nan=True)


def test_data_in_a_fixed_order_are_compared_with_those_of_the_same_task() -> None:
    def season(seed: int) -> Task:
        made = task(seed, shuffle=False)
        noise = torch.randn(640, 1)
        x = torch.randn(640, 8)
        ordered: Any = DataLoader(TensorDataset(x, noise * torch.linspace(2, 0.5, 640)[:, None]), batch_size=16)
        return Task(made.model, made.optimizer, mse_loss, ordered)

    curve = range_test(season, ramp=Ramp(1e-9, 1e-7, steps=39), repeats=2)
    assert curve.control == pytest.approx(curve.losses, rel=1e-3)


def test_metrics_are_those_of_each_network() -> None:
    held_out = HeldOut(task(9).train_loader, every=20)
    curve = range_test(task, ramp=Ramp(1e-8, 1e-7, steps=40), repeats=2, held_out=held_out, update=Update(clip_norm=1))
    found = curve.metrics["val_loss"][:, 0]
    assert found[0] != pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"optimizer": torch.optim.SGD([nn.Parameter(torch.ones(1))])}, "optimizer must be left out"),
        ({"loss_fn": own_loss}, "loss_fn must be left out"),
        ({"restore": Restore(3)}, "scheduler must be left out"),
        ({"update": lambda batch: None}, "update must be a cyclr.torch.Update where a function"),
    ],
)
def test_what_belongs_to_one_network_only_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        range_test(task, repeats=2, **given)


def test_a_function_that_makes_no_task_is_told() -> None:
    with pytest.raises(TypeError, match=r"the function must return a cyclr\.torch\.Task, got 3"):
        range_test(lambda seed: 3, repeats=2)  # type: ignore[call-overload]


def test_slower_sweeps_begin_from_new_weights_too() -> None:
    """The loss of single examples is so noisy that short sweeps show nothing."""
    made: list[int] = []

    def noisy_task(seed: int) -> Task:
        made.append(seed)
        torch.manual_seed(seed)
        x = torch.randn(200, 8)
        model = nn.Linear(8, 1, bias=False)
        loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True) + 10 * torch.randn(200, 1)))
        return Task(model, torch.optim.SGD(model.parameters(), 0.1), mse_loss, loader)

    curve = range_test(noisy_task, repeats=2, budget=5000)
    assert made == [0, 1]
    assert curve.reference.shape == (2, 60)
    alone = [range_test(lambda _, seed=seed: noisy_task(seed), budget=5000).reference[0, 0] for seed in (0, 1)]
    assert curve.reference[:, 0] == pytest.approx(alone)
