"""What a training keeps beside its model: averages of weights and the like, in hooks, closures and plain objects."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from types import CellType, FrameType
from typing import Any

import torch
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.utils.data import DataLoader

from cyclr import _rng as rng
from cyclr.torch._restore import undo
from cyclr.torch._restore.reachable import FEW, SUSPENDED, Reached, Search, Variable, frame_of
from cyclr.torch._restore.snapshot import KNOWN, Snapshot
from cyclr.torch._restore.variables import variables

SMALL = 1 << 16  #: bytes of a tensor that is copied whatever its shape; a larger one may be data
_CONTAINERS = (list, deque, set, dict, tuple)


class Beside:
    """Follows functions, hooks and plain objects to tensors that look like the model's, and has them put back.

    Such tensors have the shape of a parameter or a buffer, or as many elements as all parameters together, or are
    small. Others are watched: if they are written to, a warning names them.

    Args:
        models: The networks.
        weights: Where everything that is found is noted.
    """

    def __init__(self, models: Iterable[torch.nn.Module], weights: Snapshot) -> None:
        self._models, self._weights = list(models), weights
        self._search: Search | None = None
        self._held: set[int] = set()
        self._watched: list[tuple[str, Callable[[], Any], Any]] = []
        self.data: list[Any] = []  #: loaders and sources of randomness that were found

    def keep(self, functions: Iterable[Any]) -> None:
        """Note what these reach, and what the hooks and objects reach that the snapshot met and did not follow."""
        hooks = [hook for several in _hooks_of_all() for hook in several.values()]
        self._follow([one for one in (*functions, *hooks) if one is not None], opened=True)
        while met := self._weights.take_unfollowed():
            self._follow(met, opened=False)
        if self._search is not None and self._search.full:
            what = "functions and hooks of the training reach too many objects to follow all of them"
            _warn(f"{what}; averages of weights among these may keep what they are given here")

    def warn(self) -> None:
        """Name what was written to and is not put back."""
        changed = [name for name, look, before in self._watched if look() != before]
        if changed:
            what = f"the training also wrote to {', '.join(changed[:3])}{' and others' if len(changed) > 3 else ''}"
            why = "it does not look like weights, or cannot be set from outside"
            _warn(f"{what}, which is not restored: {why}; copy it before, if it matters")

    def _follow(self, values: list[Any], *, opened: bool) -> None:
        if not values:
            return
        if self._search is None:
            self._search = Search(_is_known, max(FEW, len(self._tensors)))
        roots = [(getattr(value, "__qualname__", type(value).__name__), value) for value in values]
        known = []
        for one in self._search.reached(roots, opened=opened):
            if isinstance(one.value, KNOWN):
                known.append(one.value)
            elif isinstance(one.value, FrameType):
                self._weights.hold(variables(one.value))
            elif isinstance(one.value, DataLoader) or rng.is_source(one.value):
                self.data.append(one.value)
            elif isinstance(one.value, torch.Tensor) or undo.is_array(one.value):
                self._keep(one)
            elif isinstance(one.value, (list, deque, dict)) and len(one.value) > self._search.few:
                self._watch_many(one)
        self._weights.keep(*known, reach=1)

    def _keep(self, one: Reached) -> None:
        value = one.value
        alike = tuple(value.shape) in self._shapes
        if alike or undo.size(value) <= SMALL:
            self._weights.keep(value)
            self._hold(one, whole=alike)
        elif isinstance(value, torch.Tensor) and not value.is_inference():
            self._watched.append((f"{one.name} (a tensor of {list(value.shape)})", _version(value), value._version))

    def _watch_many(self, one: Reached) -> None:
        """A long list is not copied: it may be data. Copies of weights in there are not expected, but would be seen."""
        values = list(one.value.values()) if isinstance(one.value, dict) else list(one.value)
        if all(isinstance(value, torch.Tensor) and tuple(value.shape) in self._shapes for value in values[:3]):
            look = _versions(one.value)
            self._watched.append((f"{one.name} ({len(values)} tensors)", look, look()))

    def _hold_variables(self, one: Reached, suspended: Any) -> None:
        """Variables of a suspended generator come back; where in its code it waits does not, but can be seen."""
        frame = frame_of(suspended)
        if frame is None:
            return
        restore = variables(frame)
        self._weights.hold(lambda: restore() if frame_of(suspended) is frame else None)
        kind = type(suspended).__name__
        look = partial(_position, suspended)
        self._watched.append((f"the position of {one.name} (a {kind})", look, look()))

    def _hold(self, one: Reached, *, whole: bool) -> None:
        """Note where a tensor stands: the containers, up to the object or the variable that has them.

        Args:
            one: The tensor, or a container on the way.
            whole: Whether to note all attributes of the object: beside an average stands how often it was updated.
        """
        holder = one.holder
        if holder is None or (key := id(holder) if whole else hash((id(holder), one.name))) in self._held:
            return
        self._held.add(key)
        if isinstance(holder, SUSPENDED):
            self._hold_variables(one, holder)
        elif not isinstance(holder, FrameType):  # whose variables come back, all of them
            self._weights.hold(*_putting_back(one, holder, whole=whole))
        if isinstance(holder, _CONTAINERS) and one.before is not None:
            self._hold(one.before, whole=whole)

    @cached_property
    def _tensors(self) -> list[torch.Tensor]:
        return [tensor for model in self._models for tensor in (*model.parameters(), *model.buffers())]

    @cached_property
    def _shapes(self) -> set[tuple[int, ...]]:
        together = sum(parameter.numel() for model in self._models for parameter in model.parameters())
        return ({tuple(tensor.shape) for tensor in self._tensors} | {(together,)}) - {()}


def _position(suspended: Any) -> int | None:
    frame = frame_of(suspended)
    return None if frame is None else frame.f_lasti


def _is_known(value: Any) -> bool:
    """What a snapshot follows by itself."""
    return isinstance(value, (*KNOWN, DataLoader, torch.Tensor)) or rng.is_source(value)


def _hooks_of_all() -> list[dict[int, Any]]:
    """The hooks of all optimizers and of all modules."""
    return [
        optimizers._global_optimizer_pre_hooks,
        optimizers._global_optimizer_post_hooks,
        modules._global_forward_pre_hooks,
        modules._global_forward_hooks,
        modules._global_backward_pre_hooks,
        modules._global_backward_hooks,
    ]


def _putting_back(one: Reached, holder: Any, *, whole: bool) -> list[undo.Undo]:
    """What puts back the place where something stands."""
    if isinstance(holder, CellType):
        return [undo.cell(holder)]
    if isinstance(holder, Variable):
        return [undo.entry(holder.variables, holder.name)]
    if isinstance(holder, type):
        return [undo.of_class(holder, None if whole else one.name.rpartition(".")[2])]
    entries = [undo.container(holder)] if isinstance(holder, _CONTAINERS) and not isinstance(holder, tuple) else []
    if whole:  # containers of the user's own have attributes, too
        return [*entries, *undo.attributes(holder)]
    if not entries and hasattr(holder, "__dict__"):
        return [undo.entry(vars(holder), one.name.rpartition(".")[2].rpartition(" ")[2])]
    return entries


def _version(tensor: torch.Tensor) -> Callable[[], int]:
    return lambda: tensor._version


def _versions(values: Any) -> Callable[[], Any]:
    def look() -> list[Any]:
        tensors = list(values.values()) if isinstance(values, dict) else list(values)
        return [(id(one), getattr(one, "_version", 0)) for one in tensors]

    return look


def _warn(what: str) -> None:
    warnings.warn(what, RuntimeWarning, stacklevel=5)
