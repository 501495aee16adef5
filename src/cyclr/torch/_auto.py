"""From a network and its data to a running scheduler, with no number chosen by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, overload

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._goals import GOAL_0_1, Goal
from cyclr._plan import plan
from cyclr._range import Answer, Bounds, Curve, Kind, Search, Size, enough
from cyclr._renamed import renamed, same
from cyclr._schedules import parse
from cyclr._tuned import Asked, Voice
from cyclr.torch._batches import length
from cyclr.torch._distributed import group_of, place_in
from cyclr.torch._groups import resolve
from cyclr.torch._parts import Models, has_batches, parts_of
from cyclr.torch._range_test import range_test
from cyclr.torch._scheduler import DRIVEN, Scheduler
from cyclr.torch._task import Task
from cyclr.torch._training import check_held_out
from cyclr.torch._update import StepFunction, Update

_log = logging.getLogger("cyclr")


@overload
def auto(
    model: Task,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    goal: str | Goal = "final",
    momentum: tuple[float, float] | None = None,
    update: Update | StepFunction | None = None,
    search: Search = ...,
    resume: Mapping[str, Any] | None = None,
) -> Scheduler: ...
@overload
def auto(
    model: Models,
    optimizer: Optimizer | Sequence[Optimizer],
    loader: Iterable[Any] | None = None,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    goal: str | Goal = "final",
    momentum: tuple[float, float] | None = None,
    update: Update | StepFunction | None = None,
    search: Search = ...,
    resume: Mapping[str, Any] | None = None,
) -> Scheduler: ...
@renamed(
    ("update", Update, same("accumulate")),
    ("search", Search, same("repeats", "effort", "signal", "progress")),
    GOAL_0_1,
)
def auto(
    model: Models | Task,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    loader: Iterable[Any] | None = None,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    goal: str | Goal = "final",
    momentum: tuple[float, float] | None = None,
    update: Update | StepFunction | None = None,
    search: Search = Search(),  # noqa: B008 (a frozen value)
    resume: Mapping[str, Any] | None = None,
) -> Scheduler:
    """Find the bounds with a range test, plan a schedule, and return the scheduler to train with.

    The same as `range_test`, `Curve.bounds`, `plan` and `Scheduler` one after the other. Everything that the range test
    changes is restored. Groups keep the ratios of their rates. A terminal shows how the range test goes on; one line
    (standard error) says what was found, and the reasons for each choice go to the logger "cyclr" (level INFO).
    `Search(progress=False)` is quiet.

    A training that continues from a checkpoint needs no second range test, whose result would differ a little: pass
    the saved state of its scheduler as `resume`.

    Args:
        model: The network, several, or a `Task` in place of the first four arguments, as in `range_test`.
        optimizer: Its rates are set by the scheduler from now on. Or several, as in `range_test`.
        loader: Training batches. Left out where a step function needs none; the budget is then given in steps.
        loss_fn: As in `range_test`.
        epochs: The budget in epochs; needs a loader with a length. With accumulation the batches that are left at the
            end of an epoch count as a step, as the usual loop, Lightning, Accelerate and the Trainer make one of them.
        steps: The budget in optimizer steps, in place of `epochs`.
        goal: What the training is for: "final", one good model at the end; "ensemble", "average" or "anytime"; or a
            `cyclr.Goal`, which also says how many cycles. The snapshots of the plan are for it.
        momentum: From and to, such as (0.85, 0.95), to let momentum (or the first beta) fall while the rate rises;
            by default it is left alone.
        update: How a step is made, as in `range_test`.
        search: The range test, and which of its signals the bounds are read from.
        resume: What `Scheduler.state_dict` gave: the scheduler then continues the saved schedule at the saved step, and
            no range test is made. None, as where there is no checkpoint yet, starts.

    Returns:
        The scheduler, with `curve`, `bounds` and `plan` as attributes; they are None after `resume`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, the budget too small, or `resume` is of another scheduler or of a
            schedule for another budget.
        Inconclusive: If the range test gives no answer; the message says what to try.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(320, 8)
    >>> data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True) + 0.1 * torch.randn(320, 1))
    >>> loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
    >>> model = torch.nn.Linear(8, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> scheduler = auto(model, optimizer, loader, torch.nn.functional.mse_loss, epochs=5)
    >>> scheduler.plan.steps
    100
    """
    network, driver, data, loss = parts_of(model, optimizer, loader, loss_fn, update)
    budget = {"epochs": epochs, "steps": steps, "goal": Goal.of(goal), "momentum": momentum}
    prepared = Prepared.of(network, driver, data, loss, update=update, search=search, **budget)
    if resume is not None:
        return resumed(driver, resume, prepared)
    how = {"ramp": search.ramp, "held_out": search.held_out, "progress": prepared.voice.progress}

    def test(kind: Kind) -> Curve:
        return range_test(network, driver, data, loss, update=update, **how, **prepared.size(kind)._asdict())

    evaluates = isinstance(update, Update | None) or (has_batches(data) and search.held_out is None)
    evaluates = evaluates and prepared.asked.by_reference
    with prepared.voice:
        found = enough(test, lambda: prepared.total, steps=search.ramp.steps, signal=search.signal, evaluates=evaluates)
    return prepared.scheduler(driver, found)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is known before the range test, and checked.

    Args:
        asked: What is asked for.
        total: The budget in steps.
        per_epoch: Steps in an epoch; None if the loader has no length.
        voice: Tells how the range test goes on.
    """

    asked: Asked
    total: int
    per_epoch: int | None
    voice: Voice

    @classmethod
    def of(
        cls,
        network: torch.nn.Module,
        driver: Optimizer,
        data: Iterable[Any],
        loss: object,
        *,
        epochs: int | None,
        steps: int | None,
        goal: Goal,
        momentum: tuple[float, float] | None,
        search: Search,
        update: Update | StepFunction | None = None,
    ) -> Prepared:
        """Check the arguments of `auto`, by planning with placeholder bounds: errors are raised before any work."""
        _check(search, loss, momentum)
        per_epoch = _steps_per_epoch(data, update, epochs)
        budget = {"epochs": epochs, "steps": steps, "steps_per_epoch": per_epoch}
        total = plan(Bounds(0.1, 1.0), **budget, goal=goal).steps
        asked = Asked(search, goal, momentum)
        _, opposed = asked.planned(Bounds(0.1, 1.0), total, per_epoch)
        if opposed is not None:
            resolve("momentum", opposed, driver.param_groups)
        voice = asked.voice(first=place_in(group_of(network))[0] == 0)
        asked.effort(total, per_epoch)
        return cls(asked, total, per_epoch, voice)

    def size(self, kind: Kind) -> Size:
        """The size of a range test."""
        return self.asked.size(kind, self.total, self.per_epoch)

    def scheduler(self, driver: Optimizer, found: Answer) -> Scheduler:
        """The scheduler of the plan that a range test gives.

        Raises:
            Inconclusive: If the range test gives no answer.
        """
        tuned = self.asked.tuned(found, self.total, self.per_epoch)
        scheduler = Scheduler(driver, tuned.plan, tuned.momentum)
        scheduler.curve, scheduler.bounds = tuned.curve, tuned.bounds
        self.voice.found(tuned)
        return scheduler


def _check(search: Any, loss_fn: object, momentum: Any) -> None:
    if not isinstance(search, Search):
        raise TypeError(problem("search must be a cyclr.Search", search, "write Search(effort='thorough')"))
    if search.held_out is not None:
        check_held_out(search.held_out, loss_fn)
    if momentum is not None and not (isinstance(momentum, tuple) and len(momentum) == 2):
        raise TypeError(problem("momentum must be a pair (from, to)", momentum, "pass (0.85, 0.95)"))


def resumed(optimizer: Optimizer, state: Any, prepared: Prepared) -> Scheduler:
    """The scheduler of a saved state, which must be made for the budget that is asked for."""
    steps = prepared.total
    if not isinstance(state, Mapping) or not {"last_epoch", "schedule"} <= state.keys():
        what = "resume must be what scheduler.state_dict() gave, with 'last_epoch' and 'schedule'"
        given = sorted(map(str, state)) if isinstance(state, Mapping) else state
        raise ValueError(problem(what, given, "of a checkpoint pass the part that is the scheduler's"))
    read = {name: _read(state.get(name)) for name in DRIVEN}
    schedules = read["schedule"] if isinstance(read["schedule"], list) else [read["schedule"]]
    planned = max(schedule.duration for schedule in schedules)
    if planned != steps:
        what = f"the budget must be that of the saved schedule, {planned:,.0f} steps"
        advice = (
            "leave epochs and accumulation as they were; to train longer or shorter, make a schedule for the new "
            "length (Plan.extend makes a longer one) and load the state into Scheduler(..., on_mismatch='keep_new')"
        )
        raise ValueError(problem(what, steps, advice))
    scheduler = Scheduler(optimizer, *(read[name] for name in DRIVEN))
    scheduler.load_state_dict(dict(state))
    prepared.voice.say(f"continues the saved schedule at step {scheduler.last_epoch:,} of {steps:,}")
    return scheduler


def _read(saved: Any) -> Any:
    """The schedules of a saved text, or of one text for each group."""
    if saved is None:
        return None
    return parse(saved) if isinstance(saved, str) else [parse(text) for text in saved]


def _steps_per_epoch(loader: Iterable[Any], update: Update | StepFunction | None, epochs: int | None) -> int | None:
    """Optimizer steps in an epoch; None if the loader has no length."""
    batches = length(loader)
    if batches is None:
        if epochs is not None:
            what = "steps must be given where there is no loader or it has no length"
            raise ValueError(problem(what, f"epochs={epochs!r}"))
        return None
    return ceil(batches / (update.accumulate if isinstance(update, Update) else 1))
