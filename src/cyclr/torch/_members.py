"""Weights of a model, out of it and into it: files, and what wrappers add to names."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch.nn.parallel import DataParallel, DistributedDataParallel

from cyclr._check import problem
from cyclr._snapshot_files import check_shapes, files_in, header_of, shared_in

Weights: TypeAlias = Mapping[str, torch.Tensor]
#: A file of weights, or a state_dict.
Member: TypeAlias = str | os.PathLike[str] | Weights
#: A folder of snapshots, or several members.
Members: TypeAlias = "HasPaths |  str | os.PathLike[str] | Iterable[Member]"


class HasPaths(Protocol):
    """Several files, such as `Snapshots`."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        ...


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model itself, inside of DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(model, (DistributedDataParallel, DataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), torch.nn.Module):
            model = inner
        else:
            return model


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether each process holds a part of the weights (FSDP2)."""
    return any(hasattr(parameter, "device_mesh") for parameter in model.parameters())


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state_dict of the whole model. Where it is sharded, all processes must ask, and only the first gets it.

    Raises:
        TypeError: If there is something other than tensors in it.
    """
    if is_sharded(model):
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        whole: Any = get_model_state_dict(unwrapped(model), options=options)
        return dict(whole)
    state = unwrapped(model).state_dict()
    check_savable(state)
    return dict(state)


def check_savable(state: Mapping[str, Any]) -> None:
    """Check that a state_dict holds tensors only.

    Raises:
        TypeError: If not.
    """
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            what = f"{name} in the model's state_dict must be a tensor to be saved"
            raise TypeError(problem(what, value, "leave get_extra_state out of the module"))


def shapes_of(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in the model's state_dict."""
    return {name: tuple(value.shape) for name, value in unwrapped(model).state_dict().items()}


def size_of_weights(model: torch.nn.Module) -> int:
    """Bytes of a snapshot, all processes' parts together."""
    state = unwrapped(model).state_dict()
    return sum(state[name].numel() * state[name].element_size() for name in _distinct(state)[0])


def to_save(weights: Weights) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors as safetensors takes them, contiguous and none twice; and for each name left out the one that holds it.

    The second part goes into the file's metadata, as safetensors' own `save_model` has it.
    """
    names, shared = _distinct(weights)
    tensors: dict[str, torch.Tensor] = {}
    storages: set[int] = set()
    for name in names:
        tensor = weights[name].detach().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != tensor.numel() * tensor.element_size():
            tensor = tensor.clone()  # a part of something larger
        storages.add(tensor.untyped_storage().data_ptr())
        tensors[name] = tensor
    return tensors, shared


def _distinct(weights: Weights) -> tuple[list[str], dict[str, str]]:
    """The names of different tensors, and for each further name of one of them that name."""
    names: list[str] = []
    shared: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, tensor in weights.items():
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        key = (local.device, local.data_ptr(), tensor.shape, local.stride(), tensor.dtype)
        if local.numel() and local.device.type != "meta" and key in seen:
            shared[name] = seen[key]
        else:
            seen[key] = name
            names.append(name)
    return names, shared


def members_of(given: Any) -> list[Member]:
    """The members that `given` stands for: snapshots, a folder of them, files, state_dicts.

    Raises:
        TypeError: If it is something else.
        ValueError: If there is none.
    """
    if isinstance(paths := getattr(given, "paths", None), tuple):  # cyclr.torch.Snapshots
        found: list[Member] = list(paths)
    elif isinstance(given, (str, os.PathLike)):
        path = Path(given)
        found = list(files_in(path)) if path.is_dir() else [path]
    elif isinstance(given, Mapping) or not isinstance(given, Iterable):
        advice = "pass a Snapshots, its folder, or a list of files or state_dicts"
        raise TypeError(problem("snapshots must be several sets of weights", given, advice))
    else:
        found = list(given)
    if not found:
        raise ValueError(problem("snapshots must hold at least one", given, "train to the end of a cycle first"))
    for member in found:
        if not isinstance(member, (str, os.PathLike, Mapping)):
            raise TypeError(problem("a snapshot must be a file or a state_dict", member))
    return found


def check_members(members: Iterable[Member], model: torch.nn.Module) -> None:
    """Check that all are weights of the model, before the first is loaded; only headers of files are read.

    Raises:
        ValueError: If one is not.
    """
    shapes = shapes_of(model)
    for member in members:
        if isinstance(member, (str, os.PathLike)):
            path = Path(member)
            if not path.is_file():
                raise ValueError(problem("a snapshot must be a file", str(path), "check the path"))
            if path.suffix == ".safetensors":
                check_shapes(path, header_of(path)[1], shapes)


def load_member(model: torch.nn.Module, member: Member) -> None:
    """Load weights into `model`. Tensors that several names share are filled once.

    Raises:
        ValueError: If they are those of another model, or the file is damaged.
    """
    weights, name = read_member(member)
    try:
        unwrapped(model).load_state_dict(weights)
    except RuntimeError as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{name} must hold weights of the same model ({what})") from None


def open_member(member: Member, model: torch.nn.Module) -> Weights:
    """The state_dict of a member; tensors of a file are read when they are asked for.

    Raises:
        ValueError: If it is of another model than `model`, or the file is damaged.
    """
    if not isinstance(member, Mapping) and Path(member).suffix == ".safetensors":
        return _File(Path(member))  # its shapes were checked, from its header
    weights, name = read_member(member)
    shapes = {key: tuple(value.shape) for key, value in weights.items() if isinstance(value, torch.Tensor)}
    own = {key: tuple(value.shape) for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    check_shapes(Path(name), shapes, own)
    return weights


class _File(Mapping[str, torch.Tensor]):
    """The tensors of a safetensors file by all their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _readable(path), safe_open(path, framework="pt") as file:
            names, metadata = set(file.keys()), dict(file.metadata() or {})
        self._names = {name: name for name in names} | shared_in(metadata, names)

    def __getitem__(self, name: str) -> torch.Tensor:
        # opened each time: what an open file has mapped counts as memory in use
        with _readable(self.path), safe_open(self.path, framework="pt") as file:
            found: torch.Tensor = file.get_tensor(self._names[name])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A context manager for errors of files that cannot be read."""
    try:
        yield
    except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        what = next(iter(str(error).splitlines()), "empty")
        raise ValueError(f"{path}: the snapshot cannot be read ({what})") from None


def read_member(member: Member) -> tuple[dict[str, torch.Tensor], str]:
    """The state_dict of a member, and how to name it in a message."""
    if isinstance(member, Mapping):
        return dict(member), "a state_dict in snapshots"
    path = Path(member)
    with _readable(path):
        if path.suffix != ".safetensors":
            mapped = zipfile.is_zipfile(path)  # then tensors are read when they are used; torch < 1.6 wrote other files
            return dict(torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)), str(path)
        weights = load_file(path)
        weights.update({name: weights[kept] for name, kept in shared_in(header_of(path)[0], weights).items()})
    return weights, str(path)
