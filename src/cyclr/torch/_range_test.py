"""The range test: train while the learning rate rises, record the losses, and restore everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, overload

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._range import Curve, HeldOut, Progress, Ramp, Recorder
from cyclr._range.ramp import RAMP_0_1
from cyclr._range.walk import walk
from cyclr._renamed import renamed, same
from cyclr.torch._batches import check_callable, check_loader, checked_loss, device_of, endless, in_order, moved
from cyclr.torch._distributed import averaged, group_of
from cyclr.torch._groups import put, ratios
from cyclr.torch._parts import NOTHING, Models, parts_of
from cyclr.torch._reference import Evaluates, ReferenceBatches
from cyclr.torch._restore import Transaction, preserved
from cyclr.torch._task import Task
from cyclr.torch._update import Step, StepFunction, Update, at_hand, evaluate
from cyclr.torch._watch import Watch

Measured = Callable[[], Mapping[str, float]]


def _step_function(step_fn: StepFunction) -> StepFunction:
    return step_fn


@overload
def range_test(
    model: Task,
    *,
    ramp: Ramp = ...,
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    update: Update | StepFunction | None = None,
    held_out: HeldOut | None = None,
    scheduler: Any = None,
    progress: Progress | None = None,
    where: str | PathLike[str] | None = None,
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
    scheduler: Any = None,
    progress: Progress | None = None,
    where: str | PathLike[str] | None = None,
) -> Curve: ...
@renamed(
    RAMP_0_1,
    ("update", _step_function, same("step_fn")),
    ("update", Update, same("scaler", "clip_norm", "accumulate", "autocast", "device")),
    ("held_out", HeldOut, {"val_loader": "loader", "metrics": "metrics", "val_every": "every"}),
)
def range_test(
    model: Models | Task,
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
    scheduler: Any = None,
    progress: Progress | None = None,
    where: str | PathLike[str] | None = None,
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
            arguments.
        optimizer: The optimizer of the training; its rates are replaced during the test. Or a list of several, as a GAN
            has them, whose rates keep their ratios; `Chosen(optimizers, which=0)` moves the rates of one alone.
        loader: Training batches, by the convention of `Task`: pairs (inputs, targets), or anything else as a whole.
            Left out where a step function needs none (a full-batch graph, reinforcement learning).
        loss_fn: A function of (outputs, targets) for pairs, else of (model, batch); `with_model` makes it one of
            (model, batch) for pairs, too, and `own_loss` is the loss that the model itself returns. Not needed with a
            step function.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" (the sweeps alone) or "thorough" (then three to five probe cycles of 180 steps, with peaks
            around the answer of the sweeps; they sharpen the bounds by the training loss. If the sweeps are
            inconclusive, they are made again first, three times slower).
        budget: Steps of the training that the test prepares. It then costs at most 15 % of them (but 30 steps a sweep).
            Below 2,000 steps, two training batches are set aside and evaluated before each step of a short sweep; their
            loss, which has no noise, decides. With a step function as `update`, which gives no loss without a step, the
            training losses decide, and data in a fixed order may cost twice as much.
        update: How a step is made: an `Update`, or your own step function: it makes one whole step from a batch
            (zero_grad, forward, backward, optimizer.step) and returns the loss as a tensor. Without a loader it is
            called with the number of the step, or with nothing if it takes nothing.
        held_out: Held-out batches with metrics of (outputs, targets) or (model, batch). Their loss is recorded, too, as
            "val_loss".
        scheduler: An attached scheduler: it is not stepped, and restored, too.
        progress: Called after each block of steps with (steps done, total steps, rate, loss).
        where: Where the copy of the training is kept, from which it is restored; see `preserved`. By default beside the
            training, such as on the GPU; "cpu" or a folder where there is no room for another copy.

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
    model, optimizer, loader, loss_fn = parts_of(model, optimizer, loader, loss_fn, update)
    step = _step(model, optimizer, loss_fn, update)
    how = {"repeats": repeats, "effort": effort, "budget": budget, "progress": progress}
    recorder = recorder_of(ramp, held_out, loss_fn, reference=loss_of_batch(step) is not None, **how)
    recorder.in_order = in_order(loader, recorder.ramp.steps)
    data, functions = [loader], [loss_fn, update]
    if held_out is not None:
        data.append(held_out.loader)
        functions.extend(held_out.functions.values())
    scaler = update.scaler if isinstance(update, Update) else None
    kept = {"scheduler": scheduler, "scaler": scaler, "loader": data, "functions": functions, "where": where}
    with preserved(model, optimizer, **kept) as transaction:
        if not model.training:
            model.train()
        measure = measured(model, held_out, loss_fn, update)
        watch = None if isinstance(update, Update | None) else Watch(optimizer)
        curve = walk(_Stepped(model, optimizer, loader, measure, transaction, watch, step), recorder)
        if watch is not None:
            watch.finish(curve)
        return curve


class Training:
    """The operations on a torch training for the loop of a range test, but for the steps."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        loader: Iterable[Any],
        measure: Measured,
        transaction: Transaction,
        watch: Watch | None,
    ) -> None:
        self._groups = list(zip(optimizer.param_groups, ratios(optimizer), strict=True))
        self._loader, self.batches = loader, endless(loader)
        self._measure, self._transaction = measure, transaction
        self._together = group_of(model)
        self._device: torch.device | None = None
        self._watch = watch

    def put(self, rate: float) -> None:
        """Set the rate of the step to come."""
        for group, ratio in self._groups:
            put(group, "lr", rate * ratio)
        if self._watch is not None:
            self._watch.before([group for group, _ in self._groups])

    def stepped(self, loss: torch.Tensor) -> torch.Tensor:
        """Note that the step was made."""
        if self._watch is not None:
            self._watch.after([group for group, _ in self._groups])
        return loss

    def read(self, losses: Sequence[torch.Tensor]) -> list[float]:
        self._device = losses[-1].device
        if self._together is None and at_hand(losses[-1]):
            return [loss.item() for loss in losses]  # a few numbers: quicker than to put them together first
        return averaged(torch.stack(list(losses)), self._together).tolist()

    def reference(self) -> torch.Tensor:
        raise NotImplementedError("only where a function of a batch gives its loss")

    def measure(self) -> dict[str, float]:
        found = self._measure()
        values = averaged(torch.tensor(list(found.values()), device=self._device), self._together).tolist()
        return dict(zip(found, values, strict=True))

    def rewind(self, *, data: bool) -> None:
        self._transaction.rewind(everything=data)
        if data:
            self.batches = endless(self._loader)


