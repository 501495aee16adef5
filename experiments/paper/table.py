"""Writes the tables in README.md beside this file from the records: python experiments/paper/table.py.

With --check nothing is written, and the exit status says whether the tables are those of the records.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path

from claims import claims_table
from ramps import NAMES, bounds_of, curve_of
from rows import HERE, RECORDS, Group, Row, final, line_of, read_groups, read_runs, refusals

from cyclr import Curve
from cyclr.study._records import Run
from cyclr.study._stats import ALPHA, Comparison, detectable, many_to_one, seeds_to_detect, steps_to_target

README = HERE / "README.md"
SHOWN = 4  #: every n-th point of a range test is shown in its table
DATA_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
CLAIMS_BEGIN, CLAIMS_END = "<!-- claims: made by table.py -->\n", "<!-- end of claims -->\n"
BEGIN, END = "<!-- tables: made by table.py -->\n", "<!-- end of tables -->\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    parser.add_argument("--table", type=Path, default=HERE / "rows.toml", help="another table of rows")
    parser.add_argument("--records", type=Path, default=RECORDS, help="where the records are")
    parser.add_argument("--page", type=Path, default=README, help="the page with the marks between which tables stand")
    given = parser.parse_args()
    groups = read_groups(given.table)
    old = given.page.read_text(encoding="utf-8")
    new = between(old, BEGIN, END, "\n".join(sections(groups, given.records)), given.page)
    if CLAIMS_BEGIN in new:
        new = between(new, CLAIMS_BEGIN, CLAIMS_END, f"{claims_table(groups, given.records)}\n", given.page)
    if given.check:
        raise SystemExit(None if new == old else f"{given.page} is not what the records say; run table.py")
    given.page.write_text(new, encoding="utf-8")


def between(text: str, begin: str, end: str, made: str, page: Path) -> str:
    """The text with other lines between two marks."""
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise SystemExit(f"{page} must hold the lines {begin.strip()} and {end.strip()}")
    return f"{before}{begin}\n{made}\n{end}{after}"


def sections(groups: tuple[Group, ...], records: Path) -> Iterator[str]:
    """The tables by data set, with a heading for each if there are several; groups without any run are only named."""
    tasks = list(dict.fromkeys(group.on for group in groups))
    for task in tasks:
        own = [group for group in groups if group.on == task]
        if len(tasks) > 1:
            yield f"## {DATA_SETS[task]}\n"
        begun = [group for group in own if any(read_runs(group, row, records) for row in group.filled())]
        for group in begun if len(tasks) > 1 else own:
            yield table(group, records, targets(group, groups, records))
        left = [group for group in own if group not in begun]
        if len(tasks) > 1 and left:
            yield "\n".join(["Not run here:", "", *(f"- {left_out(group)}" for group in left), ""])


def left_out(group: Group) -> str:
    """A group that has not been run, and how to run it."""
    longest = max(row.steps or 0 for row in group.filled())
    return f"{group.title}, {len(group.row)} rows of up to {longest:,} steps: `--rows {group.name}`"


def targets(group: Group, groups: tuple[Group, ...], records: Path) -> dict[int, float]:
    """The target accuracy of the group's runs, by seed."""
    for other in groups:
        for row in other.filled():
            if f"{other.name}/{row.name}" == group.target:
                return {seed: final(run) for seed, run in read_runs(other, row, records).items()}
    if group.target:
        raise SystemExit(f"target of {group.name} must be GROUP/ROW of a row, got {group.target!r}")
    return {}


def table(group: Group, records: Path, target: dict[int, float]) -> str:
    """One table as Markdown, with a summary in words."""
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
    found = compared(group, runs) if group.baseline else {}
    refused = {row.name: len(refusals(group, row, records)) for row in group.filled()}
    lines = [line(group, row, runs, target, found, refused[row.name], average=average) for row in group.filled()]
    words = [verdict(group, found), ""] if group.baseline else []
    made = [f"| {' | '.join([*heads, 'paper, %'])} |", f"|{'|'.join(rule)}|", *lines]
    return "\n".join([f"### {group.title}", "", group.about, "", *made, "", *words])


def ramp(run: Run) -> str:
    """The record of a range test, and the bounds that `Curve.bounds` finds in it."""
    curve = curve_of(run)
    rates, accuracies, losses = curve.rates, curve.metrics["accuracy"][0], curve.losses[0]
    shown = slice(SHOWN - 1, None, SHOWN)
    lines = [
        line_of("rate", *(f"{rate:.3f}" for rate in rates[shown])),
        f"|---|{'---:|' * len(rates[shown])}",
        line_of("test accuracy, %", *(f"{100 * accuracy:.1f}" for accuracy in accuracies[shown])),
        line_of("training loss", *(f"{loss:.2f}" for loss in losses[shown])),
    ]
    words = [f"{bounds_in(curve, signal)} in the {name}" for signal, name in NAMES.items()]
    return "\n".join([*lines, "", f"Bounds that `cyclr` finds in these {len(rates)} points: {'; '.join(words)}.", ""])


