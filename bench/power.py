"""Size and power of tests for comparing policies with a baseline, by simulation: python bench/power.py.

    python bench/power.py             # simulates and writes bench/records/{power,coverage}.csv: minutes on one core
    python bench/power.py table       # writes the tables of docs/statistics.md from the records
    python bench/power.py check       # fails if those tables differ from the records

A setting is a number of seeds, a number of policies, a distribution of the metric, and which of the spreads is three
times the others. The family-wise error is the fraction of simulated studies with a false positive; power is the
fraction of differing policies that are detected. A random half of the settings was used to choose the method; the
tables show the other half, too.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from cyclr.study._stats import interval

RECORD = Path(__file__).parent / "records" / "power.csv"
COVERED = RECORD.with_name("coverage.csv")
PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
STUDIES = 2000  # per setting: the standard error of a size of 5 % is 0.5 points
DRAWS = 1000  # rotations or resamples per study
ALPHA = 0.05
SEEDS = (2, 3, 4, 5, 8, 12, 20)
POLICIES = (1, 2, 4, 7, 12)
BEGIN, END = "<!-- tables: made by bench/power.py -->\n", "<!-- end of tables -->\n"

Array = np.ndarray


# ---------------------------------------------------------------- metrics: mean 0, standard deviation 1


def binomial(examples: int, accuracy: float) -> Callable[..., Array]:
    spread = np.sqrt(accuracy * (1 - accuracy) / examples)
    return lambda rng, size: (rng.binomial(examples, accuracy, size) / examples - accuracy) / spread


def lognormal(sigma: float) -> Callable[..., Array]:
    mean, spread = stats.lognorm.stats(sigma)[0], stats.lognorm.std(sigma)
    return lambda rng, size: (rng.lognormal(0, sigma, size) - mean) / spread


METRICS: dict[str, Callable[..., Array]] = {
    "normal": lambda rng, size: rng.normal(size=size),
    "skewed": lognormal(0.5),
    "very skewed": lognormal(1),
    "heavy-tailed": lambda rng, size: rng.standard_t(3, size) / np.sqrt(3),
    "200 examples": binomial(200, 0.9),
    "1,000 examples": binomial(1000, 0.7),
}


@dataclass(frozen=True)
class Setting:
    """One kind of study; `effects` are the policies' true differences in standard deviations of a metric."""

    seeds: int
    policies: int
    metric: str
    noisier: str  # "none", "one policy" or "baseline": the one with three times the spread of the others
    effect: str  # "none", "half of them" or "all": which policies differ from the baseline

    def effects(self) -> Array:
        """An effect that a single paired t test would detect in nine of ten studies with equal spreads."""
        differing = {"none": 0, "half of them": -(-self.policies // 2), "all": self.policies}[self.effect]
        df = self.seeds - 1
        size = (stats.t.ppf(1 - ALPHA / 2, df) + stats.t.ppf(0.9, df)) * np.sqrt(2 / self.seeds)
        return np.where(np.arange(self.policies) >= self.policies - differing, size, 0.0)

    def draw(self, rng: np.random.Generator, studies: int = STUDIES) -> Array:
        """Differences from the baseline: studies, seeds, policies."""
        metric = np.asarray(METRICS[self.metric](rng, (studies, self.seeds, self.policies + 1)))
        metric[..., {"none": [], "baseline": [0], "one policy": [1]}[self.noisier]] *= 3
        shared = 2 * rng.normal(size=(studies, self.seeds, 1))  # the effect of a seed on all its runs
        metric += shared
        changes = metric[..., 1:] - metric[..., :1]
        changes[np.abs(changes) < 1e-9] = 0  # equal counts of correct predictions
        return changes + self.effects()


# ---------------------------------------------------------------- tests: which policies are significantly different


def t_test(x: Array) -> Array:
    """Two-sided p-values of paired t tests; 1 where all differences are the same."""
    n, spread = x.shape[1], x.std(1, ddof=1)
    alike = spread < 1e-9
    t = np.where(alike, 0, x.mean(1) / np.where(alike, 1, spread)) * np.sqrt(n)
    return 2 * stats.t.sf(np.abs(t), n - 1)


def hall(x: Array) -> Array:
    """The same for Hall's transformation of t, which allows for skewness."""
    n, spread = x.shape[1], x.std(1, ddof=1)
    if n < 3:
        return t_test(x)
    alike = spread < 1e-9
    spread = np.where(alike, 1, spread)
    g = ((x - x.mean(1, keepdims=True)) ** 3).sum(1) / spread**3 * n / ((n - 1) * (n - 2))
    u = x.mean(1) / spread
    t = np.sqrt(n) * (u + g * u**2 / 3 + g**2 * u**3 / 27 + g / (6 * n))
    return np.where(alike, 1, 2 * stats.t.sf(np.abs(t), n - 1))


def holm(p: Array, alpha: float = ALPHA) -> Array:
    order = np.argsort(p, axis=1)
    limits = alpha / np.arange(p.shape[1], 0, -1)
    found = np.logical_and.accumulate(np.take_along_axis(p, order, 1) <= limits, axis=1)
    called = np.empty_like(found)
    np.put_along_axis(called, order, found, 1)
    return called


def holm_t(x: Array) -> Array:
    return holm(t_test(x))


def bootstrap(x: Array) -> Array:
    """Holm's steps on percentile bootstraps widened as Hesterberg does, from eight seeds on; below, on t tests."""
    n = x.shape[1]
    if n < 8:
        return holm_t(x)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=9999).astype(np.float32) / n
    p = np.empty((len(x), x.shape[2]))
    for first in range(0, len(x), 100):
        means = np.tensordot(weights, x[first : first + 100].astype(np.float32), axes=(1, 1))
        beyond = np.minimum((means <= 0).sum(0), (means >= 0).sum(0))
        share = np.minimum(0.5, (beyond + 1) / (len(weights) + 1))
        p[first : first + 100] = 2 * stats.t.sf(-stats.norm.ppf(share) / np.sqrt(n / (n - 1)), n - 1)
    return holm(p)


def pooled(x: Array) -> Array:
    """Dunnett's idea on blocks: one error for all policies, from the two-way table, and Šidák's bound."""
    n, m = x.shape[1:]
    table = np.concatenate([np.zeros_like(x[..., :1]), x], axis=2)
    table = table - table.mean(1, keepdims=True) - table.mean(2, keepdims=True) + table.mean((1, 2), keepdims=True)
    df = m * (n - 1)
    error = np.sqrt(2 * (table**2).sum((1, 2)) / df / n)
    p = 2 * stats.t.sf(np.abs(x.mean(1)) / np.maximum(error, 1e-9)[:, None], df)
    return p <= 1 - (1 - ALPHA) ** (1 / m)


def rotation(x: Array, p: Array, draws: int = DRAWS, alpha: float = ALPHA) -> Array:
    """Step-down max-t by counting random rotations: random directions replace (1, ..., 1).

    An independent implementation of what `cyclr.study` computes without counting; the tests compare the two. Adjusted
    p-values lie between `p` and Holm's, so directions are drawn only where these two do not settle the matter.
    """
    called = holm(p, alpha)
    unsettled = (called != (p <= alpha)).any(axis=1)
    if unsettled.any():
        called[unsettled] = _rotation(x[unsettled], p[unsettled], draws) <= alpha
    return called


def _rotation(x: Array, p: Array, draws: int) -> Array:
    """Adjusted p-values."""
    n, m = x.shape[1:]
    order = np.argsort(p, axis=1)
    x, p = np.take_along_axis(x, order[:, None], 2), np.take_along_axis(p, order, 1)
    u = np.random.default_rng(0).normal(size=(draws, n)).astype(np.float32)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alike = x.std(1) < 1e-9
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    directions = np.where(alike[:, None], 0, x / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    t = stats.t.isf(p / 2, n - 1)
    seen = np.where(alike, 2, t / np.sqrt(n - 1 + t**2)).astype(np.float32)  # |t| as the cosine of an angle
    adjusted = np.empty_like(p)
    for first in range(0, len(x), 100):
        part = slice(first, first + 100)
        cosines = np.abs(np.tensordot(u, directions[part], axes=(1, 1)))
        largest = np.maximum.accumulate(cosines[..., ::-1], axis=2)[..., ::-1]
        adjusted[part] = (largest >= seen[part]).mean(0)
    adjusted = np.where(alike, 1, np.clip(adjusted, p, p * np.arange(m, 0, -1)))
    found = np.empty_like(adjusted)
    np.put_along_axis(found, order, np.maximum.accumulate(adjusted, axis=1), 1)
    return found


def max_t(x: Array) -> Array:
    return rotation(x, t_test(x))


def max_t_skewed(x: Array) -> Array:
    return rotation(x, np.maximum(t_test(x), hall(x)))


TESTS: dict[str, Callable[[Array], Array]] = {
    "Holm on t": holm_t,
    "Holm on bootstrap": bootstrap,
    "pooled error": pooled,
    "max-t": max_t,
    "max-t, skewness": max_t_skewed,
}


# ---------------------------------------------------------------- simulation


def settings() -> list[tuple[str, Setting]]:
    """A random sample of all combinations; the two halves alternate."""
    rng = np.random.default_rng(0)
    sides = [SEEDS, POLICIES, METRICS, ("none", "one policy", "baseline")]
    every = list(itertools.product(*sides))
    chosen = []
    for effects, count in ((["none"], 160), (["half of them", "all"], 60)):
        for k, index in enumerate(rng.permutation(len(every))[:count]):
            chosen.append((("choose", "report")[k % 2], Setting(*every[index], effects[k // 2 % len(effects)])))
    return chosen


def simulate() -> None:
    with RECORD.open("w") as file:
        file.write("# made by: python bench/power.py\n")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["half", "seeds", "policies", "metric", "noisier", "effect", "test", "false", "found"])
        for number, (half, setting) in enumerate(settings()):
            x, same = setting.draw(np.random.default_rng(number)), setting.effects() == 0
            for name, test in TESTS.items():
                called = test(x)
                false = f"{called[:, same].any(1).mean():.4f}" if same.any() else ""
                found = "" if same.all() else f"{called[:, ~same].mean():.4f}"
                rows.writerow([half, *vars_of(setting), name, false, found])
            file.flush()
            print(f"{number + 1}: {setting}", file=sys.stderr)
    cover()


def vars_of(setting: Setting) -> Sequence[object]:
    return setting.seeds, setting.policies, setting.metric, setting.noisier, setting.effect


def cover() -> None:
    """Coverage of the interval of a single mean, compared with Student's t and the widened bootstrap."""
    with COVERED.open("w") as file:
        file.write("# made by: python bench/power.py\n")
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["metric", "seeds", "interval", "covered"])
        for metric, n in itertools.product(METRICS, SEEDS):
            x = METRICS[metric](np.random.default_rng(n), (STUDIES, n))
            half = stats.t.ppf(0.975, n - 1) * x.std(1, ddof=1) / np.sqrt(n)
            weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=2000) / n
            tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
            low, high = np.quantile(weights @ x.T, [tail, 1 - tail], axis=0)
            t = (np.abs(x.mean(1)) <= half) | (half < 1e-9)
            found = {
                "Student's t": t,
                "widened bootstrap": (low <= 0) & (high >= 0) | (half < 1e-9) if n >= 8 else t,
                "cyclr": [interval(own).contains(0) for own in x],
            }
            for name, covered in found.items():
                rows.writerow([metric, n, name, f"{np.mean(covered):.4f}"])


# ---------------------------------------------------------------- tables


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> list[str]:
    return [line(*cells), line("---", *["---:"] * (len(cells) - 1))]


def percent(values: Iterable[float]) -> str:
    return f"{100 * np.mean(list(values)):.1f}"


def sizes(rows: list[dict[str, str]]) -> list[str]:
    """Family-wise errors if no policy differs, in percent, by spreads and metric."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["effect"] == "none":
            found[row["noisier"], row["metric"], row["half"]][row["test"]].append(float(row["false"]))
    lines = head("noisier, metric", "settings", *TESTS)
    for noisier, metric in itertools.product(("none", "one policy", "baseline"), METRICS):
        chose, told = (found[noisier, metric, half] for half in ("choose", "report"))
        cells = [
            f"{percent(chose[test])} / {percent(told[test])} ({100 * max(chose[test] + told[test]):.1f})"
            for test in TESTS
        ]
        lines.append(line(f"{noisier}, {metric}", f"{len(chose['max-t'])} / {len(told['max-t'])}", *cells))
    return lines


def powers(rows: list[dict[str, str]]) -> list[str]:
    """The percentage of differing policies that are detected, and that of false positives."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["effect"] != "none":
            several = "one policy" if row["policies"] == "1" else f"several policies, {row['effect']} differ"
            seeds = "2 to 4" if int(row["seeds"]) < 5 else "5 to 20"
            found[f"{seeds} seeds, {several}, noisier: {row['noisier']}"][row["test"]].append(float(row["found"]))
    lines = head("seeds, policies", "settings", *TESTS)
    for name, own in sorted(found.items()):
        lines.append(line(name, len(own["max-t"]), *(percent(own[test]) for test in TESTS)))
    return lines


def partial(rows: list[dict[str, str]]) -> list[str]:
    """False positives among policies that do not differ, while others do: mean and maximum, in percent."""
    lines = head("noisier, half of the policies differ", "settings", *TESTS)
    for noisier in ("none", "one policy", "baseline"):
        own = [row for row in rows if row["effect"] != "none" and row["false"] and row["noisier"] == noisier]
        by = {test: [float(row["false"]) for row in own if row["test"] == test] for test in TESTS}
        cells = [f"{percent(values)} ({100 * max(values):.1f})" for values in by.values() if values]
        lines += [line(noisier, len(by["max-t"]), *cells)] if cells else []
    return lines


def covered(rows: list[dict[str, str]]) -> list[str]:
    lines = head("95 % interval of a single mean", *(f"n = {n}" for n in SEEDS))
    by = {(row["metric"], row["interval"], row["seeds"]): float(row["covered"]) for row in rows}
    for metric, name in itertools.product(METRICS, dict.fromkeys(row["interval"] for row in rows)):
        lines.append(line(f"{metric}: {name}", *(f"{100 * by[metric, name, str(n)]:.1f}" for n in SEEDS)))
    return lines


def tables() -> str:
    """All tables, as on the page."""
    rows = read(RECORD)
    parts = {
        "Family-wise error, in percent: mean of the half that chose / of the other half (greatest of all)": sizes(rows),
        "False findings while other policies differ, in percent: mean (greatest)": partial(rows),
        "Power: differing policies that are found, in percent": powers(rows),
        "Coverage of the interval of a single mean, in percent": covered(read(COVERED)),
    }
    return "\n".join("\n".join([f"**{title}**", "", *lines, ""]) for title, lines in parts.items())


def put(begin: str, text: str, script: str, *, check: bool) -> None:
    """Writes `text` between the line `begin` and the next `END` of the page, or checks that it is there."""
    old = PAGE.read_text(encoding="utf-8")
    before, begins, rest = old.partition(begin)
    _, ends, after = rest.partition(END)
    if not (begins and ends):
        raise SystemExit(f"{PAGE} must hold the lines {begin.strip()} and {END.strip()}")
    new = f"{before}{begin}\n{text}\n{END}{after}"
    if check:
        raise SystemExit(None if new == old else f"{PAGE} is not what the records say; run {script} table")
    PAGE.write_text(new, encoding="utf-8")


def page(*, check: bool) -> None:
    put(BEGIN, tables(), "bench/power.py", check=check)


def main() -> None:
    match sys.argv[1:]:
        case []:
            simulate()
        case ["table" | "check" as what]:
            page(check=what == "check")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
