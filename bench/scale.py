"""What a range test, a snapshot and a study cost on many GPUs: a model, checked against processes here.

    python bench/scale.py run      # 1, 2 and 4 processes (gloo), DDP and FSDP2: half a minute; writes records/scale.csv
    python bench/scale.py table    # writes the tables of docs/scale.md from the record and the model
    python bench/scale.py check    # fails if those tables differ

The model: a training holds BYTES bytes a parameter (weights, and Adam's two moments; gradients are None between steps).
Replicated (DDP), each process holds and copies all of it; sharded (FSDP2), a share of 1 / processes. A range test
copies it once and puts it back once a sweep. Processes wait for one another where losses are averaged: once in ten
steps, 4 bytes a step.
"""

from __future__ import annotations

import csv
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORD = HERE / "records" / "scale.csv"
PAGE = HERE.parent / "docs" / "scale.md"
BEGIN, END = "<!-- tables: made by bench/scale.py -->\n", "<!-- end of tables -->\n"
BYTES = 4 + 8  #: of float32 weights and Adam's moments
STEPS, BLOCK = 300, 10
WIDTH = 1024
#: Bytes a second, as vendors state them: a copy on an H100 reads and writes 3.35e12; PCIe 5 x16; one NVMe disk.
SPEEDS = {"GPU": 3.35e12 / 2, "host": 5e10, "disk": 5e9}
MEMORY = 80e9  #: of one GPU


def snapshot(parameters: float, processes: int, sharded: bool) -> float:
    """Bytes that one process copies."""
    return BYTES * parameters / (processes if sharded else 1)


def waits(steps: int) -> int:
    """How often the processes of a range test wait for one another."""
    return math.ceil(steps / BLOCK)


# ---------------------------------------------------------------- measured


def training(kind: str, processes: int) -> tuple[Any, Any, Any, int]:
    """A model that is replicated or sharded, its optimizer after a step, a batch, and the number of parameters."""
    import torch
    from torch import nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
    parameters = sum(one.numel() for one in model.parameters())
    if kind == "FSDP2":
        fully_shard(model, mesh=init_device_mesh("cpu", (processes,)))
    else:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters())
    batch = torch.randn(4, WIDTH), torch.randn(4, WIDTH)
    nn.functional.mse_loss(model(batch[0]), batch[1]).backward()
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer, batch, parameters


@contextmanager
def noted(owner: Any, name: str) -> Iterator[list[Any]]:
    """The last argument of each call of a function while the block runs."""
    calls: list[Any] = []
    plain = getattr(owner, name)

    def noting(*arguments: Any, **options: object) -> Any:
        calls.append(arguments[-1])
        return plain(*arguments, **options)

    setattr(owner, name, noting)
    try:
        yield calls
    finally:
        setattr(owner, name, plain)


def measure(rank: int, processes: int, kind: str, folder: str) -> None:
    """One process: the bytes that it copies, the waits of a range test, and the seconds of a snapshot in each place."""
    import torch
    from torch import distributed

    from cyclr import Ramp
    from cyclr.torch import preserved, range_test
    from cyclr.torch._restore.place import InFolder

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    model, optimizer, batch, parameters = training(kind, processes)
    with noted(distributed, "all_reduce") as waits:  # ours go through it; those of DDP and FSDP2 do not
        range_test(model, optimizer, [batch], torch.nn.functional.mse_loss, ramp=Ramp(1e-9, 1e-8, 60))
    seconds = {}
    with noted(InFolder, "reserve") as sizes:
        for name, where in (("beside", None), ("host", "cpu"), ("folder", folder)):
            distributed.barrier()
            begun = time.perf_counter()
            with preserved(model, optimizer, where=where):
                pass
            seconds[name] = time.perf_counter() - begun
    if rank == 0:
        row = [kind, processes, parameters, sizes[-1], len(waits), *(f"{value:.4f}" for value in seconds.values())]
        with RECORD.open("a") as file:
            csv.writer(file, lineterminator="\n").writerow(row)
    distributed.destroy_process_group()


def run() -> None:
    from torch import multiprocessing

    names = ["kind", "processes", "parameters", "bytes", "waits", "beside_s", "host_s", "folder_s"]
    RECORD.write_text(",".join(names) + "\n")
    for kind in ("DDP", "FSDP2"):
        for processes in (1, 2, 4):
            with tempfile.TemporaryDirectory() as folder:
                multiprocessing.spawn(measure, (processes, kind, folder), nprocs=processes)


# ---------------------------------------------------------------- tables


def checked() -> list[str]:
    lines = ["| processes | kind | bytes copied by one | by the model | waits in 60 steps | by the model |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in csv.DictReader(RECORD.open()):
        processes = int(row["processes"])
        model = snapshot(float(row["parameters"]), processes, row["kind"] == "FSDP2")
        cells = [processes, row["kind"], f"{int(row['bytes']):,}", f"{model:,.0f}", row["waits"], waits(60)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def amount(size: float) -> str:
    return f"{size / 1e9:,.2f} GB" if size < 1e12 else f"{size / 1e12:,.2f} TB"


def duration(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.0f} s"


def predicted() -> list[str]:
    lines = [
        "| parameters | GPUs | one GPU holds | it copies | fits beside | GPU | host | disk | waits | bytes averaged |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for parameters in (1e9, 1e10, 3e10, 1e11):
        for processes in (1, 8, 64, 1024):
            size = snapshot(parameters, processes, sharded=True)
            held = size + 4 * parameters / processes  # and gradients, in a step
            fits = "training too large" if held > MEMORY else "yes" if held + size <= MEMORY else "no"
            times = [duration(size / speed) for speed in SPEEDS.values()]
            cells = [f"{parameters:,.0f}", processes, amount(held), amount(size), fits, *times]
            cells += [waits(STEPS) if processes > 1 else 0, 4 * STEPS if processes > 1 else 0]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def page(*, check: bool) -> None:
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    tables = ["### Checked here", "", *checked(), "", "### By the model, sharded, 300 steps", "", *predicted(), ""]
    made = f"{before}{BEGIN}\n" + "\n".join(tables) + f"\n{END}{rest.split(END)[1]}"
    if check and made != text:
        sys.exit("docs/scale.md differs from bench/records/scale.csv; run python bench/scale.py table")
    if not check:
        PAGE.write_text(made)


def main() -> None:
    match sys.argv[1:]:
        case ["run"]:
            run()
        case ["table" | "check" as what]:
            page(check=what == "check")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
