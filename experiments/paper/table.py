"""Writes the tables in README.md beside this file from the records: python experiments/paper/table.py.

With --check nothing is written, and the exit status says whether the tables are those of the records.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rows import HERE, RECORDS, Group, Row, read_groups, run_name

from cyclr import Curve, Inconclusive
from cyclr.study._files import RECORD, read_json
from cyclr.study._records import Run
from cyclr.study._stats import difference, holm, p_value, steps_to_target

README = HERE / "README.md"
SHOWN = 4  #: one point of a range test in so many stands in its table
NAMES = {"accuracy": "test accuracy", "loss": "training loss"}
BEGIN, END = "<!-- tables: made by table.py -->\n", "<!-- end of tables -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--table", type=Path, default=HERE / "rows.toml", help="another table of rows")
    parser.add_argument("--records", type=Path, default=RECORDS, help="where the records are")
    parser.add_argument("--page", type=Path, default=README, help="the page with the marks between which tables stand")
    given = parser.parse_args()
    groups = read_groups(given.table)
    tables = "\n".join(table(group, given.records, targets(group, groups, given.records)) for group in groups)
    old = given.page.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{given.page} must hold the lines {BEGIN.strip()} and {END.strip()}")
    new = f"{before}{BEGIN}\n{tables}\n{END}{after}"
    if given.check:
        raise SystemExit(None if new == old else f"{given.page} is not what the records say; run table.py")
    given.page.write_text(new, encoding="utf-8")


def targets(group: Group, groups: tuple[Group, ...], records: Path) -> dict[int, float]:
    """The accuracy that the group's runs are to reach, by seed."""
    for other in groups:
        for row in other.filled():
            if f"{other.name}/{row.name}" == group.target:
                return {seed: final(run) for seed, run in read_runs(other, row, records).items()}
    if group.target:
        raise SystemExit(f"target of {group.name} must be GROUP/ROW of a row, got {group.target!r}")
    return {}


def table(group: Group, records: Path, target: dict[int, float]) -> str:
    """One table, as Markdown, and what it says in words."""
    runs = {row.name: read_runs(group, row, records) for row in group.filled()}
    if group.ramp:
        ramps = [ramp(run) for own in runs.values() for run in own.values()]
        return "\n".join([f"### {group.title}", "", group.about, "", *(ramps or ["Not run yet.\n"])])
    average = any(averaged(run) is not None for row in runs.values() for run in row.values())
    heads = ["policy", "steps", "seeds", "test accuracy, %"]
    heads += ["of averaged weights"] if average else []
    heads += [f"against *{group.baseline}*"] if group.baseline else []
    heads += [f"first as good as *{group.target.rpartition('/')[2]}* at its end, step"] if group.target else []
    rule = ["---", *["---:"] * (4 + average - 1), *[":---:"] * (bool(group.baseline) + bool(group.target)), "---:"]
    lines = [line(group, row, runs, target, average=average) for row in group.filled()]
    words = [verdict(group, runs), ""] if group.baseline else []
    made = [f"| {' | '.join([*heads, 'paper, %'])} |", f"|{'|'.join(rule)}|", *lines]
    return "\n".join([f"### {group.title}", "", group.about, "", *made, "", *words])


def ramp(run: Run) -> str:
    """What a range test saw on the way, and the bounds that `Curve.bounds` finds in it."""
    seen = [point for point in run.points if point["test_accuracy"] is not None]
    rates, accuracies, losses = np.array([[point[key] for point in seen] for key in ("lr", "test_accuracy", "loss")])
    curve = Curve(rates, losses, {"accuracy": accuracies}, scale="linear", maximize=frozenset({"accuracy"}))
    shown = slice(SHOWN - 1, None, SHOWN)
    lines = [
        line_of("rate", *(f"{rate:.3f}" for rate in rates[shown])),
        f"|---|{'---:|' * len(rates[shown])}",
        line_of("test accuracy, %", *(f"{100 * accuracy:.1f}" for accuracy in accuracies[shown])),
        line_of("training loss", *(f"{loss:.2f}" for loss in losses[shown])),
    ]
    words = [f"{bounds_in(curve, signal)} in the {name}" for signal, name in NAMES.items()]
    return "\n".join([*lines, "", f"Bounds that `cyclr` finds in these {len(seen)} points: {'; '.join(words)}.", ""])


def line_of(*texts: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(texts)} |"


