"""Size and power of cyclr's verdict by number of seeds, beside Holm on Welch's t: python bench/seeds.py.

    python bench/seeds.py             # simulates and writes bench/records/seeds.csv: minutes on one core
    python bench/seeds.py table       # writes the tables of docs/statistics.md from the record
    python bench/seeds.py check       # fails if those tables differ from the record

Each study compares four policies with a baseline. For the size none differs; for power the last one does, by a number
of standard deviations of a run. "Independent" seeds affect no two runs alike; "blocked" ones shift all runs of a seed
by twice the spread of a run. Tries are tests that were to mend the size for skewed metrics with unequal spreads.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from power import METRICS, Array, hall, head, holm, line, put, read, rotation, t_test
from scipy import stats

RECORD = Path(__file__).parent / "records" / "seeds.csv"
BEGIN = "<!-- tables: made by bench/seeds.py -->\n"
STUDIES = 2000  # per setting: the standard error is 0.5 points for a size of 5 %, 1.1 for a power of 50 %
FEWER = 500  # for the difference that is found with a power of 80 %: an error of 2 to 3 %
SEEDS = range(2, 11)
TRIED = (3, 5, 10)  # the numbers of seeds at which tests are tried, on blocks
POLICIES = 4
POWER = 0.8
DRAWS, MANY = 1000, 5000  # rotations; with 1,000, p-values near 5 % vary enough to add 0.4 points to a size
SPREADS = {"equal": [], "one policy": [1], "baseline": [0]}  # which column has three times the spread of the others
SHARED = {"independent": 0.0, "blocked": 2.0}
SHAPES = ("normal", "skewed", "very skewed")

# Of values (studies, seeds, the baseline and the policies) and a number of rotations: which policies are different.
Test = Callable[[Array, int], Array]


def draw(rng: np.random.Generator, seeds: int, blocks: str, spreads: str, metric: str) -> Array:
    """Values of studies in which no policy differs: studies, seeds, the baseline and the policies."""
    values = np.asarray(METRICS[metric](rng, (STUDIES, seeds, POLICIES + 1)))
    values[..., SPREADS[spreads]] *= 3
    return values + SHARED[blocks] * rng.normal(size=(STUDIES, seeds, 1))


# ---------------------------------------------------------------- tests


def changes(values: Array) -> Array:
    return values[..., 1:] - values[..., :1]


def welch(values: Array, draws: int) -> Array:
    n = values.shape[1]
    part = values.var(1, ddof=1) / n
    policy, baseline = part[:, 1:], part[:, :1]
    df = (policy + baseline) ** 2 / ((policy**2 + baseline**2) / (n - 1))
    return holm(2 * stats.t.sf(np.abs(changes(values).mean(1)) / np.sqrt(policy + baseline), df))


def verdict(values: Array, draws: int) -> Array:
    x = changes(values)
    return rotation(x, t_test(x), draws)


def own_skewness(values: Array, draws: int) -> Array:
    """The larger p of the t test and of Hall's transformation."""
    x = changes(values)
    return rotation(x, np.maximum(t_test(x), hall(x)), draws)


def common_skewness(values: Array, draws: int) -> Array:
    """The same, with the skewness that all runs have in common: estimated from every policy at once."""
    n = values.shape[1]
    if n < 3:
        return verdict(values, draws)
    own = values - np.median(values, axis=2, keepdims=True)
    own = own - own.mean(1, keepdims=True)
    spread = own.std(1, ddof=1)
    moment = (own**3).sum(1) / np.maximum(spread, 1e-9) ** 3 * n / ((n - 1) * (n - 2))
    shape = moment.mean(1, keepdims=True)
    policy, baseline = spread[:, 1:], spread[:, :1]
    g = shape * (policy**3 - baseline**3) / (policy**2 + baseline**2) ** 1.5
    x = changes(values)
    u = x.mean(1) / x.std(1, ddof=1)
    t = np.sqrt(n) * (u + g * u**2 / 3 + g**2 * u**3 / 27 + g / (6 * n))
    return rotation(x, np.maximum(t_test(x), 2 * stats.t.sf(np.abs(t), n - 1)), draws)


def one_percent(values: Array, draws: int) -> Array:
    """An adjusted p of at most 0.01."""
    x = changes(values)
    return rotation(x, t_test(x), draws, alpha=0.01)


def stricter(values: Array, draws: int, spread: Array) -> Array:
    """An adjusted p of at most 0.01 where these spreads of policy and baseline differ more than twofold."""
    ratio = spread[:, 1:] / spread[:, :1]
    return verdict(values, draws) & (one_percent(values, draws) | (ratio <= 2) & (ratio >= 0.5))


def uneven(values: Array, draws: int) -> Array:
    return stricter(values, draws, values.std(1, ddof=1))


