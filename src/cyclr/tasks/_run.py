"""What the verbs let torch do: a range test, a run. Torch is imported when it is needed."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclr import _check
from cyclr._cli.progress import Update, progress
from cyclr._page.numbers import number, rate
from cyclr._range import Curve
from cyclr._schedules import parse
from cyclr.study._records import Job, Run
from cyclr.tasks import _find as tasks

if TYPE_CHECKING:
    from cyclr.torch import Task


def find_curve(task: Task, title: str, options: Mapping[str, Any], *, signal: str = "loss") -> Curve:
    """A range test with a progress bar; the task is afterwards as it was.

    Args:
        task: On what.
        title: What to call it.
        options: Arguments of `cyclr.torch.range_test`.
        signal: What the bounds will be read from; other than the loss it must be a metric of the task.
    """
    from cyclr.torch import range_test

    given = dict(options)
    if signal != "loss":
        if task.val_loader is None:
            raise ValueError(f"--signal {signal} needs held-out data, and task {title} has no val_loader; leave it out")
        _check.choice("--signal", signal, ("loss", "val_loss", *task.metrics))
        given |= {"metrics": task.metrics, "val_loader": task.val_loader}
    with progress(f"range test on {title}", 0) as update:
        given["progress"] = _teller(update)
        return range_test(task.model, task.optimizer, task.train_loader, task.loss_fn, **given)


_CHECKPOINT_SECONDS = 10.0  # runs of a study can be short and many


def save_curve(text: str, effort: str, path: Path) -> None:
    """A range test of the task under seed 0, written to a file."""
    _few_threads()
    find_curve(tasks.build(text, 0), text, {"effort": effort}).save(path)


def make_study_run(job: Job, folder: Path) -> Run:
    """One of many runs at a time: what the task prints goes to stderr, as results are the driver's to print."""
    _few_threads()
    with redirect_stdout(sys.stderr):
        return make_run(job, folder=folder, checkpoint_seconds=_CHECKPOINT_SECONDS)


def make_run(
    job: Job,
    *,
    task: Task | None = None,
    folder: Path | None = None,
    checkpoint_seconds: float = 0,
    watch: bool = False,
) -> Run:
    """Does one job: the task under its seed, trained with its schedule.

    Args:
        job: What to do.
        task: The job's task, where it has been made already.
        folder: For a checkpoint, from which it goes on if it was stopped.
        checkpoint_seconds: Least time between two checkpoints.
        watch: Whether to show a progress bar.
    """
    from cyclr.torch import train

    if task is None:
        options: dict[str, Any] = dict(job.options)
        task = tasks.build(job.task, job.seed, **options)
    begun = _steps_done(folder)
    started = time.perf_counter()
    with progress(f"training {job.policy}", job.steps) if watch else nullcontext(None) as update:
        points = train(
            task,
            parse(job.schedule),
            steps=job.steps,
            eval_every=job.eval_every,
            eval_at=job.eval_at,
            checkpoint=folder,
            checkpoint_seconds=checkpoint_seconds,
            progress=None if update is None else _teller(update),
        )
    seconds = time.perf_counter() - started
    loss = points[-1].get("loss")
    return Run(
        **{field: getattr(job, field) for field in Job.__struct_fields__},
        steps_per_epoch=task.steps_per_epoch or 0,
        points=[dict(point) for point in points],
        seconds=seconds * job.steps / max(1, job.steps - begun),  # as if it had not been stopped
        versions={name: version(name) for name in ("cyclr", "torch", "numpy")},
        status="finished" if loss is not None and math.isfinite(loss) else "diverged",
    )


def _few_threads() -> None:
    """As many as the engine said, else one: runs beside one another do not fight, and small networks are fastest so."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _steps_done(folder: Path | None) -> int:
    """Of a run that was stopped: how far its checkpoint is."""
    import torch

    path = None if folder is None else folder / "checkpoint.pt"
    if path is None or not path.exists():
        return 0
    try:
        return int(torch.load(path, weights_only=True)["step"])
    except Exception:  # noqa: BLE001 (`train` says what is wrong with it)
        return 0


def _teller(update: Update) -> Callable[[int, int, float, float], None]:
    def tell(step: int, total: int, lr: float, loss: float) -> None:
        update(step, f"rate {rate(lr)}  loss {number(loss)}", total)

    return tell
