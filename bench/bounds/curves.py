"""Records of our own range test: the default ramp and the probe cycles of `effort="thorough"`.

    python bench/bounds/curves.py              # all tasks; resumes if interrupted
    python bench/bounds/curves.py mlp-adam     # some

Writes records/curves.npz: for each task and seed the losses of the ramp, the peaks of the probe cycles and their
losses, rounded to single precision; and if that ramp is a second, slower one, also the first one and its steps.
table.py estimates the bounds from them, so that a change of the estimation needs no training; a change of the ramp, of
the probe cycles or of the bounds from the ramp alone does (delete the file). Seeds are 0 to 9; the landscapes were made
with others.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from suites import TASKS, make

from cyclr import Curve
from cyclr.torch import Update, range_test

FILE = Path(__file__).parent / "records" / "curves.npz"
SEEDS = range(10)
PARTS = {"losses": "losses", "peaks": "peaks", "probes": "probes", "spent": "earlier_steps"}  #: of records: of curves


def rates(steps: int) -> np.ndarray:
    """The default ramp."""
    return np.geomspace(1e-6, 10, steps)


def record(name: str, seed: int, effort: str) -> Curve:
    """The range test of a task."""
    problem = make(name, seed)
    problem.model.train()
    return range_test(
        problem.model,
        problem.optimizer,
        problem.batches,
        problem.loss,
        update=Update(clip_norm=problem.clip),
        effort=effort,
    )


def load() -> dict[tuple[str, int], tuple[Curve, Curve]]:
    """The recorded curves by task and seed: the quick one, which is a ramp alone, and the thorough one."""
    with np.load(FILE) as file:
        kept = {name: file[name].astype(float) for name in file.files}
    keys = sorted({tuple(name.split("/")[:2]) for name in kept})
    found = {}
    for task, seed in keys:
        losses, peaks, probes, spent = (kept[f"{task}/{seed}/{part}"] for part in PARTS)
        first = kept.get(f"{task}/{seed}/first", losses)
        thorough = Curve(rates(losses.shape[1]), losses, peaks=peaks, probes=probes, earlier_steps=int(spent))
        found[task, int(seed)] = Curve(rates(first.shape[1]), first), thorough
    return found


def save(curves: dict[tuple[str, int], tuple[Curve, Curve]]) -> None:
    plain = {}
    for (task, seed), (quick, thorough) in curves.items():
        plain |= {f"{task}/{seed}/{part}": getattr(thorough, name) for part, name in PARTS.items()}
        if thorough.earlier_steps:
            plain[f"{task}/{seed}/first"] = quick.losses
    single = {name: np.asarray(value, dtype=np.float32) for name, value in plain.items()}
    np.savez_compressed(FILE, **single)  # type: ignore[arg-type]


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    curves = load() if FILE.exists() else {}
    for name in names or TASKS:
        missing = [seed for seed in SEEDS if (name, seed) not in curves]
        for seed in missing:
            thorough = record(name, seed, "thorough")
            first = record(name, seed, "quick") if thorough.earlier_steps else thorough
            curves[name, seed] = replace(first, peaks=np.empty(0), probes=np.empty((0, 0))), thorough
        if missing:
            save(curves)
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
