"""What a study writes down, typed: what decides a run, what came of it, and the runs to be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cyclr._range import Bounds

# One evaluation: "step", "lr" and "loss", and a number for each metric ("test_accuracy"). None: not a finite number.
Point = dict[str, int | float | None]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides how a run ends: two equal set-ups give equal runs on one machine.

    Args:
        task: `module:function`, `file.py:function` or a built-in name.
        policy: What the run stands for in the study, such as `auto` or `fixed 0.01`.
        schedule: The text of its schedule.
        seed: Random seed of the weights and of the order of the data.
        steps: Length of the run.
        eval_every: Steps between two evaluations.
        eval_at: Further steps at which to evaluate, such as the ends of cycles.
        options: Further arguments of the task, beside the seed.

    >>> Setup(task="fashion", policy="fixed", schedule="Constant(0.1)", seed=0, steps=100, eval_every=50).steps
    100
    """

    task: str
    policy: str
    schedule: str
    seed: int
    steps: int
    eval_every: int
    eval_at: tuple[int, ...] = ()
    options: dict[str, bool | int | float | str] = {}


class Run(Setup, frozen=True, kw_only=True):
    """One training under one policy and one seed: its set-up and what came of it.

    Args:
        steps_per_epoch: Batches in one pass over the training data; 0 if that has no length.
        points: The evaluations, in order of their steps.
        seconds: Wall time of the training.
        versions: Versions of the libraries that made it.
        status: `finished`, or `diverged` if the loss was not finite at the end.

    >>> points = [{"step": 50, "loss": 0.7, "test_accuracy": 0.5}, {"step": 100, "loss": 0.4, "test_accuracy": 0.8}]
    >>> run = Run(task="fashion", policy="fixed", schedule="Constant(0.1)", seed=0, steps=100, eval_every=50,
    ...           steps_per_epoch=50, points=points, seconds=1.5, versions={})
    >>> run.series("test_accuracy")
    ([50, 100], [0.5, 0.8])
    """

    steps_per_epoch: int
    points: list[Point]
    seconds: float
    versions: dict[str, str]
    status: Literal["finished", "diverged"] = "finished"

    @property
    def setup(self) -> Setup:
        """What decided this run."""
        return Setup(**{field: getattr(self, field) for field in Setup.__struct_fields__})

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """The steps at which a metric was measured, and its values there; NaN where it was not finite.

        Raises:
            ValueError: If no point of this run measured it.
        """
        measured = [point for point in self.points if name in point]
        if not measured:
            known = sorted({key for point in self.points for key in point} - {"step"})
            raise ValueError(f"run {self.policy!r}, seed {self.seed}, has no {name!r}, only {', '.join(known)}")
        values = [point[name] for point in measured]
        return [int(point["step"] or 0) for point in measured], [math.nan if v is None else float(v) for v in values]


class Facts(msgspec.Struct, frozen=True):
    """What must be known of a task before policies are compared on it.

    Args:
        steps_per_epoch: None where the training data has no length.
        metrics: What can be compared, "loss" last.
        judge: The data that the final comparison is made on: "test", "val" where there is no test data, or "".
        tunable: Whether it has other held-out data to choose rates on.
        paired: Whether two trainings under one seed begin alike.
        varies: Whether two trainings under two seeds begin differently.
        directions: "min" or "max" for each metric whose task says which way is better.
    """

    steps_per_epoch: int | None
    metrics: tuple[str, ...]
    judge: str
    tunable: bool
    paired: bool = True
    varies: bool = True
    directions: dict[str, Literal["min", "max"]] = {}


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A set of runs to be compared.

    Args:
        task: The task of all its runs.
        runs: The runs, in the order in which the policies are to be shown.
        tuning_cost: Steps spent to find each policy's rates, by policy. In files it is called `cost`.
        rates: The highest rate of each policy, as it was found.
        metric: What the policies are judged by, a name in the runs' points.
        baseline: The policy that the others are compared with.
        maximize: Whether more of the metric is better.
        target: The value of the metric to which steps and seconds are counted; by default the baseline's mean at the
            end.
        notes: How the rates were found and whatever else a reader must know, a sentence each.
        bounds: The answer of the range test, if one was made.

    >>> Study(task="fashion", runs=[]).policies
    ()
    """

    task: str
    runs: list[Run]
    tuning_cost: dict[str, int] = msgspec.field(default_factory=dict, name="cost")  # as in files from before
    rates: dict[str, float] = {}
    metric: str = "test_accuracy"
    baseline: str = ""
    maximize: bool = True
    target: float | None = None
    notes: list[str] = []
    bounds: Bounds | None = None

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies, in the order of their first run."""
        return tuple(dict.fromkeys(run.policy for run in self.runs))

    def of(self, policy: str) -> dict[int, Run]:
        """The runs of one policy by seed, in the order of the seeds."""
        return {run.seed: run for run in sorted(self.runs, key=lambda run: run.seed) if run.policy == policy}


def check_paired(study: Study, policies: Iterable[str]) -> Sequence[int]:
    """The seeds, when all of `policies` were run on the same ones.

    Raises:
        ValueError: If a policy is unknown, or lacks a seed that another one has.
    """
    seeds: dict[str, tuple[int, ...]] = {policy: tuple(study.of(policy)) for policy in policies}
    for policy, own in seeds.items():
        if not own:
            raise ValueError(f"no run of policy {policy!r}, only of {', '.join(map(repr, study.policies))}")
        first, other = next(iter(seeds.items()))
        if own != other:
            raise ValueError(f"policies must share their seeds, got {first!r} on {other} and {policy!r} on {own}")
    return next(iter(seeds.values()))
