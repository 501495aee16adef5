"""The range test: walk up through the learning rates, record what happens, leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.optim import Optimizer

from cyclr._check import choice, count, problem
from cyclr._range import Curve, Inconclusive, StopRule, more_is_better
from cyclr._range import ramp as make_ramp
from cyclr.torch._batches import check_callable, check_loader, check_metrics, checked_loss, device_of, endless, moved
from cyclr.torch._distributed import averaged, group_of
from cyclr.torch._groups import put, shares
from cyclr.torch._probe import probe
from cyclr.torch._restore.transaction import Transaction, preserved
from cyclr.torch._task import check_model, check_optimizer
from cyclr.torch._update import Update, evaluate

BLOCK = 10  #: losses are read from the device in blocks: to wait for each would slow every step
SLOWER = 3  #: times as slow is the ramp of a thorough test if the first one does not say
VALIDATIONS = 20  #: looks at held-out data in one ramp, unless told otherwise
Progress = Callable[[int, int, float, float], Any]


def range_test(
    model: torch.nn.Module,
    optimizer: Optimizer,
    loader: Iterable[Any],
    loss_fn: Callable[..., torch.Tensor] | None = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 300,
    repeats: int = 1,
    ramp: str = "log",
    effort: str = "quick",
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    val_loader: Iterable[Any] | None = None,
    val_every: int | None = None,
    step_fn: Callable[[Any], torch.Tensor] | None = None,
    scaler: Any = None,
    scheduler: Any = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Train while the learning rate rises, and record the loss at each rate. Afterwards all is as it was.

    `ramp="log"` with the training loss is fast. `ramp="linear"` with a metric on held-out data is the paper's protocol.
    The test runs inside `preserved`: weights, optimizer, randomness and loaders come back whatever happens, and so do
    networks, optimizers and generators that `loss_fn`, `step_fn` and the metrics name (an average of the weights, the
    other network of two). A loader shorter than the ramp is started again. Each repeat begins from the same weights,
    with the batches and the randomness that come next, so that the result follows from the random state that the test
    found.

    A ramp ends at the first loss that is not finite, or when what was gained is lost again; what is beyond is NaN.
    Losses are read in blocks of 10, so a ramp may run on unseen for up to 9 steps. Groups keep the ratios of their
    rates; what is recorded is the largest. Modules keep their training flags, but a model that is in evaluation mode
    as a whole is put into training mode for the test. Where several processes train one model (DDP, FSDP2), all of them
    make the test, and losses and metrics are the means over them: one curve, the same for each.

    Args:
        model: The network.
        optimizer: As it will be used; its rates are replaced during the test.
        loader: Training batches, by the convention of `Task`: pairs (inputs, targets), or anything else whole.
        loss_fn: Of (outputs, targets) for pairs, of (model, batch) otherwise. May be left out with `step_fn`.
        low: First learning rate.
        high: Last learning rate.
        steps: Optimizer updates in a ramp.
        repeats: Number of ramps.
        ramp: "log" or "linear".
        effort: "quick" (the ramps alone) or "thorough" (then three to five short whole cycles of 180 updates, up to
            peaks around the upper bound that the ramps give; they sharpen what `Curve.bounds` says of the loss. If the
            ramps do not say, they are made again first, three times as slowly).
        metrics: Names to functions, measured on `val_loader`. Higher is better unless the name holds "loss" or
            "error".
        val_loader: Held-out batches. Their loss is recorded as "val_loss", after the update at that rate.
        val_every: Updates between two looks at `val_loader`, one more is after the first update; by default 20 looks.
        step_fn: Makes one whole update from a batch (zero_grad, forward, backward, optimizer.step) and returns the
            loss as a tensor; takes the place of the update made here, with clipping, accumulation and autocast.
        scaler: A `torch.amp.GradScaler`.
        scheduler: A scheduler that is attached: it is put back too, and not stepped.
        clip_norm: Largest norm of the gradient.
        accumulate: Batches for one update.
        device: Where batches go; by default the model's device.
        autocast: The type to compute in, such as `torch.bfloat16`.
        progress: Called after each block with (steps done, steps in all, rate, loss).

    Returns:
        The curve: rates, losses and metrics, one row a repeat.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range, a loader is empty, or the loss is not finite at the very first step.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(64, 3)
    >>> batches = [(x, x.sum(1, keepdim=True))]
    >>> model = torch.nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> curve = range_test(model, optimizer, batches, torch.nn.functional.mse_loss, low=1e-4, steps=60, repeats=1)
    >>> curve.stops
    ('diverged',)

    Reference:
        Smith (2017), Cyclical Learning Rates, section 3.3. https://arxiv.org/abs/1506.01186
    """
    check_model("model", model)
    check_optimizer("optimizer", optimizer)
    check_loader("loader", loader)
    choice("effort", effort, ("quick", "thorough"))
    rates = _rates(low, high, steps, ramp)
    count("repeats", repeats)
    names = signals(val_loader, metrics, loss_fn)
    if progress is not None:
        check_callable("progress", progress, "pass a function of (step, total, rate, loss)")
    every = _every(val_every, val_loader, steps)
    where = None if device is None else torch.device(device)
    how = {"scaler": scaler, "clip_norm": clip_norm, "accumulate": accumulate, "autocast": autocast}
    step = _step(model, optimizer, loss_fn, step_fn, where, **how)

    data, functions = [loader, val_loader], [loss_fn, step_fn, *(metrics or {}).values()]
    kept = {"scheduler": scheduler, "scaler": scaler, "loader": data, "functions": functions}
    with preserved(model, optimizer, **kept) as transaction:
        if not model.training:
            model.train()
        walk = _Walk(rates, repeats, optimizer, step, endless(loader), group_of(model), progress)
        if val_loader is not None:
            walk.watch(every, lambda: evaluate(model, val_loader, loss_fn, metrics, device=where), names)
        curve = walk.run(transaction, ramp)
        if effort == "quick":
            return curve
        if _says_nothing(curve):
            transaction.rewind(everything=True)
            walk.slower(_rates(low, high, SLOWER * steps, ramp), endless(loader))
            curve = replace(walk.run(transaction, ramp), spent=curve.cost)
        return curve if _says_nothing(curve) else walk.probed(transaction, curve, lambda: endless(loader))


