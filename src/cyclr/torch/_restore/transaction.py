"""A transaction that restores a training, whatever happens inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from cyclr import _rng as rng
from cyclr._check import problem
from cyclr._interrupt import Deferral
from cyclr.torch._restore.reachable import around
from cyclr.torch._restore.snapshot import KNOWN, LOADER_REACH, Snapshot


def preserved(
    model: Any,
    optimizer: Any = None,
    *,
    scheduler: Any = None,
    scaler: Any = None,
    loader: Any = None,
    also: Iterable[Any] = (),
    functions: Iterable[Any] = (),
) -> Transaction:
    """Restore the state of a training after a block: on success, after an exception and after Ctrl-C.

    Restored, in place and by identity: parameters and buffers (even replaced, tied or moved ones), training flags,
    `requires_grad`, gradients, the modules' and the optimizer's attributes, groups, hooks and state, the scheduler, the
    GradScaler, the random states of Python, NumPy, torch and the devices in use, and the position of loaders with
    their samplers, generators and datasets' counters. Samples are not restored: of the arrays in loaders and datasets,
    only one-dimensional ones of up to 16 MiB are. Needs memory for another copy of parameters, buffers, gradients and
    optimizer state.

    Args:
        model: A network, or a list, tuple or dict of several.
        optimizer: An optimizer, or several.
        scheduler: A learning-rate scheduler, or several.
        scaler: A `torch.amp.GradScaler`, or several.
        loader: A loader, or several.
        also: Further objects, such as a trainer and its loops: their attributes are restored, including the
            contents of lists and dicts among them, but not further objects that they refer to.
        functions: Step functions, losses and metrics of the training. Networks, optimizers, schedulers, GradScalers,
            loaders and random number generators that they refer to are restored, too, such as an average of the
            weights or a second network.

    Returns:
        A context manager. In `with ... as transaction`, `transaction.rewind()` restores the state inside the block.

    Raises:
        TypeError: If an argument is of the wrong kind, such as an iterator, which cannot be rewound, as a loader.
        ValueError: If the model has parameters that are not initialised yet.

    Warns:
        RuntimeWarning: If a loader holds an iterator that cannot be rewound, such as a generator.

    >>> import torch
    >>> model = torch.nn.Linear(2, 1)
    >>> before = model.weight.clone()
    >>> with preserved(model):
    ...     _ = torch.nn.init.zeros_(model.weight)
    >>> torch.equal(model.weight, before)
    True
    """
    for one in _several("model", model, torch.nn.Module, "pass the network itself"):
        for name, tensor in (*one.named_parameters(), *one.named_buffers()):
            if is_lazy(tensor):
                raise ValueError(
                    problem("the model's parameters must be initialised", name, "run one batch through it first")
                )
    for one in _several("optimizer", optimizer):
        _has("optimizer", one, "param_groups", "step")
    for one in _several("scheduler", scheduler):
        _has("scheduler", one, "step", "state_dict")
    for one in _several("scaler", scaler):
        _has("scaler", one, "update", "state_dict")
    for one in (loader, *_several("loader", loader)):
        if isinstance(one, Iterator):
            raise TypeError(problem("loader must be a loader, which can be rewound, not an iterator", one, "pass both"))
    found = around(functions)
    training = [one for one in found if isinstance(one, KNOWN)]
    data = [one for one in found if isinstance(one, DataLoader) or rng.is_source(one)]
    return Transaction([model, optimizer, scheduler, scaler, *training], [loader, *data], list(also))


class Transaction:
    """The context manager of `preserved`."""

    def __init__(self, training: list[Any], loader: Any, also: list[Any]) -> None:
        self._training, self._loader, self._also = training, loader, also
        self._start: tuple[Snapshot, Snapshot] | None = None
        self.deferral = Deferral(Transaction.__enter__.__code__, Transaction.__exit__.__code__)

    def __enter__(self) -> Transaction:
        self.deferral.install()
        try:
            self._start = self._capture()
        except BaseException:
            self.deferral.release()
            raise
        if self.deferral.waiting:
            self.__exit__(None, None, None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # An interrupt in here, or in what is called from here, waits until `release`.
        start, self._start = self._start, None
        try:
            if start is not None:
                _raise(start[0].restore() + start[1].restore())
        finally:
            self.deferral.release()

    def _capture(self) -> tuple[Snapshot, Snapshot]:
        """The training, and the rest: loaders and randomness, which a `rewind` leaves alone."""
        model, *drivers = self._training
        weights, rest = Snapshot(), Snapshot()
        weights.keep(model)
        weights.keep(*drivers, reach=1)  # some optimizers keep state in separate objects
        rest.keep(self._loader, reach=LOADER_REACH, contents=False)
        rest.keep_alone(*self._also)
        rest.keep(*weights.sources, *rng.everywhere())
        weights.sources.clear()
        weights.finish()
        rest.finish()
        return weights, rest

    def rewind(self, *, everything: bool = False) -> None:
        """Restore model, optimizer, scheduler and scaler now; random states and loaders continue from where they are.

        Args:
            everything: Whether to restore random states and loaders, too.

        Raises:
            RuntimeError: If the block has not begun or is over.
        """
        if self._start is None:
            raise RuntimeError("a transaction can be rewound only inside its block")
        _raise(self._start[0].restore() + (self._start[1].restore() if everything else []))


def _raise(errors: list[Exception]) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("not everything could be restored", errors)


def _several(name: str, given: Any, kind: type | None = None, advice: str = "") -> list[Any]:
    """`given` as a list: it may be one, several, or None where nothing has to be given."""
    if given is None and kind is None:
        return []
    values = list(given.values()) if isinstance(given, Mapping) else given
    values = list(values) if isinstance(values, (list, tuple)) else [given]
    for value in values:
        if kind is not None and not isinstance(value, kind):
            raise TypeError(problem(f"{name} must be a {kind.__module__}.{kind.__name__}", value, advice))
    return values


def _has(name: str, value: Any, *attributes: str) -> None:
    """`value` must have `attributes`."""
    for attribute in attributes:
        if isinstance(value, type) or not hasattr(value, attribute):
            raise TypeError(problem(f"{name} must be one that has {attribute!r}", value, f"pass the {name} itself"))
