"""How often `Curve.bounds` is inconclusive: for uninformative curves, as it should be, and for good ones.

    python bench/bounds/refusals.py

Curves made from the recorded ramps of the benchmark's tasks (records/curves.npz), so that their noise is real:

before learning    the ramp up to a tenth of the rate at which the first fifth of the gain is made
shuffled           all its losses in random order
from the lowest on the part in which the loss only rises
still falling      the ramp up to the point where half of the gain is made
too short          every thirtieth loss
whole, 150, 100    the ramp, and every second and every third loss of it: these are good

and synthetic curves, 200 of each kind with 60 and with 300 steps: noise (normal, heavy-tailed, skewed) alone, on a
rising loss, before a divergence, and a good fall and rise with noise of 2 to 100 % of a third of the fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from curves import load, rates
from tasks import TASKS

from cyclr import Curve, Inconclusive
from cyclr._range.cut import cut
from cyclr._range.smooth import smooth

DRAWS = 200
RATES = rates(300)
Losses = Callable[[np.random.Generator, np.ndarray], np.ndarray]
NOISES: dict[str, Losses] = {
    "normal": lambda rng, x: rng.normal(size=len(x)),
    "heavy-tailed": lambda rng, x: rng.standard_t(3, size=len(x)),
    "skewed": lambda rng, x: rng.exponential(size=len(x)),
}
SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "noise": lambda x: 0 * x,
    "noise on a rise": lambda x: 30 * x,
    "noise before a blow-up": lambda x: 10 * np.exp(20 * (x - 0.9)),
}


def refused(ramp: np.ndarray, losses: np.ndarray) -> bool:
    """Whether there are no bounds for a ramp that is stopped as in a range test."""
    rows, stops = cut([losses])
    try:
        Curve(ramp, rows, stops=stops).bounds()
    except Inconclusive:
        return True
    return False


def pieces(losses: np.ndarray) -> Iterator[tuple[str, slice | np.ndarray]]:
    """Kinds of curve, and the steps of the ramp that they consist of."""
    line = smooth(np.log(RATES[: len(losses)]), losses)
    start, lowest = np.median(losses[: len(losses) // 10]), int(np.argmin(line))
    gained = (start - line) / (start - line[lowest])
    early = int(np.searchsorted(RATES, RATES[np.argmax(gained > 0.2)] / 10))
    if early >= 12:
        yield "before learning", slice(early)
    yield "shuffled", np.random.default_rng(0).permutation(len(losses))
    if len(losses) - lowest >= 12:
        yield "from the lowest on", slice(lowest, None)
    yield "still falling", slice(int(np.argmax(gained > 0.5)))
    yield "too short", slice(None, None, 30)
    for name, step in (("whole", 1), ("150 steps", 2), ("100 steps", 3)):
        yield name, slice(None, None, step)


def real() -> dict[str, list[bool]]:
    """For each kind, whether it was inconclusive, over tasks and seeds."""
    found: dict[str, list[bool]] = {}
    for (task, _), (quick, _) in load().items():
        if task in TASKS:
            losses = quick.losses[0]
            losses = losses[np.isfinite(losses)]
            for kind, part in pieces(losses):
                places = np.sort(part) if isinstance(part, np.ndarray) else part
                found.setdefault(kind, []).append(refused(RATES[: len(losses)][places], losses[part]))
    return found


def computed() -> dict[str, list[bool]]:
    """The same for synthetic curves, over draws, noise and lengths."""
    found: dict[str, list[bool]] = {}
    for steps in (60, 300):
        x = np.linspace(0, 1, steps)
        ramp = rates(steps)
        fall = 2.3 - 1.5 / (1 + 1e-3 / ramp) + (ramp / 0.3) ** 3
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            for shape, line in SHAPES.items():
                for noise in NOISES.values():
                    found.setdefault(shape, []).append(refused(ramp, line(x) + noise(rng, x)))
            for share in (0.02, 0.1, 0.5, 1.0):
                losses = fall + 0.5 * share * rng.normal(size=steps)
                found.setdefault(f"fall and rise, noise of {share:.0%}", []).append(refused(ramp, losses))
    return found


def table() -> list[str]:
    """One line per kind."""
    lines = ["| kind | curves | refused | |", "|---|---|---|---|"]
    for source, kinds in (("real", real()), ("computed", computed())):
        for kind, answers in kinds.items():
            good = kind in {"whole", "150 steps", "100 steps"} or kind.startswith("fall")
            should = "should be answered" if good else "should be refused"
            lines.append(f"| {kind} ({source}) | {len(answers)} | {np.mean(answers):.1%} | {should} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
