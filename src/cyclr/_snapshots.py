"""A folder of snapshots: at which steps to save, which ones to keep, and what belongs together. Knows no framework.

Each snapshot is one safetensors file that describes itself: the step, the schedule and the validation value stand in
its header. So there is no list beside the files that could disagree with them.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import shutil
import warnings
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from cyclr import _check
from cyclr._files import DRAFTS, clear_drafts, drafted, replacing
from cyclr._metrics import Better, GivenMetric, Metric, as_metric
from cyclr._plan import Plan
from cyclr._schedules import Schedule, parse
from cyclr._snapshot_files import (
    FORMAT,
    KEY,
    VALUES,
    Description,
    Shapes,
    Values,
    check_shapes,
    description_in,
    files_in,
    header_of,
    plain_errors,
)

_log = logging.getLogger("cyclr")
ON_ERROR = ("raise", "warn")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Saved weights.

    Args:
        step: Completed optimizer steps.
        path: The safetensors file.
        value: Of the validation metric; None if none was given.
    """

    step: int
    path: Path
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """When a training saves.

    Args:
        schedule: Its learning rate.
        ends: Numbers of completed steps at which to save.
        epoch: Steps in an epoch, if known.
        every: Steps between two saves of an endless training, whose `ends` are empty.
    """

    schedule: Schedule
    ends: tuple[int, ...]
    epoch: int | None = None
    every: int | None = None

    @classmethod
    def of(cls, plan: object, every: int | None = None) -> Course:
        """Of a plan, of the cycles of a schedule, or of an endless one with saves every so many steps.

        Raises:
            TypeError: If it is none of these.
            ValueError: If the schedule is endless without `every`, has an end beside it, or has no cycle that ends.
        """
        every = None if every is None else _check.count("every", every)
        if not isinstance(plan, Course | Plan | Schedule):
            raise TypeError(_check.problem("plan must be a Plan or a Schedule", plan, "pass cyclr.plan(...)"))
        endless = isinstance(plan, Schedule) and plan.duration == math.inf
        if every is not None and not endless:
            must = "every must be left out where the schedule ends: snapshots are taken where cycles end at a low rate"
            raise ValueError(_check.problem(must, every, "leave it out; for other steps write checkpoints"))
        if isinstance(plan, Course):
            return plan
        if isinstance(plan, Plan):
            return cls(plan.schedule, plan.snapshots, plan.steps_per_epoch)
        if every is not None:
            return cls(plan, (), every=every)
        if endless:
            advice = "pass every=steps to save regularly, schedule.take(steps), or the plan"
            raise ValueError(_check.problem("the schedule must end, to know where to save", plan, advice))
        ends = plan.cycle_ends()
        if not ends:
            raise ValueError(_check.problem("the schedule must have a cycle that ends", plan, "pass cyclr.plan(...)"))
        return cls(plan, ends)

    def is_end(self, step: int) -> bool:
        """Whether to save after that number of steps."""
        return step in self.ends if self.every is None else step > 0 and step % self.every == 0

    def following(self, step: int) -> int | None:
        """The number of steps after which to save next; None if that is never."""
        if self.every is not None:
            return step - step % self.every + self.every
        place = bisect_right(self.ends, step)
        return self.ends[place] if place < len(self.ends) else None


