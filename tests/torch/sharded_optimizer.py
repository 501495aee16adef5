"""Two processes whose optimizer shares its state out between them; run as a program, each prints what it saw."""

from __future__ import annotations

import json
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.parallel import DistributedDataParallel

from cyclr import Opposed, Triangular
from cyclr.torch import Scheduler

WAVE = Triangular(0.01, 0.1, step_size=3)
MOMENTUM = Opposed(WAVE, 0.8, 0.95)
STEPS = 12


def trained(kind: str) -> list[float]:
    """The weights after some steps on the same data in each process."""
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    x = torch.randn(8, 4)
    if kind == "FSDP2":
        model = fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    elif kind == "ZeRO":
        model = DistributedDataParallel(model)
    if kind == "ZeRO":
        optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.1)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = Scheduler(optimizer, WAVE, momentum=MOMENTUM)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        scheduler.step()
    state = scheduler.state_dict()
    scheduler.load_state_dict(state)
    parameters = [value.full_tensor() if hasattr(value, "full_tensor") else value for value in model.parameters()]
    return torch.cat([value.detach().flatten() for value in parameters]).tolist()


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", timeout=timedelta(seconds=300))
    print(json.dumps({kind: trained(kind) for kind in ("plain", "ZeRO", "FSDP2")}))  # noqa: T201
    distributed.destroy_process_group()
