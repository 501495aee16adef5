"""A transaction that restores a training, whatever happens inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from types import TracebackType
from typing import Any

import torch
from torch.nn.parameter import is_lazy
from torch.utils.data._utils import signal_handling

from cyclr import _rng as rng
from cyclr._check import problem
from cyclr._interrupt import Restored, Undo, put_back
from cyclr.torch._restore.beside import Beside
from cyclr.torch._restore.place import Place, place_of
from cyclr.torch._restore.snapshot import LOADER_REACH, Snapshot


def preserved(
    model: Any,
    optimizer: Any = None,
    *,
    scheduler: Any = None,
    scaler: Any = None,
    loader: Any = None,
    also: Iterable[Any] = (),
    functions: Iterable[Any] = (),
    where: str | PathLike[str] | None = None,
) -> Transaction:
    """Restore the state of a training after a block: on success, after an exception and after Ctrl-C.

    Restored, in place and by identity: parameters and buffers (even replaced, tied or moved ones), training flags,
    `requires_grad`, gradients, whether gradients and autocast are enabled, the modules' and the optimizer's attributes,
    groups, hooks and state, the scheduler, the GradScaler, the random states of Python, NumPy, torch and the devices in
    use, and the position of loaders with their samplers, generators and datasets' counters. Samples are not restored:
    of the arrays in loaders and datasets, only one-dimensional ones of up to 16 MiB are. Needs memory for another copy
    of parameters, buffers, gradients and optimizer state.

    Args:
        model: A network, or a list, tuple or dict of several.
        optimizer: An optimizer, or several.
        scheduler: A learning-rate scheduler, or several.
        scaler: A `torch.amp.GradScaler`, or several.
        loader: A loader, or several.
        also: Further objects, such as a trainer and its loops: their attributes come back, and what lists and dicts
            among these hold, but nothing that hangs on them.
        functions: A training's own steps, losses and metrics. They are followed, and so are the hooks of the model and
            the optimizer, through closures, global variables, containers and objects of the user's own. What they reach
            comes back if it is a network, an optimizer, a scheduler, a GradScaler, a loader, a generator of random
            numbers, or a tensor or array of the shape of a parameter (an average of the weights), with the object that
            holds it.
        where: Where the copy is kept: None, beside what is copied, such as on the GPU; "cpu", in the host's memory; or
            a folder, in a file without a name there, which is gone afterwards, whatever ends the process.

    Returns:
        A context manager. In `with ... as transaction`, `transaction.rewind()` restores the state inside the block.

    Raises:
        TypeError: If an argument is of the wrong kind, such as an iterator, which cannot be rewound, as a loader.
        ValueError: If the model has parameters that are not initialised yet, or `where` is not a folder that can be
            written to.
        OSError: When the block begins, before anything is changed, if the disk has no room for the copy.

    Warns:
        RuntimeWarning: If a loader holds an iterator that cannot be taken back, such as a generator, or if functions or
            hooks reach a tensor that was written to and is not restored.

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
    training = [model, optimizer, scheduler, scaler]
    return Transaction(training, loader, list(also), list(functions), place_of(where))


class Transaction(Restored):
    """What `preserved` gives: a context manager that puts everything back."""

    def __init__(self, training: list[Any], loader: Any, also: list[Any], functions: list[Any], place: Place) -> None:
        self._place = place
        self._training, self._loader, self._also, self._functions = training, loader, also, functions
        self._start: tuple[Snapshot, Snapshot] | None = None

    def _remember(self) -> None:
        """The training, and the rest: loaders and randomness, which a `rewind` leaves alone."""
        model, *drivers = self._training
        self._modes = modes()
        weights, rest = Snapshot(self._place), Snapshot()
        weights.keep(model)
        weights.keep(*drivers, reach=1)  # other people's optimizers keep state in objects of their own
        self._beside = Beside(_several("model", model), weights)
        self._beside.keep(self._functions)
        rest.keep(self._loader, *self._beside.data, reach=LOADER_REACH, contents=False)
        rest.keep_alone(*self._also)
        if rest.has_workers:
            # torch would set it when the workers start, inside the block: a signal that arrives before it is stood in
            # front of would get past.
            signal_handling._set_SIGCHLD_handler()
            self.deferral.install()
        rest.keep(*weights.sources, *rng.everywhere())
        weights.sources.clear()
        weights.finish()
        rest.finish()
        self._start = weights, rest

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            self._place.close()

    def _undo(self) -> list[Undo]:
        start, self._start = self._start, None
        return [] if start is None else [self._modes, *start[0].undo(), *start[1].undo(), self._beside.warn]

    def rewind(self, *, everything: bool = False) -> None:
        """Restore model, optimizer, scheduler and scaler now; random states and loaders continue from where they are.

        Args:
            everything: Whether to restore random states and loaders, too.

        Raises:
            RuntimeError: If the block has not begun or is over.
        """
        if self._start is None:
            raise RuntimeError("a transaction can be rewound only inside its block")
        put_back(self._start[0].undo() + (self._start[1].undo() if everything else []))


def modes() -> Undo:
    """Puts back whether gradients and autocast are on.

    An exception that a signal raises may come between the start of `torch.no_grad()` and the block that would end it.
    """
    accelerator = torch.accelerator.current_accelerator()
    devices = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    gradients = torch.is_grad_enabled()
    autocast = {device: torch.is_autocast_enabled(device) for device in devices}

    def restore() -> None:
        torch.set_grad_enabled(gradients)
        for device, enabled in autocast.items():
            torch.set_autocast_enabled(device, enabled)

    return restore


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
