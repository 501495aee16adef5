"""The same results in all processes that train one model together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


def group_of(model: torch.nn.Module) -> Any:
    """The process group that trains `model`, replicated (DDP) or sharded (FSDP2); None for one process."""
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    for module in model.modules():
        if isinstance(module, DistributedDataParallel):
            return module.process_group
    for parameter in model.parameters():
        mesh = getattr(parameter, "device_mesh", None)
        if mesh is not None:  # only the first of several dimensions is known to have different data
            return mesh.get_group(0)
    return None


def everybody() -> Any:
    """The group of all processes; None if there is only one."""
    several = distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
    return distributed.group.WORLD if several else None


def averaged(values: torch.Tensor, group: Any) -> torch.Tensor:
    """The mean over the processes of `group`; not finite in all of them if it is not finite in one. Waits for all."""
    if group is None:
        return values
    values = values.clone()
    distributed.all_reduce(values, group=group)
    return values / distributed.get_world_size(group)


def shared_mean(sums: torch.Tensor, weight: int, group: Any) -> torch.Tensor:
    """Sums over the examples of all processes of `group`, divided by their number; `weight` is that of this process's.

    Waits for all.
    """
    if group is None:
        return sums / weight
    both = torch.cat([sums, sums.new_tensor([weight])])
    distributed.all_reduce(both, group=group)
    return both[:-1] / both[-1]


def place_in(group: Any) -> tuple[int, int]:
    """The index of this process in `group`, and the number of processes. Process 0 writes files for all."""
    return (0, 1) if group is None else (distributed.get_rank(group), distributed.get_world_size(group))


def once(do: Callable[[], T], group: Any) -> T:
    """The result of `do`, which only the first process of `group` calls, or its error, in all processes."""
    if group is None:
        return do()
    box: list[Any] = [None, None]
    if place_in(group)[0] == 0:
        try:
            box[0] = do()
        except Exception as error:  # noqa: BLE001 - all raise it, else the others wait forever
            box[1] = error
    distributed.broadcast_object_list(box, group=group, group_src=0)
    if box[1] is not None:
        raise box[1]
    return box[0]


def of_each(value: T, group: Any) -> list[T]:
    """The `value` of every process of `group`, in all of them."""
    if group is None:
        return [value]
    values: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(values, value, group=group)
    return values
