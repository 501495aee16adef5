"""The range test: train while the learning rate rises, record what happens, put everything back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import torch
from torch.optim import Optimizer

from cyclr._check import problem
from cyclr._range import Curve, HeldOut, Progress, Ramp, Recorder
from cyclr._range.ramp import RAMP_0_1
from cyclr._range.walk import walk
from cyclr._renamed import renamed, same
from cyclr.torch._batches import check_callable, check_loader, checked_loss, device_of, endless, moved
from cyclr.torch._distributed import averaged, group_of
from cyclr.torch._groups import mark, plain, put, ratios
from cyclr.torch._restore import Transaction, preserved
from cyclr.torch._task import Task, check_model, check_optimizer
from cyclr.torch._update import StepFunction, Update, evaluate

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
    update: Update | StepFunction | None = None,
    held_out: HeldOut | None = None,
    scheduler: Any = None,
    progress: Progress | None = None,
) -> Curve: ...
@overload
def range_test(
    model: torch.nn.Module,
    optimizer: Optimizer,
    loader: Iterable[Any],
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    ramp: Ramp = ...,
    repeats: int = 1,
    effort: str = "quick",
    update: Update | StepFunction | None = None,
    held_out: HeldOut | None = None,
    scheduler: Any = None,
    progress: Progress | None = None,
) -> Curve: ...
@renamed(
    RAMP_0_1,
    ("update", _step_function, same("step_fn")),
    ("update", Update, same("scaler", "clip_norm", "accumulate", "autocast", "device")),
    ("held_out", HeldOut, {"val_loader": "loader", "metrics": "metrics", "val_every": "every"}),
)
def range_test(
    model: torch.nn.Module | Task,
    optimizer: Optimizer | None = None,
    loader: Iterable[Any] | None = None,
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    ramp: Ramp = Ramp(),
    repeats: int = 1,
    effort: str = "quick",
    update: Update | StepFunction | None = None,
    held_out: HeldOut | None = None,
    scheduler: Any = None,
    progress: Progress | None = None,
) -> Curve:
    """Train while the learning rate rises, and record the loss at each rate (an LR range test, or LR finder).

    A log ramp with the training loss is fast. `Ramp(scale="linear")` with a metric on held-out data is the paper's
    protocol. The test runs inside `preserved`: model, optimizer, randomness and loaders are restored whatever happens,
    and so are networks, optimizers and generators that `loss_fn`, the step function and the metrics refer to (an
    average of the weights, the other network of two). A loader shorter than a sweep is started again. Each repeat
    begins from the same weights, with the batches and the randomness that come next, so that the result is determined
    by the random state that the test found.

    A sweep ends at two non-finite losses in a row, or when the loss exceeds its start by as much as it had fallen;
    later values are NaN. A single non-finite loss is a bad batch: its gradient is not used (your own step function
    must see to that itself), it is passed over, and the bounds name its step. Losses are read in blocks of 10, so up
    to 9 further steps may be made. Groups keep the ratios of their rates; the largest one is recorded. Modules keep
    their training flags, but a model that is in evaluation mode as a whole is put into training mode for the test.
    Where several processes train one model (DDP, FSDP2), all of them must make the test; losses and metrics are means
    over them, so that all get the same curve.

    Args:
        model: The network, or a `Task` in place of the first four arguments.
        optimizer: The optimizer of the training; its rates are replaced during the test.
        loader: Training batches, by the convention of `Task`: pairs (inputs, targets), or anything else as a whole.
        loss_fn: A function of (outputs, targets) for pairs, else of (model, batch). Not needed with a step function.
        ramp: The rates of a sweep.
        repeats: Number of sweeps.
        effort: "quick" (the sweeps alone) or "thorough" (then three to five probe cycles of 180 steps, with peaks
            around the answer of the sweeps; they sharpen the bounds by the training loss. If the sweeps are
            inconclusive, they are made again first, three times slower).
        update: How a step is made: an `Update`, or your own step function: it makes one whole step from a batch
            (zero_grad, forward, backward, optimizer.step) and returns the loss as a tensor.
        held_out: Held-out batches with metrics of (outputs, targets) or (model, batch). Their loss is recorded, too, as
            "val_loss".
        scheduler: A scheduler that is attached: it is restored, too, and not stepped.
        progress: Called after each block of steps with (steps done, steps in all, rate, loss).

    Returns:
        The curve: rates, losses and metrics, one row a repeat.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, a loader is empty, or the loss is not finite at the very first step.

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
    model, optimizer, loader, loss_fn = parts_of(model, optimizer, loader, loss_fn)
    how = {"repeats": repeats, "effort": effort, "progress": progress}
    recorder = recorder_of(ramp, held_out, loss_fn, **how)
    step = _step(model, optimizer, loss_fn, update)
    data, functions = [loader], [loss_fn, update]
    if held_out is not None:
        data.append(held_out.loader)
        functions.extend(held_out.functions.values())
    scaler = update.scaler if isinstance(update, Update) else None
    kept = {"scheduler": scheduler, "scaler": scaler, "loader": data, "functions": functions}
    with preserved(model, optimizer, **kept) as transaction:
        if not model.training:
            model.train()
        measure = _measure(model, held_out, loss_fn, update)
        own = not isinstance(update, Update | None)
        return walk(_Training(model, optimizer, loader, step, measure, transaction, watched=own), recorder)


