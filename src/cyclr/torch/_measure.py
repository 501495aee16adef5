"""Measures how many cycles suit a task: short trainings by successive halving, and whether the differences are real."""

from __future__ import annotations

import logging
import math
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import nn

from cyclr._check import choice, count, problem
from cyclr._goals import GOALS, Goal
from cyclr._metrics import Better, Metric
from cyclr._plan import Plan, plan
from cyclr._range import Bounds
from cyclr._renamed import renamed
from cyclr.study._cycles import MeasuredCycles, measured
from cyclr.torch._batches import check_callable
from cyclr.torch._ensemble import OUTPUTS, ensemble_of, outputs_of
from cyclr.torch._snapshots import Snapshots
from cyclr.torch._soup import average
from cyclr.torch._task import Task
from cyclr.torch._train import train
from cyclr.torch._update import evaluate

COUNTS = {"final": (1, 2, 3, 5), "ensemble": (2, 3, 5, 8), "average": (2, 3, 5, 8), "anytime": (2, 3, 4, 5)}
SHARES = (1 / 64, 1 / 32, 1 / 16)  #: of the training, for the short ones; half of the candidates reach the next
SHORTEST = 20  #: steps of a short training
FIRST_SEED = 20_000  #: beyond the seeds of studies and of their tuning


def _as_they_are(cycles: Sequence[int]) -> Sequence[int]:
    return cycles


TaskFunction = Callable[..., Task]
Progress = Callable[[int, int, str], Any]


@renamed(("candidates", _as_they_are, {"cycles": "cycles"}))
def measure_cycles(
    task: TaskFunction,
    bounds: Bounds,
    *,
    steps: int,
    goal: str = "ensemble",
    candidates: Sequence[int | Goal] | None = None,
    seeds: int = 3,
    outputs: str | None = None,
    progress: Progress | None = None,
) -> MeasuredCycles:
    """Try several numbers of cycles in short trainings, and plan a training with the one that they speak for.

    Trainings of 1/64, 1/32 and 1/16 of the steps are made for each candidate by successive halving (Optuna): the better
    half goes on to the next length. The default of `plan` is always measured at the longest. Another candidate
    takes its place only if it is significantly better there over the seeds; else the plan is the default's, and the
    verdict says what difference could not be told from chance. Altogether this takes about half as many steps as the
    training itself.

    Args:
        task: A function of a seed that returns a `Task` with validation data.
        bounds: Lower and upper bound of the learning rate.
        steps: Length of the whole training in optimizer steps, at least 1,280.
        goal: What the training is for, as in `plan`: "final" is judged by the last weights, "ensemble" by the averaged
            predictions of all snapshots, "average" by their averaged weights, "anytime" by the mean over the training
            of the last snapshot so far.
        candidates: The numbers of cycles to try; by default 1, 2, 3, 5 for "final", 2 to 5 for "anytime", else 2, 3, 5,
            8. Among them there may be goals of the same name, such as `Goal("ensemble", cycles=3, first=0.7)`, to try
            another length of the first cycle, another growth, or no annealing.
        seeds: Trainings of each length for each candidate.
        outputs: For an ensemble, what the model returns, as in `ensemble`; by default what the task says, or what its
            loss implies.
        progress: Called with steps done, the most that there can be, and what is being trained.

    Returns:
        The plan and what was measured.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, the training is too short, or the task has no validation data.
        ImportError: If Optuna is not installed.

    Reference:
        Jamieson & Talwalkar (2016), Non-stochastic Best Arm Identification. https://arxiv.org/abs/1502.07943
        Li et al. (2020), A System for Massively Parallel Hyperparameter Tuning. https://arxiv.org/abs/1810.05934
    """
    check_callable("task", task, "pass a function of a seed that returns a cyclr.torch.Task")
    choice("goal", goal, GOALS)
    count("seeds", seeds, "differences need at least 2", least=2)
    least = round(SHORTEST / SHARES[0])
    count("steps", steps, f"1/64 of it must be at least {SHORTEST}; give cycles to plan, which needs no measurement",
          least=least)  # fmt: skip
    first = task(FIRST_SEED)
    if not isinstance(first, Task):
        raise TypeError(problem("task must return a cyclr.torch.Task", first))
    if goal == "ensemble":
        outputs = choice("outputs", outputs or outputs_of(first), OUTPUTS)
    if first.val_loader is None:
        raise ValueError(problem("task must have a val_loader, which judges the cycles", None, "hold out some data"))
    default = plan(bounds, steps=steps, steps_per_epoch=first.steps_per_epoch, goal=goal)
    tried = _tried(default, COUNTS[goal] if candidates is None else candidates)
    budgets = tuple(round(share * steps) for share in SHARES)
    for one in tried:  # errors are raised before any work
        try:
            plan(bounds, steps=budgets[0], goal=one)
        except ValueError as error:
            raise ValueError(f"1/64 of the {steps} steps must hold {one.cycles} cycles, but {error}") from None
    metric, judge = _metric_of(first)
    search = _Search(task, bounds, outputs, metric, tried, budgets, seeds, progress)
    values = search.run(judge.better)
    return measured(default, values, metric, judge.better, search.done)


