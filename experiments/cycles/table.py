"""Writes the tables in docs/cycles.md from the records: python experiments/cycles/table.py.

With --check nothing is written, and the exit status says whether the tables are those of the records.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy import stats

HERE = Path(__file__).parent
RECORDS = HERE / "records"
SHAPES = RECORDS / "shapes.csv"
PAGE = HERE.parent.parent / "docs" / "cycles.md"
FIXED = HERE.parent / "paper" / "records" / "fixed"  # the paper's fixed policy, 70,000 steps
BEGIN, END = "<!-- tables: made by experiments/cycles/table.py -->\n", "<!-- end of tables -->\n"
MANY = 5  # seeds from which on an interval is given
# setting: what it is
SETTINGS = {
    "caffe-25000": "CIFAR-10, Caffe's network, 25,000 steps",
    "caffe-15000": "CIFAR-10, Caffe's network, 15,000 steps",
    "cifar10-resnet": "CIFAR-10, ResNet-20, 3,910 steps (10 epochs)",
    "cifar100-resnet": "CIFAR-100, ResNet-20, 3,910 steps (10 epochs)",
    "text": "Moby-Dick, transformer, AdamW, 4,250 steps (10 epochs); accuracy of the next byte",
    "fashion": "Fashion-MNIST at 14x14, one hidden layer, 3,600 steps (30 epochs)",
    "fashion-resnet": "Fashion-MNIST at 14x14, ResNet-8, 3,600 steps (30 epochs)",
    "finetune": "ResNet-20 from CIFAR-10 fine-tuned on 4,000 images of CIFAR-100, 630 steps (10 epochs)",
    "finetune-56": "ResNet-56 from CIFAR-10 fine-tuned on 4,000 images of CIFAR-100, 630 steps (10 epochs)",
}
# row, finish: how it is called, models per prediction
FINISHES = {
    ("single", "single"): ("one cycle", 1),
    ("single", "EMA"): ("one cycle, EMA of the weights (0.999)", 1),
    ("ensemble", "single"): ('goal "ensemble": the last snapshot alone', 1),
    ("ensemble", "ensemble of 3"): ('goal "ensemble": ensemble of the last 3', 3),
    ("ensemble", "ensemble of 5"): ('goal "ensemble": ensemble of all 5', 5),
    ("ensemble", "average of 3"): ('goal "ensemble": average of the last 3', 1),
    ("ensemble", "average of 5"): ('goal "ensemble": average of all 5', 1),
    ("average", "single"): ('goal "average": the last snapshot alone', 1),
    ("average", "average of 3"): ('goal "average": average of the last 3', 1),
    ("average", "average of 5"): ('goal "average": average of all 5', 1),
    ("average", "ensemble of 3"): ('goal "average": ensemble of the last 3', 3),
    ("average", "ensemble of 5"): ('goal "average": ensemble of all 5', 5),
    ("swa", "average of 5"): ("SWA: constant rate in the last quarter, average of 5", 1),
    ("apart-3", "ensemble of 3"): ("3 independent trainings of a third, ensemble", 3),
    ("apart-5", "ensemble of 5"): ("5 independent trainings of a fifth, ensemble", 5),
}


def main() -> None:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    given = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8")
    before, found, rest = old.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise SystemExit(f"{PAGE} must hold the lines {BEGIN.strip()} and {END.strip()}")
    made = "\n".join(tables())
    new = f"{before}{BEGIN}\n{made}\n{END}{after}"
    if given.check:
        raise SystemExit(None if new == old else f"{PAGE} is not what the records say; run {Path(__file__).name}")
    PAGE.write_text(new, encoding="utf-8")


def tables() -> Iterator[str]:
    """One table for each setting with records, then those of the models at any time."""
    for name, title in SETTINGS.items():
        found = {row: read(name, row) for row in dict.fromkeys(row for row, _ in FINISHES)}
        if any(found.values()):
            yield f"### {title}\n"
            yield from compared(found, fixed() if name.startswith("caffe") else {})
    yield from shapes()
    for name, title in SETTINGS.items():
        anytime, dedicated = read(name, "anytime"), read(name, "dedicated")
        seeds = sorted(anytime.keys() & dedicated.keys())
        if seeds:
            yield f"### A model at any time: {title}\n"
            yield from against_dedicated(anytime, dedicated, seeds)


# ---------------------------------------------------------------- shapes.csv

Scores = dict[str, dict[int, float]]  #: by shape and seed
KINDS = {"high": "of the budget, then {} to the full peak", "low": "of the budget, then {} to half the peak"}


def shapes() -> Iterator[str]:
    """What the plan's shapes lose against the best of a grid, on small tasks."""
    rows = list(csv.DictReader(SHAPES.read_text(encoding="utf-8").splitlines())) if SHAPES.exists() else []
    lines, lost = list[str](), defaultdict[tuple[str, int], list[float]](list)
    for name, steps in dict.fromkeys((row["task"], int(row["steps"])) for row in rows):
        own = [row for row in rows if row["task"] == name and int(row["steps"]) == steps]
        scores = {finish: gains(own, finish) for finish in ("single", "ensemble", "average")}
        if not {"one", "plan-ensemble", "plan-average", "equal-5"} <= scores["single"].keys():
            continue
        cells = []
        for goal in ("ensemble", "average"):
            best = best_of(scores[goal])
            value, error = regret(scores[goal], f"plan-{goal}", best)
            lost[goal, steps].append(value)
            known = "" if math.isnan(error) else f" ± {error:.3f}"
            cycles = max(int(row["members"]) for row in own if row["shape"] == f"plan-{goal}")
            cells += [f"{value:.3f}{known} ({cycles})", in_words(best)]
        best = best_of(scores["ensemble"])
        value, _ = regret({**scores["ensemble"], "alone": scores["single"]["one"]}, "alone", best)
        lost["alone", steps].append(value)
        lines.append(f"| {name} | {steps:,} | {' | '.join(cells)} | {value:+.3f} |")
    if lines:
        seeds = len({row["seed"] for row in rows})
        head = "goal ensemble loses | best of the grid | goal average loses | best of the grid"
        yield "### Shapes beside a grid of others\n"
        yield (
            "What the plan's shape loses against the best shape of the grid under the same finish, as a share of the "
            f"gain over the untrained network ({seeds} seed{'s' if seeds > 1 else ''}"
            f"{', ± standard error' if seeds > 1 else ''}), and in brackets its number of cycles: one, where an epoch "
            "is long. The last column is the single model of one cycle against the best ensemble. The best of 22 is "
            "best by chance, too.\n"
        )
        yield f"| task | steps | {head} | one cycle, single |"
        yield "|---|---|---|---|---|---|---|"
        yield from lines
        for steps in sorted({steps for _, steps in lost}):
            mean = {goal: statistics.mean(lost[goal, steps]) for goal in ("ensemble", "average", "alone")}
            yield (f"| mean | {steps:,} | {mean['ensemble']:.3f} | | {mean['average']:.3f} | | {mean['alone']:+.3f} |")
        yield ""


