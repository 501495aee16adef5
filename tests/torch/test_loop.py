"""`AutoLoop`: the range test of a training whose step is the body of a loop, as if there had been none."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import cyclr
from cyclr import Ramp, Search
from cyclr.torch import AutoLoop, auto
from tests.torch.digest import digest

mse = nn.functional.mse_loss
QUIET = Search(ramp=Ramp(1e-4, 10, steps=120), progress=lambda *_: None)


def made() -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.randn(320, 8)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True) + 0.1 * torch.randn(320, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), loader


def one_step(model: Any, optimizer: Any, batch: Any) -> torch.Tensor:
    optimizer.zero_grad()
    loss = mse(model(batch[0]), batch[1])
    loss.backward()
    optimizer.step()
    return loss


def test_the_training_is_that_of_auto_to_the_last_bit() -> None:
    model, optimizer, loader = made()

    def step(batch: Any) -> torch.Tensor:
        return one_step(model, optimizer, batch)

    scheduler = auto(model, optimizer, loader, update=step, epochs=2, search=QUIET)
    for _ in range(2):
        for batch in loader:
            one_step(model, optimizer, batch)
            scheduler.step()

    other, driver, batches = made()
    loop = AutoLoop(other, driver, batches, epochs=2, search=QUIET)
    tested = made_steps = 0
    for _ in range(2):
        for batch in loop:
            tested += loop.testing
            made_steps += not loop.testing
            loop.step(one_step(other, driver, batch))
    assert loop.scheduler is not None
    assert loop.scheduler.bounds == scheduler.bounds
    assert loop.scheduler.curve.tuning_cost == scheduler.curve.tuning_cost <= 30
    assert loop.scheduler.curve.in_turn == scheduler.curve.in_turn == 3
    assert (tested, made_steps) == (0, 40)  # what the loop counts comes back, too
    assert loop.scheduler.state_dict() == scheduler.state_dict()
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    assert len(loop) == len(loader)
    assert loop.dataset is batches.dataset


class Program:
    """A loop in a method, which carries a state, sums, a list and a count."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.LSTM(4, 4)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.x = torch.randn(60, 8, 4)
        self.count, self.losses = 0, []
        self.average = [p.detach().clone() for p in self.model.parameters()]

    def epoch(self, loop: AutoLoop) -> Any:
        hidden = (torch.zeros(1, 8, 4), torch.zeros(1, 8, 4))
        total, losses, first = 0.0, [], None
        for i in loop:
            if first is None and not loop.testing:
                first = (total, list(losses), self.count, [one.sum().item() for one in hidden])
            hidden = tuple(one.detach() for one in hidden)
            output, hidden = self.model(self.x[i : i + 3], hidden)
            loss = mse(output, 0.5 * self.x[i : i + 3])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            for one, p in zip(self.average, self.model.parameters(), strict=True):
                one.lerp_(p.detach(), 0.1)
            total += loss.item()
            losses.append(loss.item())
            self.count += 1
            loop.step(loss)
        return first, losses


def test_what_the_loop_carries_is_as_if_there_had_been_no_test() -> None:
    program = Program()
    average = [one.clone() for one in program.average]
    rates = range(0, 60, 3)
    search = Search(ramp=Ramp(1e-2, 1e4, steps=120), progress=lambda *_: None)
    loop = AutoLoop(program.model, program.optimizer, rates, epochs=1, search=search)
    first, losses = program.epoch(loop)
    assert first == (0.0, [], 0, [0.0, 0.0])
    assert program.count == len(losses) == 20

    other = Program()  # the same training without a test
    schedule = loop.scheduler.plan.schedule

    class Plain:
        testing = False

        def __iter__(self) -> Iterator[int]:
            for step, i in enumerate(rates):
                other.optimizer.param_groups[0]["lr"] = schedule(step)
                yield i

        def step(self, loss: torch.Tensor) -> None:
            pass

    assert other.epoch(Plain())[1] == losses
    assert all(map(torch.equal, other.average, program.average))
    assert not torch.equal(average[0], program.average[0])


@pytest.mark.parametrize("wrapped", [iter, enumerate, lambda loop: zip(loop, range(10**6), strict=False)])
def test_a_loop_may_be_wrapped(wrapped: Any) -> None:
    model, optimizer, loader = made()
    loop = AutoLoop(model, optimizer, loader, epochs=1, search=QUIET)
    count, mean = 0, torch.zeros(3)
    for batch in wrapped(loop):
        if not loop.testing and count == 0:
            assert torch.equal(mean, torch.zeros(3))
        loop.step(one_step(model, optimizer, batch if wrapped is iter else batch[wrapped is enumerate]))
        count, mean = count + 1, mean + 1
    assert count == 20


def test_a_generator_of_the_users_own_may_stand_between() -> None:
    model, optimizer, loader = made()

    def summed(batches: Any) -> Iterator[Any]:
        seen = []
        for batch in batches:
            seen.append(0)
            yield len(seen), batch

    loop = AutoLoop(model, optimizer, loader, epochs=1, search=QUIET)
    count, mean = 0, torch.zeros(3)
    seen = 0
    for seen, batch in summed(loop):  # noqa: B007
        loop.step(one_step(model, optimizer, batch))
        count, mean = count + 1, mean + 1
    assert (count, seen, mean.tolist()) == (20, 20, [20.0] * 3)


