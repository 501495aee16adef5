"""Several networks and optimizers with one step function, as in a GAN or an actor with its critic."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cyclr import HeldOut, Inconclusive, Linear, Ramp, Search, Triangular
from cyclr.torch import AutoLoop, Chosen, Scheduler, auto, range_test, with_model
from tests.torch.digest import digest

X = torch.randn(320, 4, generator=torch.Generator().manual_seed(0))
LOADER = list(zip(X.split(16), X.sum(1, keepdim=True).split(16), strict=True))
RAMP = Ramp(1e-4, 1.0, steps=60)
Step = Callable[[Any], torch.Tensor]


def two() -> tuple[list[nn.Module], list[torch.optim.Optimizer], Step]:
    """A network and another that learns what the first one says, at a fourth of its rate."""
    torch.manual_seed(0)
    models: list[nn.Module] = [nn.Linear(4, 1), nn.Linear(4, 1)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.SGD(models[0].parameters(), lr=0.04, momentum=0.9),
        torch.optim.Adam(models[1].parameters(), lr=0.01),
    ]

    def step(batch: Any) -> torch.Tensor:
        inputs, targets = batch
        first = models[0](inputs)
        losses = [(first - targets).square().mean(), (models[1](inputs) - first.detach()).square().mean()]
        for optimizer, loss in zip(optimizers, losses, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return losses[0]

    return models, optimizers, step


def state(models: Any, optimizers: Any) -> list[str]:
    return [digest(model, optimizer) for model, optimizer in zip(models, optimizers, strict=True)]


def spied(optimizers: list[torch.optim.Optimizer]) -> list[list[float]]:
    """The rate of each optimizer at each of its steps; noted outside of what is restored."""
    rates: list[list[float]] = [[] for _ in optimizers]
    for optimizer, seen in zip(optimizers, rates, strict=True):
        optimizer.register_step_post_hook(lambda one, *_, seen=seen: seen.append(one.param_groups[0]["lr"]))
    return rates


@pytest.mark.parametrize("form", [list, tuple, lambda two: dict(enumerate(two)), nn.ModuleList])
def test_lists_of_models_and_optimizers_are_taken_and_keep_the_ratios_of_their_rates(form: Any) -> None:
    models, optimizers, step = two()
    rates, before = spied(optimizers), state(models, optimizers)
    several = optimizers if form is nn.ModuleList else form(optimizers)
    curve = range_test(form(models), several, LOADER, update=step, ramp=RAMP)
    made = int(np.isfinite(curve.losses).sum())
    assert rates[0][:made] == pytest.approx(RAMP.rates[:made])
    assert rates[1] == pytest.approx(np.array(rates[0]) / 4)
    assert state(models, optimizers) == before
    assert curve.bounds().max_lr > 0


@pytest.mark.parametrize("which", [0, 1])
def test_the_rates_of_one_alone_move_and_both_are_restored(which: int) -> None:
    models, optimizers, step = two()
    rates, before = spied(optimizers), state(models, optimizers)
    curve = range_test(models, Chosen(optimizers, which=which), LOADER, update=step, ramp=RAMP)
    made = int(np.isfinite(curve.losses).sum())
    assert rates[which][:made] == pytest.approx(RAMP.rates[:made])
    assert set(rates[1 - which]) == {(0.04, 0.01)[1 - which]}
    assert state(models, optimizers) == before


def test_the_same_as_by_hand_with_one_optimizer_of_two_groups() -> None:
    models, optimizers, step = two()
    optimizers[1] = torch.optim.SGD(models[1].parameters(), lr=0.01, momentum=0.9)
    several = range_test(models, optimizers, LOADER, update=step, ramp=RAMP)
    models, optimizers, _ = two()
    groups = [{"params": models[0].parameters(), "lr": 0.04}, {"params": models[1].parameters(), "lr": 0.01}]
    one = torch.optim.SGD(groups, momentum=0.9)

    def both(batch: Any) -> torch.Tensor:
        first = models[0](batch[0])
        loss = (first - batch[1]).square().mean()
        one.zero_grad()
        (loss + (models[1](batch[0]) - first.detach()).square().mean()).backward()
        one.step()
        return loss

    expected = range_test(nn.ModuleList(models), one, LOADER, update=both, ramp=RAMP)
    assert np.allclose(several.losses, expected.losses, equal_nan=True)


def test_models_in_evaluation_mode_are_put_into_training_mode_only_if_all_are() -> None:
    models, optimizers, step = two()
    flags = []

    def noting(batch: Any) -> torch.Tensor:
        flags.append(tuple(model.training for model in models))
        return step(batch)

    models[1].eval()
    range_test(models, optimizers, LOADER, update=noting, ramp=Ramp(1e-4, 1e-2, steps=2))
    models[0].eval()
    range_test(models, optimizers, LOADER, update=noting, ramp=Ramp(1e-4, 1e-2, steps=2))
    assert (set(flags[:2]), set(flags[2:])) == ({(True, False)}, {(True, True)})
    assert [model.training for model in models] == [False, False]


def test_auto_drives_both_and_a_checkpoint_of_the_optimizers_keeps_its_place() -> None:
    models, optimizers, step = two()
    scheduler = auto(models, optimizers, LOADER, update=step, epochs=3)
    peak = scheduler.bounds.max_lr
    seen = []
    for epoch in range(3):
        for batch in LOADER:
            step(batch)
            scheduler.step()
            seen.append([optimizer.param_groups[0]["lr"] for optimizer in optimizers])
        for optimizer in optimizers:  # such as from a file: the groups are other dicts afterwards
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert epoch == 2 or scheduler.get_last_lr() == seen[-1]
    assert max(rate for rate, _ in seen) == pytest.approx(peak)
    assert all(other == pytest.approx(rate / 4) for rate, other in seen)
    assert seen[-1] == [0.0, 0.0]


def test_a_group_that_one_of_them_gets_later_keeps_its_ratio_and_its_place() -> None:
    _, optimizers, _ = two()
    scheduler = Scheduler(optimizers, Linear(0.4, 0, steps=10))
    optimizers[0].add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 0.02})
    scheduler.step()
    assert [group["lr"] for group in optimizers[0].param_groups] == pytest.approx([0.36, 0.18])
    assert optimizers[1].param_groups[0]["lr"] == pytest.approx(0.09)
    state = scheduler.state_dict()
    scheduler.step()
    scheduler.load_state_dict(state)
    assert scheduler.get_last_lr() == pytest.approx([0.36, 0.09, 0.18])


def test_one_scheduler_for_each_is_possible_too() -> None:
    _, (first, second), _ = two()
    schedulers = [Scheduler(first, Triangular(0.1, 1, step_size=4)), Scheduler(second, Linear(0.1, 0, steps=10))]
    for scheduler in schedulers:
        scheduler.optimizer.step()
        scheduler.step()
    assert (first.param_groups[0]["lr"], second.param_groups[0]["lr"]) == (pytest.approx(0.325), pytest.approx(0.09))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            lambda m, o, s: {"update": None, "loss_fn": nn.functional.mse_loss},
            ValueError,
            "update must be a step function",
        ),
        (lambda m, o, s: {"optimizer": []}, TypeError, "optimizer must be a torch.optim.Optimizer"),
        (lambda m, o, s: {"optimizer": [o[0], m[1]]}, TypeError, "optimizer must be a torch.optim.Optimizer"),
        (lambda m, o, s: {"model": []}, TypeError, "model must be a torch.nn.Module"),
        (lambda m, o, s: {"model": [m[0], nn.Linear]}, TypeError, r"model\[1\] must be a torch.nn.Module"),
        (lambda m, o, s: {"model": [m[0], [m[1]] * 99]}, TypeError, r"model\[1\] must be a torch.nn.Module"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(change: Any, error: type[Exception], words: str) -> None:
    models, optimizers, step = two()
    given = {"model": models, "optimizer": optimizers, "loader": LOADER, "update": step}
    with pytest.raises(error, match=words) as caught:
        range_test(**(given | change(models, optimizers, step)))
    assert len(str(caught.value)) < 400


def test_one_in_a_list_is_that_one() -> None:
    models, optimizers, _ = two()
    mse_loss = nn.functional.mse_loss
    found = range_test(models[:1], optimizers[:1], LOADER, mse_loss, ramp=RAMP)
    expected = range_test(models[0], optimizers[0], LOADER, mse_loss, ramp=RAMP)
    assert np.array_equal(found.losses, expected.losses, equal_nan=True)


def test_several_models_with_one_optimizer_need_a_loss_that_knows_them() -> None:
    models, _, _ = two()
    optimizer = torch.optim.SGD([one for model in models for one in model.parameters()], lr=0.1)
    with pytest.raises(TypeError, match=r"got '2 models'.*with_model"):
        range_test(models, optimizer, LOADER, nn.functional.mse_loss, ramp=RAMP)

    @with_model
    def ensemble(both: Any, batch: Any) -> torch.Tensor:
        return sum((model(batch[0]) - batch[1]).square().mean() for model in both)

    held_out = HeldOut(LOADER, {"mse": ensemble})
    curve = range_test(models, optimizer, LOADER, ensemble, ramp=RAMP, held_out=held_out)
    assert curve.bounds().max_lr > 0
    held_out = HeldOut(LOADER, {"mse": nn.functional.mse_loss})
    with pytest.raises(TypeError, match=r"got '2 models'.*with_model"):
        range_test(models, optimizer, LOADER, ensemble, ramp=RAMP, held_out=held_out)


def test_a_scheduler_of_several_is_copied_and_pickled_with_them() -> None:
    _, optimizers, _ = two()
    scheduler = Scheduler(optimizers, Linear(0.4, 0, steps=10))
    for again in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        again.step()
        assert [one.param_groups[0]["lr"] for one in again.optimizer.optimizers] == pytest.approx([0.36, 0.09])
    assert scheduler.get_last_lr() == pytest.approx([0.4, 0.1])


def test_a_plateau_of_several_cuts_both_and_stays() -> None:
    _, optimizers, _ = two()
    chosen = Chosen(optimizers)
    scheduler = Scheduler(chosen, Linear(0.4, 0, steps=10))
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(chosen, patience=0, factor=0.5)
    for _ in range(2):
        scheduler.step()
        plateau.step(1.0)
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.14, 0.035])


def test_the_choice_of_an_optimizer_is_checked() -> None:
    _, optimizers, _ = two()
    with pytest.raises(ValueError, match="must be different"):
        Chosen([optimizers[0], *optimizers])
    with pytest.raises(TypeError, match=r"optimizers\[1\] must be"):
        Chosen([optimizers[0], Chosen(optimizers)])
    for which in (2, -1, True, "first"):
        with pytest.raises(ValueError, match="which must be None or an index below 2"):
            Chosen(optimizers, which=which)  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(ValueError, match="at least one optimizer"):
        Chosen([])
    with pytest.raises(TypeError, match=r"optimizers\[0\] must be"):
        Chosen([nn.Linear(1, 1)])  # pyrefly: ignore[bad-argument-type]
    chosen = Chosen(optimizers)
    with pytest.raises(RuntimeError, match="step each of them"):
        chosen.step()
    with pytest.raises(RuntimeError, match="to one of the optimizers"):
        chosen.add_param_group({"params": []})


def test_a_scheduler_of_several_that_is_stepped_once_an_epoch_is_noticed() -> None:
    models, optimizers, step = two()
    scheduler = auto(models, optimizers, LOADER, update=step, epochs=5)

    def epoch() -> None:
        for batch in LOADER:
            step(batch)
        scheduler.step()

    epoch()
    with pytest.warns(UserWarning, match="called once per 20 optimizer steps"):
        epoch()
    epoch()  # once is enough


# ---- steps that are not made at the rates of the test


def other_optimizer(models: list[nn.Module], optimizers: Any, step: Step) -> tuple[Any, Step]:
    return torch.optim.SGD(models[0].parameters(), lr=0.1), step  # not the one that the step uses


def the_other_of_two(models: list[nn.Module], optimizers: Any, step: Step) -> tuple[Any, Step]:
    def half(batch: Any) -> torch.Tensor:
        optimizers[1].zero_grad()
        loss = (models[1](batch[0]) - batch[1]).square().mean()
        loss.backward()
        optimizers[1].step()
        return loss

    return Chosen(optimizers, which=0), half


def by_hand(models: list[nn.Module], optimizers: Any, step: Step) -> tuple[Any, Step]:
    def hand(batch: Any) -> torch.Tensor:
        loss = (models[0](batch[0]) - batch[1]).square().mean()
        for value, slope in zip(models[0].parameters(), torch.autograd.grad(loss, models[0].parameters()), strict=True):
            with torch.no_grad():
                value -= 0.01 * slope
        return loss

    return optimizers[0], hand


def made_anew(models: list[nn.Module], optimizers: Any, step: Step) -> tuple[Any, Step]:
    def anew(batch: Any) -> torch.Tensor:
        optimizer = torch.optim.SGD(models[0].parameters(), lr=0.01)
        loss = (models[0](batch[0]) - batch[1]).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return optimizers[0], anew


@pytest.mark.parametrize("how", [other_optimizer, the_other_of_two, by_hand, made_anew])
def test_steps_by_something_else_than_the_optimizer_are_an_error(how: Any) -> None:
    models, optimizers, step = two()
    optimizer, step = how(models, optimizers, step)
    before = state(models, optimizers)
    with pytest.raises(ValueError, match="must step the optimizer whose rates the range test sets"):
        range_test(models, optimizer, LOADER, update=step, ramp=RAMP)
    assert state(models, optimizers) == before


def test_an_optimizer_that_is_stepped_now_and_then_is_none() -> None:
    models, optimizers, step = two()
    turns = iter(range(1000))

    def delayed(batch: Any) -> torch.Tensor:  # as an actor is, whose critic makes two steps
        loss = (models[1](batch[0]) - batch[1]).square().mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        return step(batch) if next(turns) % 2 else loss

    curve = range_test(models, Chosen(optimizers, which=0), LOADER, update=delayed, ramp=RAMP)
    assert curve.tuning_cost > 0


@pytest.mark.parametrize("each", [3, 4, 8])
def test_a_step_that_mostly_accumulates_is_told(each: int) -> None:
    models, optimizers, _ = two()
    turns = iter(range(1, 1000))

    def accumulates(batch: Any) -> torch.Tensor:
        loss = (models[0](batch[0]) - batch[1]).square().mean()
        loss.backward()
        if next(turns) % each == 0:
            optimizers[0].step()
            optimizers[0].zero_grad()
        return loss

    with pytest.warns(UserWarning, match=r"no optimizer made a step in \d+ of \d+ steps of the range test"):
        range_test(models, optimizers[0], LOADER, update=accumulates, ramp=RAMP)


def test_a_loop_that_reports_every_accumulated_batch_is_told() -> None:
    models, optimizers, _ = two()
    loop = AutoLoop(models[0], optimizers[0], LOADER, epochs=20, search=Search(ramp=RAMP))

    def train() -> None:
        for number, (x, y) in enumerate(loop):
            if not loop.testing:
                break
            loss = (models[0](x) - y).square().mean()
            loss.backward()
            if number % 4 == 3:
                optimizers[0].step()
                optimizers[0].zero_grad()
            loop.step(loss)

    with contextlib.suppress(Inconclusive), pytest.warns(UserWarning, match="let one step do all that leads to"):
        train()


@pytest.mark.parametrize("every", [2, 5])
def test_steps_that_a_grad_scaler_skips_are_not(every: int) -> None:
    models, optimizers, step = two()
    turns = iter(range(1000))

    def skips(batch: Any) -> torch.Tensor:
        return (models[0](batch[0]) - batch[1]).square().mean() if next(turns) % every == 1 else step(batch)

    assert range_test(models, optimizers, LOADER, update=skips, ramp=RAMP).tuning_cost > 0


def test_the_evidence_says_which_groups_rates_it_speaks_of() -> None:
    torch.manual_seed(0)
    body, head = nn.Linear(8, 16), nn.Linear(16, 1)
    groups = [
        {"params": body.parameters(), "lr": 0.001, "name": "body"},
        {"params": head.parameters(), "lr": 0.01, "name": "head"},
    ]
    optimizer = torch.optim.SGD(groups)
    x = torch.randn(320, 8)
    batches = [(part, part.sum(1, keepdim=True)) for part in x.split(16)]
    whose = "Rates are those of group 1 ('head'); the others keep their ratios: group 0 ('body') x0.1."
    for budget in (400, None):
        curve = range_test(nn.Sequential(body, head), optimizer, batches, nn.functional.mse_loss, budget=budget)
        assert whose in curve.bounds(budget=budget).evidence
    alone = torch.optim.SGD(head.parameters(), lr=0.01)
    assert range_test(nn.Sequential(body, head), alone, batches, nn.functional.mse_loss, budget=400).groups == ()
