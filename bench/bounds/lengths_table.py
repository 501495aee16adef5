"""What lengths.py and ramps.py found: where the best peak lies at each length, and what our answers lose there.

    python bench/bounds/lengths_table.py    # from the records, no training

A training loses (best mean - its score) / (best mean - untrained), at most 1; it counts as failed from one half on.
The plateau is all peaks next to the best whose mean loses at most 0.02. A peak between two is looked up on a straight
line in the logarithm, one outside counts as the nearest, a refusal loses 1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import lengths
import numpy as np
import ramps
from finetune import FINETUNE, HIGHER
from suites import make

from cyclr import Bounds, Curve, Inconclusive

PLATEAU, FAILED = 0.02, 0.5


@dataclass(frozen=True)
class Landscape:
    """What each peak loses: by power of two, in increasing order."""

    powers: np.ndarray
    lost: np.ndarray
    failed: np.ndarray
    diverged: np.ndarray

    @property
    def best(self) -> int:
        return int(np.argmin(self.lost))

    @property
    def plateau(self) -> tuple[int, int]:
        """Places of its lowest and its highest peak."""
        low = high = self.best
        while low > 0 and self.lost[low - 1] <= PLATEAU:
            low -= 1
        while high + 1 < len(self.lost) and self.lost[high + 1] <= PLATEAU:
            high += 1
        return low, high

    def at(self, peak: float, values: np.ndarray) -> float:
        return 1.0 if math.isnan(peak) else float(np.interp(math.log2(peak / 1e-3), self.powers, values))


def landscape(name: str, steps: int) -> Landscape | None:
    """None where trainings are missing."""
    rows = lengths.load(lengths.file(name, steps))
    higher = name in HIGHER if name in FINETUNE else make(name, 0).higher  # the former need their data to be made
    every = lengths.lost(rows, higher) if any(row.peak for row in rows) else {}
    every = {power: values for power, values in every.items() if len(values) == len(lengths.SEEDS)}
    if len(every) < 2 * lengths.AROUND + 1:
        return None
    diverged: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        if row.peak:
            diverged[round(math.log2(row.peak / 1e-3))].append(row.diverged)
    found = list(every.values())
    return Landscape(
        np.array(list(every)),
        np.array([np.mean(values) for values in found]),
        np.array([np.mean(np.array(values) >= FAILED) for values in found]),
        np.array([np.mean(diverged[power]) for power in every]),
    )


def peak(power: float) -> str:
    return f"{1e-3 * 2.0**power:.2g}"


def places(names: list[str]) -> list[str]:
    """Best peak, plateau and edge, for each task and length."""
    lost = "lost at 1/4, 1/2, 2, 4 times the best"
    lines = [f"| task | steps | best peak | plateau | lowest failed peak (share) | {lost} | best moved by |"]
    lines.append("|---" * 7 + "|")
    for name in names:
        first = None
        for steps in lengths.lengths_of(name):
            land = landscape(name, steps)
            if land is None:
                continue
            best, (low, high) = land.powers[land.best], land.plateau
            first = best if first is None else first
            bad = np.flatnonzero((land.failed > 0) & (land.powers > best))
            edge = f"{peak(land.powers[bad[0]])} ({land.failed[bad[0]]:.0%})" if len(bad) else "none"
            around = ", ".join(f"{land.at(1e-3 * 2.0 ** (best + way), land.lost):.2f}" for way in (-2, -1, 1, 2))
            span = f"{peak(land.powers[low])} to {peak(land.powers[high])}"
            moved = f"{2.0 ** (best - first):.3g}"
            lines.append(f"| {name} | {steps} | {peak(best)} | {span} | {edge} | {around} | {moved} |")
    return lines


def slopes(names: list[str]) -> list[str]:
    """How the best peak, the plateau and the edge move from one length to another: powers of the length."""
    lines = ["| from, to | tasks | best peak | plateau's middle | its low end | its high end | lowest failed peak |"]
    lines.append("|---" * 7 + "|")
    for start, end in ((400, 2000), (2000, 10000), (400, 10000), (10000, 50000), (60, 200), (200, 1000), (60, 1000)):
        found = []
        for name in names:
            both = [landscape(name, steps) for steps in (start, end)]
            if None not in both:
                found.append([_places(land) for land in both if land is not None])
        if found:
            moves = np.array([[after - before for before, after in zip(*pair, strict=True)] for pair in found])
            known = [column[np.isfinite(column)] for column in (moves / math.log2(end / start)).T]
            cells = " | ".join(f"{one.mean():+.2f} ({one.min():+.2f} to {one.max():+.2f})" if len(one) else "none"
                               for one in known)  # fmt: skip
            lines.append(f"| {start}, {end} | {len(found)} | {cells} |")
    return lines


def _places(land: Landscape) -> list[float]:
    low, high = (float(land.powers[place]) for place in land.plateau)
    best = float(land.powers[land.best])
    bad = land.powers[(land.failed > 0) & (land.powers > best)]
    return [best, (low + high) / 2, low, high, float(bad[0]) if len(bad) else math.nan]


def curves(name: str) -> dict[str, list[Curve]]:
    """The recorded range tests of a task, by effort."""
    kept, found = ramps.load(name), defaultdict(list)
    for seed in ramps.CHEAP.sweeps:
        if f"{seed}/quick" not in kept:
            continue
        one = {key.split("/")[1]: value for key, value in kept.items() if key.startswith(f"{seed}/")}
        found["quick"].append(Curve(ramps.rates(300), one["quick"]))
        probes = {"peaks": one["peaks"], "probes": one["probes"], "earlier_steps": int(one["spent"].item())}
        found["thorough"].append(Curve(ramps.rates(len(one["thorough"])), one["thorough"], **probes))
        for steps in ramps.SHORT:
            found[f"ramp-{steps}"].append(Curve(ramps.rates(steps), one[f"ramp-{steps}"]))
    return found


def answer(curve: Curve) -> float:
    """The upper bound, nan for a refusal."""
    try:
        found: Bounds = curve.bounds()
    except Inconclusive:
        return math.nan
    return found.max_lr


def answers(names: list[str]) -> list[str]:
    """What our answers, which know no length, lose at each."""
    lines = ["| task | effort | answers | refused | lost at each length: mean / worst (trainings failed) |"]
    lines.append("|---" * 5 + "|")
    every: dict[tuple[str, int], list[float]] = defaultdict(list)
    for name in names:
        lands = [(steps, land) for steps in lengths.lengths_of(name) if (land := landscape(name, steps)) is not None]
        for effort, found in curves(name).items():
            given = [answer(curve) for curve in found]
            cells = []
            for steps, land in lands:
                lost = [max(0.0, land.at(rate, land.lost)) for rate in given]
                failed = np.mean([land.at(rate, land.failed) for rate in given if not math.isnan(rate)] or [0])
                every[effort, steps] += lost
                cells.append(f"{steps}: {np.mean(lost):.2f} / {max(lost):.2f} ({failed:.0%})")
            known = [rate for rate in given if not math.isnan(rate)]
            span = f"{min(known):.2g} to {max(known):.2g}" if known else "none"
            lines.append(f"| {name} | {effort} | {span} | {len(given) - len(known)} of {len(given)} "
                         f"| {'; '.join(cells)} |")  # fmt: skip
    for (effort, steps), lost in sorted(every.items(), key=lambda item: (item[0][1], item[0][0])):
        lines.append(f"| *all* | {effort} | | | {steps}: {np.mean(lost):.3f} / {max(lost):.2f}, "
                     f"95 % below {np.quantile(lost, 0.95):.2f} |")  # fmt: skip
    return lines


def main() -> None:
    own, trained = ([name for name in lengths.CENTRES if (name in FINETUNE) == kind] for kind in (False, True))
    for names in (own, trained):
        for table in (places, slopes, answers):
            print("\n".join(table(names)), end="\n\n")


if __name__ == "__main__":
    main()
