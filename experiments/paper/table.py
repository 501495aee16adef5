"""Writes the tables in README.md beside this file from the records: python experiments/paper/table.py.

With --check nothing is written, and the exit status says whether the tables are those of the records.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path

from rows import HERE, RECORDS, Group, Row, read_groups, run_name

from cyclr._study.engine import RECORD
from cyclr._study.record import Run, read_json
from cyclr._study.stats import difference, steps_to_target

README = HERE / "README.md"
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
    """One table, as Markdown."""
    runs = {row.name: read_runs(group, row, records) for row in group.filled()}
    others = f" against *{group.baseline}* |" if group.baseline else ""
    if group.target:
        others += f" first as good as *{group.target.rpartition('/')[2]}* at its end, step |"
    head = f"| policy | steps | seeds | test accuracy, % |{others} paper, % |"
    rule = "|---|---:|---:|---:|" + ":---:|" * others.count("|") + "---:|"
    lines = [line(group, row, runs, target) for row in group.filled()]
    return "\n".join([f"### {group.title}", "", group.about, "", head, rule, *lines, ""])


def line(group: Group, row: Row, runs: dict[str, dict[int, Run]], target: dict[int, float]) -> str:
    """One row. A dash: not run yet."""
    own = runs[row.name]
    cells = [row.name.replace("|", "\\|"), f"{row.steps:,}", str(len(own) or "-"), accuracy(list(own.values()))]
    if group.baseline:
        cells.append(against(own, runs[group.baseline]) if row.name != group.baseline else "")
    if group.target:
        cells.append(reaching(own, target))
    cells.append(f"{row.paper:.1f}" if row.paper else "")
    return "| " + " | ".join(cells) + " |"


def accuracy(runs: list[Run]) -> str:
    """Mean and standard deviation over the seeds, at the last step."""
    values = [final(run) for run in runs]
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def against(own: dict[int, Run], baseline: dict[int, Run]) -> str:
    """The paired difference over the seeds that both have, with its 95 % interval."""
    seeds = sorted(own.keys() & baseline.keys())
    if not seeds:
        return "-"
    found = difference([final(own[seed]) for seed in seeds], [final(baseline[seed]) for seed in seeds])
    interval = "" if math.isinf(found.low) else f" ({found.low:+.2f} to {found.high:+.2f})"
    return f"{found.mean:+.2f}{interval}"


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


def read_runs(group: Group, row: Row, records: Path) -> dict[int, Run]:
    """The finished runs of a row by seed."""
    paths = {seed: records / run_name(group, row, seed) / RECORD for seed in group.seeds}
    return {seed: read_json(path, Run) for seed, path in paths.items() if path.exists()}


if __name__ == "__main__":
    main()
