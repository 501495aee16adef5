"""The landscapes that lengths.py recorded: where the best peak lies at each length.

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
from finetune import FINETUNE, HIGHER
from suites import make

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
