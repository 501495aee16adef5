"""Time of a schedule compared with the same formula written by hand: ratios, measured alternately.

    PYTHONPATH=src python bench/schedules.py

By hand means the code that a user would write from the paper: one plain function of module constants, without checks
and clamping. `one number` is a call with an int, `a million` one call with a NumPy array of consecutive steps. Each
ratio is the median over rounds of ours / by hand, with its quartiles in brackets. For comparison: calling an object of
a Python class that only passes the step on to `paper` takes 1.4 times as long as calling `paper`.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import cyclr

BASE, MAX, SIZE = 0.001, 0.006, 2000
LENGTH = 10_000
ROUNDS = 121
CALLS = 1000

LIMITS = {"a formula": (1.5, 1.2), "a join": (2.5, 2.0)}


def paper(step):
    """Triangular, section 3.1, as in the paper."""
    cycle = math.floor(1 + step / (2 * SIZE))
    x = abs(step / SIZE - 2 * cycle + 1)
    return BASE + (MAX - BASE) * max(0.0, 1 - x)


def paper_numpy(step):
    cycle = np.floor(1 + step / (2 * SIZE))
    x = np.abs(step / SIZE - 2 * cycle + 1)
    return BASE + (MAX - BASE) * np.maximum(0.0, 1 - x)


def cosine(step):
    return MAX * (1 + math.cos(math.pi * min(step, LENGTH) / LENGTH)) / 2


def cosine_numpy(step):
    return MAX * (1 + np.cos(math.pi * np.minimum(step, LENGTH) / LENGTH)) / 2


def opposed(step):
    return 0.95 - 0.1 * (paper(step) - BASE) / (MAX - BASE)


def opposed_numpy(step):
    return 0.95 - 0.1 * (paper_numpy(step) - BASE) / (MAX - BASE)


def warm(step):
    return MAX * step / SIZE if step < SIZE else MAX * (1 + math.cos(math.pi * min(step - SIZE, LENGTH) / LENGTH)) / 2


def warm_numpy(step):
    late = MAX * (1 + np.cos(math.pi * np.minimum(step - SIZE, LENGTH) / LENGTH)) / 2
    return np.where(step < SIZE, MAX * step / SIZE, late)


RISE, FALL = 3000, 7000


def cycle(step):
    """One cycle with cosine sides."""
    if step < RISE:
        return MAX / 25 + (MAX - MAX / 25) * (1 - math.cos(math.pi * step / RISE)) / 2
    return MAX * (1 + math.cos(math.pi * min(step - RISE, FALL) / FALL)) / 2


def cycle_numpy(step):
    up = MAX / 25 + (MAX - MAX / 25) * (1 - np.cos(math.pi * step / RISE)) / 2
    down = MAX * (1 + np.cos(math.pi * np.minimum(step - RISE, FALL) / FALL)) / 2
    return np.where(step < RISE, up, down)


STAGES = [MAX / 2**stage for stage in range(20)]


def many(step):
    """Twenty linear decays, one after the other."""
    stage = min(step // 500, 19)
    start, end = STAGES[stage], STAGES[stage] / 2
    return start + (end - start) * min(step - 500 * stage, 500) / 500


def many_numpy(step):
    stage = np.minimum(step // 500, 19)
    start = np.asarray(STAGES)[stage]
    return start + (start / 2 - start) * np.minimum(step - 500 * stage, 500) / 500


WAVE = cyclr.Triangular(BASE, MAX, step_size=SIZE)
CASES: dict[str, tuple[str, Callable, Callable, Callable]] = {
    "Triangular": ("a formula", WAVE, paper, paper_numpy),
    "Cosine": ("a formula", cyclr.Cosine(MAX, 0, steps=LENGTH), cosine, cosine_numpy),
    "Opposed(Triangular)": ("a formula", cyclr.Opposed(WAVE, 0.85, 0.95), opposed, opposed_numpy),
    "Linear >> Cosine": (
        "a join", cyclr.Linear(0, MAX, steps=SIZE) >> cyclr.Cosine(MAX, 0, steps=LENGTH), warm, warm_numpy,
    ),
    "one_cycle": ("a join", cyclr.one_cycle(MAX, steps=RISE + FALL), cycle, cycle_numpy),
    "20 parts": (
        "a join", cyclr.Sequential(*(cyclr.Linear(start, start / 2, steps=500) for start in STAGES)), many, many_numpy,
    ),
}  # fmt: skip


def seconds(function: Callable, argument: object, calls: int) -> float:
    """CPU time instead of wall time, so that other programs on a busy machine have less influence."""
    begun = time.thread_time()
    for _ in range(calls):
        function(argument)
    return time.thread_time() - begun


def ratio(ours: Callable, by_hand: Callable, arguments: list, calls: int) -> list[float]:
    """Quartiles of ours / by hand; each round measures both."""
    found = []
    for turn in range(ROUNDS if calls > 1 else ROUNDS // 4):
        argument = arguments[turn % len(arguments)]
        found.append(seconds(ours, argument, calls) / seconds(by_hand, argument, calls))
    return statistics.quantiles(found, n=4)


def main() -> None:
    """Print a table; exit with 1 if a limit is exceeded."""
    slow = []
    numbers, million = list(range(7, 9_900, 99)), np.arange(1_000_000)
    print(f"{'':22}{'one number':>22}{'a million':>22}")
    for name, (kind, ours, by_hand, by_hand_numpy) in CASES.items():
        np.testing.assert_allclose(ours(million), by_hand_numpy(million), rtol=1e-8, atol=1e-12)
        assert all(math.isclose(ours(step), by_hand(step), rel_tol=1e-8, abs_tol=1e-12) for step in numbers)
        found = ratio(ours, by_hand, numbers, CALLS), ratio(ours, by_hand_numpy, [million], 1)
        print(f"{name:22}" + "".join(f"{middle:8.2f} [{low:.2f}, {high:.2f}]" for low, middle, high in found))
        slow += [name for (_, middle, _), limit in zip(found, LIMITS[kind], strict=True) if middle > limit]
    if slow:
        sys.exit(f"slower than the limits {LIMITS}: {', '.join(slow)}")


if __name__ == "__main__":
    main()
