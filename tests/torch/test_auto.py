"""The four lines as one: the same result, with its reasons, and nothing else changed."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cyclr import Curve, Goal, Inconclusive, Linear, Ramp, Search, parse, plan
from cyclr.torch import Scheduler, Snapshots, Update, auto, range_test
from tests.torch.digest import digest

mse_loss = nn.functional.mse_loss
THOROUGH = Search(effort="thorough")  # of its own: the peaks of its probe cycles need the sweep's bounds


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
    curve = range_test(model, optimizer, loader, mse_loss, budget=900)
    expected = plan(curve.bounds(budget=900), epochs=45, steps_per_epoch=20)
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=45)
    assert scheduler.plan == expected
    assert scheduler.bounds == curve.bounds(budget=900)
    assert scheduler.curve.tuning_cost <= 0.15 * 900
    assert np.array_equal(scheduler.curve.losses, curve.losses, equal_nan=True)
    assert digest(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    rates = scheduler.get_last_lr()
    assert rates == [pytest.approx(expected.schedule(0)), pytest.approx(0.1 * expected.schedule(0))]


@pytest.mark.parametrize(("search", "reads"), [(Search(), [(160, False)]), (THOROUGH, [(None, False), (160, True)])])
def test_the_bounds_are_read_once_from_each_curve(
    monkeypatch: pytest.MonkeyPatch, search: Search, reads: list[tuple[int | None, bool]]
) -> None:
    model, optimizer, loader = problem()
    found, bounds = [], Curve.bounds

    def counted(curve: Curve, *args: Any, budget: int | None = None) -> Any:
        found.append((budget, curve.peaks.size > 0))
        return bounds(curve, *args, budget=budget)

    monkeypatch.setattr(Curve, "bounds", counted)
    auto(model, optimizer, loader, mse_loss, epochs=8, search=search)
    assert found == reads


def test_the_reasons_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    model, optimizer, loader = problem()
    with caplog.at_level(logging.INFO, logger="cyclr"):
        scheduler = auto(model, optimizer, loader, mse_loss, epochs=4)
    assert caplog.messages == [*scheduler.bounds.evidence, *scheduler.plan.reasons]


def test_an_ensemble_is_saved_as_planned_and_a_training_that_is_too_short_for_one_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, optimizer, loader = problem()
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=8, goal=Goal("ensemble", cycles=3))
    assert scheduler.plan is not None
    assert scheduler.plan.snapshots == (80, 120, 160)
    snapshots = Snapshots(tmp_path, model, scheduler)
    for _ in range(8):
        for x, y in loader:
            optimizer.zero_grad()
            mse_loss(model(x), y).backward()
            optimizer.step()
            scheduler.step()
            snapshots.step()
    assert tuple(one.step for one in snapshots) == scheduler.plan.snapshots
    assert scheduler.get_last_lr() == [0.0, 0.0]
    with caplog.at_level(logging.INFO, logger="cyclr"):
        short = auto(model, optimizer, loader, mse_loss, epochs=2, goal="ensemble").plan
    assert short is not None
    assert short.snapshots == (40,)
    assert "The budget is too short for the goal 'ensemble'" in caplog.text


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
        ({"epochs": 4, "goal": Goal(cycles=100)}, ValueError, "100 cycles need at least 200 steps"),
        ({"epochs": 4, "goal": "best"}, ValueError, "goal must be one of"),
        ({"epochs": 4, "goal": 3}, TypeError, "goal must be a name or a cyclr.Goal, got 3"),
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
    assert len(auto(model, optimizer, loader, mse_loss, epochs=49).curve.peaks) == 0
    shorter = auto(model, optimizer, loader, mse_loss, epochs=50)  # 1,000 steps
    assert len(shorter.curve.peaks) >= 3
    assert shorter.curve.tuning_cost <= 0.15 * 1000
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=400)  # 8,000 steps
    assert len(scheduler.curve.peaks) >= 3
    assert scheduler.curve.tuning_cost <= 0.15 * 8000
    assert len(auto(model, optimizer, loader, mse_loss, epochs=400, search=Search(effort="quick")).curve.peaks) == 0
    assert digest(model) == before


# ---- what is said


def test_one_line_says_what_was_found_and_planned(capfd: pytest.CaptureFixture[str]) -> None:
    model, optimizer, loader = problem()
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=4)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == (
        f"auto: max_lr {scheduler.bounds.max_lr:.3g} by {scheduler.curve.tuning_cost} steps of range test; "
        f"planned 80 steps, {scheduler.plan.schedule}\n"
    )


def test_a_terminal_shows_progress_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    model, optimizer, loader = problem()
    auto(model, optimizer, loader, mse_loss, epochs=100, search=Search(effort="quick"))
    assert "\rrange test: step 10 of at most 18" in screen.getvalue()
    assert screen.getvalue().count("\n") == 1


def test_it_is_quiet_on_demand_or_where_one_is_told_oneself(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[Any] = []
    model, optimizer, loader = problem()
    auto(model, optimizer, loader, mse_loss, epochs=4, search=Search(progress=False))
    auto(
        model,
        optimizer,
        loader,
        mse_loss,
        epochs=100,
        search=Search(effort="quick", progress=lambda *news: told.append(news)),
    )
    range_test(model, optimizer, loader, mse_loss)
    assert capfd.readouterr() == ("", "")
    assert told[0][:2] == (10, 18)


@pytest.mark.parametrize("given", [True, 0, "bar"])
def test_progress_of_another_kind_is_an_error(given: Any) -> None:
    with pytest.raises(TypeError, match="progress must be"):
        Search(progress=given)


def test_an_inconclusive_test_leaves_an_empty_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    model, optimizer, loader = problem()
    with pytest.raises(Inconclusive):
        auto(model, optimizer, loader, mse_loss, epochs=4, search=Search(Ramp(1e-9, 1e-8)))
    assert screen.getvalue().endswith("\r")


# ---- the rest of an epoch makes a step, too


@pytest.mark.parametrize(
    ("batches", "every"), [(20, 1), (20, 4), (20, 3), (20, 7), (20, 19), (20, 20), (20, 50), (1, 2)]
)
def test_the_plan_is_as_long_as_the_usual_loop_with_accumulation(batches: int, every: int) -> None:
    model, optimizer, loader = problem()
    data = list(loader)[:batches]
    made = 0
    for index in range(1, len(data) + 1):
        made += index % every == 0 or index == len(data)
    scheduler = auto(model, optimizer, data, mse_loss, epochs=6, update=Update(accumulate=every))
    assert scheduler.plan.steps == 6 * made
    assert scheduler.plan.steps_per_epoch == made
    assert scheduler.check(data, epochs=6, accumulate=every).startswith(f"{6 * made} steps")


# ---- continuing


def begun(steps: int = 30, **options: Any) -> tuple[Any, ...]:
    """A training that has been saved, as a program does it."""
    model, optimizer, loader = problem()
    scheduler = auto(model, optimizer, loader, mse_loss, epochs=4, **options)
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return scheduler, {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}


@pytest.mark.parametrize("momentum", [None, (0.85, 0.95)])
@pytest.mark.parametrize("loaded", ["before", "after", "not"])
@pytest.mark.parametrize("steps", [0, 30, 79])
def test_a_saved_training_continues_without_a_range_test(momentum: Any, loaded: str, steps: int) -> None:
    scheduler, saved = begun(steps, momentum=momentum)
    model, optimizer, loader = problem()
    torch.manual_seed(5)
    model.register_forward_pre_hook(lambda *_: pytest.fail("a range test was made"))
    if loaded == "before":
        optimizer.load_state_dict(saved["optimizer"])
    again = auto(model, optimizer, loader, mse_loss, epochs=4, momentum=momentum, resume=saved["scheduler"])
    if loaded == "after":
        optimizer.load_state_dict(saved["optimizer"])
    assert again.state_dict() == scheduler.state_dict()
    while scheduler.last_epoch < 80:
        assert again.get_last_lr() == scheduler.get_last_lr()
        assert [group["lr"] for group in optimizer.param_groups] == again.get_last_lr()
        for one in (scheduler, again):
            one.optimizer.step()
            one.step()
        assert optimizer.param_groups[1]["momentum"] == scheduler.optimizer.param_groups[1]["momentum"]


def test_a_program_that_starts_and_one_that_resumes_are_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = {}
    rates = []
    for end in (30, 80):  # killed after 30 steps, and started again
        model, optimizer, loader = problem()
        scheduler = auto(model, optimizer, loader, mse_loss, epochs=4, resume=found.get("scheduler"))
        if found:
            optimizer.load_state_dict(found["optimizer"])
        while scheduler.last_epoch < end:
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        found = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    schedule = parse(found["scheduler"]["schedule"])
    assert rates == [schedule(step) for step in range(80)]
    assert capfd.readouterr().err.splitlines()[1] == "auto: continues the saved schedule at step 30 of 80"


def test_an_error_of_loading_names_it() -> None:
    _, saved = begun()
    model, optimizer, loader = problem()
    other = auto(model, optimizer, loader, mse_loss, epochs=5)
    with pytest.raises(ValueError, match=r"auto\(\.\.\., resume=state\)"):
        other.load_state_dict(saved["scheduler"])
    with pytest.raises(ValueError, match="keep_saved") as caught:
        Scheduler(optimizer, Linear(0.1, 0, steps=3)).load_state_dict(saved["scheduler"])
    assert "auto" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda saved: saved, {}, "resume must be what scheduler.state_dict"),  # the whole checkpoint
        (lambda saved: saved["optimizer"], {}, "resume must be what scheduler.state_dict"),
        (lambda saved: "checkpoint.pt", {}, "resume must be what scheduler.state_dict"),
        (lambda saved: {}, {}, "resume must be what scheduler.state_dict"),
        (lambda saved: saved["scheduler"] | {"schedule": "Linear(0.1"}, {}, "Linear"),
        (lambda saved: saved["scheduler"], {"epochs": 5}, "that of the saved schedule, 80 steps, got 100"),
        (
            lambda saved: saved["scheduler"],
            {"epochs": None, "steps": 50},
            "that of the saved schedule, 80 steps, got 50",
        ),
        (lambda saved: saved["scheduler"], {"update": Update(accumulate=4)}, "80 steps, got 20"),
        (lambda saved: saved["scheduler"] | {"schedule": "Constant(0.1)"}, {}, "that of the saved schedule"),
        (lambda saved: saved["scheduler"] | {"schedule": ["Linear(0.1, 0.0, steps=80)"]}, {}, "one schedule for each"),
    ],
)
def test_what_cannot_be_continued_changes_nothing(change: Any, options: dict[str, Any], words: str) -> None:
    _, saved = begun()
    model, optimizer, loader = problem()
    before = digest(model, optimizer)
    with pytest.raises(ValueError, match=words):
        auto(model, optimizer, loader, mse_loss, **({"epochs": 4} | options), resume=change(saved))
    assert digest(model, optimizer) == before