class Folder:
    """Snapshots in a folder. Reads what is there, saves, and removes what is not to be kept.

    Args:
        path: The folder; created if it does not exist.
        course: When to save.
        shapes: Shapes of the model's tensors, by name.
        size: Bytes of one snapshot.
        keep: Number of snapshots to keep; None keeps all.
        judged: Name of the metric that decides which ones to keep; empty keeps the last ones.
        better: Direction of the metric.
        on_error: "raise" or "warn".

    Raises:
        ValueError: If the folder holds snapshots of another plan or model, or damaged ones.
        OSError: If the folder cannot be written to, or the disk is too small, unless `on_error` is "warn".
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        course: Course,
        shapes: Shapes,
        size: int,
        *,
        keep: int | None = None,
        judged: str = "",
        better: Better = "max",
        on_error: str = "raise",
    ) -> None:
        self.path, self.course, self.size = Path(path), course, size
        self.keep = None if keep is None else _check.count("keep", keep)
        self.better: Better = better
        self.judged = f"{judged}, {better}" if judged else ""
        self.on_error = _check.choice("on_error", on_error, ON_ERROR)
        self._warned = False
        self._seen: int | None = None
        self.kept = self._found(shapes)
        #: The value of the metric at each cycle end that was judged, in this training or before it was interrupted.
        self.values = self._read_values()
        self._prepare()

    @property
    def needed(self) -> int:
        """The most bytes that the snapshots will take beside those that are there; of an endless training, the next."""
        there = len(self.kept)
        ends = len(self.course.ends) if self.course.every is None else there + 1 if self.keep is None else self.keep + 1
        most = ends if self.keep is None else min(ends, self.keep + 1)  # a new one is written before an old one goes
        return max(0, most - there) * self.size

    def begin(self, step: int) -> None:
        """Say after how many completed steps the training begins: 0 if it is a new one. Else `due` has to guess.

        Raises:
            ValueError: If a new training would mix its snapshots with those of an earlier one.
        """
        if step == 0:
            self._refuse_mixing()
        self._seen = step
        self.values = {at: value for at, value in self.values.items() if at <= step}  # later ones will be judged anew

    @property
    def begun(self) -> bool:
        """Whether the training has begun."""
        return self._seen is not None

    def due(self, step: int) -> bool:
        """Whether to save after `step` steps; to be asked after each step, or where each cycle ends.

        Raises:
            ValueError: If a new training would mix its snapshots with those of an earlier one.

        Warns:
            UserWarning: If the end of a cycle was passed without this being asked.
        """
        if self._seen is None:
            if step <= max(1, self.course.epoch or 1):  # asked after the first step, or after the first epoch
                self._refuse_mixing()
            self._seen = step - 1
        if step == self._seen:  # no step was made since: a batch whose gradient is only added to others
            return False
        following = self.course.following(self._seen)
        self._seen = step
        if following is not None and following < step:
            where = "where a cycle ends" if self.course.every is None else f"as every {self.course.every} steps"
            warnings.warn(
                f"no snapshot was saved at step {following}, {where}: step() was not called there; call it after each "
                "scheduler.step()",
                UserWarning,
                stacklevel=4,
            )
        return self.course.is_end(step)

    def save(self, step: int, write: Callable[[Path, dict[str, str]], None], value: float | None = None) -> Path | None:
        """Save, and remove what is no longer to be kept.

        Args:
            step: Completed steps.
            write: Writes a file with metadata.
            value: Of the metric.

        Returns:
            The file; None if it is not among those to keep, or could not be written.
        """
        if value is not None:
            self._write_value(step, value)
        new = Snapshot(step, self.path / f"snapshot-{step}.safetensors", value)
        every = sorted([*(one for one in self.kept if one.step != step), new], key=lambda one: one.step)
        chosen = self._chosen(every)
        if new not in chosen:
            return None
        said = Description(FORMAT, step, repr(self.course.schedule), _finite(value), self.judged)
        try:
            self._make()
            with plain_errors(), drafted(new.path) as draft:
                write(draft, {KEY: msgspec.json.encode(said).decode()})
            self.kept = tuple(every)
            for one in every:
                if one not in chosen:
                    one.path.unlink(missing_ok=True)
            self.kept = chosen
        except OSError as error:
            self._failed(error, f"the snapshot at step {step} was not saved")
            return None
        return new.path

    def _chosen(self, every: list[Snapshot]) -> tuple[Snapshot, ...]:
        """Those to keep, in the order of their steps."""
        if self.keep is None or len(every) <= self.keep:
            return tuple(every)
        if not self.judged:
            return tuple(every[-self.keep :])

        def rank(one: Snapshot) -> tuple[bool, float, int]:
            value = one.value if one.value is not None and math.isfinite(one.value) else None
            worth = 0.0 if value is None else (value if self.better == "max" else -value)
            return value is not None, worth, one.step

        best = sorted(every, key=rank)[-self.keep :]
        return tuple(one for one in every if one in best)

    def _found(self, shapes: Shapes) -> tuple[Snapshot, ...]:
        """The snapshots that are there, of this very plan and model."""
        if self.path.exists() and not self.path.is_dir():
            return ()  # `_prepare` tells
        found = []
        for path in files_in(self.path):
            metadata, has = header_of(path)
            said = description_in(path, metadata)
            check_shapes(path, has, shapes)
            # An endless training may save at other steps from now on.
            fits = self.course.every is not None or self.course.is_end(said.step)
            if not fits or not _agree(said.schedule, self.course.schedule, said.step):
                raise ValueError(
                    f"{path} must be a snapshot of the same plan, got one of {said.schedule} at step {said.step}; "
                    "choose another folder"
                )
            if said.judged != self.judged:
                must = f"{path} must have been judged by {self.judged or 'no metric'}"
                raise ValueError(_check.problem(must, said.judged or "no metric", "choose another folder"))
            found.append(Snapshot(said.step, path, said.value))
        return tuple(found)

    def _read_values(self) -> dict[int, float]:
        """From the file if it belongs to the snapshots that are there, else from these."""
        own = {one.step: one.value for one in self.kept if one.value is not None}
        try:
            there = msgspec.json.decode((self.path / VALUES).read_bytes(), type=Values)
        except (OSError, msgspec.DecodeError):
            return own
        told = {step: math.nan if value is None else value for step, value in sorted(there.at.items())}
        return told if own and there.judged == self.judged and own.items() <= told.items() else own

    def _write_value(self, step: int, value: float) -> None:
        self.values = dict(sorted({**self.values, step: value}.items()))
        said = Values(self.judged, {at: _finite(one) for at, one in self.values.items()})
        try:
            self._make()
            with replacing(self.path / VALUES) as file:
                file.write(msgspec.json.encode(said))
        except OSError as error:
            self._failed(error, f"the value of the metric at step {step} was not saved")

    def _prepare(self) -> None:
        """Check that the folder can be written to and that the disk has room, and say how much is needed."""
        try:
            self._make()
            clear_drafts(self.path)
            (self.path / DRAFTS).mkdir()
            (self.path / DRAFTS / "probe").write_bytes(b"0")
            free = shutil.disk_usage(self.path).free
            clear_drafts(self.path)
            needs = f"{_megabytes(self.needed)} for snapshots of {_megabytes(self.size)} each"
            _log.info("%s: %s, %s are free", self.path, needs, _megabytes(free))
            if free < self.needed:
                raise OSError(errno.ENOSPC, f"needs {needs}, but {_megabytes(free)} are free", str(self.path))
        except OSError as error:
            self._failed(error, "snapshots cannot be saved")

    def _make(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.path))
        self.path.mkdir(parents=True, exist_ok=True)

    def _refuse_mixing(self) -> None:
        if self.kept:
            steps = ", ".join(str(one.step) for one in self.kept)
            raise ValueError(
                f"{self.path} must be empty for a training that starts at its first step, got snapshots of steps "
                f"{steps}; choose another folder, delete them, or load the training's checkpoint first"
            )

    def _failed(self, error: OSError, what: str) -> None:
        """Raise, or warn once."""
        safe = f"; the {len(self.kept)} saved before are complete" if self.kept else ""
        said = f"{what} ({error.strerror or error}){safe}"
        if self.on_error == "raise":
            raise OSError(error.errno, said, str(self.path)) from error
        if self._warned:
            _log.info("%s: %s", self.path, said)
            return
        self._warned = True
        warnings.warn(f"{self.path}: {said}; the training goes on", UserWarning, stacklevel=2)


def name_of(metric: object) -> str:
    """The name of a metric's function."""
    function: object = metric[0] if isinstance(metric, tuple) and metric else getattr(metric, "function", metric)
    return str(getattr(function, "__name__", type(function).__name__))


def judge_of(metric: GivenMetric | None) -> tuple[Metric[..., float] | None, str, Better]:
    """The metric that decides which snapshots to keep, its name and its direction; ("", "max") without one.

    Raises:
        TypeError: If it is none.
        ValueError: If its direction is not known.
    """
    if metric is None:
        return None, "", "max"
    name = name_of(metric)
    judge = as_metric(name, metric, "metric")
    return judge, name, judge.better


def _agree(text: str, schedule: Schedule, steps: int) -> bool:
    """Whether the schedule of `text` has the same rates in that number of steps."""
    if text == repr(schedule):
        return True
    try:
        other = parse(text)
    except ValueError:
        return False
    at = np.arange(steps)
    return bool(np.allclose(other(at), schedule(at), rtol=1e-9, atol=0))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _megabytes(count: int) -> str:
    """A size: "1.2 MB", "34 GB"."""
    unit, size = ("GB", count / 1e9) if count >= 1e9 else ("MB", count / 1e6)
    return f"{size:.3g} {unit}"