def gains(rows: list[dict[str, str]], finish: str) -> Scores:
    """By shape and seed: the held-out score's gain over the untrained network; 0 where it is no better."""
    start = {row["seed"]: float(row["single"]) for row in rows if row["shape"] == "untrained"}
    one = [float(row["single"]) - start[row["seed"]] for row in rows if row["shape"] == "one"]
    sign = 1 if not one or statistics.mean(one) > 0 else -1  # a loss falls
    found: Scores = defaultdict(dict)
    for row in rows:
        if row["shape"] != "untrained":
            gain = sign * (float(row[finish]) - start[row["seed"]])
            found[row["shape"]][int(row["seed"])] = max(0.0, gain) if math.isfinite(gain) else 0.0
    return found


def best_of(scores: Scores) -> str:
    return max(scores, key=lambda which: statistics.mean(scores[which].values()))


def regret(scores: Scores, which: str, best: str) -> tuple[float, float]:
    """What a shape loses against the best as a share of the gain, and the standard error over seeds."""
    gain = statistics.mean(scores[best].values())
    lost = [(scores[best][seed] - scores[which][seed]) / gain for seed in scores[which].keys() & scores[best].keys()]
    return statistics.mean(lost), statistics.stdev(lost) / math.sqrt(len(lost)) if len(lost) > 1 else math.nan


