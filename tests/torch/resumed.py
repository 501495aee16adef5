"""A training in two halves; run as a program it goes on with what lies in a folder, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cyclr import Opposed, Triangular
from cyclr.torch import Scheduler

KINDS: dict[str, Any] = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.1),
    "tensor": lambda parameters: torch.optim.Adam(parameters, lr=torch.tensor(0.1)),
}
ORDERS = (("optimizer", "scheduler"), ("scheduler", "optimizer"))
JOBS = [(kind, order) for kind in KINDS for order in ORDERS]


def run(kind: str, begin: int, steps: int, file: Path | None = None, order: tuple[str, ...] = ()) -> dict[str, Any]:
    """Steps `begin` to `steps`; the state before them from `file`, loaded in this order."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    data = torch.randn(40, 8, 3)
    wave = Triangular(0.001, 0.02, step_size=3)
    optimizer = KINDS[kind](model.parameters())
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
    parts["scheduler"] = Scheduler(optimizer, wave, Opposed(wave, 0.85, 0.95))
    if file is not None:
        state = torch.load(file, weights_only=True)
        for name in ("model", *order):
            parts[name].load_state_dict(state[name])
    for step in range(begin, steps):
        optimizer.zero_grad()
        model(data[step]).square().mean().backward()
        optimizer.step()
        parts["scheduler"].step()
    return {name: part.state_dict() for name, part in parts.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    for number, (kind, order) in enumerate(JOBS):
        torch.save(run(kind, 7, 14, folder / f"{kind}.pt", order), folder / f"{number}.pt")
