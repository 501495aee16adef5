"""One optimizer step, and one evaluation on held-out data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch.optim import Optimizer

from cyclr._check import count, positive, problem
from cyclr._metrics import GivenMetric, functions_of
from cyclr.torch._batches import check_loader, check_metrics, device_of, is_pair, loss_of, moved, size_of, takes_model
from cyclr.torch._distributed import shared_mean
from cyclr.torch._ensemble import Ensemble
from cyclr.torch._restore.reachable import Search

#: The user's own step: makes one optimizer step from a batch and returns the loss. Without a loader it is called with
#: the number of the step, or with nothing if it takes nothing.
StepFunction: TypeAlias = Callable[..., torch.Tensor]
AT_HAND = ("cpu",)  #: devices whose numbers are read without waiting for anything


def at_hand(tensor: torch.Tensor) -> bool:
    """Whether its numbers are read without waiting for a device."""
    return tensor.device.type in AT_HAND


@dataclass(frozen=True, slots=True)
class Update:
    """How one optimizer step is made from batches: mixed precision, clipping, accumulation, device.

    Args:
        scaler: A `torch.amp.GradScaler`.
        clip_norm: Largest norm of the gradient.
        accumulate: Batches for one step; the loss is their mean. Every step of a range test takes that number, also
            where a training makes a smaller last step in each epoch.
        autocast: The type to compute in, such as `torch.bfloat16`.
        device: Where batches are moved; by default the model's device.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a value is out of range.

    >>> Update(clip_norm=1.0, accumulate=4).accumulate
    4
    """

    scaler: Any = None
    clip_norm: float | None = None
    accumulate: int = 1
    autocast: torch.dtype | None = None
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        count("accumulate", self.accumulate)
        if self.clip_norm is not None:
            positive("clip_norm", self.clip_norm)
        if self.autocast is not None and not isinstance(self.autocast, torch.dtype):
            raise TypeError(problem("autocast must be a torch.dtype", self.autocast, "pass torch.bfloat16"))
        if self.device is not None:
            object.__setattr__(self, "device", torch.device(self.device))

    def of(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        loss_fn: Callable[..., torch.Tensor],
        *,
        skip_non_finite: bool = False,
    ) -> Step:
        """What makes such steps of this training.

        Args:
            model: The network.
            optimizer: Its optimizer.
            loss_fn: A function of (outputs, targets), or of (model, batch).
            skip_non_finite: Whether to take the gradient as zero where the loss is not finite.

        Raises:
            ValueError: If the optimizer holds nothing that the model or the loss has or names, or needs a closure.
        """
        return Step(model, optimizer, loss_fn, self, skip_non_finite=skip_non_finite)


class Step:
    """Takes batches from an iterator, makes one optimizer step with them and returns the loss, still on the device."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: Optimizer,
        loss_fn: Callable[..., torch.Tensor],
        how: Update,
        *,
        skip_non_finite: bool,
    ) -> None:
        self.skip_non_finite = skip_non_finite
        self.model, self.optimizer, self.loss_fn, self.how = model, optimizer, loss_fn, how
        self.device = device_of(model) if how.device is None else torch.device(how.device)
        self._sure = self._drives_model()
        if not self._sure and not self._may_drive_inputs():
            raise self._drives_nothing()
        closure = signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is closure.empty:
            what, name = "the optimizer must make a step without a closure", type(optimizer).__name__
            raise ValueError(problem(what, name, "pass a step function with a closure as update="))

    def __call__(self, batches: Iterator[Any]) -> torch.Tensor:
        """Make the step."""
        scaler, clip_norm = self.how.scaler, self.how.clip_norm
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(next(batches))
        if not self._sure:
            self._check_driven()
        for _ in range(self.how.accumulate - 1):
            loss = loss + self._backward(next(batches))
        if self.skip_non_finite and not (at_hand(loss) and math.isfinite(loss.item())):
            # Another device's loss is not read: that would wait for it. On a CPU, to pass over all gradients in each
            # step made a range test a tenth slower.
            bad = ~loss.isfinite()
            for gradient in (one.grad for one in self._driven() if one.grad is not None):
                gradient.masked_fill_(bad.to(gradient.device), 0)
        if clip_norm is not None:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self._driven(), clip_norm)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        return loss

    def _drives_model(self) -> bool:
        """Whether the optimizer holds a parameter of the model or of the loss."""
        modules = filter(None, (self.model, module_of(self.loss_fn)))
        own = {id(parameter) for module in modules for parameter in module.parameters()}
        return any(id(parameter) in own for parameter in self._driven())

    def _may_drive_inputs(self) -> bool:
        """Whether what is trained may be an input, such as an image: no parameter, or named by the loss."""
        search = Search(lambda value: isinstance(value, torch.nn.Module | torch.Tensor))
        found = [one.value for one in search.reached([("loss_fn", self.loss_fn)])]
        modules = (part for part in found if isinstance(part, torch.nn.Module))
        named = {id(part) for part in (*found, *(parameter for module in modules for parameter in module.parameters()))}
        return any(not isinstance(one, torch.nn.Parameter) or id(one) in named for one in self._driven())

    def _check_driven(self) -> None:
        """Inputs must have got a gradient; copies of weights, made before a model was sharded or replaced, get none."""
        if all(one.grad is None for one in self._driven()):
            raise self._drives_nothing()
        self._sure = True

    def _drives_nothing(self) -> ValueError:
        advice = (
            "make it of model.parameters(), after wrapping or sharding the model; where something else is trained, "
            "such as an input, loss_fn must refer to it, or pass update= a step function"
        )
        given = f"{len(self._driven())} others"
        return ValueError(problem("the optimizer must have parameters of the model", given, advice))

    def _driven(self) -> list[torch.Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def loss(self, batch: Any) -> torch.Tensor:
        """The loss of a batch."""
        batch = moved(batch, self.device)
        if self.how.autocast is None:
            return loss_of(self.model, self.loss_fn, batch)
        with torch.autocast((self.device or torch.device("cpu")).type, dtype=self.how.autocast):
            return loss_of(self.model, self.loss_fn, batch)

    def _backward(self, batch: Any) -> torch.Tensor:
        loss = self.loss(batch)
        if not loss.requires_grad:
            raise ValueError(
                "the loss must depend on a parameter that requires a gradient, got none; unfreeze some of the model"
            )
        if self.how.accumulate > 1:
            loss = loss / self.how.accumulate
        (loss if self.how.scaler is None else self.how.scaler.scale(loss)).backward()
        return loss.detach()


def evaluate(
    model: torch.nn.Module,
    loader: Iterable[Any],
    loss_fn: Callable[..., torch.Tensor] | None,
    metrics: Mapping[str, GivenMetric] | None = None,
    *,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """Mean loss and metrics over a loader, in evaluation mode and without gradients.

    Batches are weighted by their size. Training flags and torch's random state are restored, so that evaluating more
    often does not change a training.

    Args:
        model: The network.
        loader: Held-out batches.
        loss_fn: As in `Task`; None leaves the loss out.
        metrics: Metrics by name, as in `Task`; their directions are not used here.
        device: Where batches are moved; by default the model's device.

    Returns:
        "loss" and each metric by its name.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the loader is empty.

    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.ones_(model.weight)
    >>> evaluate(model, [(torch.ones(2, 1), torch.zeros(2, 1))], torch.nn.functional.mse_loss)
    {'loss': 1.0}
    """
    return evaluate_together(model, loader, loss_fn, metrics, None, device=device)


def evaluate_together(
    model: torch.nn.Module,
    loader: Iterable[Any],
    loss_fn: Callable[..., torch.Tensor] | None,
    metrics: Mapping[str, GivenMetric] | None,
    group: Any,
    *,
    device: torch.device | str | None = None,
) -> dict[str, float]:
    """As `evaluate`, over the batches of all processes of `group`, whatever their number in each; None for this one."""
    check_loader("loader", loader)
    functions = functions_of(metrics or {})
    check_metrics("metrics", functions)
    device = device_of(model) if device is None else torch.device(device)
    names = ([] if loss_fn is None else ["loss"]) + list(functions)
    total: Any = 0.0
    size = 0
    with torch.no_grad(), quiet(model):
        for batch, outputs in _ahead(model, loader, device):
            weight = size_of(batch)
            total = total + weight * _judged(model, batch, loss_fn, functions, outputs)
            size += weight
    if not size:
        raise ValueError(problem("loader must give at least one batch", "none", "check that the dataset is not empty"))
    if group is not None and device is not None:
        total = total.to(device)  # a metric may have computed it elsewhere, where processes cannot exchange it
    return dict(zip(names, shared_mean(total, size, group).tolist(), strict=True))


def _ahead(
    model: torch.nn.Module, loader: Iterable[Any], device: torch.device | None
) -> Iterator[tuple[Any, torch.Tensor | None]]:
    """Batches on the device, with the outputs of an ensemble: it loads each member once for many batches."""
    batches = iter(loader)
    first = next(batches, None)
    every = batches if first is None else chain([first], batches)
    if isinstance(model, Ensemble) and is_pair(first):
        yield from model.over(every, device)
    else:
        for batch in every:
            yield moved(batch, device), None


def _judged(
    model: torch.nn.Module,
    batch: Any,
    loss_fn: Callable[..., Any] | None,
    metrics: Mapping[str, Callable[..., Any]],
    outputs: torch.Tensor | None = None,
) -> torch.Tensor:
    """Loss and metrics of one batch, still on the device."""
    asked = ([] if loss_fn is None else [loss_fn]) + list(metrics.values())
    whole = [takes_model(function, batch) for function in asked]
    pair = () if all(whole) else (model(batch[0]) if outputs is None else outputs, batch[1])  # computed once for all
    pairs = zip(asked, whole, strict=True)
    values = [function(model, batch) if own else function(*pair) for function, own in pairs]
    device = next((value.device for value in values if isinstance(value, torch.Tensor)), None)
    return torch.stack([torch.as_tensor(value, dtype=torch.float32, device=device).reshape(()) for value in values])


def module_of(function: Any) -> torch.nn.Module | None:
    """The module that `function` is or belongs to: a loss may have its own parameters and buffers."""
    owner = getattr(function, "__self__", function)
    return owner if isinstance(owner, torch.nn.Module) else None


@contextmanager
def quiet(model: torch.nn.Module) -> Iterator[None]:
    """A context manager for evaluation mode, which restores all training flags and torch's random state."""
    flags = [(module, module.training) for module in model.modules()]
    random = torch.get_rng_state()
    model.eval()
    try:
        yield
    finally:
        torch.set_rng_state(random)
        for module, flag in flags:
            module.training = flag