def bounds_in(curve: Curve, signal: str) -> str:
    """Both bounds with the upper one's interval."""
    found = bounds_of(curve, signal)
    if found is None:
        return "none"
    assert found.max_interval is not None
    low, high = found.max_interval
    return f"{found.base_lr:.2g} and {found.max_lr:.2g} ({100 * found.level:.0f} %: {low:.2g} to {high:.2g})"


def line(
    group: Group,
    row: Row,
    runs: dict[str, dict[int, Run]],
    target: dict[int, float],
    found: dict[str, Comparison],
    refused: int,
    *,
    average: bool,
) -> str:
    """One row. A dash: not run yet; refused: by the range test, for so many seeds."""
    own = runs[row.name]
    ends = accuracy(map(final, own.values()))
    if refused:
        ends = f"{ends}; refused: {refused}" if own else "refused"
    cells = [row.name.replace("|", "\\|"), f"{row.steps:,}", str(len(own) or "-"), ends]
    if average:
        cells.append(accuracy(value for run in own.values() if (value := averaged(run)) is not None))
    if group.baseline:
        cells.append(against(own, runs[group.baseline], found.get(row.name)) if row.name != group.baseline else "")
    if group.target:
        cells.append(reaching(own, target))
    cells.append(f"{row.paper:.1f}" if row.paper else f"{row.full:.1f} †" if row.full else "")
    return line_of(*cells)


def verdict(group: Group, found: dict[str, Comparison]) -> str:
    """Which rows differ from the baseline, at a family-wise level of 5 %."""
    if not found:
        return f"Against *{group.baseline}* one seed tells nothing."
    sure = {name: one.adjusted <= ALPHA for name, one in found.items()}
    said = {
        "better": [name for name in found if sure[name] and found[name].difference.mean > 0],
        "worse": [name for name in found if sure[name] and found[name].difference.mean < 0],
        "no significant difference": [name for name in found if not sure[name]],
    }
    unsure = [name for name in said["no significant difference"] if not math.isnan(found[name].level)]
    words = "; ".join(f"{what}: {', '.join(f'*{name}*' for name in names)}" for what, names in said.items() if names)
    if unsure:
        words += (
            ". What these seeds would show in 80 % of studies, in points, and the seeds that would show one point: "
        )
        words += ", ".join(f"*{name}* {power(found[name])}" for name in unsure)
    if alike := [name for name, one in found.items() if math.isnan(one.level)]:
        names = ", ".join(f"*{name}*" for name in alike)
        words += f". Equal differences on all seeds, which say nothing of the variation: {names}"
    return f"Against *{group.baseline}*, adjusted for {len(found)} comparison{'s' * (len(found) > 1)}: {words}."


def power(found: Comparison) -> str:
    """The difference that the seeds of a comparison detect, and the seeds that detect one percentage point."""
    return f"{detectable(found):.1f} ({seeds_to_detect(found, 1.0):.0f})"


def compared(group: Group, runs: dict[str, dict[int, Run]]) -> dict[str, Comparison]:
    """Each row compared with the baseline, paired by seed; a row with fewer seeds than the baseline is unfinished."""
    assert group.baseline is not None
    baseline = runs[group.baseline]
    rows = {name: own for name, own in runs.items() if name != group.baseline and baseline.keys() <= own.keys()}
    if len(baseline) < 2:
        return {}
    seeds = sorted(baseline)
    ends = [[final(own[seed]) for seed in seeds] for own in rows.values()]
    return dict(zip(rows, many_to_one(ends, [final(baseline[seed]) for seed in seeds]), strict=True))


def accuracy(finals: Iterable[float]) -> str:
    """Mean and standard deviation over the seeds, at the last step."""
    values = list(finals)
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def against(own: dict[int, Run], baseline: dict[int, Run], found: Comparison | None) -> str:
    """The mean paired difference over the seeds that both have, with its interval if the row was compared."""
    if found is not None:
        low, high = found.difference.low, found.difference.high
        return f"{found.difference.mean:+.2f}" + ("" if math.isinf(low) else f" ({low:+.2f} to {high:+.2f})")
    changes = [final(own[seed]) - final(baseline[seed]) for seed in sorted(own.keys() & baseline.keys())]
    return f"{statistics.fmean(changes):+.2f}" if changes else "-"


def reaching(own: dict[int, Run], target: dict[int, float]) -> str:
    """The step at which each seed first reached its target, or how far below the target it ended."""
    found = []
    for seed in sorted(own.keys() & target.keys()):
        steps, values = own[seed].series("test_accuracy")
        step = steps_to_target(steps, [100 * value for value in values], target[seed])
        found.append(f"never ({final(own[seed]) - target[seed]:+.2f})" if math.isinf(step) else f"{step:,}")
    return ", ".join(found) or "-"


def averaged(run: Run) -> float | None:
    """The same of the weights' trailing average, if it was recorded."""
    value = run.points[-1].get("averaged_test_accuracy")
    return None if value is None else 100 * float(value)


if __name__ == "__main__":
    main()