class _Stepped(Training):
    """A training whose steps a function makes."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        loader: Iterable[Any],
        measure: Measured,
        transaction: Transaction,
        watch: Watch | None,
        step: Callable[[Iterator[Any]], torch.Tensor],
    ) -> None:
        super().__init__(model, optimizer, loader, measure, transaction, watch)
        self._make_step = step
        loss = loss_of_batch(step)
        accumulate = step.how.accumulate if isinstance(step, Step) else 1
        self._reference = None if loss is None else ReferenceBatches(model, loss, accumulate)

    def step(self, rate: float) -> torch.Tensor:
        self.put(rate)
        return self.stepped(self._make_step(self.batches))

    def reference(self) -> torch.Tensor:
        return super().reference() if self._reference is None else self._reference(self.batches)


def loss_of_batch(step: Callable[..., torch.Tensor]) -> Callable[[Any], torch.Tensor] | None:
    """The function that gives the loss of a batch, if the step has one: a user's step function has none."""
    if isinstance(step, Step):
        return step.loss
    own = getattr(step, "own", None)
    return own.evaluated if isinstance(own, Evaluates) and own.can_evaluate else None


def recorder_of(
    ramp: Ramp,
    held_out: HeldOut | None,
    loss_fn: object,
    *,
    repeats: int = 1,
    effort: str = "quick",
    budget: int | None = None,
    progress: Progress | None = None,
    reference: bool = False,
) -> Recorder:
    """The recorder of a test with these held-out data."""
    how = {"repeats": repeats, "effort": effort, "budget": budget, "progress": progress}
    recorder = Recorder(ramp, reference=reference, **how)
    if held_out is not None:
        check_held_out(held_out, loss_fn)
        recorder.every, recorder.maximize = held_out.steps_between(recorder.ramp.steps), held_out.maximize
    return recorder


def check_held_out(held_out: HeldOut, loss_fn: object) -> None:
    """Check that a torch range test can use the held-out data."""
    if not isinstance(held_out, HeldOut):
        raise TypeError(problem("held_out must be a cyclr.HeldOut", held_out, "write HeldOut(loader, metrics)"))
    check_loader("held_out.loader", held_out.loader)
    if loss_fn is not None and "val_loss" in held_out.metrics:
        raise ValueError(
            "a metric must not be called 'val_loss', the name of the loss on held-out data; give it another name"
        )


def measured(
    model: torch.nn.Module,
    held_out: HeldOut | None,
    loss_fn: Callable[..., torch.Tensor] | None,
    update: Update | StepFunction | None,
) -> Measured:
    """A function that measures loss and metrics on held-out data."""
    if held_out is None:
        return dict
    device = update.device if isinstance(update, Update) else None

    def measure() -> dict[str, float]:
        found = evaluate(model, held_out.loader, loss_fn, held_out.functions, device=device)
        return {"val_loss" if name == "loss" else name: value for name, value in found.items()}

    return measure


def _step(
    model: torch.nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., torch.Tensor] | None,
    update: Update | StepFunction | None,
) -> Callable[[Iterator[Any]], torch.Tensor]:
    """A function that makes one step with the next batches, by an `Update` or the user's step function."""
    if update is None or isinstance(update, Update):
        advice = (
            "pass a function of (outputs, targets), cyclr.torch.own_loss if the model returns its loss, or a step "
            "function as update="
        )
        check_callable("loss_fn", loss_fn, advice)
        assert loss_fn is not None
        # Several processes would have to agree on which losses are not finite, and to wait for that at each step.
        return (update or Update()).of(model, optimizer, loss_fn, skip_non_finite=group_of(model) is None)
    return _OwnStep(update, device_of(model))


class _OwnStep:
    """A step that the user's function makes."""

    def __init__(self, own: StepFunction, device: torch.device | None) -> None:
        self.own, self._device = own, device

    def __call__(self, batches: Iterator[Any]) -> torch.Tensor:
        batch = next(batches)
        return checked_loss(self.own() if batch is NOTHING else self.own(moved(batch, self._device))).detach()
