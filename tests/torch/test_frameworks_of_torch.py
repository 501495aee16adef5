"""The scheduler beside what torch offers: kinds of optimizers, compiled steps, averaged weights, sharded state."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel

from cyclr import Constant, Opposed, Ramp, Triangular
from cyclr.torch import Scheduler, range_test
from tests import forked

WAVE = Triangular(0.01, 0.1, step_size=3)
MOMENTUM = Opposed(WAVE, 0.8, 0.95)
DECAY = Triangular(0.0, 0.02, step_size=4)
X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def trained(steps: int, kind: Any = torch.optim.Adam, **options: Any) -> torch.Tensor:
    """The weights after so many steps under cycling rate, momentum and weight decay."""
    model = network()
    optimizer = kind(model.parameters(), lr=0.1, **options)
    scheduler = Scheduler(optimizer, WAVE, momentum=MOMENTUM, weight_decay=DECAY)
    for _ in range(steps):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        scheduler.step()
    return weights(model)


# ---------------------------------------------------------------- optimizers


@pytest.mark.parametrize("form", ["foreach", "fused"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_foreach_and_fused_optimizers_train_as_the_plain_one(kind: Any, form: str) -> None:
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    plain = trained(20, kind, foreach=False, **options)
    assert torch.allclose(trained(20, kind, **{form: True}, **options), plain, rtol=1e-4, atol=1e-6)


class Own(torch.optim.Optimizer):
    """As people write them: heavy ball with weight decay, nothing of torch's but the base class."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                held = self.state[parameter].setdefault("held", torch.zeros_like(parameter))
                held.mul_(group["momentum"]).add_(parameter.grad + group["weight_decay"] * parameter)
                parameter.sub_(group["lr"] * held)


def test_an_optimizer_of_someone_elses_is_driven() -> None:
    assert torch.allclose(trained(20, Own), trained(20, torch.optim.SGD, momentum=0.9), rtol=1e-4, atol=1e-6)


def test_an_optimizer_of_someone_elses_is_put_back_after_a_range_test() -> None:
    model = network()
    optimizer = Own(model.parameters(), lr=0.1)
    model(X).sum().backward()
    optimizer.step()
    before = weights(model), [state["held"].clone() for state in optimizer.state.values()]
    range_test(
        model, optimizer, [X], lambda net, batch: net(batch).square().mean(), ramp=Ramp(low=1e-4, high=10, steps=30)
    )
    assert torch.equal(weights(model), before[0])
    held = [state["held"] for state in optimizer.state.values()]
    assert all(map(torch.equal, held, before[1]))
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_with_accumulated_gradients_the_schedule_counts_updates() -> None:
    model, used = network(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = Scheduler(optimizer, WAVE)
    for batch, x in enumerate(X.repeat(2, 1), 1):
        (model(x).square().mean() / 4).backward()
        if batch % 4 == 0:
            used.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
    assert used == [WAVE(step) for step in range(6)]


# ---------------------------------------------------------------- compiled steps


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch has deprecated
def test_over_1000_steps_of_three_cycles_nothing_is_compiled_again() -> None:
    graphs = 0

    def backend(graph: Any, _: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    torch.compiler.reset()
    model = network()
    betas = (torch.tensor(0.9), torch.tensor(0.99))
    # On a CPU, foreach takes no rate that is a tensor, and torch compiles nothing of a fused step.
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.1), betas=betas, foreach=False)
    optimizer.param_groups[0]["weight_decay"] = torch.tensor(0.01)
    scheduler = Scheduler(optimizer, WAVE, momentum=MOMENTUM, weight_decay=DECAY)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    step = torch.compile(optimizer.step, backend=backend)
    counted, values = [], set()
    for _ in range(1000):
        step()
        scheduler.step()
        counted.append(graphs)
        group = optimizer.param_groups[0]
        values.add((group["lr"].item(), group["betas"][0].item(), group["weight_decay"].item()))
    assert counted[1] > 0
    assert counted[1] == counted[-1]
    assert len(values) == len({(WAVE(step), DECAY(step)) for step in range(24)})  # all three did move


# ---------------------------------------------------------------- averaged weights


def test_weights_are_averaged_at_the_ends_of_cycles() -> None:
    """As the papers on snapshots and on SWA do it: the model is taken in where the rate is lowest."""
    model = network()
    average = AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = Scheduler(optimizer, WAVE)
    ends, taken = set(WAVE.cycle_ends(until=24)), []
    for step in range(1, 25):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        scheduler.step()
        if step in ends:
            average.update_parameters(model)
            taken.append(weights(model))
    assert len(taken) == 4
    assert torch.allclose(weights(average.module), torch.stack(taken).mean(0), atol=1e-6)


def test_swalr_anneals_from_wherever_the_schedule_stands() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = Scheduler(optimizer, WAVE)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    swa = SWALR(optimizer, swa_lr=0.05, anneal_epochs=5, anneal_strategy="linear")
    seen = []
    for _ in range(6):
        optimizer.step()
        swa.step()
        seen.append(optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx([0.09, 0.08, 0.07, 0.06, 0.05, 0.05])


def test_swalr_takes_its_turn_in_a_sequence() -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    first = Scheduler(optimizer, WAVE)
    then = SWALR(optimizer, swa_lr=0.05, anneal_epochs=1)
    sequence = torch.optim.lr_scheduler.SequentialLR(optimizer, [first, then], milestones=[6])
    seen = []
    for _ in range(6):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        sequence.step()
    assert seen == pytest.approx([WAVE(step) for step in range(6)])


# ---------------------------------------------------------------- state shared out between processes


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    written = forked.ranks("-m", "tests.torch.sharded_optimizer", needs=forked.TORCH)
    return [json.loads(out.splitlines()[-1]) for out in written]


@pytest.mark.parametrize("kind", ["ZeRO", "FSDP2"])
def test_an_optimizer_with_shared_out_state_trains_as_the_plain_one(found: list[dict[str, Any]], kind: str) -> None:
    assert found[0][kind] == found[1][kind] == pytest.approx(found[0]["plain"], rel=1e-4, abs=1e-6)


def test_the_rates_matter_to_these_trainings() -> None:
    """So that equal weights mean equal rates."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = Scheduler(optimizer, Constant(0.1))
    for _ in range(20):
        optimizer.zero_grad()
        model(X).square().mean().backward()
        optimizer.step()
        scheduler.step()
    assert not torch.allclose(weights(model), trained(20), rtol=1e-2)
