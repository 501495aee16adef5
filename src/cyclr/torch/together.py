"""One answer for all processes that train one model together."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


def group_of(model: torch.nn.Module) -> Any:
    """The process group that `model` is trained by: replicated (DDP) or sharded (FSDP2); None for one process."""
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    for module in model.modules():
        if isinstance(module, DistributedDataParallel):
            return module.process_group
    for parameter in model.parameters():
        mesh = getattr(parameter, "device_mesh", None)
        if mesh is not None:  # of several dimensions only the first is known to hold different data
            return mesh.get_group(0)
    return None


def averaged(values: torch.Tensor, group: Any) -> torch.Tensor:
    """The mean over the processes of `group`; not finite for all if it is not for one. Waits for all of them."""
    if group is None:
        return values
    values = values.clone()
    distributed.all_reduce(values, group=group)
    return values / distributed.get_world_size(group)
