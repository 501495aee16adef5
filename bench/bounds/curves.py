"""What our own range test records: the ramp as it comes and the probe cycles of `effort="thorough"`.

    python bench/bounds/curves.py              # all tasks; goes on where it stopped
    python bench/bounds/curves.py mlp-adam     # some

Writes records/curves.npz: for each task and seed the losses of the ramp, the peaks of the probe cycles and their
losses, rounded to single precision. table.py reads the bounds off them anew, so that a change of the reading needs no
training; a change of the ramp, of the probe cycles or of the ramp's own answer does (delete the file). Seeds are 0 to
9; the landscapes were made with others.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tasks import TASKS, make

from cyclr import Curve
from cyclr.torch import range_test

FILE = Path(__file__).parent / "records" / "curves.npz"
SEEDS = range(10)
RATES = np.geomspace(1e-6, 10, 300)  #: of the ramp as it comes
PARTS = ("losses", "peaks", "probes")


def record(name: str, seed: int, effort: str = "thorough") -> Curve:
    """The range test of a task."""
    problem = make(name, seed)
    problem.model.train()
    return range_test(
        problem.model, problem.optimizer, problem.batches, problem.loss, clip_norm=problem.clip, effort=effort
    )


def load() -> dict[tuple[str, int], Curve]:
    """The recorded curves by task and seed."""
    with np.load(FILE) as file:
        kept = {name: file[name].astype(float) for name in file.files}
    keys = sorted({tuple(name.split("/")[:2]) for name in kept})
    return {
        (task, int(seed)): Curve(RATES, **{part: kept[f"{task}/{seed}/{part}"] for part in PARTS})
        for task, seed in keys
    }


def quick(curve: Curve) -> Curve:
    """The ramp alone: what is recorded without probe cycles."""
    return replace(curve, peaks=np.empty(0), probes=np.empty((0, 0)))


def save(curves: dict[tuple[str, int], Curve]) -> None:
    plain = {
        f"{task}/{seed}/{part}": np.asarray(getattr(curve, part), dtype=np.float32)
        for (task, seed), curve in curves.items()
        for part in PARTS
    }
    np.savez_compressed(FILE, **plain)  # type: ignore[arg-type]


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    curves = load() if FILE.exists() else {}
    for name in names or TASKS:
        missing = [seed for seed in SEEDS if (name, seed) not in curves]
        curves |= {(name, seed): record(name, seed) for seed in missing}
        if missing:
            save(curves)
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