class _Walk:
    """Walks up the ramp, once for each repeat."""

    def __init__(
        self,
        rates: NDArray[np.float64],
        repeats: int,
        optimizer: Optimizer,
        step: Callable[[Iterator[Any]], torch.Tensor],
        batches: Iterator[Any],
        group: Any,
        progress: Progress | None,
    ) -> None:
        self.rates, self.repeats, self.optimizer, self.progress = rates, repeats, optimizer, progress
        self.step, self.batches, self.group = step, batches, group
        self.losses = np.full((repeats, len(rates)), np.nan)
        self.metrics: dict[str, NDArray[np.float64]] = {}
        self.stops: list[str] = []
        self.first = np.nan
        self._every = 0
        self._look: Callable[[], dict[str, float]] = dict
        self._shares = shares(optimizer)

    def watch(self, every: int, look: Callable[[], dict[str, float]], names: tuple[str, ...]) -> None:
        """Call `look` after every so many updates."""
        self._every, self._look = every, look
        self.metrics = {name: np.full(self.losses.shape, np.nan) for name in names}

    def slower(self, rates: NDArray[np.float64], batches: Iterator[Any]) -> None:
        """Forget what was seen, to walk up these rates, so many times more."""
        self._every *= len(rates) // len(self.rates)
        self.rates, self.batches = rates, batches
        self.stops.clear()
        self.losses = np.full((self.repeats, len(rates)), np.nan)
        self.metrics = {name: np.full(self.losses.shape, np.nan) for name in self.metrics}

    def run(self, transaction: Transaction, scale: str) -> Curve:
        """All repeats, each from the same start."""
        for repeat in range(self.repeats):
            if repeat:
                transaction.rewind()
            rule = StopRule()
            self._walk(repeat, rule)
            if rule.index == 0:
                what = "the loss must be finite at the first step, before any update"
                raise ValueError(problem(what, self.first, "check the data, the loss and the weights"))
            self.stops.append("end" if rule.index is None else rule.reason)
            if rule.index is not None:  # what came after it, unseen, is no evidence
                for rows in (self.losses, *self.metrics.values()):
                    rows[repeat, rule.index + 1 :] = np.nan
        maximize = frozenset(filter(more_is_better, self.metrics))
        return Curve(self.rates, self.losses, self.metrics, scale, tuple(self.stops), maximize)

    def probed(self, transaction: Transaction, curve: Curve, batches: Callable[[], Iterator[Any]]) -> Curve:
        """The curve with probe cycles around its upper bound."""
        how = {"step": self.step, "batches": batches, "group": self.group, "progress": self.progress}
        peaks, losses = probe(curve.bounds().max_lr, transaction=transaction, optimizer=self.optimizer, **how)
        return replace(curve, peaks=peaks, probes=losses)

    def _walk(self, repeat: int, rule: StopRule) -> None:
        """One ramp."""
        unread: list[torch.Tensor] = []
        for index, rate in enumerate(self.rates.tolist()):
            for group, share in zip(self.optimizer.param_groups, self._shares, strict=True):
                put(group, "lr", rate * share)
            unread.append(self.step(self.batches))
            # The first look shows what there was before the training: on a straight ramp the next one is late.
            if self._every and (index == 0 or (index + 1) % self._every == 0):
                found = averaged(torch.tensor(list(self._look().values()), device=unread[-1].device), self.group)
                for rows, value in zip(self.metrics.values(), found.tolist(), strict=True):
                    rows[repeat, index] = value
            if len(unread) == BLOCK or index + 1 == len(self.rates):
                values = averaged(torch.stack(unread), self.group).tolist()
                unread.clear()
                start = index + 1 - len(values)
                if start == 0:
                    self.first = values[0]
                self.losses[repeat, start : index + 1] = values
                going = rule.feed(enumerate(values, start)) == "go"
                if self.progress is not None:
                    done = repeat * len(self.rates) + index + 1
                    self.progress(done, self.losses.size, rate, values[-1])
                if not going:
                    return


