"""A schedule for the training to come, given or found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Any

import keras

from cyclr._check import count, problem
from cyclr._goals import GOAL_0_1, Goal
from cyclr._metrics import Better
from cyclr._plan import Plan
from cyclr._range import Curve, Kind, Search, enough
from cyclr._renamed import renamed
from cyclr._schedules import Constant, Schedule
from cyclr._tuned import Asked, Tuned
from cyclr.keras._drive import LearningRate
from cyclr.keras._loan import Loan, innermost
from cyclr.keras._range_test import BATCH, RangeTest


def use_schedule(model: keras.Model, schedule: Schedule | Plan | str) -> None:
    """Let a schedule drive the trainings to come, in place of the optimizer's rate or schedule.

    The optimizer's state and count of steps stay: a model that was loaded goes on at its step, under this schedule in
    place of the saved one.

    Args:
        model: A compiled model.
        schedule: The learning rate at each step: a schedule, a `Plan`, or the text of a schedule.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the model is not compiled, or the text describes no schedule.

    >>> from cyclr import Triangular
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.01), "mse")
    >>> use_schedule(model, Triangular(0.1, 0.5, step_size=4))
    >>> round(float(model.optimizer.learning_rate), 4)
    0.1
    """
    if not isinstance(model, keras.Model):
        raise TypeError(problem("model must be a keras.Model", model, "pass the model itself"))
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(problem("model must be compiled with an optimizer", model.name, "call model.compile"))
    innermost(model.optimizer).learning_rate = LearningRate(schedule)
    Loan(model).compile_anew()


@renamed(GOAL_0_1)
def auto(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    epochs: int,
    batch_size: int | None = None,
    sample_weight: Any = None,
    steps_per_epoch: int | None = None,
    goal: str | Goal = "final",
    search: Search = Search(),  # noqa: B008 (a frozen value)
    better: Mapping[str, Better] | None = None,
) -> Tuned:
    """Find the bounds, plan the training, and let the plan drive the `fit` to come: four lines as one.

    The same as `RangeTest`, `Curve.bounds`, `plan` and `use_schedule` one after the other. Train with the same data,
    `epochs` and `batch_size` afterwards. Nothing but the optimizer's learning rate is changed. The reasons for each
    choice go to the logger "cyclr" (level INFO).

    Args:
        model: A compiled model.
        x: Training data, as for `fit`; no generator, which could not be started again.
        y: Targets, as for `fit`.
        epochs: The budget in epochs.
        batch_size: As for `fit`.
        sample_weight: As for `fit`.
        steps_per_epoch: As for `fit`; needed where the data have no length.
        goal: What the training is for: "final", one good model at the end; "ensemble", "average" or "anytime"; or a
            `cyclr.Goal`, which also says how many cycles. The snapshots of the plan are for it.
        search: The range test. The bounds are read from the training loss: there must be no `held_out`.
        better: "min" or "max" for metrics, as in `RangeTest`.

    Returns:
        Curve, bounds and plan.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, the model is not compiled, or the training is too short.
        Inconclusive: If the range test gives no answer; the message says what to try.

    >>> import numpy as np
    >>> keras.utils.set_random_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(320, 3))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(0.01), "mse")
    >>> auto(model, x, x.sum(1), epochs=5, batch_size=16).plan.steps
    100
    >>> _ = model.fit(x, x.sum(1), epochs=5, batch_size=16, verbose=0)
    """
    asked = Asked(search, Goal.of(goal))
    if search.held_out is not None:
        raise ValueError(
            "search.held_out must be None in Keras, where auto reads the bounds from the training loss; for metrics on "
            "held-out data use RangeTest and pass validation_data to fit"
        )
    epoch = _steps_per_epoch(x, batch_size, steps_per_epoch)
    steps = count("epochs", epochs) * epoch
    _check_effort(asked, steps, epoch)
    voice = asked.voice()
    data = {"x": x, "y": y, "batch_size": batch_size, "sample_weight": sample_weight, "verbose": 0}

    def made(kind: Kind) -> Curve:
        effort, budget, repeats = asked.size(kind, steps, epoch)
        each = None if budget is None else max(1, budget // repeats)
        how = {"ramp": search.ramp, "effort": "quick" if repeats > 1 else effort, "better": better}
        test = RangeTest(model, budget=each, progress=voice.progress, **how)
        longest = 2 * ceil(test.most_steps / epoch) + 1  # for data that are not shuffled; the test ends the training
        with test:
            for _ in range(repeats):
                model.fit(**data, steps_per_epoch=steps_per_epoch, epochs=longest, callbacks=[test])
        return test.curve

    with voice:
        found = enough(made, lambda: steps, steps=search.ramp.steps, evaluates=asked.by_reference)
    tuned = asked.tuned(found, steps, epoch)
    use_schedule(model, _from_now_on(tuned.plan, innermost(model.optimizer)))
    voice.found(tuned)
    return tuned


def _steps_per_epoch(x: Any, batch_size: int | None, steps_per_epoch: int | None) -> int:
    """Optimizer steps in an epoch of `fit`."""
    if isinstance(x, Iterator):
        advice = "pass arrays, a keras.utils.PyDataset or a DataLoader"
        raise TypeError(problem("x must be data that can be started again, not a generator", x, advice))
    if steps_per_epoch is not None:
        return count("steps_per_epoch", steps_per_epoch)
    size = BATCH if batch_size is None else count("batch_size", batch_size)
    shapes = [getattr(array, "shape", None) for array in keras.tree.flatten(x)]
    if shapes and shapes[0]:
        return ceil(count("len(x)", int(shapes[0][0])) / size)
    try:
        return count("len(x)", len(x))
    except (TypeError, NotImplementedError):
        what = "steps_per_epoch must be given where the data have no length"
        raise ValueError(problem(what, None, "pass the number of batches in an epoch")) from None


def _check_effort(asked: Asked, steps: int, epoch: int) -> None:
    """Whether the training can be planned, and the test be made: a thorough one is one `fit`, and so one sweep."""
    asked.effort(steps, epoch)
    if asked.search.repeats > 1 and asked.search.effort == "thorough":
        what = "search.repeats must be 1 in Keras where effort is 'thorough'"
        raise ValueError(problem(what, asked.search.repeats, "leave one of the two out"))


def _from_now_on(plan: Plan, optimizer: Any) -> Plan:
    """The plan as Keras asks for it, by the optimizer's count, which is above zero where it has been trained."""
    done = int(optimizer.iterations)
    if not done:
        return plan
    schedule = Constant(float(plan.schedule(0))).take(done) >> plan.schedule
    ends = tuple(done + end for end in plan.snapshots)
    return replace(plan, schedule=schedule, steps=done + plan.steps, snapshots=ends)