def uneven_within(values: Array, draws: int) -> Array:
    """With spreads from which the seeds' effect is taken out: of the differences from the median of the other runs."""
    arms = range(values.shape[2])
    middles = np.stack([np.median(np.delete(values, arm, axis=2), axis=2) for arm in arms], axis=2)
    return stricter(values, draws, (values - middles).std(1, ddof=1))


TESTS: dict[str, Test] = {"cyclr": verdict, "Holm on Welch's t": welch}
TRIES: dict[str, Test] = {
    "Hall's allowance for skewness": own_skewness,
    "the same, skewness from all runs": common_skewness,
    "1 % where spreads differ twofold": uneven,
    "the same, spreads within seeds": uneven_within,
    "1 % everywhere": one_percent,
}


# ---------------------------------------------------------------- simulation


def shifted(values: Array, effect: float) -> Array:
    values = values.copy()
    values[..., -1] += effect
    return values


def detected(test: Test, values: Array) -> float:
    """The difference of the last policy that is found with a probability of 80 %; by bisection of its logarithm."""
    low, high = np.log(0.1), np.log(2000)
    for _ in range(10):
        middle = (low + high) / 2
        found = test(shifted(values, np.exp(middle)), DRAWS)[:, -1].mean()
        low, high = (low, middle) if found >= POWER else (middle, high)
    return float(np.exp((low + high) / 2))


def settings() -> Iterator[tuple[int, str, str, str]]:
    return itertools.product(SEEDS, SHARED, SPREADS, SHAPES)


def simulate() -> None:
    with RECORD.open("w") as file:
        file.write("# made by: python bench/seeds.py\n")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["seeds", "blocks", "spreads", "metric", "test", "size", "power 1", "power 2", "detected"])
        for number, setting in enumerate(settings()):
            values = draw(np.random.default_rng(number), *setting)
            tried = setting[0] in TRIED and setting[1] == "blocked"
            for name, test in (TESTS | (TRIES if tried else {})).items():
                size = test(values, MANY).any(1).mean()
                powers = [test(shifted(values, effect), DRAWS)[:, -1].mean() for effect in (1, 2)]
                least = f"{detected(test, values[:FEWER]):.3g}" if name in TESTS else ""
                rows.writerow([*setting, name, *(f"{share:.4f}" for share in (size, *powers)), least])
            file.flush()
            print(*setting, file=sys.stderr)


# ---------------------------------------------------------------- tables


Rows = dict[tuple[str, ...], dict[str, str]]


def by_seeds(rows: Rows, column: str) -> list[str]:
    """A line for each kind of study: cyclr / Holm on Welch's t, for each number of seeds."""
    lines = head("seeds; larger spread; metric", *map(str, SEEDS))
    for blocks, spreads, metric in itertools.product(SHARED, SPREADS, SHAPES):
        cells = []
        for n in SEEDS:
            pair = [float(rows[str(n), blocks, spreads, metric, test][column]) for test in TESTS]
            cells.append(" / ".join(f"{one:.3g}" if column == "detected" else f"{100 * one:.1f}" for one in pair))
        lines.append(line(f"{blocks}; {spreads if SPREADS[spreads] else 'none'}; {metric}", *cells))
    return lines


def tries(rows: Rows) -> list[str]:
    """What each try would gain and cost, on blocks: the greatest size over numbers of seeds and spreads, and power."""
    lines = head("test", *(f"size, {metric}" for metric in SHAPES), *(f"power, {n} seeds" for n in TRIED))
    for test in ("cyclr", *TRIES):
        cells = []
        for metric in SHAPES:
            every = [rows[str(n), "blocked", spreads, metric, test] for n in TRIED for spreads in SPREADS]
            cells.append(f"{100 * max(float(row['size']) for row in every):.1f}")
        for n in TRIED:
            row = rows[str(n), "blocked", "equal", "normal", test]
            cells.append(f"{100 * float(row['power 2']):.1f}")
        lines.append(line(test, *cells))
    return lines


def tables() -> str:
    """All tables, as on the page."""
    rows = {tuple(row[key] for key in ("seeds", "blocks", "spreads", "metric", "test")): row for row in read(RECORD)}
    parts = {
        "Family-wise error by number of seeds, in percent: cyclr / Holm on Welch's t": by_seeds(rows, "size"),
        "Power for a difference of 1 standard deviation, in percent": by_seeds(rows, "power 1"),
        "Power for a difference of 2 standard deviations, in percent": by_seeds(rows, "power 2"),
        "The smallest difference found with a probability of 80 %, in standard deviations": by_seeds(rows, "detected"),
        "Tries to lower the error for skewed metrics with unequal spreads, in percent: greatest error over 3, 5 and 10 "
        "blocked seeds and all spreads; power for 2 deviations, a normal metric and equal spreads": tries(rows),
    }
    return "\n".join("\n".join([f"**{title}**", "", *lines, ""]) for title, lines in parts.items())


def main() -> None:
    match sys.argv[1:]:
        case []:
            simulate()
        case ["table" | "check" as what]:
            put(BEGIN, tables(), "bench/seeds.py", check=what == "check")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
