"""What range tests of several costs record on the tasks of lengths.py, so that rules can be tried without training.

    python bench/bounds/ramps.py                     # all that is missing; goes on after any interruption
    python bench/bounds/ramps.py --task gpt-adamw    # some; --seeds 3 for the first three alone

Writes records/ramps/TASK.npz after each seed, in single precision with about four digits. All of a seed start from
the same weights with the same batches, which are not those of the landscapes. Names are SEED/WHAT:

reference-18, reference-36, reference-60
                                    losses of the reference batches in the sweeps of trainings of 200, 400, 1,000 steps
quick, ramp-30, ramp-60, ramp-100   losses of one sweep from 1e-6 to 10 in 300, 30, 60, 100 steps, nan beyond its end
beyond                              if quick did not diverge: the same rates and on to 1,000, in 386 steps
thorough, first, peaks, probes, spent
                                    the sweep that the probe cycles of `effort="thorough"` stand on, the quick one
                                    before it if that was inconclusive (a row otherwise missing), the cycles
cycles-30, cycles-40, cycles-80, cycles-160
                                    losses of a whole cycle of so many steps and of 20 steps at a rate of zero, one row
                                    a peak
cycle-peaks                         the peaks of those: the ones of the shortest landscape

Of the tasks of finetune.py there are fewer seeds, and cycles of 30 steps (some of 20 and 40); `--short` makes short
sweeps alone, `--cycles` cycles alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import lengths
import numpy as np
import torch
from filelock import FileLock, Timeout
from suites import FINETUNE, make

from cyclr import Bounds, Curve, Ramp, plan
from cyclr.torch import Update, range_test

FOLDER = Path(__file__).parent / "records" / "ramps"
SHORT, TAIL = (30, 60, 100), 20
REFERENCE = {18: 200, 36: 400, 60: 1000}  #: steps of a sweep with reference batches: a training that pays for it
BEYOND = 386  #: steps to the highest rate, with the ratio from step to step that 300 steps to 10 have
HIGHEST = 1e-6 * 10 ** (7 * (BEYOND - 1) / 299)
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Extent:
    """How much is recorded: of sweeps, and of short cycles."""

    sweeps: range = range(10)
    cycles: range = range(5)
    steps: tuple[int, ...] = (30, 40, 80, 160)


CHEAP, DEAR = Extent(), Extent(range(4), range(3), (30,))


def extent_of(name: str) -> Extent:
    return DEAR if name in FINETUNE else CHEAP


def rates(steps: int) -> np.ndarray:
    """The rates of a recorded sweep; one with reference batches may go on beyond, by the same factor."""
    return np.geomspace(1e-6, HIGHEST if steps == BEYOND else 10, steps)


def file(name: str) -> Path:
    return FOLDER / f"{name}.npz"


def load(name: str) -> Arrays:
    """What is recorded of a task, in double precision."""
    if not file(name).exists():
        return {}
    with np.load(file(name)) as kept:
        return {key: kept[key].astype(float) for key in kept.files}


def save(name: str, arrays: Arrays) -> None:
    """Replace the file whole: it is the old one or the new one, whenever this is stopped."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = FOLDER / f"{name}.part.npz"
    np.savez_compressed(part, **{key: _short(value) for key, value in arrays.items()})  # type: ignore[arg-type]
    part.replace(file(name))


def _short(values: np.ndarray) -> np.ndarray:
    """Single precision with the last ten bits at zero, which take no room: four digits are left."""
    single = np.ascontiguousarray(values, dtype=np.float32)
    bits = single.view(np.uint32)
    return np.where(np.isfinite(single), ((bits + 0x200) & 0xFFFFFC00).view(np.float32), single)


def sweep(name: str, seed: int, **how) -> Curve:
    """A range test from a new start."""
    problem = make(name, seed)
    problem.model.train()
    return range_test(
        problem.model, problem.optimizer, problem.batches, problem.loss, update=Update(clip_norm=problem.clip), **how
    )


