"""Batches and loaders: checks, devices, and the convention for batches.

A batch that is a tuple or list of two is a pair (inputs, targets): the loss is `loss_fn(model(inputs), targets)`.
Any other batch (a dict, a tensor, a tuple of three) goes whole: the loss is `loss_fn(model, batch)`.
Metrics follow the same rule. A function that is marked by `with_model` gets (model, batch) whatever the batch is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import Dataset, RandomSampler, SubsetRandomSampler, WeightedRandomSampler

from cyclr._check import problem
from cyclr._range.fall import neighbours


def length(loader: Any) -> int | None:
    """Batches in one pass over `loader`, or None if it has no length."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):  # an iterable dataset has no length
        return None


def check_loader(name: str, loader: Any) -> None:
    """A loader can be started again and gives whole batches; an iterator could not be rewound."""
    if isinstance(loader, Iterator):
        advice = "pass the loader itself, not iter(loader)"
        raise TypeError(problem(f"{name} must be a loader that can be started again, not an iterator", loader, advice))
    if isinstance(loader, Dataset) or hasattr(loader, "__getitems__"):  # the latter is how Hugging Face's are read
        advice = "pass DataLoader(dataset, batch_size=...), with batch_size=None if its items are whole batches"
        raise TypeError(problem(f"{name} must give batches, not the examples of a dataset", _kind(loader), advice))
    if isinstance(loader, torch.Tensor) or hasattr(loader, "__array__"):
        advice = "pass a DataLoader, or [array] to train on all of it at once"
        raise TypeError(problem(f"{name} must give batches, not the rows of an array", _kind(loader), advice))
    if isinstance(loader, (Mapping, str)) or not (isinstance(loader, Iterable) or hasattr(loader, "__getitem__")):
        raise TypeError(problem(f"{name} must be a loader", loader, "pass a DataLoader or a list of batches"))
    if length(loader) == 0:
        advice = "check that the dataset is not empty, nor smaller than one batch with drop_last=True"
        raise ValueError(problem(f"{name} must hold at least one batch", 0, advice))


def _kind(value: object) -> str:
    """`a TensorDataset`: what a value is, where its content would say nothing."""
    return f"a {type(value).__name__}"


#: Samplers that draw at random; those of Accelerate and others derive from them.
_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def in_order(loader: Any, steps: int) -> bool:
    """Whether the order of the batches may show in a sweep of `steps`: they are not known to be shuffled.

    So few that their order repeats all the time are averaged out.
    """
    if (inside := getattr(loader, "loaders", None)) is not None:  # of a trainer, whose batches we take ourselves
        return any(in_order(one, steps) for one in inside)
    batches = length(loader)
    if batches is not None and batches <= neighbours(steps):
        return False
    sampler: Any = loader
    while (inner := _sampler_of(sampler)) is not None:
        sampler = inner
    return not (isinstance(sampler, _RANDOM) or getattr(sampler, "shuffle", False) is True)


def _sampler_of(loader: Any) -> Any:
    """The sampler that a loader or another sampler draws from."""
    batches = getattr(loader, "batch_sampler", None)
    return getattr(loader, "sampler", None) if batches is None else batches


def check_callable(name: str, value: Any, advice: str) -> None:
    """`value` must be callable, and no class: to call that would only make an object."""
    if isinstance(value, type):
        raise TypeError(problem(f"{name} must be a function or an object", value, f"write {value.__name__}()"))
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


class with_model(functools.partial[Any]):  # noqa: N801 (used as a decorator)
    """Marks a loss or a metric as a function of (model, batch), also where the batch is a pair.

    Needed where the usual `function(model(inputs), targets)` does not fit a training with pairs: a model that takes
    inputs and targets, two views of one image, noise that the loss draws.

    Args:
        function: Called with the model and the whole batch.

    Raises:
        TypeError: If it is not callable.

    >>> @with_model
    ... def distance(model, batch):
    ...     one, other = batch
    ...     return (model(one) - model(other)).square().mean()
    >>> distance(torch.nn.Identity(), (torch.ones(3), torch.zeros(3)))
    tensor(1.)
    """

    # A partial, so that all that the function refers to is restored as that of any other function.
    def __new__(cls, function: Callable[[Any, Any], Any]) -> with_model:
        """Mark a function."""
        check_callable("function", function, "pass a function of (model, batch)")
        return super().__new__(cls, function)


def _own_loss(model: Any, batch: Any) -> torch.Tensor:
    if isinstance(batch, Mapping):
        outputs = model(**batch)
    else:
        outputs = model(*batch) if isinstance(batch, (tuple, list)) else model(batch)
    if isinstance(outputs, Mapping) or hasattr(outputs, "loss"):  # those of Hugging Face are both
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs.loss
        found: list[Any] = [] if loss is None else [loss]
    else:
        several = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        found = [part for part in several if isinstance(part, torch.Tensor) and part.ndim == 0]
    if len(found) != 1:
        what = sorted(map(str, outputs)) if isinstance(outputs, Mapping) else _kind(outputs)
        advice = (
            "put the targets into the batch, or pass as loss_fn a function marked by with_model that gives the loss"
        )
        given = f"{len(found)} in {what}"
        raise ValueError(problem("the model must return exactly one loss", given, advice))
    return checked_loss(found[0])


#: The loss that the model itself returns: called with the whole batch, `model(*batch)` or `model(**batch)`.
#: It is the output itself, its `loss`, or the one scalar in a tuple; an error where that is not certain.
own_loss = with_model(_own_loss)


def takes_model(function: Any, batch: Any) -> bool:
    """Whether a loss or a metric is called with (model, batch), and not with (outputs, targets)."""
    return isinstance(function, with_model) or not is_pair(batch)


def loss_of(model: Callable[..., Any], loss_fn: Callable[..., Any], batch: Any) -> torch.Tensor:
    """The loss of one batch, by the convention above; a scalar tensor or an error."""
    if takes_model(loss_fn, batch):
        return checked_loss(loss_fn(model, batch))
    try:
        return checked_loss(loss_fn(model(batch[0]), batch[1]))
    except TypeError as error:
        if not any(symptom in str(error) for symptom in ("positional argument", "not callable")):
            raise
        said = (
            f"{error}; a batch that is a pair makes the loss loss_fn(model(inputs), targets): if loss_fn is a function "
            "of (model, batch), pass cyclr.torch.with_model(loss_fn); if the model returns its loss, pass "
            "cyclr.torch.own_loss"
        )
        raise TypeError(said) from error


def checked_loss(loss: Any) -> torch.Tensor:
    """Check that a loss is a tensor with one number."""
    if isinstance(loss, torch.Tensor) and not loss.ndim:
        return loss
    if not isinstance(loss, torch.Tensor):
        advice = "return the tensor, not its .item(); if the model returns its loss, pass cyclr.torch.own_loss"
        raise TypeError(problem("the loss must be a tensor", loss, advice))
    if loss.numel() != 1:
        raise ValueError(problem("the loss must be one number", tuple(loss.shape), "reduce it, as with .mean()"))
    return loss.reshape(())  # a view, which adds a node to the backward pass


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
    if (kind := type(batch)) is list or kind is tuple:  # what most loaders give, in each step
        return kind(
            [
                part if isinstance(part, torch.Tensor) and part.device == device else moved(part, device)
                for part in batch
            ]
        )
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