def _says_nothing(curve: Curve) -> bool:
    try:
        curve.bounds()
    except Inconclusive:
        return True
    return False


def _rates(low: float, high: float, steps: int, scale: str) -> NDArray[np.float64]:
    """All the rates of a ramp."""
    choice("ramp", scale, ("log", "linear"))
    return np.asarray(make_ramp(low, high, steps=steps, scale=scale)(np.arange(count("steps", steps))), dtype=float)


def _step(
    model: torch.nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[..., torch.Tensor] | None,
    step_fn: Callable[[Any], torch.Tensor] | None,
    device: torch.device | None,
    **how: Any,
) -> Callable[[Iterator[Any]], torch.Tensor]:
    """What makes one update from the next batches: ours, or the user's own in its place and in that of all it does."""
    if step_fn is None:
        check_callable("loss_fn", loss_fn, "pass a function of (outputs, targets), or step_fn")
        assert loss_fn is not None
        return Update(model, optimizer, loss_fn, device=device, **how)
    check_callable("step_fn", step_fn, "pass a function of a batch that makes one update and returns the loss")
    for name, default in (("clip_norm", None), ("accumulate", 1), ("autocast", None)):
        if how[name] != default:
            what = f"{name} must be left out where step_fn makes the update"
            raise ValueError(problem(what, how[name], "do it in there"))
    device = device_of(model) if device is None else device

    def step(batches: Iterator[Any]) -> torch.Tensor:
        return checked_loss(step_fn(moved(next(batches), device))).detach()

    return step


def signals(val_loader: Any, metrics: Any, loss_fn: Any) -> tuple[str, ...]:
    """Names of what is measured on held-out data."""
    if metrics is not None:
        check_metrics("metrics", metrics)
    if val_loader is None:
        if metrics:
            raise ValueError(problem("metrics must come with a val_loader to measure them on", None))
        return ()
    check_loader("val_loader", val_loader)
    for taken in ("loss", "val_loss"):
        if metrics and taken in metrics:
            raise ValueError(problem(f"a metric must not be called {taken!r}: that is recorded by itself", taken))
    return (() if loss_fn is None else ("val_loss",)) + tuple(metrics or ())


def _every(val_every: int | None, val_loader: Any, steps: int) -> int:
    """Updates between two looks."""
    if val_every is None:
        return max(1, steps // VALIDATIONS)
    if val_loader is None:
        raise ValueError(problem("val_every must come with a val_loader", None))
    return min(count("val_every", val_every), steps)
