"""Two processes that train one model together; run as a program, each prints what it saw as JSON."""

from __future__ import annotations

import ctypes
import json
import random
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from cyclr import HeldOut, Ramp, Triangular
from cyclr.torch import Scheduler, preserved, range_test

cross_entropy = nn.functional.cross_entropy


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    if kind == "replicated":
        return DistributedDataParallel(model)
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def look(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    """This process's part of all the state."""
    tensors = [*model.parameters(), *(parameter.grad for parameter in model.parameters())]
    tensors += [value for state in optimizer.state.values() for value in state.values()]
    plain = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    return [(id(tensor), part.tolist()) for tensor, part in zip(tensors, plain, strict=True)]


FAILURES = random.Random(8).sample(range(60), 6)  # the same in both processes, as Ctrl-C under torchrun is


def interrupted(
    model: nn.Module, optimizer: torch.optim.Optimizer, loader: Any, step: int, scheduler: Scheduler
) -> list[Any]:
    """The state after a test in which an error comes from the loss number `step`."""
    calls = 0

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls > step:
            raise KeyboardInterrupt if step % 2 else LookupError
        return cross_entropy(outputs, targets)

    try:
        options = {"ramp": Ramp(1e-4, 0.01, steps=30), "repeats": 2, "scheduler": scheduler}
        range_test(model, optimizer, loader, loss_fn, **options)
    except (KeyboardInterrupt, LookupError):
        return look(model, optimizer)
    raise AssertionError("the loss did not fail")


def peak() -> float:
    """The highest use of memory so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def memory() -> tuple[float, float] | None:
    """What a test of a sharded model adds to the peak, and the size of this process's weights and state, in MB."""
    if sys.platform != "linux":
        return None
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
    model = fully_shard(nn.Linear(3072, 3072, bias=False), mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    batches = [(torch.ones(1, 3072), torch.zeros(1, 3072))]
    for x, y in 3 * batches:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    before = peak()
    range_test(model, optimizer, batches, nn.functional.mse_loss, repeats=2, ramp=Ramp(low=1e-9, high=1e-8, steps=3))
    return peak() - before, 2 * model.weight.to_local().nbytes / 2**20


def main(kind: str, rank: int) -> dict[str, Any]:
    """Train a little, then test, with an exception in between; what was found."""
    model = network(kind)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    scheduler = Scheduler(optimizer, Triangular(0.01, 0.1, step_size=3))
    generator = torch.Generator().manual_seed(rank)  # each process has data of its own
    x, y = torch.randn(40, 4, generator=generator), torch.randint(3, (40,), generator=generator)
    loader = DataLoader(TensorDataset(x, y), batch_size=8)

    def epoch() -> None:
        for inputs, targets in loader:
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            scheduler.step()

    epoch()
    before = look(model, optimizer)
    try:
        with preserved(model, optimizer, scheduler=scheduler, loader=loader) as transaction:
            epoch()
            transaction.rewind()
            epoch()
            raise LookupError
    except LookupError:
        kept = look(model, optimizer) == before
    kept = kept and all(interrupted(model, optimizer, loader, step, scheduler) == before for step in FAILURES)
    calls, alone = 0, []

    def loss_fn(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        loss = cross_entropy(outputs, targets)
        alone.append(loss.item())
        return loss * float("nan") if rank == 1 and calls > 45 else loss

    held = [(x, y)]
    metrics = {"accuracy": lambda outputs, targets: (outputs.argmax(1) == targets).float().mean()}
    options = {"ramp": Ramp(1e-4, 0.01, steps=30), "repeats": 2, "scheduler": scheduler}
    curve = range_test(model, optimizer, loader, loss_fn, **options)
    looked = range_test(model, optimizer, loader, cross_entropy, **options, held_out=HeldOut(held, metrics))

    def accuracy_of_step(batch: Any) -> torch.Tensor:
        inputs, targets = batch
        optimizer.zero_grad()
        outputs = model(inputs)
        cross_entropy(outputs, targets).backward()
        optimizer.step()
        return -(outputs.argmax(1) == targets).float().mean()

    returned = range_test(model, optimizer, loader, update=accuracy_of_step, ramp=Ramp(1e-4, 0.01, steps=30))
    found = {
        "loss_kind": returned.loss_kind,
        "kept": kept and look(model, optimizer) == before,
        "stops": curve.stops,
        "losses": curve.losses[0].tolist(),
        "alone": alone[:30],
        "calls": calls,
        "seconds": curve.step_seconds,
        "accuracy": looked.metrics["accuracy"][0, -1],
    }
    epoch()
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.platform == "linux":  # otherwise glibc keeps some of what is given back, and the peak says nothing
        ctypes.CDLL(None).mallopt(-3, 1_000_000)  # M_MMAP_THRESHOLD
    distributed.init_process_group("gloo", timeout=timedelta(seconds=300))
    rank = distributed.get_rank()
    found: dict[str, Any] = {kind: main(kind, rank) for kind in ("replicated", "sharded")}
    print(json.dumps({**found, "memory": memory()}))  # noqa: T201
    distributed.destroy_process_group()
