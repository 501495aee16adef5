"""What a step function returns is compared with what it differentiates: rewards, GANs, and what is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from cyclr import HeldOut, Inconclusive, Ramp, Search
from cyclr.torch import AutoLoop, auto, range_test

cross_entropy = nn.functional.cross_entropy
RAMP = Ramp(steps=120)
PLACES = 8


def walked(policy: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """The log probabilities and the rewards of walks along a corridor, at whose end the rewards are."""
    place, chosen, rewards = torch.full((16,), 3), [], []
    for _ in range(12):
        step = torch.distributions.Categorical(logits=policy(nn.functional.one_hot(place, PLACES).float()))
        move = step.sample()
        chosen.append(step.log_prob(move))
        place = (place + 2 * move - 1).clamp(0, PLACES - 1)
        rewards.append((place == PLACES - 1).float())
    return torch.stack(chosen), torch.stack(rewards)


def reinforce(returns_reward: bool = True) -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(PLACES, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(policy.parameters())

    def step() -> torch.Tensor:
        chosen, rewards = walked(policy)
        gains = rewards.flip(0).cumsum(0).flip(0)
        loss = -(chosen * (gains - gains.mean()) / (gains.std() + 1e-6)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return -rewards.sum(0).mean() if returns_reward else loss

    return policy, optimizer, step


def test_minus_the_reward_of_a_policy_gradient_is_no_answer() -> None:
    policy, optimizer, step = reinforce()
    own = torch.autograd.backward
    curve = range_test(policy, optimizer, update=step, ramp=RAMP)
    assert torch.autograd.backward is own
    assert curve.loss_kind == "other"
    with pytest.raises(Inconclusive, match="a value that it does not minimise, such as a reward") as found:
        curve.bounds()
    assert found.value.fallback is not None
    with pytest.raises(Inconclusive, match="such as a reward") as unclear:
        auto(policy, optimizer, update=step, steps=1000, search=Search(progress=False))
    assert unclear.value.curve is not None
    assert unclear.value.curve.tuning_cost <= 150  # no second test, which would say the same


def test_in_a_loop_of_ones_own_it_is_seen_too() -> None:
    policy, optimizer, step = reinforce()
    loop = AutoLoop(policy, optimizer, steps=1000, search=Search(progress=False))

    def train() -> None:
        for _ in loop:
            loop.step(step())

    with pytest.raises(Inconclusive, match="such as a reward"):
        train()


def test_a_reward_that_is_a_metric_has_bounds_of_its_own() -> None:
    policy, optimizer, step = reinforce(returns_reward=False)

    def reward(policy: nn.Module, _: Any) -> float:
        return float(torch.stack([walked(policy)[1].sum(0).mean() for _ in range(16)]).mean())

    held_out, ramp = HeldOut([0], {"reward": (reward, "max")}, every=5), Ramp(0.0, 0.3, steps=150, scale="linear")
    curve = range_test(policy, optimizer, update=step, ramp=ramp, held_out=held_out)
    bounds = curve.bounds("reward")
    assert 1e-3 < bounds.max_lr < 1
    assert any("reward" in sentence for sentence in bounds.evidence)


def gan() -> tuple[list[nn.Module], list[torch.optim.Optimizer], Any]:
    torch.manual_seed(0)
    models: list[nn.Module] = [
        nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)),
        nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1)),
    ]
    rates = zip(models, (1e-3, 2e-3), strict=True)
    return models, [torch.optim.Adam(model.parameters(), lr=lr, betas=(0.5, 0.9)) for model, lr in rates], None


def judged(critic: nn.Module, points: torch.Tensor, real: float) -> torch.Tensor:
    said = critic(points)
    return nn.functional.binary_cross_entropy_with_logits(said, torch.full_like(said, real))


@pytest.mark.parametrize(("apart", "returned", "kind"), [(False, 0, "one side"), (True, 0, "one side"), (False, 2, "")])
def test_the_loss_of_one_side_of_a_gan_is_named(apart: bool, returned: int, kind: str) -> None:
    (generator, critic), optimizers, _ = gan()
    points = torch.randn(2000, 2) * torch.tensor([1.0, 0.3]) + torch.tensor([2.0, -1.0])
    loader = torch.utils.data.DataLoader(points, batch_size=50, shuffle=True)  # type: ignore[arg-type]

    def step(batch: torch.Tensor) -> torch.Tensor:
        fake = generator(torch.randn(len(batch), 4))
        optimizers[1].zero_grad()
        parts = [judged(critic, batch, 1.0), judged(critic, fake.detach(), 0.0)]
        for loss in parts if apart else [parts[0] + parts[1]]:
            loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        fooled = judged(critic, fake, 1.0)
        fooled.backward()
        optimizers[0].step()
        own = (parts[0] + parts[1]).detach()
        return own + fooled.detach() if returned == 2 else own

    curve = range_test([generator, critic], optimizers, loader, update=step, ramp=Ramp(1e-6, 1.0, steps=200))
    assert curve.loss_kind == kind
    bounds = curve.bounds()
    assert (bounds.max_interval is None) == (kind == "one side")
    assert ("one side of a GAN" in " ".join(bounds.evidence)) == (kind == "one side")


def step_of(kind: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[Any], torch.Tensor]:
    """Steps as people write them, all of which minimise what they return, or what goes with it."""
    seen: list[torch.Tensor] = []

    def step(batch: Any) -> torch.Tensor:
        inputs, targets = batch
        optimizer.zero_grad()
        if kind == "accumulation":
            for part, own in zip(inputs.split(4), targets.split(4), strict=True):
                loss = cross_entropy(model(part), own)
                (loss / 4).backward()
            optimizer.step()
            return loss
        loss = cross_entropy(model(inputs), targets)
        total = loss
        if kind == "penalty":
            total = loss + 0.01 * torch.stack([weight.square().sum() for weight in model.parameters()]).sum()
        if kind == "by torch":
            torch.autograd.backward([total], [torch.ones_like(total)])
        elif kind == "sum":
            (16 * total).backward()
        else:
            total.backward()
        optimizer.step()
        if kind == "twice":
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        if kind == "error":
            return (model(inputs).argmax(1) != targets).float().mean()
        if kind == "running mean":
            seen.append(loss.detach() if not seen else 0.9 * seen[-1] + 0.1 * loss.detach())
            return seen[-1]
        return loss.detach()

    return step


@pytest.mark.parametrize(
    "kind", ["plain", "accumulation", "penalty", "by torch", "sum", "twice", "error", "running mean"]
)
def test_what_goes_with_what_is_minimised_is_a_loss(kind: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(640, 8)
    data = torch.utils.data.TensorDataset(x, (x.sum(1) > 0).long())
    loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    curve = range_test(model, optimizer, loader, update=step_of(kind, model, optimizer), ramp=RAMP)
    assert curve.loss_kind == ""
    assert 1e-4 < curve.bounds().max_lr < 1


def test_after_an_error_gradients_are_computed_as_ever() -> None:
    own = torch.autograd.backward
    model = nn.Linear(2, 1)

    def step(batch: Any) -> torch.Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        range_test(model, torch.optim.SGD(model.parameters(), lr=0.1), [torch.ones(1, 2)], update=step)
    assert torch.autograd.backward is own
