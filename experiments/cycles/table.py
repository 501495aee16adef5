"""Writes the tables in docs/cycles.md from the records: python experiments/cycles/table.py.

With --check nothing is written, and the exit status says whether the tables are those of the records.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RECORDS = HERE / "records"
PAGE = HERE.parent.parent / "docs" / "cycles.md"
FIXED = HERE.parent / "paper" / "records" / "fixed"  # the paper's fixed policy, 70,000 steps
BEGIN, END = "<!-- tables: made by experiments/cycles/table.py -->\n", "<!-- end of tables -->\n"
# setting: what it is
SETTINGS = {
    "caffe-25000": "CIFAR-10, Caffe's network, 25,000 steps",
    "caffe-15000": "CIFAR-10, Caffe's network, 15,000 steps",
    "cifar10-resnet": "CIFAR-10, ResNet-20, 3,910 steps (10 epochs)",
    "cifar100-resnet": "CIFAR-100, ResNet-20, 3,910 steps (10 epochs)",
    "text": "Moby-Dick, transformer, AdamW, 4,250 steps (10 epochs); accuracy of the next byte",
    "finetune": "ResNet-20 from CIFAR-10 fine-tuned on 10,000 images of CIFAR-100, 1,570 steps (10 epochs)",
    "finetune-56": "ResNet-56 from CIFAR-10 fine-tuned on 10,000 images of CIFAR-100, 1,570 steps (10 epochs)",
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
    for name, title in SETTINGS.items():
        anytime, dedicated = read(name, "anytime"), read(name, "dedicated")
        seeds = sorted(anytime.keys() & dedicated.keys())
        if seeds:
            yield f"### A model at any time: {title}\n"
            yield from against_dedicated(anytime, dedicated, seeds)


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
    for end in anytime[seeds[0]]["finishes"]:
        one, other = (
            [100 * record[seed]["finishes"][end]["accuracy"] for seed in seeds if end in record[seed]["finishes"]]
            for record in (anytime, dedicated)
        )
        if len(one) == len(other) > 0:
            more = statistics.mean((100 - a) / (100 - b) - 1 for a, b in zip(one, other, strict=True))
            yield f"| {int(end):,} | {spread(one)} | {spread(other)} | {100 * more:+.1f} % |"
    yield f"\n{len(seeds)} seed{'s' if len(seeds) > 1 else ''}.\n"


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def signed(values: list[float]) -> str:
    """Mean difference, and the smallest and the largest."""
    mean = f"{statistics.mean(values):+.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):+.2f} to {max(values):+.2f})"


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
