"""Put the table of the demo into README.md, made from docs/demo.json, the record that `cyclr demo --json` printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- demo: .*? -->\n).*?(<!-- /demo -->)", re.DOTALL)


def main() -> None:
    """Write README.md anew."""
    readme = ROOT / "README.md"
    record = json.loads((ROOT / "docs/demo.json").read_text())
    readme.write_text(BLOCK.sub(lambda match: match[1] + table(record) + match[2], readme.read_text()))


def table(record: dict) -> str:
    """The rows and the verdict, as Markdown."""
    rows = record["rows"]
    lines = [
        (
            f"Test accuracy in percent after {record['plan']['steps']:,} steps, mean and 95 % interval over "
            f"{rows[0]['seeds']} seeds; every policy but the fixed one at the rates that the range test found."
        ),
        "",
        (
            "| policy | test accuracy | gain on the best fixed rate | at half the budget | "
            "steps to the fixed rate's end | steps for the rates |"
        ),
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['policy']} | {percent(row['final'])} | {gain(row['difference'])} | {row['half']['mean']:.1%} | "
        f"{steps(row)} | {row['cost']:,} |".replace("%", "")
        for row in rows
    ]
    lines += ["", "In words:", ""]
    lines += [f"- {sentence}" for sentence in record["verdict"]]
    return "\n".join(lines) + "\n"


def percent(estimate: dict) -> str:
    """A mean and its interval."""
    return f"{estimate['mean']:.1%} ({estimate['low']:.1%} to {estimate['high']:.1%})"


def gain(difference: dict | None) -> str:
    """A difference in points and its interval."""
    if difference is None:
        return ""
    mean, low, high = (100 * difference[name] for name in ("mean", "low", "high"))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def steps(row: dict) -> str:
    """Median steps to the target, where it was reached."""
    if row["to_target"] is None:
        return "not reached"
    return f"{row['to_target']:.0f} ({row['reached']} of {row['seeds']})"


if __name__ == "__main__":
    main()