def bounds_in(curve: Curve, signal: str) -> str:
    """Both bounds with the upper one's interval."""
    try:
        found = curve.bounds(signal)
    except Inconclusive:
        return "none"
    assert found.max_interval is not None
    low, high = found.max_interval
    return f"{found.base_lr:.2g} and {found.max_lr:.2g} ({100 * found.level:.0f} %: {low:.2g} to {high:.2g})"


def line(group: Group, row: Row, runs: dict[str, dict[int, Run]], target: dict[int, float], *, average: bool) -> str:
    """One row. A dash: not run yet."""
    own = runs[row.name]
    cells = [row.name.replace("|", "\\|"), f"{row.steps:,}", str(len(own) or "-"), accuracy(map(final, own.values()))]
    if average:
        cells.append(accuracy(value for run in own.values() if (value := averaged(run)) is not None))
    if group.baseline:
        cells.append(against(own, runs[group.baseline]) if row.name != group.baseline else "")
    if group.target:
        cells.append(reaching(own, target))
    cells.append(f"{row.paper:.1f}" if row.paper else "")
    return line_of(*cells)


def verdict(group: Group, runs: dict[str, dict[int, Run]]) -> str:
    """Which rows differ from the baseline, at 5 % for all of them together."""
    assert group.baseline is not None
    pairs = {name: paired(own, runs[group.baseline]) for name, own in runs.items() if name != group.baseline}
    pairs = {name: pair for name, pair in pairs.items() if len(pair[0]) > 1}
    if not pairs:
        return f"Against *{group.baseline}* one seed tells nothing."
    gains = {name: [a - b for a, b in zip(own, base, strict=True)] for name, (own, base) in pairs.items()}
    sure = dict(zip(gains, (p <= 0.05 for p in holm([p_value(values) for values in gains.values()])), strict=True))
    means = {name: statistics.fmean(values) for name, values in gains.items()}
    said = {
        "better": [name for name in gains if sure[name] and means[name] > 0],
        "worse": [name for name in gains if sure[name] and means[name] < 0],
        "no difference found": [name for name in gains if not sure[name]],
    }
    words = "; ".join(f"{what}: {', '.join(f'*{name}*' for name in names)}" for what, names in said.items() if names)
    return f"Against *{group.baseline}*, with Holm's correction for {len(gains)} comparisons: {words}."


def accuracy(finals: Iterable[float]) -> str:
    """Mean and standard deviation over the seeds, at the last step."""
    values = list(finals)
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def against(own: dict[int, Run], baseline: dict[int, Run]) -> str:
    """The paired difference over the seeds that both have, with its 95 % interval."""
    values, beside = paired(own, baseline)
    if not values:
        return "-"
    found = difference(values, beside)
    interval = "" if math.isinf(found.low) else f" ({found.low:+.2f} to {found.high:+.2f})"
    return f"{found.mean:+.2f}{interval}"


def paired(own: dict[int, Run], baseline: dict[int, Run]) -> tuple[list[float], list[float]]:
    """What both end with, over the seeds that both have."""
    seeds = sorted(own.keys() & baseline.keys())
    return [final(own[seed]) for seed in seeds], [final(baseline[seed]) for seed in seeds]


def reaching(own: dict[int, Run], target: dict[int, float]) -> str:
    """When each seed first reached its target, of those that have one; how far below it ended if it never did."""
    found = []
    for seed in sorted(own.keys() & target.keys()):
        steps, values = own[seed].series("test_accuracy")
        step = steps_to_target(steps, [100 * value for value in values], target[seed])
        found.append(f"never ({final(own[seed]) - target[seed]:+.2f})" if math.isinf(step) else f"{step:,}")
    return ", ".join(found) or "-"


def final(run: Run) -> float:
    """Accuracy in percent after the last step."""
    return 100 * float(run.points[-1]["test_accuracy"] or math.nan)


def averaged(run: Run) -> float | None:
    """The same of the weights' trailing average, if it was recorded."""
    value = run.points[-1].get("averaged_test_accuracy")
    return None if value is None else 100 * float(value)


def read_runs(group: Group, row: Row, records: Path) -> dict[int, Run]:
    """The finished runs of a row by seed."""
    paths = {seed: records / run_name(group, row, seed) / RECORD for seed in group.seeds}
    return {seed: read_json(path, Run) for seed, path in paths.items() if path.exists()}


if __name__ == "__main__":
    main()
