"""Prints by how many MB an ensemble or an average of so many members raises the highest use of memory."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from cyclr.torch import average, ensemble


def peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main(kind: str, *files: str) -> None:
    model = torch.nn.Linear(3000, 3000, bias=False)  # 36 MB
    torch.nn.functional.linear(torch.ones(1, 3000), model.weight)
    before = peak()
    if kind == "ensemble":
        ensemble(model, files, "values")(torch.ones(1, 3000))
    else:
        average(model, files)
    sys.stdout.write(str(peak() - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
