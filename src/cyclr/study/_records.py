"""Typed records of a study: the set-up of a run, its result, and the runs to be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from cyclr._displayed import Displayed
from cyclr._range import Bounds

# One evaluation: "step", "lr" and "loss", and a number for each metric ("test_accuracy"). None: not a finite number.
Point = dict[str, int | float | None]


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that determines a run: equal set-ups give equal runs on the same machine.

    Args:
        task: `module:function`, `file.py:function` or a built-in name.
        policy: Its policy in the study, such as `auto` or `fixed 0.01`.
        schedule: Its schedule as text.
        seed: Random seed for the weights and the order of the data.
        steps: Length of the run in optimizer steps.
        eval_every: Steps between two evaluations.
        eval_at: Further steps at which to evaluate, such as the ends of cycles.
        options: Further arguments of the task, besides the seed.
        finish: What is judged at the end: the "single" model, an "ensemble" or the "average" of its snapshots, the
            exponential moving average of its weights ("ema"), or the ensemble of several "independent" trainings that
            share the steps.
        members: The steps of those snapshots; for independent trainings, the steps at which each ends.

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
    finish: Literal["single", "average", "ensemble", "ema", "independent"] = "single"
    members: tuple[int, ...] = ()

    @property
    def prediction_cost(self) -> int:
        """What a prediction costs, in predictions of one model: the number of members of an ensemble."""
        return len(self.members) if self.finish in ("ensemble", "independent") else 1


class Run(Setup, frozen=True, kw_only=True):
    """One training under one policy and one seed: its set-up and its result.

    Args:
        steps_per_epoch: Batches in one pass over the training data; 0 if it has no length.
        points: The evaluations, in order of their steps.
        seconds: Wall time of the training.
        versions: Versions of the libraries in use.
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
        """The set-up of this run."""
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

    def final(self, name: str) -> float:
        """A metric at the end of the training: that of the ensemble or an average, if it finishes so.

        Raises:
            ValueError: If no point of this run measured it.
        """
        last = self.series(name)[1][-1]
        if self.finish == "single":
            return last
        value = self.points[-1].get(f"{self.finish}_{name}", last)  # a run that diverged is not finished
        return math.nan if value is None else float(value)


class Facts(msgspec.Struct, frozen=True):
    """What must be known about a task before policies are compared on it.

    Args:
        steps_per_epoch: Steps in an epoch; None if the training data has no length.
        metrics: The metrics that can be compared, "loss" last.
        judge: The held-out data of the final comparison: "test", "val" if there is no test data, or "" for none.
        tunable: Whether there is other held-out data to tune rates on.
        paired: Whether two trainings with the same seed start identically.
        varies: Whether two trainings with different seeds start differently.
        directions: "min" or "max" for each metric whose direction the task states.
        outputs: What its model returns, as `cyclr.torch.ensemble` takes it; "" if unknown.
    """

    steps_per_epoch: int | None
    metrics: tuple[str, ...]
    judge: str
    tunable: bool
    paired: bool = True
    varies: bool = True
    directions: dict[str, Literal["min", "max"]] = {}
    outputs: str = ""


class Study(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """A set of runs to be compared.

    Args:
        task: The task of all its runs.
        runs: The runs, in the order in which the policies are shown.
        tuning_cost: Steps spent to find each policy's rates, by policy. Files call it `cost`.
        rates: The peak rate found for each policy.
        metric: The metric that policies are compared by, a name in the runs' points.
        baseline: The policy that the others are compared with.
        maximize: Whether higher values of the metric are better.
        target: A value of the metric, for the steps and seconds to reach it; by default the baseline's final mean.
        notes: How the rates were found, and caveats; one sentence each.
        bounds: The bounds from the range test, if there was one.
        command: The command line that makes the study again; "" if it is not known.

    >>> Study(task="fashion", runs=[]).policies
    ()
    """

    task: str
    runs: list[Run]
    tuning_cost: dict[str, int] = msgspec.field(default_factory=dict, name="cost")  # the name in existing files
    rates: dict[str, float] = {}
    metric: str = "test_accuracy"
    baseline: str = ""
    maximize: bool = True
    target: float | None = None
    notes: list[str] = []
    bounds: Bounds | None = None
    command: str = ""

    def __repr__(self) -> str:
        best = "higher" if self.maximize else "lower"
        return (
            f"<Study of {self.task}: {len(self.runs)} runs, policies {', '.join(self.policies) or 'none'}; "
            f"{self.metric}, {best} is better>"
        )

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies, in the order of their first runs."""
        return tuple(dict.fromkeys(run.policy for run in self.runs))

    def of(self, policy: str) -> dict[int, Run]:
        """The runs of one policy by seed, in ascending order."""
        return {run.seed: run for run in sorted(self.runs, key=lambda run: run.seed) if run.policy == policy}


def check_paired(study: Study, policies: Iterable[str]) -> Sequence[int]:
    """The seeds that all of `policies` were run with.

    Raises:
        ValueError: If a policy is unknown, or policies have different seeds.
    """
    seeds: dict[str, tuple[int, ...]] = {policy: tuple(study.of(policy)) for policy in policies}
    for policy, own in seeds.items():
        if not own:
            raise ValueError(f"no run of policy {policy!r}, only of {', '.join(map(repr, study.policies))}")
        first, other = next(iter(seeds.items()))
        if own != other:
            raise ValueError(f"policies must share their seeds, got {first!r} on {other} and {policy!r} on {own}")
    return next(iter(seeds.values()))


def outputs_unknown(task: str) -> ValueError:
    """The error for a task whose predictions are to be averaged, and whose outputs are unknown."""
    return ValueError(
        f"task {task} must say what its model returns for an ensemble, got nothing known from its loss; "
        "pass Task(outputs='logits'), 'binary_logits' or 'values'"
    )
