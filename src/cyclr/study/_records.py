"""What a study writes down: plain JSON, typed on reading, replaced whole on writing.

Records are data, never code: nothing is unpickled or evaluated here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from cyclr._files import replacing

T = TypeVar("T")

# One evaluation: "step", "lr" and "loss", and a number for each metric ("test_accuracy"). None: not a finite number.
Point = dict[str, int | float | None]


class RecordError(ValueError):
    """A record that is missing a field, holds a wrong one or is no JSON; the message names file and field."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides how a run ends: two equal jobs give equal runs on one machine.

    Args:
        task: `module:function`, `file.py:function` or a built-in name.
        policy: What the run stands for in the study, such as `auto` or `fixed 0.01`.
        schedule: The spec text of its schedule.
        seed: Of the weights and of the order of the data.
        steps: Length of the run.
        eval_every: Steps between two evaluations.
        eval_at: Further steps at which to evaluate, such as the ends of cycles.
        options: Further arguments of the task beside the seed.

    >>> Job(task="fashion", policy="fixed", schedule="Constant(0.1)", seed=0, steps=100, eval_every=50).steps
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


class Run(Job, frozen=True, kw_only=True):
    """One training under one policy and one seed: its job and what came of it.

    Args:
        steps_per_epoch: Batches in one pass over the training data; 0 if that has no length.
        points: The evaluations, in order of their steps.
        seconds: Wall time of the training.
        versions: Of the libraries that made it.
        status: `finished`, or `diverged` when the loss was no number at the end.
    """

    steps_per_epoch: int
    points: list[Point]
    seconds: float
    versions: dict[str, str]
    status: Literal["finished", "diverged"] = "finished"

    @property
    def job(self) -> Job:
        """The job that this run did."""
        return Job(**{field: getattr(self, field) for field in Job.__struct_fields__})

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one metric, at the points that measured it; not finite is NaN."""
        measured = [point for point in self.points if name in point]
        if not measured:
            known = sorted({key for point in self.points for key in point} - {"step"})
            raise ValueError(f"run {self.policy!r}, seed {self.seed}, has no {name!r}, only {', '.join(known)}")
        values = [point[name] for point in measured]
        return [int(point["step"] or 0) for point in measured], [math.nan if v is None else float(v) for v in values]


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A set of runs to be compared.

    Args:
        task: The task of all its runs.
        runs: In the order in which the policies are to be shown.
        cost: Steps spent on finding each policy's rates, by policy.
        rates: The highest rate of each policy, as it was found.
        metric: What the policies are judged by, a name in the runs' points.
        baseline: The policy that the others are compared with.
        maximize: Whether more of the metric is better.
        target: The value of the metric whose steps and seconds are told; by default the baseline's mean at the end.
        notes: How the rates were found and all else that a reader must know, a sentence each.
    """

    task: str
    runs: list[Run]
    cost: dict[str, int] = {}
    rates: dict[str, float] = {}
    metric: str = "test_accuracy"
    baseline: str = ""
    maximize: bool = True
    target: float | None = None
    notes: list[str] = []

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies, in the order of their first run."""
        return tuple(dict.fromkeys(run.policy for run in self.runs))

    def of(self, policy: str) -> dict[int, Run]:
        """The runs of one policy by seed, in the order of the seeds."""
        return {run.seed: run for run in sorted(self.runs, key=lambda run: run.seed) if run.policy == policy}


def write_json(path: str | Path, value: Any) -> None:
    """Replaces `path` by the JSON of `value`, whole or not at all, also when killed or out of space.

    Raises:
        OSError: If the folder cannot be written; the old file, if any, is still there.
    """
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replaces `path` by `data`, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(data)


def read_json(path: str | Path, kind: type[T]) -> T:
    """The value of type `kind` in the JSON file `path`.

    Raises:
        RecordError: If it is no JSON or not of that type; one line that names file and field.
        OSError: If it cannot be read.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is a DecodeError
        raise RecordError(f"{path}: {error}") from None


def claim(path: str | Path, settings: msgspec.Struct) -> None:
    """Writes `settings` to `path`, or checks that the same ones are there already.

    So the same command goes on in its folder, and another one does not mix its results with what is there.

    Raises:
        ValueError: If other settings are there; the message names the first that differs.
        RecordError: If the file cannot be understood.
    """
    path = Path(path)
    if not path.exists():
        # Not counting drafts that a killed process left.
        if path.parent.is_dir() and any(not file.name.startswith(".") for file in path.parent.iterdir()):
            raise ValueError(f"{path.parent} holds other files and no {path.name}; choose a new folder")
        return write_json(path, settings)
    there = claimed(path, type(settings))
    for field in settings.__struct_fields__:
        old, new = getattr(there, field), getattr(settings, field)
        if old != new:
            raise ValueError(
                f"{path.parent} was made with other settings ({field} {old!r}, now {new!r}); choose another folder"
            )
    return None


def claimed(path: str | Path, kind: type[T]) -> T:
    """The settings in `path`, which say whose its folder is.

    Raises:
        RecordError: If they are damaged, or those of something else.
    """
    try:
        return read_json(path, kind)
    except RecordError as error:
        raise RecordError(f"{error}; its folder is of something else, or damaged: choose another one") from None


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