def test_without_a_loader_the_loop_is_given_the_numbers_of_its_steps() -> None:
    model, optimizer, loader = made()
    (batch,) = torch.utils.data.DataLoader(loader.dataset, batch_size=320)
    seen = []
    loop = AutoLoop(model, optimizer, steps=30, search=QUIET)
    for step in loop:
        seen.append(step)
        loop.step(one_step(model, optimizer, batch))
        if step > 30:
            break  # as programs with a loop of `while True` end: not in the range test, which is longer
    assert seen == list(range(30))
    assert optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize("how", ["error", "break", "kept iterator", "interrupt"])
def test_however_the_loop_ends_in_the_test_all_is_restored(how: str, caplog: pytest.LogCaptureFixture) -> None:
    model, optimizer, loader = made()
    before = digest(model, optimizer, loader=loader)

    def run() -> None:
        kept = []
        with AutoLoop(model, optimizer, loader, epochs=2, search=QUIET) as loop:
            batches = iter(loop)
            if how == "kept iterator":
                kept.append(batches)
            for number, batch in enumerate(batches if kept else loop):
                loop.step(one_step(model, optimizer, batch))
                if number == 17 and how == "break":
                    break
                if number == 17:
                    raise KeyboardInterrupt if how == "interrupt" else ZeroDivisionError
        assert kept == []

    if how == "break":
        run()
    else:
        with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
            run()
    assert digest(model, optimizer, loader=loader) == before
    assert [line for line in caplog.messages if "left during the range test" in line] or how == "kept iterator"


def test_an_error_is_over_where_it_is_caught_without_a_with() -> None:
    model, optimizer, loader = made()
    before = digest(model, optimizer, loader=loader)
    loop = AutoLoop(model, optimizer, loader, epochs=2, search=QUIET)
    try:
        for batch in enumerate(loop):
            one_step(model, optimizer, batch[1])
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert digest(model, optimizer, loader=loader) == before
    assert not loop.testing


def test_several_batches_may_make_one_step() -> None:
    model, optimizer, loader = made()
    loop = AutoLoop(model, optimizer, loader, steps=10, search=QUIET)
    steps = 0
    for _ in range(2):
        for number, (x, y) in enumerate(loop):
            loss = mse(model(x), y) / 4
            loss.backward()
            if number % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
                loop.step(loss)
                steps += 1
    assert (steps, loop.scheduler.last_epoch) == (10, 10)


def test_several_networks_and_optimizers() -> None:
    model, optimizer, loader = made()
    second, driver, _ = made()
    driver.param_groups[0]["lr"] = 0.05
    loop = AutoLoop([model, second], [optimizer, driver], loader, epochs=2, search=QUIET)
    for _ in range(2):
        for batch in loop:
            one_step(second, driver, batch)
            loop.step(one_step(model, optimizer, batch))
            if loop.scheduler is None:
                assert driver.param_groups[0]["lr"] == pytest.approx(optimizer.param_groups[0]["lr"] / 2)
    assert loop.scheduler.get_last_lr() == [0.0, 0.0]


def test_a_saved_schedule_is_continued_without_a_test() -> None:
    model, optimizer, loader = made()
    loop = AutoLoop(model, optimizer, loader, epochs=2, search=QUIET)
    for batch in loop:
        loop.step(one_step(model, optimizer, batch))
    state = copy.deepcopy(loop.scheduler.state_dict())
    again = AutoLoop(model, optimizer, loader, epochs=2, search=QUIET, resume=state)
    for batch in again:
        assert not again.testing
        again.step(one_step(model, optimizer, batch))
    assert again.scheduler.get_last_lr() == [0.0]


def test_misuse_is_told() -> None:
    model, optimizer, loader = made()
    with pytest.raises(ValueError, match="steps must be given"):
        AutoLoop(model, optimizer, epochs=3)
    with pytest.raises(TypeError, match="a dataset"):
        AutoLoop(model, optimizer, loader.dataset, epochs=3)
    loop = AutoLoop(model, optimizer, loader, epochs=2, search=QUIET)
    with pytest.raises(RuntimeError, match="inside a loop"):
        loop.step(torch.tensor(1.0))
    with pytest.raises(ValueError, match="after each optimizer step of the loop, got 'no call in 1,000 batches'"):
        for batch in loop:
            one_step(model, optimizer, batch)
    with pytest.raises(TypeError, match="the loss must be a tensor"):
        for batch in loop:
            loop.step(one_step(model, optimizer, batch).item())
    with pytest.raises(ValueError, match="must not set the learning rate"):
        for batch in loop:
            optimizer.param_groups[0]["lr"] = 0.1
            loop.step(one_step(model, optimizer, batch))
    with pytest.raises(cyclr.Inconclusive):
        for _ in loop:
            loop.step(torch.rand(()))
    with pytest.raises(AttributeError, match="datasett"):
        _ = loop.datasett
