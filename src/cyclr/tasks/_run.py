"""Operations on a task: a range test or a run. Torch is imported when it is needed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclr import _check
from cyclr._range import Curve, HeldOut, Kind, Ramp, StepProgress, enough, fits, size_of
from cyclr._schedules import parse
from cyclr.study._records import Run, Setup
from cyclr.study._worker import reporter
from cyclr.tasks import _find as tasks
from cyclr.tasks._finish import Part, is_finite, judged, parts_of, saving

if TYPE_CHECKING:
    from cyclr.torch import Snapshots, Task


USUAL, CHEAP = 3, 5.0  #: sweeps, where these are not asked for, and the seconds after which no further one is begun


def find_curve(
    task: Task,
    title: str,
    *,
    ramp: Ramp | None = None,
    repeats: int | None = 1,
    effort: str = "quick",
    budget: int | None = None,
    signal: str = "loss",
    strict: bool = False,
    progress: StepProgress | None = None,
    again: Callable[[int], Task] | None = None,
) -> Curve:
    """Run a range test; the task is restored afterwards.

    Args:
        task: The task.
        title: Its name in messages.
        ramp: The rates of a sweep; by default `Ramp()`.
        repeats: Number of sweeps; None for `USUAL` where that is cheap: no further one is begun after `CHEAP` seconds,
            and with a budget there is one unless all fit into its share at the length of one.
        effort: "quick" or "thorough".
        budget: Steps of the training that the test prepares; None if unknown.
        signal: The signal that the bounds are read from: "loss" or a metric of the task.
        strict: Whether a test that is too short for an answer is left at that, and not made again in full.
        progress: Called with step, steps, rate and loss as it progresses.
        again: Makes the task of another seed, for repeats that begin from new weights: the first is the task itself.
    """
    from cyclr.torch import range_test
    from cyclr.torch._anew import Anew

    held_out = None
    if signal != "loss":
        if task.val_loader is None:
            raise ValueError(
                f"--signal {signal} needs held-out data, but task {title} has no val_loader; add one, or leave it out"
            )
        _check.choice("--signal", signal, ("loss", "val_loss", *task.metrics))
        held_out = HeldOut(task.val_loader, task.metrics)
    sweep = ramp or Ramp()

    def seeded(number: int) -> Task:
        return again(number) if number and again is not None else task

    many = repeats or (USUAL if fits(sweep, effort, USUAL, budget) else 1)

    def test(kind: Kind) -> Curve:
        size = size_of(kind, effort, budget, many)._asdict()
        if again is None or size["repeats"] == 1:
            return range_test(task, ramp=sweep, held_out=held_out, progress=progress, **size)
        tests = Anew(seeded, {}, repeats=size.pop("repeats"), update=None, held_out=held_out, where=None)
        return tests.tested(sweep, progress=progress, seconds=inf if repeats else CHEAP, **size)

    if strict or budget is None:
        return test("within")
    evaluates = signal == "loss" and sweep.scale == "log"
    return enough(test, lambda: budget, steps=sweep.steps, signal=signal, evaluates=evaluates).curve


_CHECKPOINT_SECONDS = 10.0  # a study can have many short runs


def save_curve(text: str, effort: str, budget: int, path: Path, report: Path) -> None:
    """Run a range test of the task with seed 0 and write it to a file; progress is written to another file."""
    _few_threads()
    find_curve(tasks.build(text, 0), text, effort=effort, budget=budget, progress=reporter(report)).save(path)


def make_study_run(setup: Setup, folder: Path) -> Run:
    """Make one of several concurrent runs; output of the task goes to stderr, as stdout is reserved for results."""
    _few_threads()
    with redirect_stdout(sys.stderr):
        return make_run(setup, folder=folder, checkpoint_seconds=_CHECKPOINT_SECONDS)


def make_run(
    setup: Setup,
    *,
    task: Task | None = None,
    folder: Path | None = None,
    checkpoint_seconds: float = 0,
    progress: StepProgress | None = None,
) -> Run:
    """Make one run: the task with its seed, trained with its schedule.

    Args:
        setup: The set-up of the run.
        task: Its task, if it has been made already.
        folder: Folder of the checkpoint from which the run resumes, and of the snapshots that it ends with.
        checkpoint_seconds: Minimum time between two checkpoints.
        progress: Called with step, steps, rate and loss as it progresses.
    """
    started, begun = time.perf_counter(), 0
    points: list[dict[str, float]] = []
    snapshots: list[Path] = []
    with ExitStack() as held:
        for part in parts_of(setup):
            place = part.folder_in(folder)
            begun += (there := _steps_done(place))
            if task is None or part.begin:
                task = _built(part.setup)
            saved = held.enter_context(saving(part.setup, task, place, begun=there > 0))
            points += _trained(part, task, saved, place, checkpoint_seconds, progress)
            if not (finished := is_finite(points[-1])):
                break
            snapshots += () if saved is None else saved.paths
        seconds = time.perf_counter() - started
        assert task is not None
        if snapshots and finished:
            points[-1] |= judged(setup, task, snapshots)
    return Run(
        **{field: getattr(setup, field) for field in Setup.__struct_fields__},
        steps_per_epoch=task.steps_per_epoch or 0,
        points=[dict(point) for point in points],
        seconds=seconds * setup.steps / max(1, setup.steps - begun),  # estimated for a run without interruption
        versions={name: version(name) for name in ("cyclr", "torch", "numpy")},
        status="finished" if finished else "diverged",
    )


def _built(setup: Setup) -> Task:
    """The task of a run."""
    options: dict[str, Any] = dict(setup.options)
    return tasks.build(setup.task, setup.seed, **options)


def _trained(
    part: Part,
    task: Task,
    snapshots: Snapshots | None,
    folder: Path | None,
    checkpoint_seconds: float,
    progress: StepProgress | None,
) -> list[dict[str, float]]:
    """The evaluations of one training, with the steps of the whole run."""
    from cyclr.torch import Checkpoint, averaged_model, train

    setup = part.setup

    def tell(step: int, _steps: int, rate: float, loss: float) -> None:
        assert progress is not None
        progress(part.begin + step, part.of, rate, loss)

    points = train(
        task,
        parse(setup.schedule),
        steps=setup.steps,
        eval_every=setup.eval_every,
        eval_at=setup.eval_at,
        average=averaged_model(task.model) if setup.finish == "ema" else None,
        snapshots=snapshots,
        checkpoint=None if folder is None else Checkpoint(folder, seconds=checkpoint_seconds),
        progress=None if progress is None else tell,
    )
    if setup.finish == "ema":
        points = [{name.replace("averaged_", "ema_"): value for name, value in one.items()} for one in points]
    return [one | {"step": one["step"] + part.begin} for one in points]


def _few_threads() -> None:
    """The number of threads set by the engine, else one: it is fastest for small networks, and runs do not compete."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _steps_done(folder: Path | None) -> int:
    """The step of an interrupted run's checkpoint."""
    import torch

    path = None if folder is None else folder / "checkpoint.pt"
    if path is None or not path.exists():
        return 0
    try:
        return int(torch.load(path, weights_only=True)["step"])
    except Exception:  # noqa: BLE001 (`train` says what is wrong with it)
        return 0
