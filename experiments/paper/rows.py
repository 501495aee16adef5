"""Reads rows.toml: the runs, their order, and each run's record."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import msgspec

from cyclr.study._files import RECORD, read_json
from cyclr.study._records import Run

HERE = Path(__file__).parent
RECORDS = HERE / "records"
FOUND = "found.json"  # what a range test answered
REFUSED = "refused"  # its key for the reason why there are no bounds

Options = dict[str, bool | int | float | str]

DATA_SETS = {"imagenet": (("imagenet", "ILSVRC2012"), 1000), "tiny-imagenet": (("tiny-imagenet-200",), 200)}
"""What `data` of a group can be: the folders that it is looked for in, and the number of its classes."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a table: a schedule with its settings."""

    name: str
    schedule: str
    steps: int | None = None
    eval_every: int | None = None
    paper: float | None = None
    full: float | None = None
    table: str = ""
    task: Options = {}


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table: rows that share seeds and default settings."""

    name: str
    title: str
    about: str
    seeds: tuple[int, ...]
    row: tuple[Row, ...]
    on: str = "cifar10"  # the built-in task
    baseline: str | None = None
    target: str | None = None  # GROUP/ROW whose final accuracy is to be reached, for each seed
    ramp: bool = False  # whether its runs are range tests, whose final values mean nothing
    steps: int | None = None
    eval_every: int = 1_000
    task: Options = {}
    data: Literal["", "imagenet", "tiny-imagenet"] = ""  # which photographs; not in the records' options

    def filled(self) -> Iterator[Row]:
        """The rows, with the group's settings as defaults."""
        for row in self.row:
            steps, every = row.steps or self.steps, row.eval_every or self.eval_every
            yield msgspec.structs.replace(row, steps=steps, eval_every=every, task={**self.task, **row.task})


class _File(msgspec.Struct, forbid_unknown_fields=True):
    group: tuple[Group, ...]


def read_groups(path: Path = HERE / "rows.toml") -> tuple[Group, ...]:
    """The groups, checked."""
    try:
        groups = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).group
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SystemExit(f"{path.name}: {error}") from None
    for group in groups:
        for row in group.filled():
            if row.steps is None:
                raise SystemExit(f"{path.name}: row {row.name!r} of {group.name!r} must have steps, or its group")
    return groups


def run_name(group: Group, row: Row, seed: int) -> str:
    """Where a run's record is, under records/."""
    return f"{group.name}/{re.sub('[^a-z0-9._]+', '-', row.name.lower())}/seed-{seed}"


def wanted(group: Group, row: Row, patterns: list[str]) -> bool:
    """Whether a pattern matches the row: a group (`claim`), a row (`auto*`) or both (`claim/auto`)."""
    names = (group.name, row.name, f"{group.name}/{row.name}")
    return not patterns or any(fnmatch(name, pattern) for name in names for pattern in patterns)


def line_of(*texts: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(texts)} |"


def final(run: Run) -> float:
    """Accuracy in percent after the last step."""
    return 100 * float(run.points[-1]["test_accuracy"] or math.nan)


def read_runs(group: Group, row: Row, records: Path) -> dict[int, Run]:
    """The finished runs of a row by seed."""
    paths = {seed: records / run_name(group, row, seed) / RECORD for seed in group.seeds}
    return {seed: read_json(path, Run) for seed, path in paths.items() if path.exists()}


def refusals(group: Group, row: Row, records: Path) -> list[int]:
    """The seeds whose range test found no bounds, so that there is no run."""
    paths = {seed: records / run_name(group, row, seed) / FOUND for seed in group.seeds}
    return [seed for seed, path in paths.items() if path.exists() and REFUSED in read_json(path, dict[str, Any])]