class _Training:
    """The training as the loop of a range test sees it."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        loader: Iterable[Any],
        step: Callable[[Iterator[Any]], torch.Tensor],
        measure: Measured,
        transaction: Transaction,
        *,
        watched: bool,
    ) -> None:
        self._groups = list(zip(optimizer.param_groups, ratios(optimizer), strict=True))
        self._loader, self._batches = loader, endless(loader)
        self._make_step, self._measure, self._transaction = step, measure, transaction
        self._together = group_of(model)
        self._device: torch.device | None = None
        self._put: dict[int, Any] = {}
        if watched:
            self._watch(optimizer)

    def step(self, rate: float) -> torch.Tensor:
        for group, ratio in self._groups:
            put(group, "lr", rate * ratio)
            self._put[id(group)] = mark(group["lr"])
        return self._make_step(self._batches)

    def read(self, losses: Sequence[torch.Tensor]) -> list[float]:
        self._device = losses[-1].device
        return averaged(torch.stack(list(losses)), self._together).tolist()

    def measure(self) -> dict[str, float]:
        found = self._measure()
        values = averaged(torch.tensor(list(found.values()), device=self._device), self._together).tolist()
        return dict(zip(found, values, strict=True))

    def rewind(self, *, data: bool) -> None:
        self._transaction.rewind(everything=data)
        if data:
            self._batches = endless(self._loader)

    def _watch(self, optimizer: Optimizer) -> None:
        """Let every step fail whose rates are not those that were put: losses would be recorded at the wrong rates.

        The hooks go where the optimizer is restored.
        """

        def check(stepping: Optimizer, *_: Any) -> None:
            for group in stepping.param_groups:
                if mark(group["lr"]) != self._put.get(id(group), mark(group["lr"])):
                    what = "the step function must not set the learning rate, which the range test sets"
                    advice = "leave out what sets it (a line of the loop, a scheduler) for the test"
                    raise ValueError(problem(what, plain(group["lr"]), advice))

        for one in getattr(optimizer, "optimizers", [optimizer]):
            while not hasattr(one, "_optimizer_step_pre_hooks") and hasattr(one, "optimizer"):
                one = one.optimizer
            one.register_step_pre_hook(check)


def parts_of(
    model: torch.nn.Module | Task,
    optimizer: Optimizer | None,
    loader: Iterable[Any] | None,
    loss_fn: Callable[..., torch.Tensor] | None,
) -> tuple[torch.nn.Module, Optimizer, Iterable[Any], Callable[..., torch.Tensor] | None]:
    """Model, optimizer, loader and loss, checked; those of a task where one is given."""
    if isinstance(model, Task):
        for name, given in (("optimizer", optimizer), ("loader", loader), ("loss_fn", loss_fn)):
            if given is not None:
                raise TypeError(problem(f"{name} must be left out where a task is given", given, "it is in the task"))
        return model.model, model.optimizer, model.train_loader, model.loss_fn
    check_model("model", model)
    check_optimizer("optimizer", optimizer)
    check_loader("loader", loader)
    assert optimizer is not None
    assert loader is not None
    return model, optimizer, loader, loss_fn


def recorder_of(ramp: Ramp, held_out: HeldOut | None, loss_fn: object, **how: Any) -> Recorder:
    """The recorder of a test with these held-out data."""
    if held_out is None:
        return Recorder(ramp, **how)
    check_held_out(held_out, loss_fn)
    steps = ramp.steps if isinstance(ramp, Ramp) else 1
    return Recorder(ramp, every=held_out.steps_between(steps), maximize=held_out.maximize, **how)


def check_held_out(held_out: HeldOut, loss_fn: object) -> None:
    """Held-out data that a torch range test can use."""
    if not isinstance(held_out, HeldOut):
        raise TypeError(problem("held_out must be a cyclr.HeldOut", held_out, "write HeldOut(loader, metrics)"))
    check_loader("held_out.loader", held_out.loader)
    if loss_fn is not None and "val_loss" in held_out.metrics:
        raise ValueError("a metric must not be called 'val_loss': the loss on held-out data is recorded by itself")


def _measure(
    model: torch.nn.Module,
    held_out: HeldOut | None,
    loss_fn: Callable[..., torch.Tensor] | None,
    update: Update | StepFunction | None,
) -> Measured:
    """What measures loss and metrics on held-out data."""
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
    """What makes one step from the next batches: ours, or the user's own step function."""
    if update is None or isinstance(update, Update):
        check_callable("loss_fn", loss_fn, "pass a function of (outputs, targets), or a step function as update=")
        assert loss_fn is not None
        # Several processes would have to agree on which losses are not finite, and to wait for that at each step.
        return (update or Update()).of(model, optimizer, loss_fn, skip_non_finite=group_of(model) is None)
    check_callable("update", update, "pass a cyclr.torch.Update, or a function of a batch that makes one step")
    device = device_of(model)

    def step(batches: Iterator[Any]) -> torch.Tensor:
        return checked_loss(update(moved(next(batches), device))).detach()

    return step