def in_words(shape: str) -> str:
    """The name of a shape of the grid: "high-0.3-4" is "30 % of the budget, then 4 to the full peak"."""
    kind, _, rest = shape.partition("-")
    if shape == "one":
        return "one cycle"
    if kind == "equal":
        return f"{rest} equal cycles"
    if kind == "plan":
        return f"that of goal {rest}"
    share, _, later = rest.partition("-")
    return f"{100 * float(share):.0f} % {KINDS[kind].format(later)}"


# ---------------------------------------------------------------- the records of run.py


def compared(found: dict[str, dict[int, Any]], fixed_at: dict[int, float]) -> Iterator[str]:
    """Test accuracy of each finish, and the paired difference from one cycle."""
    target = " | level with the fixed policy's 70,000 steps |" if fixed_at else " |"
    yield f"| finish | models to predict with | test accuracy (%) | beside one cycle | mean nll | seeds{target}"
    yield "|---|---|---|---|---|---|" + ("---|" if fixed_at else "")
    base = {seed: record["finishes"]["single"]["accuracy"] for seed, record in found["single"].items()}
    for (row, finish), (title, models) in FINISHES.items():
        own = {seed: r["finishes"][finish] for seed, r in found[row].items() if finish in r["finishes"]}
        if not own:
            continue
        values = {seed: 100 * value["accuracy"] for seed, value in own.items()}
        paired = [values[seed] - 100 * base[seed] for seed in values if seed in base]
        beside = "" if row == finish == "single" or not paired else signed(paired)
        nll = statistics.mean(value["nll"] for value in own.values())
        line = f"| {title} | {models} | {spread(list(values.values()))} | {beside} | {nll:.3f} | {len(own)} |"
        if fixed_at:
            level = [values[seed] >= 100 * fixed_at[seed] for seed in values if seed in fixed_at]
            line += f" {sum(level)} of {len(level)} |"
        yield line
    yield ""


def against_dedicated(anytime: dict[int, Any], dedicated: dict[int, Any], seeds: list[int]) -> Iterator[str]:
    """At each cycle's end, the model of one training beside that of a training of that very length."""
    yield "| steps | one training, at the end of a cycle (%) | a training of that length (%) | error, relative |"
    yield "|---|---|---|---|"
    pairs = [list(zip(*(_by_end(record[seed]) for record in (anytime, dedicated)), strict=True)) for seed in seeds]
    for cycle in zip(*pairs, strict=True):  # the same one of all seeds, whose budgets differ by their range tests
        ends = [end for (end, _), _ in cycle]
        one, other = ([100 * pair[place][1] for pair in cycle] for place in (0, 1))
        more = [100 * ((100 - a) / (100 - b) - 1) for a, b in zip(one, other, strict=True)]
        steps = f"{ends[0]:,}" if len(set(ends)) == 1 else f"{min(ends):,} to {max(ends):,}"
        yield f"| {steps} | {spread(one)} | {spread(other)} | {signed(more, digits=1)} % |"
    yield f"\n{len(seeds)} seed{'s' if len(seeds) > 1 else ''}.\n"


def _by_end(record: dict[str, Any]) -> list[tuple[int, float]]:
    """The accuracy at each end, in order."""
    return sorted((int(end), value["accuracy"]) for end, value in record["finishes"].items())


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def signed(values: list[float], digits: int = 2) -> str:
    """Mean difference; of many, with the 95 % interval of their mean, else with the smallest and the largest."""
    mean = statistics.mean(values)
    low, high = min(values), max(values)
    if len(values) >= MANY:
        low, high = stats.ttest_1samp(values, 0).confidence_interval()
    return f"{mean:+.{digits}f}" + (f" ({low:+.{digits}f} to {high:+.{digits}f})" if len(values) > 1 else "")


def read(name: str, row: str) -> dict[int, Any]:
    """The records of a row, by seed."""
    files = sorted((RECORDS / name / row).glob("seed-*.json"))
    return {int(file.stem.partition("-")[2]): json.loads(file.read_text(encoding="utf-8")) for file in files}


def fixed() -> dict[int, float]:
    """Final test accuracy of the paper's fixed policy, by seed."""
    found = {}
    for folder in sorted((FIXED / "fixed").glob("seed-*")):
        points = json.loads((folder / "run.json").read_text(encoding="utf-8"))["points"]
        found[int(folder.name.partition("-")[2])] = points[-1]["test_accuracy"]
    return found


if __name__ == "__main__":
    main()
