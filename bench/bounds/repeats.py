"""Results of the default range test for forty further seeds: do its intervals for a repeat have the nominal coverage?

    python bench/bounds/repeats.py              # all tasks; resumes if interrupted

Appends to records/repeats.csv: task, seed, max_lr and its interval, from and to. Repeat it (delete the file)
after any change of the ramp or of the estimation of bounds.
"""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from curves import record
from landscape import rows
from suites import TASKS

FILE = Path(__file__).parent / "records" / "repeats.csv"
SEEDS = range(100, 140)


def coverage() -> dict[str, tuple[float, float]]:
    """For each task, how often one seed's interval contains another's bound, and the scatter of log bounds."""
    found = {}
    for task in TASKS:
        given = [row for row in rows(FILE) if row["task"] == task]
        peaks = np.array([float(row["max_lr"]) for row in given])
        held = [
            float(one["from"]) <= float(other["max_lr"]) <= float(one["to"]) for one, other in permutations(given, 2)
        ]
        found[task] = float(np.mean(held)), float(np.std(np.log(peaks), ddof=1))
    return found


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if not FILE.exists():
        FILE.write_text("# made by: python bench/bounds/repeats.py\ntask,seed,max_lr,from,to\n")
    done = {(row["task"], int(row["seed"])) for row in rows(FILE)}
    for name in names or TASKS:
        for seed in SEEDS:
            if (name, seed) not in done:
                bounds = record(name, seed, "quick").bounds()
                assert bounds.max_repeat is not None
                low, high = bounds.max_repeat
                with FILE.open("a") as file:
                    file.write(f"{name},{seed},{bounds.max_lr:g},{low:g},{high:g}\n")
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
