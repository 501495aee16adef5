"""Trainings without a loader: a step function that takes nothing, or the number of the step."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cyclr import HeldOut, Ramp
from cyclr.torch import auto, range_test
from tests.torch.digest import digest

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = X.sum(1, keepdim=True)
RAMP = Ramp(1e-4, 1.0, steps=40)


class Full:
    """A training on all data at once, with steps in the forms that people write."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.numbers: list[Any] = []

    def step(self) -> torch.Tensor:
        loss = nn.functional.mse_loss(self.model(X), Y)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def numbered(self, epoch: int) -> torch.Tensor:
        self.numbers.append(epoch)
        return self.step()

    def optional(self, batch: Any = None) -> torch.Tensor:
        assert batch is None
        return self.step()

    def anything(self, *batches: Any, **settings: Any) -> torch.Tensor:
        assert not batches
        return self.step()

    def scaled(self, factor: float) -> torch.Tensor:
        assert factor == 1.0
        return self.step()

    __call__ = step


FORMS = {
    "method": lambda full: full.step,
    "lambda": lambda full: lambda: full.step(),
    "number": lambda full: full.numbered,
    "default": lambda full: full.optional,
    "any": lambda full: full.anything,
    "partial": lambda full: functools.partial(full.scaled, 1.0),
    "object": lambda full: full,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_it_is_a_range_test_with_the_same_batch_at_each_step(form: Any) -> None:
    full, other = Full(), Full()
    before = digest(full.model, full.optimizer)
    curve = range_test(full.model, full.optimizer, update=form(full), ramp=RAMP)
    expected = range_test(other.model, other.optimizer, [(X, Y)], nn.functional.mse_loss, ramp=RAMP)
    assert np.array_equal(curve.losses, expected.losses, equal_nan=True)
    assert digest(full.model, full.optimizer) == before


def test_steps_are_numbered_from_0_through_all_sweeps() -> None:
    full, seen = Full(), []

    def step(number: int) -> torch.Tensor:
        seen.append(number)
        return full.step()

    range_test(full.model, full.optimizer, update=step, ramp=Ramp(1e-5, 1e-4, steps=10), repeats=2)
    assert seen == list(range(20))


def test_auto_takes_a_budget_in_steps_and_trains() -> None:
    full = Full()
    scheduler = auto(full.model, full.optimizer, update=full.step, steps=60)
    first = full.step().item()
    for _ in range(60):
        last = full.step().item()
        scheduler.step()
    assert last < 0.01 * first
    assert scheduler.get_last_lr() == [0.0]
    assert scheduler.plan.steps_per_epoch is None


def test_held_out_data_may_still_be_measured() -> None:
    full = Full()
    held_out = HeldOut([(X, Y)], {"mse": nn.functional.mse_loss}, every=5)
    curve = range_test(full.model, full.optimizer, update=full.step, ramp=RAMP, held_out=held_out)
    assert np.isfinite(curve.metrics["mse"][0, 4])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda f: range_test(f.model, f.optimizer), TypeError, "loader must be a loader, got None"),
        (lambda f: range_test(f.model, f.optimizer, loss_fn=len), TypeError, "loader must be a loader, got None"),
        (lambda f: auto(f.model, f.optimizer, update=f.step, epochs=3), ValueError, "there is no loader"),
        (lambda f: auto(f.model, f.optimizer, update=f.step), ValueError, "got neither"),
        (lambda f: range_test(f.model, f.optimizer, update=lambda: 1.0), TypeError, "the loss must be a tensor"),
        (lambda f: range_test(f.model, f.optimizer, update=lambda: None), TypeError, "the loss must be a tensor"),
        (lambda f: range_test(f.model, f.optimizer, update=lambda a, b: None), TypeError, "positional argument"),
    ],
)
def test_bad_input_is_an_error(call: Any, error: type[Exception], words: str) -> None:
    full = Full()
    before = digest(full.model, full.optimizer)
    with pytest.raises(error, match=words):
        call(full)
    assert digest(full.model, full.optimizer) == before