def cycles(name: str, seed: int, peaks: list[float], steps: int) -> np.ndarray:
    """Losses of a short training to each peak and of some steps more at a rate of zero."""
    rising = [plan(Bounds(peak / 10, peak), steps=steps).schedule(np.arange(steps)) for peak in peaks]
    rates = np.pad(np.array(rising), ((0, 0), (0, TAIL)))
    return lengths.run(name, [seed] * len(peaks), rates, judge=False)[0]


def sweeps(name: str, seed: int) -> Arrays:
    """All sweeps of a seed."""
    thorough = sweep(name, seed, effort="thorough", ramp=fixed(300))
    first = sweep(name, seed, ramp=fixed(300)) if thorough.earlier_steps else thorough
    found = {"quick": first.losses[0], "thorough": thorough.losses[0], "spent": np.array(thorough.earlier_steps)}
    found |= {"peaks": thorough.peaks, "probes": thorough.probes}
    found |= short_sweeps(name, seed)
    if first.stops == ("end",):
        found["beyond"] = sweep(name, seed, ramp=fixed(BEYOND, HIGHEST)).losses[0]
    return found


def short_sweeps(name: str, seed: int) -> Arrays:
    """Those that a short training pays for."""
    return {f"ramp-{steps}": sweep(name, seed, ramp=fixed(steps)).losses[0] for steps in SHORT}


def references(name: str, seed: int) -> Arrays:
    """What the reference batches show in the sweeps that short trainings pay for."""
    return {f"reference-{steps}": sweep(name, seed, budget=budget).reference[0] for steps, budget in REFERENCE.items()}


def fixed(steps: int, high: float = 10.0) -> Ramp:
    """A ramp that ends at its highest rate whatever the loss does there."""
    return Ramp(high=high, steps=steps, furthest=high)


def record_cycles(name: str, seed: int, extent: Extent) -> None:
    """The short cycles of a task and a seed that are missing."""
    arrays = load(name)
    shortest = lengths.load(lengths.file(name, lengths.lengths_of(name)[0]))
    new = np.array(sorted({row.peak for row in shortest if row.peak}))
    peaks = arrays.get(f"{seed}/cycle-peaks", new)
    if seed not in extent.cycles or not len(peaks):
        return
    for steps in extent.steps:
        if f"{seed}/cycles-{steps}" not in arrays:
            arrays |= {f"{seed}/cycles-{steps}": cycles(name, seed, peaks.tolist(), steps)}
            arrays |= {f"{seed}/cycle-peaks": peaks}
            save(name, arrays)


def record(name: str, seed: int, *, short: bool = False, only_reference: bool = False) -> None:
    """What is missing of a task and a seed."""
    arrays, extent = load(name), extent_of(name)
    if seed in extent.sweeps and f"{seed}/reference-60" not in arrays:
        arrays |= {f"{seed}/{key}": value for key, value in references(name, seed).items()}
        save(name, arrays)
    if only_reference:
        return
    if short:
        if seed in extent.sweeps and f"{seed}/ramp-{SHORT[-1]}" not in arrays:
            save(name, arrays | {f"{seed}/{key}": value for key, value in short_sweeps(name, seed).items()})
        return
    if seed in extent.sweeps and f"{seed}/quick" not in arrays:
        arrays |= {f"{seed}/{key}": value for key, value in sweeps(name, seed).items()}
        save(name, arrays)
    record_cycles(name, seed, extent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=len(CHEAP.sweeps), help="how many seeds")
    parser.add_argument("--short", action="store_true", help="only the sweeps of 30, 60 and 100 steps")
    parser.add_argument("--reference", action="store_true", help="only the sweeps with reference batches")
    parser.add_argument("--cycles", action="store_true", help="only short cycles")
    chosen = lengths.names(parser)
    torch.set_num_threads(1)
    given = parser.parse_args()
    for seed in CHEAP.sweeps[: given.seeds]:
        for name in chosen:
            try:
                with FileLock(str(file(name)) + ".lock", timeout=0):
                    if given.cycles:
                        record_cycles(name, seed, extent_of(name))
                    else:
                        record(name, seed, short=given.short, only_reference=given.reference)
            except Timeout:
                continue  # another process is at it
        print(seed, flush=True)


if __name__ == "__main__":
    main()
