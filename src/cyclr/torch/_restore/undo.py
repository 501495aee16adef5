"""How one thing is put back: each function notes how it is now, and gives what makes it so again."""

from __future__ import annotations

import copy
import math
import operator
import sys
from io import IOBase
from types import CellType, MemberDescriptorType
from typing import Any

import torch

from cyclr._interrupt import Undo

_NOTHING = object()


def container(value: Any) -> Undo:
    """What a container holds; one that holds the same objects in the same order is not touched."""
    if isinstance(value, dict):
        return _dict(value)
    saved = list(value)

    def undo() -> None:
        if len(value) == len(saved) and all(map(operator.is_, value, saved)):
            return
        if isinstance(value, list):
            value[:] = saved
        else:
            value.clear()
            value.update(saved) if isinstance(value, set) else value.extend(saved)

    return undo


def emptied(values: list[Any]) -> Undo:
    """Empties containers that were empty, those that are not so already."""

    def undo() -> None:
        for value in values:
            if value:
                value.clear()

    return undo


def _dict(value: dict[Any, Any]) -> Undo:
    saved = dict(value)

    def undo() -> None:
        same = len(value) == len(saved) and all(map(operator.is_, value, saved))
        if same and all(map(operator.is_, value.values(), saved.values())):
            return
        # Entry by entry: the attributes of an object must not be missing for a moment, another thread may look.
        for key in [key for key in value if key not in saved]:
            del value[key]
        for key, item in saved.items():
            if key not in value or value[key] is not item:
                value[key] = item
        if not all(map(operator.is_, value, saved)):
            value.clear()
            value.update(saved)

    return undo


def kind(value: Any) -> Undo:
    """An object's class: a parametrization gives its module another."""
    before = type(value)

    def undo() -> None:
        if type(value) is not before:
            value.__class__ = before

    return undo


def training(module: torch.nn.Module) -> Undo:
    """The training flag of a module, wherever it is kept."""
    flag = module.training

    def undo() -> None:
        if module.training != flag:
            module.training = flag

    return undo


def slots(value: Any) -> list[MemberDescriptorType]:
    """The slots of an object, also private and inherited ones."""
    classes = [one for one in type(value).__mro__ if "__slots__" in vars(one)]
    return [member for one in classes for member in vars(one).values() if isinstance(member, MemberDescriptorType)]


def in_slot(value: Any, slot: MemberDescriptorType) -> Any:
    """What stands in a slot, or a mark that nothing does."""
    try:
        return slot.__get__(value)
    except AttributeError:
        return _NOTHING


def slot(value: Any, slot: MemberDescriptorType) -> Undo:
    """What stands in a slot; set by the slot itself, since a frozen object refuses."""
    before = in_slot(value, slot)

    def undo() -> None:
        if in_slot(value, slot) is not before:
            slot.__delete__(value) if before is _NOTHING else slot.__set__(value, before)

    return undo


def attributes(value: Any) -> list[Undo]:
    """All attributes of an object."""
    held = [container(vars(value))] if hasattr(value, "__dict__") else []
    return [*held, *(slot(value, one) for one in slots(value))]


def of_class(value: type, name: str | None = None) -> Undo:
    """The attributes of a class, or the one of this name."""
    saved = dict(vars(value)) if name is None else {name: vars(value).get(name, _NOTHING)}

    def undo() -> None:
        present = dict(vars(value))
        for key, item in saved.items():
            if item is not _NOTHING and present.get(key, _NOTHING) is not item:
                type.__setattr__(value, key, item)
        for key in present if name is None else ():
            if key not in saved and not key.startswith("__"):
                type.__delattr__(value, key)

    return undo


def cell(value: CellType) -> Undo:
    """What a variable of a closure holds."""
    before = value.cell_contents

    def undo() -> None:
        value.cell_contents = before

    return undo


def entry(values: dict[str, Any], name: str) -> Undo:
    """One entry of a dict."""
    before = values.get(name, _NOTHING)

    def undo() -> None:
        if before is not _NOTHING and values.get(name, _NOTHING) is not before:
            values[name] = before

    return undo


def size(value: Any) -> float:
    """The bytes of a tensor or an array; infinite for a sparse tensor, which does not say."""
    return value.nbytes if getattr(value, "layout", torch.strided) == torch.strided else math.inf


def is_array(value: Any) -> bool:
    """Whether `value` is a NumPy array."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def array(value: Any) -> Undo:
    """The numbers in an array of NumPy's or of Python's."""
    saved = copy.copy(value)
    everything = ... if is_array(value) else slice(None)

    def undo() -> None:
        if not is_array(value) or value.flags.writeable:
            value[everything] = saved

    return undo


def position(file: Any) -> Undo | None:
    """Restores the read position of a file; None if it is not known or not seekable."""
    try:
        place = file.tell() if isinstance(file, IOBase) and file.seekable() else None
    except (OSError, ValueError):  # a text file that is being iterated over; a closed one
        return None

    def undo() -> None:
        if not file.closed and file.tell() != place:
            file.seek(place)

    return None if place is None else undo


def stateful(value: Any, state: Any) -> Undo:
    """What an object gives and takes as its state."""

    def undo() -> None:
        # Often its attributes, back by now, are all its state; then loading could only do harm.
        if not _equal(value.state_dict(), state):
            value.load_state_dict(copy.deepcopy(state))

    return undo


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):  # tensors or arrays of several elements are neither true nor false
        return False
