"""How a run ends: as the model itself, as an ensemble or the average of its snapshots, or as an ensemble of several."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from msgspec import structs

from cyclr._check import problem
from cyclr._schedules import parse
from cyclr._snapshots import Course
from cyclr.study._records import Setup

if TYPE_CHECKING:
    from cyclr.torch import Snapshots, Task


_MEMBER_SEEDS = 1_000_000  # between the seeds of independent trainings: beyond those of all runs of a study


@dataclass(frozen=True, slots=True)
class Part:
    """One training of a run.

    Args:
        setup: Its set-up.
        begin: The steps of the run before it.
        of: Steps of the whole run.
    """

    setup: Setup
    begin: int
    of: int

    def folder_in(self, folder: Path | None) -> Path | None:
        """Its folder in that of the run."""
        whole = self.setup.steps == self.of
        return folder if folder is None or whole else folder / f"from-step-{self.begin}"


def parts_of(setup: Setup) -> list[Part]:
    """The trainings of a run: one, or for an ensemble of independent trainings one for each member.

    Each member begins at the start of the schedule, with weights and an order of the data of its own.
    """
    if setup.finish != "independent":
        return [Part(setup, 0, setup.steps)]
    parts = []
    for number, (begin, end) in enumerate(pairwise((0, *setup.members))):
        steps = end - begin
        own = structs.replace(
            setup,
            schedule=repr(parse(setup.schedule).take(steps)),
            seed=setup.seed + number * _MEMBER_SEEDS,
            steps=steps,
            eval_at=(),
            members=(steps,),
        )
        parts.append(Part(own, begin, setup.steps))
    return parts


@contextmanager
def saving(setup: Setup, task: Task, folder: Path | None, *, begun: bool) -> Iterator[Snapshots | None]:
    """A context manager for the snapshots that a run ends with; None if it ends as a single model.

    Args:
        setup: The set-up of the run.
        task: Its task.
        folder: Folder of its checkpoint, which gets the snapshots; None: a temporary one.
        begun: Whether the run resumes from a checkpoint.
    """
    from cyclr.torch import Snapshots

    if not setup.members:
        yield None
        return
    with TemporaryDirectory() if folder is None else _kept(folder / "snapshots", begun) as place:
        course = Course(parse(setup.schedule), setup.members)
        yield Snapshots(place, task.model, plan=course)


@contextmanager
def _kept(folder: Path, begun: bool) -> Iterator[str]:
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed before its first checkpoint
    yield str(folder)


def judged(setup: Setup, task: Task, snapshots: Sequence[Path]) -> dict[str, float]:
    """The loss and the metrics of the ensemble or the average of the snapshots, by their names in a point."""
    from cyclr.torch import average, evaluate
    from cyclr.torch._ensemble import ensemble_of

    if len(snapshots) != len(setup.members):
        names = [path.name for path in snapshots]
        raise ValueError(problem(f"the run must have snapshots of steps {setup.members}", names, "make it anew"))
    if setup.finish == "average":
        model = average(task.model, snapshots, task.train_loader)
    else:
        model = ensemble_of(task, snapshots)
    found: dict[str, float] = {}
    for name, loader in (("val", task.val_loader), ("test", task.test_loader)):
        if loader is not None:
            values = evaluate(model, loader, task.loss_fn, task.metrics)
            found |= {f"{setup.finish}_{name}_{key}": value for key, value in values.items()}
    return found


def is_finite(point: dict[str, float]) -> bool:
    """Whether a training has ended well."""
    return math.isfinite(point.get("loss", math.nan))
