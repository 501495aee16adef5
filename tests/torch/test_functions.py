"""What functions of the user's own change beside the model comes back too: averages, second networks, generators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from cyclr import HeldOut, Ramp
from cyclr.torch import preserved, range_test
from cyclr.torch._restore.reachable import Search
from tests.torch.digest import digest
from tests.torch.networks import data

cross_entropy = nn.functional.cross_entropy
Look = Callable[[], Any]


class Centre(nn.Module):
    """A loss or a metric with a running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.mean += outputs.detach().mean(0)
        return cross_entropy(outputs - 0.01 * self.mean, targets)


class Trainer:
    """As people write them: everything is an attribute, and one method is a step."""

    def __init__(self) -> None:
        self.model = nn.Linear(4, 3)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.average = AveragedModel(self.model)
        self.decay = torch.optim.lr_scheduler.StepLR(self.optimizer, 2)
        self.steps = 0

    def step(self, batch: Any) -> torch.Tensor:
        self.steps += 1
        loss = plain_step(self.model, self.optimizer, batch)
        self.average.update_parameters(self.model)
        self.decay.step()
        return loss

    def look(self) -> Any:
        return digest(self.model, self.optimizer, scheduler=self.decay), digest(self.average)


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, more: Any = None) -> torch.Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model(batch[0]), batch[1])
    (loss if more is None else loss + more).backward()
    optimizer.step()
    return loss


def step_of_a_trainer(made: Trainer) -> tuple[dict[str, Any], Look]:
    return {"update": made.step}, made.look


def step_around_that_of_a_trainer(made: Trainer) -> tuple[dict[str, Any], Look]:
    return {"update": lambda batch: made.step(batch)}, made.look


def part_of_a_step(made: Trainer) -> tuple[dict[str, Any], Look]:
    def step(average: nn.Module, batch: Any) -> torch.Tensor:
        average.update_parameters(made.model)
        return plain_step(made.model, made.optimizer, batch)

    return {"update": partial(step, made.average)}, made.look


def two_networks(made: Trainer) -> tuple[dict[str, Any], Look]:
    networks = {"other": nn.Linear(4, 3), "norm": nn.BatchNorm1d(3)}
    optimizer = torch.optim.Adam(networks["other"].parameters(), lr=0.01)

    def other_step(batch: Any) -> None:
        plain_step(networks["other"], optimizer, batch)

    def step(batch: Any) -> torch.Tensor:
        other_step(batch)
        return plain_step(made.model, made.optimizer, batch, networks["norm"](networks["other"](batch[0])).mean())

    return {"update": step}, lambda: (made.look(), digest(networks["other"], optimizer), digest(networks["norm"]))


def mixed_examples(made: Trainer) -> tuple[dict[str, Any], Look]:
    source, unlabelled = np.random.default_rng(1), DataLoader(data(), batch_size=4, shuffle=True)
    unlabelled.generator = torch.Generator().manual_seed(2)

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        share = source.beta(1.0, 1.0)
        next(iter(unlabelled))
        return share * cross_entropy(outputs, targets) + (1 - share) * cross_entropy(outputs, targets.flip(0))

    return {"loss_fn": loss_fn}, lambda: (
        made.look(),
        str(source.bit_generator.state),
        unlabelled.generator.get_state(),
    )


def loss_and_metric_in_functions(made: Trainer) -> tuple[dict[str, Any], Look]:
    loss, metric = Centre(), Centre()
    metrics = {"centre": (lambda outputs, targets: metric(outputs, targets), "max")}
    options = {"loss_fn": lambda outputs, targets: loss(outputs, targets), "metrics": metrics}
    return options, lambda: (made.look(), digest(loss), digest(metric))


GLOBAL = Centre()


def a_global(made: Trainer) -> tuple[dict[str, Any], Look]:
    return {"loss_fn": lambda outputs, targets: GLOBAL(outputs, targets)}, lambda: (made.look(), digest(GLOBAL))


def closure_step(made: Trainer) -> tuple[dict[str, Any], Look]:
    second = torch.optim.LBFGS(made.model.parameters(), lr=0.01, max_iter=2, history_size=2)

    def step(batch: Any) -> torch.Tensor:
        def again() -> torch.Tensor:
            made.optimizer.zero_grad()
            loss = cross_entropy(made.model(batch[0]), batch[1])
            loss.backward()
            return loss

        second.step(again)
        return plain_step(made.model, made.optimizer, batch)

    return {"update": step}, lambda: (made.look(), digest(made.model, second))


SITUATIONS = [step_of_a_trainer, step_around_that_of_a_trainer, part_of_a_step, two_networks, mixed_examples,
              loss_and_metric_in_functions, a_global, closure_step]  # fmt: skip


@given(
    st.sampled_from(SITUATIONS),
    st.sampled_from([None, RuntimeError, KeyboardInterrupt]),
    st.integers(0, 20),
)
def test_what_a_function_changes_beside_the_model_comes_back(
    situation: Any, error: type[BaseException] | None, at: int
) -> None:
    torch.manual_seed(0)
    made = Trainer()
    options, look = situation(made)
    if metrics := options.pop("metrics", None):
        options["held_out"] = HeldOut([next(iter(DataLoader(data(), batch_size=8)))], metrics)
    batches, calls = DataLoader(data(), batch_size=8, shuffle=True), 0
    made.model.register_forward_hook(lambda *_: fail())

    def fail() -> None:
        nonlocal calls
        calls += 1
        if error is not None and calls > at:
            raise error

    before, caught = look(), None
    try:
        range_test(made.model, made.optimizer, batches, repeats=1, **options, ramp=Ramp(low=1e-4, high=1.0, steps=15))
    except (RuntimeError, KeyboardInterrupt) as raised:
        caught = type(raised)
    assert caught is (error if calls > at else None)
    assert str(look()) == str(before)
    assert made.steps == (calls if "trainer" in situation.__name__ else 0)  # what is merely counted goes on


def test_each_situation_changes_what_is_looked_at() -> None:
    for situation in SITUATIONS:
        made = Trainer()
        options, look = situation(made)
        before, batch = str(look()), next(iter(DataLoader(data(), batch_size=8)))
        made.optimizer.zero_grad()
        metrics = [metric for metric, _ in options.get("metrics", {}).values()]
        for function in (options.get("update"), *metrics, options.get("loss_fn")):
            if function is not None:
                function(batch) if function is options.get("update") else function(made.model(batch[0]), batch[1])
        assert str(look()) != before, situation.__name__


def test_a_block_of_ones_own_is_told_of_its_functions() -> None:
    made = Trainer()
    before = made.look()
    with preserved(made.model, made.optimizer, functions=[made.step]):
        made.step(next(iter(DataLoader(data(), batch_size=8))))
        assert made.look() != before
    assert made.look() == before


def test_many_things_in_a_list_are_data_and_not_looked_into() -> None:
    few, many = [Centre()], [Centre() for _ in range(100)]
    found = [one.value for one in Search(lambda _: False).reached([("step", lambda: (few, many))])]
    assert any(one is few[0] for one in found)
    assert not any(one is many[0] for one in found)


def test_an_optimizer_that_needs_a_closure_is_refused_without_a_step_of_ones_own() -> None:
    made = Trainer()
    optimizer = torch.optim.LBFGS(made.model.parameters())
    with pytest.raises(ValueError, match="a step without a closure, got 'LBFGS'; pass a step function"):
        range_test(made.model, optimizer, DataLoader(data(), batch_size=8), cross_entropy)