def _tried(default: Plan, candidates: Sequence[int | Goal]) -> tuple[Goal, ...]:
    """What is tried, each with its number of cycles; the default first."""
    found = [Goal(default.goal, len(default.snapshots))]
    for one in candidates:
        goal = one if isinstance(one, Goal) else Goal(default.goal, count("candidates", one))
        if goal.name != default.goal:
            must = f"candidates must be numbers or have the goal {default.goal!r}"
            raise ValueError(problem(must, goal, "measure each goal by itself"))
        if goal.cycles is None:
            made = plan(default.bounds, steps=default.steps, steps_per_epoch=default.steps_per_epoch, goal=goal)
            goal = replace(goal, cycles=len(made.snapshots))
        found.append(goal)
    tried = tuple(dict.fromkeys(found))
    if len(tried) < 2:
        what = "candidates must name a number besides the default"
        raise ValueError(problem(what, list(candidates), "pass (2, 8)"))
    return tried


class _Search:
    """Short trainings, and how good each ends."""

    def __init__(
        self,
        task: TaskFunction,
        bounds: Bounds,
        outputs: str | None,
        metric: str,
        tried: tuple[Goal, ...],
        budgets: tuple[int, ...],
        seeds: int,
        progress: Progress | None,
    ) -> None:
        self.task, self.bounds, self.outputs, self.metric = task, bounds, outputs, metric
        self.tried, self.budgets, self.seeds, self.progress = tried, budgets, seeds, progress
        self.done, self.most = 0, len(tried) * seeds * sum(budgets)

    def run(self, better: Better) -> dict[Goal, dict[int, tuple[float, ...]]]:
        """For each candidate and each length that it reached, one value for each seed."""
        try:
            import optuna
        except ImportError as error:
            raise ImportError("measuring cycles needs Optuna; run: pip install 'cyclr[measure]'") from error

        found: dict[Goal, dict[int, tuple[float, ...]]] = {one: {} for one in self.tried}
        places = list(range(len(self.tried)))

        def judged(trial: optuna.Trial) -> float:
            goal, mean = self.tried[trial.suggest_categorical("place", places)], math.nan
            for rung, steps in enumerate(self.budgets):
                own = tuple(self._value(goal, steps, seed) for seed in range(self.seeds))
                found[goal][steps] = own
                if not all(map(math.isfinite, own)):
                    raise optuna.TrialPruned
                mean = statistics.mean(own)
                trial.report(mean, 2**rung)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return mean

        with _quiet(optuna.logging):
            study = optuna.create_study(
                direction="minimize" if better == "min" else "maximize",
                sampler=optuna.samplers.GridSampler({"place": places}, seed=0),
                pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
            )
            for place in places:
                study.enqueue_trial({"place": place})
            study.optimize(judged, n_trials=len(self.tried))
        return found

    def _value(self, goal: Goal, steps: int, seed: int) -> float:
        """The validation metric that a short training ends with."""
        made = self.task(FIRST_SEED + seed)
        short = plan(self.bounds, steps=steps, goal=goal)
        if self.progress is not None:
            self.progress(self.done, self.most, f"{goal.cycles} cycles, {steps} steps, seed {seed}")
        with tempfile.TemporaryDirectory() as folder:
            snapshots = Snapshots(folder, made.model, plan=short)
            train(made, short.schedule, steps=steps, eval_every=steps, snapshots=snapshots)
            self.done += steps
            return self._judged(goal.name, made, snapshots, steps)

    def _judged(self, goal: str, made: Task, snapshots: Snapshots, steps: int) -> float:
        model, paths = made.model, snapshots.paths
        if goal == "final":
            return self._evaluated(made, model)
        if goal == "average":
            return self._evaluated(made, average(model, paths, made.train_loader))
        if goal == "ensemble":
            return self._evaluated(made, ensemble_of(made, paths, self.outputs))
        ends = [snapshot.step for snapshot in snapshots]
        spans = [later - end for end, later in zip(ends, [*ends[1:], steps + ends[0]], strict=True)]
        values = [self._evaluated(made, average(model, [path], made.train_loader)) for path in paths]
        return sum(span * value for span, value in zip(spans, values, strict=True)) / sum(spans)

    def _evaluated(self, made: Task, model: nn.Module) -> float:
        assert made.val_loader is not None
        return evaluate(model, made.val_loader, made.loss_fn, made.metrics)[self.metric]


def _metric_of(task: Task) -> tuple[str, Metric[..., Any]]:
    """The task's first metric, or its loss."""
    for name, metric in task.metrics.items():
        assert isinstance(metric, Metric)
        return name, metric
    return "loss", Metric(task.loss_fn, "min")


@contextmanager
def _quiet(logging_of_optuna: Any) -> Iterator[None]:
    """Without Optuna's own lines; its level is put back."""
    level = logging_of_optuna.get_verbosity()
    logging_of_optuna.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging_of_optuna.set_verbosity(level)
