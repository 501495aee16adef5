"""The range test: train while the learning rate rises, record the losses, and restore everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, cast, overload

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._range import Curve, HeldOut, Ramp, StepProgress
from cyclr._range.ramp import RAMP_0_1
from cyclr._range.walk import walk
from cyclr._renamed import renamed, same
from cyclr.torch._anew import Anew, TaskFunction, is_task_function
from cyclr.torch._batches import in_order
from cyclr.torch._parts import Models, has_batches, parts_of
from cyclr.torch._restore import preserved
from cyclr.torch._task import Task
from cyclr.torch._training import Stepped, besides, loss_of_batch, measured, recorder_of, step_of
from cyclr.torch._update import StepFunction, Update
from cyclr.torch._watch import Watch


@dataclass(frozen=True, slots=True)
class Restore:
    """What a range test restores besides the network, its optimizer and its data, and where the copy is kept.

    Args:
        scheduler: An attached scheduler, or several: they are not stepped, and restored, too.
        where: Where the copy of the training is kept until then; see `preserved`. By default beside the training, such
            as on the GPU; "cpu" or a folder where there is no room for another copy.

    >>> Restore(where="cpu")
    Restore(scheduler=None, where='cpu')
    """

    scheduler: Any = None
    where: str | PathLike[str] | None = None


def _step_function(step_fn: StepFunction) -> StepFunction:
    return step_fn


@overload
def range_test(
    model: Task | TaskFunction,
    *,
    ramp: Ramp = ...,
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    update: Update | StepFunction | None = None,
    held_out: HeldOut | None = None,
    restore: Restore = ...,
    progress: StepProgress | None = None,
) -> Curve: ...
@overload
def range_test(
    model: Models,
    optimizer: Optimizer | Sequence[Optimizer],
    loader: Iterable[Any] | None = None,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    ramp: Ramp = ...,
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    update: Update | StepFunction | None = None,
    held_out: HeldOut | None = None,
    restore: Restore = ...,
    progress: StepProgress | None = None,
) -> Curve: ...
@renamed(
    RAMP_0_1,
    ("update", _step_function, same("step_fn")),
    ("update", Update, same("scaler", "clip_norm", "accumulate", "autocast", "device")),
    ("restore", Restore, same("scheduler", "where")),
    ("held_out", HeldOut, {"val_loader": "loader", "metrics": "metrics", "val_every": "every"}),
)
def range_test(
    model: Models | Task | TaskFunction,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    loader: Iterable[Any] | None = None,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    ramp: Ramp = Ramp(),
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    update: Update | StepFunction | None = None,
    held_out: HeldOut | None = None,
    restore: Restore = Restore(),
    progress: StepProgress | None = None,
) -> Curve:
    """Train while the learning rate rises, and record the loss at each rate (an LR range test, or LR finder).

    A log ramp with the training loss is fast. `Ramp(scale="linear")` with a metric on held-out data is the paper's
    protocol. The test runs inside `preserved`: model, optimizer, random states and loaders are restored even after an
    error or Ctrl-C, and so are networks, optimizers and generators that `loss_fn`, the step function and the metrics
    refer to (such as an average of the weights, or a second network). A loader shorter than a sweep is started again.
    Each repeat begins from the same weights and takes the next batches and random numbers, so that the result is
    determined by the random state before the test.

    A sweep ends at two non-finite losses in a row, or when the loss exceeds its start by as much as it had fallen;
    later values are NaN. A single non-finite loss is a bad batch: its gradient is not used (your own step function
    must see to that itself), it is passed over, and the bounds name its step. Losses are read in blocks of 10, so up
    to 9 further steps may be made. Groups keep the ratios of their rates; the largest one is recorded. Modules keep
    their training flags, but a model that is in evaluation mode as a whole is put into training mode for the test.
    Where several processes train one model (DDP, FSDP2), all of them must make the test; losses and metrics are means
    over them, so that all get the same curve.

    Args:
        model: The network, or a list of all networks that are trained; or a `Task` in place of the first four
            arguments; or a function of a seed that returns a `Task`: each repeat is then of another seed, 0, 1, …, and
            begins from new weights, so that the intervals show how answers differ between them. All tasks are kept
            until the test ends.
        optimizer: The optimizer of the training; its rates are replaced during the test. Or a list of several, as a GAN
            has them, whose rates keep their ratios; `Chosen(optimizers, which=0)` moves the rates of one alone.
        loader: Training batches, by the convention of `Task`: pairs (inputs, targets), or anything else as a whole.
            Left out where a step function needs none (a full-batch graph, reinforcement learning).
        loss_fn: A function of (outputs, targets) for pairs, else of (model, batch); `with_model` makes it one of
            (model, batch) for pairs, too, and `own_loss` is the loss that the model itself returns. Not needed with a
            step function.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" (the sweeps alone) or "thorough" (then three to five probe cycles, with peaks around the answer
            of the sweeps; they sharpen the bounds by the training loss). Without a budget, a cycle takes 180 steps, and
            inconclusive sweeps are first repeated three times slower.
        budget: Steps of the training that the test prepares. It then costs at most 15 % of them (but 30 steps a sweep).
            Two training batches are set aside and evaluated before each of the 18 steps of a sweep; their loss, which
            has no noise, decides, with the probe cycles of a thorough test (from 1,000 steps on). A step function as
            `update` gives no loss without a step: below 2,000 steps, its steps take the same three batches in turn,
            with the same random numbers, and their mean loss decides. Without a loader, or with held-out data from
            2,000 steps on, the training losses decide, and data in a fixed order may cost twice as much.
        update: How a step is made: an `Update`, or your own step function: it makes one whole step from a batch
            (zero_grad, forward, backward, optimizer.step) and returns the loss as a tensor. Without a loader it is
            called with the number of the step, or with nothing if it takes nothing.
        held_out: Held-out batches with metrics of (outputs, targets) or (model, batch). Their loss is recorded, too, as
            "val_loss".
        restore: What else is restored afterwards, such as an attached scheduler, and where its copy is kept.
        progress: Called after each block of steps with (steps done, total steps, rate, loss).

    Returns:
        The curve: rates, losses and metrics, one row per repeat.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, a loader is empty, the loss is not finite at the very first step, or the
            steps were not made at the rates of the test.

    >>> import torch
    >>> from cyclr import Ramp
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(64, 3)
    >>> batches = [(x, x.sum(1, keepdim=True))]
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> curve = range_test(model, optimizer, batches, torch.nn.functional.mse_loss, ramp=Ramp(1e-4, steps=60))
    >>> curve.stops
    ('diverged',)

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """
    if not isinstance(restore, Restore):
        raise TypeError(problem("restore must be a cyclr.torch.Restore", restore, "write Restore(scheduler)"))
    if is_task_function(model):
        given = {"optimizer": optimizer, "loader": loader, "loss_fn": loss_fn, "scheduler": restore.scheduler}
        anew = Anew(model, given, repeats=repeats, update=update, held_out=held_out, where=restore.where)
        return anew.tested(ramp, effort=effort, budget=budget, progress=progress)
    network = cast("Models | Task", model)
    model, optimizer, loader, loss_fn = parts_of(network, optimizer, loader, loss_fn, update)
    step = step_of(model, optimizer, loss_fn, update)
    how = {"repeats": repeats, "effort": effort, "budget": budget, "progress": progress}
    same: dict[str, Any] = {"reference": loss_of_batch(step) is not None, "in_turn": has_batches(loader)}
    recorder = recorder_of(ramp, held_out, loss_fn, **same, **how)
    recorder.in_order = in_order(loader, recorder.ramp.steps)
    kept = besides(loader, loss_fn, update, held_out)
    with preserved(model, optimizer, scheduler=restore.scheduler, where=restore.where, **kept) as transaction:
        if not model.training:
            model.train()
        measure = measured(model, held_out, loss_fn, update)
        watch = None if isinstance(update, Update | None) else Watch(optimizer)
        training = Stepped(model, optimizer, loader, measure, transaction, watch, step)
        training.begin(recorder.extent.in_turn)
        if watch is None:
            return walk(training, recorder)
        with watch.objective:
            curve = walk(training, recorder)
        return watch.finish(curve)
