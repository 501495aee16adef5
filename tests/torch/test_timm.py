"""The scheduler as timm's training script calls one: `train.py` of timm 1.0.31, without all that is not about rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cyclr import Bounds, Constant, Linear, Opposed, Triangular, plan
from cyclr.torch import Scheduler, TimmScheduler, range_test

WAVE = Triangular(0.001, 0.01, step_size=7)


def adamw(*scales: float | None, lr: float = 0.1) -> torch.optim.Optimizer:
    """Groups as `create_optimizer_v2` makes them: with factors of layer decay, or without."""
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(2))]} | ({} if scale is None else {"lr_scale": scale})
        for scale in scales or (None,)
    ]
    return torch.optim.AdamW(groups, lr=lr)


class Script:
    """The training loop of `train.py`: what it asks of its scheduler, and when."""

    def __init__(self, optimizer: torch.optim.Optimizer, lr_scheduler: Any, batches: int, grad_accum_steps: int = 1):
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.updates_per_epoch = (batches + grad_accum_steps - 1) // grad_accum_steps
        self.used: list[list[float]] = []

    def run(self, start_epoch: int, num_epochs: int, *, sched_on_updates: bool) -> list[list[float]]:
        lr_scheduler = self.lr_scheduler
        if lr_scheduler is not None and start_epoch > 0:
            if sched_on_updates:
                lr_scheduler.step_update(start_epoch * self.updates_per_epoch)
            else:
                lr_scheduler.step(start_epoch)
        assert f"LR stepped per {'epoch' if lr_scheduler.t_in_epochs else 'update'}" == "LR stepped per update"
        for epoch in range(start_epoch, num_epochs):
            self.train_one_epoch(epoch)
            if lr_scheduler is not None:
                lr_scheduler.step(epoch + 1, 0.1 * epoch)
        return self.used

    def train_one_epoch(self, epoch: int) -> None:
        num_updates = epoch * self.updates_per_epoch
        for _ in range(self.updates_per_epoch):
            self.used.append([group["lr"] for group in self.optimizer.param_groups])
            self.optimizer.step()
            num_updates += 1
            self.lr_scheduler.step_update(num_updates=num_updates, metric=0.5)


@pytest.mark.parametrize("sched_on_updates", [True, False])
@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize(("batches", "accumulate"), [(10, 1), (10, 3), (1, 1)])
def test_each_update_is_made_at_the_schedules_rate(
    sched_on_updates: bool, start: int, batches: int, accumulate: int
) -> None:
    optimizer = adamw()
    updates = (batches + accumulate - 1) // accumulate
    script = Script(optimizer, TimmScheduler(optimizer, WAVE, updates), batches, accumulate)
    used = script.run(start, 5, sched_on_updates=sched_on_updates)
    assert used == [[WAVE(step)] for step in range(start * updates, 5 * updates)]


def test_a_plan_tells_the_length_of_an_epoch_and_momentum_follows() -> None:
    made = plan(Bounds(0.001, 0.01), epochs=3, steps_per_epoch=8)
    optimizer = adamw()
    scheduler = TimmScheduler(optimizer, made, momentum=Opposed(made.schedule, 0.85, 0.95))
    assert Script(optimizer, scheduler, 8).run(0, 3, sched_on_updates=False) == [
        [made.schedule(step)] for step in range(24)
    ]
    assert scheduler.plan is made
    assert optimizer.param_groups[0]["betas"][0] == pytest.approx(0.95)


def test_factors_of_layer_decay_become_ratios_of_the_rates() -> None:
    optimizer = adamw(0.25, 0.5, 1.0, None)
    scheduler = TimmScheduler(optimizer, WAVE, 10)
    used = Script(optimizer, scheduler, 10).run(0, 2, sched_on_updates=True)
    assert used == [[pytest.approx(scale * WAVE(step)) for scale in (0.25, 0.5, 1.0, 1.0)] for step in range(20)]


def test_the_range_test_keeps_the_same_ratios_once_they_are_in_the_rates() -> None:
    optimizer = adamw(0.25, 1.0)
    for group in optimizer.param_groups:
        group["lr"] *= group.pop("lr_scale", 1.0)
    seen = []

    def step(batch: torch.Tensor) -> torch.Tensor:
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        return batch.square().mean()

    range_test(torch.nn.Linear(1, 1), optimizer, [torch.ones(1)], update=step)
    assert all(low == pytest.approx(0.25 * high) for low, high in seen)
    TimmScheduler(optimizer, WAVE, 10)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25 * WAVE(0), WAVE(0)])


def test_a_scheduler_that_resumes_takes_the_optimizers_saved_state() -> None:
    optimizer = adamw(0.5, 1.0)
    first = Script(optimizer, TimmScheduler(optimizer, WAVE, 10), 10)
    first.run(0, 2, sched_on_updates=False)
    again = adamw(0.5, 1.0)
    again.load_state_dict(optimizer.state_dict())  # as `resume_checkpoint` does, before there is a scheduler
    used = Script(again, TimmScheduler(again, WAVE, 10), 10).run(2, 4, sched_on_updates=False)
    assert used == [[pytest.approx(0.5 * WAVE(step)), WAVE(step)] for step in range(20, 40)]


def test_it_is_a_scheduler_with_a_state_of_its_own() -> None:
    optimizer = adamw()
    scheduler = TimmScheduler(optimizer, WAVE, 10)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    again = TimmScheduler(adamw(), WAVE, 10)
    again.load_state_dict(scheduler.state_dict())
    assert isinstance(again, Scheduler)
    assert again.last_epoch == 4
    assert again.get_last_lr() == [WAVE(4)]
    other = TimmScheduler(adamw(), Constant(0.1), 10, on_mismatch="keep_new")
    other.load_state_dict(scheduler.state_dict())
    assert other.get_last_lr() == [0.1]


def test_a_training_beyond_its_plan_is_told() -> None:
    optimizer = adamw()
    made = plan(Bounds(0.001, 0.01), epochs=2, steps_per_epoch=5)
    with pytest.warns(UserWarning, match="the training has made 16 steps, but its schedule was made for 10"):
        Script(optimizer, TimmScheduler(optimizer, made), 5).run(0, 4, sched_on_updates=False)


def test_updates_per_epoch_that_are_unknown_or_wrong_are_an_error() -> None:
    with pytest.raises(ValueError, match="updates_per_epoch must be known, got None; pass the script's"):
        TimmScheduler(adamw(), WAVE)
    with pytest.raises(TypeError, match="updates_per_epoch must be a positive integer"):
        TimmScheduler(adamw(), WAVE, 2.5)  # pyrefly: ignore[bad-argument-type]
    optimizer = adamw()
    script = Script(optimizer, TimmScheduler(optimizer, WAVE, updates_per_epoch=6), 10)
    with pytest.raises(ValueError, match=r"between two calls of step\(epoch\), got 6 and update 7 in epoch 0"):
        script.run(0, 2, sched_on_updates=False)


def test_an_error_leaves_the_groups_as_they_were() -> None:
    optimizer = adamw(0.5, 1.0)
    before = [dict(group) for group in optimizer.param_groups]
    with pytest.raises(TypeError, match=r"schedule must be a schedule, got 0\.1"):
        TimmScheduler(optimizer, 0.1, 10)  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(ValueError, match="schedule must have one schedule for each of the 2 groups"):
        TimmScheduler(optimizer, [Linear(0, 1, steps=3)], 10)
    assert [dict(group) for group in optimizer.param_groups] == before
