"""Numbers of cycles measured by real short trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from cyclr import Bounds, Goal
from cyclr.torch import Task, measure_cycles

pytestmark = pytest.mark.slow

optuna = pytest.importorskip("optuna", reason="Optuna is not installed")
BOUNDS = Bounds(0.02, 0.2)


def task(seed: int) -> Task:
    """Two classes of points, told apart by the sign of a product: a small network learns it in some hundred steps."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    x = torch.rand(256, 2, generator=generator) * 2 - 1
    y = (x[:, 0] * x[:, 1] > 0).long()
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches, held_out = list(zip(x.split(32), y.split(32), strict=True)), [(x[:64].flip(1), y[:64])]
    return Task(model, optimizer, torch.nn.functional.cross_entropy, batches, held_out)


def own_loss(seed: int) -> Task:
    """A loss that says nothing of what the model returns."""
    return replace(task(seed), loss_fn=lambda outputs, targets: cross_entropy(outputs, targets))


@pytest.mark.parametrize(
    ("goal", "outputs", "other"),
    [
        ("final", None, 3),
        ("ensemble", "logits", Goal("ensemble", first=0.7)),
        ("average", None, Goal("average", 3, first=0.6)),
        ("anytime", None, Goal("anytime", 3, growth=3)),
    ],
)
def test_each_goal_is_measured_and_planned(goal: str, outputs: str | None, other: int | Goal) -> None:
    told: list[tuple[int, int, str]] = []
    level = optuna.logging.get_verbosity()
    found = measure_cycles(
        task,
        BOUNDS,
        steps=4480,
        goal=goal,
        candidates=(2, other),
        seeds=2,
        outputs=outputs,
        progress=lambda *a: told.append(a),
    )
    assert found.plan.goal == goal
    assert found.plan.steps == found.plan.schedule.duration == 4480
    assert found.metric == "loss"
    assert found.better == "min"
    assert [trial.label for trial in found.trials][-1] == {
        "final": "3",
        "ensemble": "5 (first 0.7)",
        "average": "3 (first 0.6)",
        "anytime": "3 (growth 3)",
    }[goal]
    first = found.trials[0]
    assert list(first.values) == [70, 140, 280]  # the default is always trained longest
    assert found.tuning_cost == sum(2 * steps for trial in found.trials for steps in trial.values)
    assert found.tuning_cost <= told[-1][1]
    assert all(
        value == pytest.approx(value) for trial in found.trials for own in trial.values.values() for value in own
    )
    assert optuna.logging.get_verbosity() == level


def test_the_same_call_gives_the_same_numbers() -> None:
    one, other = (measure_cycles(task, BOUNDS, steps=1280, goal="final", candidates=(4,), seeds=2) for _ in range(2))
    assert one == other


def test_numbers_were_called_cycles() -> None:
    with pytest.warns(DeprecationWarning, match=r"cycles: pass candidates=\(300,\) instead"), pytest.raises(ValueError):
        measure_cycles(task, BOUNDS, steps=1280, goal="final", cycles=(300,), seeds=2)


def test_many_restarts_do_not_replace_one_cycle() -> None:
    """In trainings of 80 steps, eight cycles leave ten steps to each."""
    found = measure_cycles(task, BOUNDS, steps=1280, goal="final", candidates=(8,), seeds=2)
    assert len(found.plan.snapshots) == 1
    assert "keeps 1" in found.verdict


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"task": task(0)}, TypeError, "task must be callable"),
        ({"steps": 1279}, ValueError, "steps must be an integer of at least 1280"),
        ({"goal": "best"}, ValueError, "goal must be one of"),
        ({"goal": "ensemble", "outputs": "probabilities"}, ValueError, "outputs must be one of"),
        ({"goal": "ensemble", "task": own_loss}, TypeError, "outputs must be one of"),
        ({"seeds": 1}, ValueError, "seeds must be an integer of at least 2"),
        ({"candidates": (1,)}, ValueError, "a number besides the default"),
        ({"candidates": (300,)}, ValueError, "must hold 300 cycles, but 300 cycles need"),
        ({"candidates": (Goal("ensemble", 3),)}, ValueError, "candidates must be numbers or have the goal 'final'"),
        ({"candidates": (2.5,)}, TypeError, "candidates must be a positive integer"),
        ({"task": lambda seed: None}, TypeError, "task must return"),
    ],
)
def test_bad_input_is_refused_before_any_training(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"task": task, "steps": 1280, "goal": "final", **options}
    with pytest.raises(error, match=message):
        measure_cycles(given.pop("task"), BOUNDS, **given)


def test_what_the_model_returns_is_what_the_loss_implies() -> None:
    given: dict[str, Any] = {"steps": 1280, "goal": "ensemble", "candidates": (2, 3), "seeds": 2}
    implied, said = (measure_cycles(task, BOUNDS, **given, outputs=outputs) for outputs in (None, "logits"))
    assert implied.verdict == said.verdict


def test_a_task_without_validation_data_is_refused() -> None:
    def without(seed: int) -> Task:
        made = task(seed)
        return Task(made.model, made.optimizer, made.loss_fn, made.train_loader)

    with pytest.raises(ValueError, match="val_loader"):
        measure_cycles(without, BOUNDS, steps=1280, goal="final")
