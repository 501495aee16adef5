"""Batches and loaders: checks, devices, and the convention for batches.

A batch that is a tuple or list of two is a pair (inputs, targets): the loss is `loss_fn(model(inputs), targets)`.
Any other batch (a dict, a tensor, a tuple of three) is passed as a whole: the loss is `loss_fn(model, batch)`.
Metrics follow the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from cyclr._check import problem


def length(loader: Any) -> int | None:
    """Batches in one pass over `loader`, or None if it has no length."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # an iterable dataset has no length
        return None


def check_loader(name: str, loader: Any) -> None:
    """Check that `loader` is not empty and can be started again, unlike an iterator."""
    if isinstance(loader, Iterator):
        advice = "pass the loader itself, not iter(loader)"
        raise TypeError(problem(f"{name} must be a loader that can be started again, not an iterator", loader, advice))
    if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
        raise TypeError(problem(f"{name} must be a loader", loader, "pass a DataLoader or a list of batches"))
    if length(loader) == 0:
        advice = "check that the dataset is not empty, nor smaller than one batch with drop_last=True"
        raise ValueError(problem(f"{name} must hold at least one batch", 0, advice))


def check_callable(name: str, value: Any, advice: str) -> None:
    """Check that `value` is callable."""
    if not callable(value):
        raise TypeError(problem(f"{name} must be callable", value, advice))


def check_metrics(name: str, metrics: Any) -> None:
    """Check a mapping of names to functions."""
    if not isinstance(metrics, Mapping):
        raise TypeError(problem(f"{name} must be a mapping of names to functions", metrics, "pass {'accuracy': fn}"))
    for key, metric in metrics.items():
        if not isinstance(key, str) or not key:
            raise TypeError(problem(f"a name in {name} must be a non-empty string", key))
        check_callable(f"{name}[{key!r}]", metric, "pass a function of (outputs, targets)")


def is_pair(batch: Any) -> bool:
    """Whether `batch` is (inputs, targets)."""
    return isinstance(batch, (tuple, list)) and len(batch) == 2


def loss_of(model: Callable[..., Any], loss_fn: Callable[..., Any], batch: Any) -> torch.Tensor:
    """The loss of one batch, by the convention above, as a scalar tensor."""
    loss = loss_fn(model(batch[0]), batch[1]) if is_pair(batch) else loss_fn(model, batch)
    return checked_loss(loss)


def checked_loss(loss: Any) -> torch.Tensor:
    """Check that a loss is a tensor with one number."""
    if not isinstance(loss, torch.Tensor):
        raise TypeError(problem("the loss must be a tensor", loss, "return the tensor, not its .item()"))
    if loss.numel() != 1:
        raise ValueError(problem("the loss must be one number", tuple(loss.shape), "reduce it, as with .mean()"))
    return loss.reshape(()) if loss.ndim else loss  # a view would add a node to the backward pass


def size_of(batch: Any) -> int:
    """Number of examples in a batch: the length of its last tensor, usually the targets; 1 if there is none."""
    if isinstance(batch, torch.Tensor):
        return len(batch) if batch.ndim else 1
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    if isinstance(parts, (tuple, list)):
        for part in reversed(parts):
            if isinstance(part, (torch.Tensor, tuple, list, Mapping)):
                return size_of(part)
    return 1


def device_of(model: torch.nn.Module) -> torch.device | None:
    """The device of the first parameter or buffer; None if the model has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return None


def moved(batch: Any, device: torch.device | None) -> Any:
    """`batch` with all its tensors on `device`; containers keep their types."""
    if device is None:
        return batch
    if isinstance(batch, torch.Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):  # a named tuple takes its fields as separate arguments
        return type(batch)(*(moved(part, device) for part in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(moved(part, device) for part in batch)
    if callable(getattr(batch, "to", None)):  # such as the batches of Hugging Face tokenizers
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: moved(part, device) for key, part in batch.items()}
    return batch


def start_pass(loader: Iterable[Any], number: int) -> Iterator[Any]:
    """One pass over `loader`. Its number is passed to samplers that have `set_epoch`."""
    for owner in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
        tell = getattr(owner, "set_epoch", None)
        if callable(tell):
            tell(number)  # otherwise a DistributedSampler repeats the same order
    return iter(loader)


def endless(loader: Iterable[Any], name: str = "loader") -> Iterator[Any]:
    """Endless batches: a loader that ends is started again. An empty one is an error."""
    number = getattr(getattr(loader, "sampler", None), "epoch", 0)
    while True:
        empty = True
        for batch in start_pass(loader, number):
            empty = False
            yield batch
        if empty:
            raise ValueError(
                problem(f"{name} must give at least one batch", "none", "check that the dataset is not empty")
            )
        number += 1
