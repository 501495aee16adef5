"""Speed beside every peer: ratios with their spread, measured by turns in one process.

    make bench                                # everything: about 8 minutes on two free cores; begun again, it goes on
    python bench/speed.py run [--again] [--only "range test"]   # the cases whose packages are installed here
    python bench/speed.py table               # writes the tables of docs/speed.md from bench/records/speed.json
    python bench/speed.py check               # fails if those tables differ from the record

A ratio is the median over rounds of (ours / the other), both measured in each round, with its quartiles. Steps are
timed by CPU time of the thread, range tests by CPU time of the process, programs by the clock. Each case is written to
the record as soon as it is measured; what is there is not measured again without `--again`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from finders import FINDERS, bare, ours_in, peak, quiet
from scheduler_steps import compile_times, steps_of_others, steps_of_torch, values_of_jax
from timing import Timed, by_turns, clock, cpu, processor

HERE = Path(__file__).parent
RECORD = HERE / "records" / "speed.json"
PAGE = HERE.parent / "docs" / "speed.md"
BEGIN, END = "<!-- tables: made by bench/speed.py -->\n", "<!-- end of tables -->\n"
PACKAGES = ("cyclr", "numpy", "torch", "jax", "optax", "keras", "lightning", "transformers", "pytorch-ignite", "timm",
            "torch-lr-finder", "fastai")  # fmt: skip

# ---------------------------------------------------------------- what is run


Case = tuple[str, str, str, Callable[[], dict[str, Any]]]  # table, what, beside, measure


def steps_cases(found: Iterator[Any], table: str, calls: int) -> Iterator[Case]:
    for what, beside, ours, other in found:
        yield table, what, beside, lambda ours=ours, other=other: by_turns(cpu(ours, calls), cpu(other, calls), 41)


def cases() -> Iterator[Case]:
    """All cases whose packages are installed here."""
    if find_spec("torch"):
        yield from steps_cases(steps_of_torch(), "steps", 200)
        yield from steps_cases(steps_of_others(), "steps", 200)
    if find_spec("optax") and find_spec("keras"):
        yield from steps_cases(values_of_jax(), "steps", 50)
        for what, found in compile_times():
            yield "far", what, found.pop("beside"), lambda found=found: found
    for size, rounds in (("0.3 ms", 41), ("1 ms", 31), ("30 ms", 7)):
        for beside, (package, function) in FINDERS.items():
            if find_spec(package):
                for steps in (60, 300) if function is bare else (60,):
                    run = [lambda f=f, size=size, steps=steps: f(size, steps) for f in (ours_in, function)]
                    what = f"{steps} steps of {size}"
                    yield "range test", what, beside, lambda run=run, rounds=rounds: by_turns(*map(cpu, run), rounds)
    for beside, (package, function) in FINDERS.items():
        if find_spec(package):
            yield "memory", "peak of a process, 60 steps of 30 ms", beside, lambda function=function: _peaks(function)
    yield from programs()


def _peaks(function: Callable[..., None]) -> dict[str, Any]:
    found = [(peak("ours_in", "30 ms", 60), peak(function.__name__, "30 ms", 60)) for _ in range(3)]
    ours, other = (statistics.median(pair[place] for pair in found) for place in (0, 1))
    ratios = sorted(one / two for one, two in found)
    return {"ratio": ratios[1], "low": ratios[0], "high": ratios[2], "ours": ours, "other": other, "rounds": 3}


def programs() -> Iterator[Case]:
    """Imports, the shell, a study on one worker and on two, the demo."""
    python = [sys.executable, "-c"]

    def imports() -> dict[str, Any]:
        base = min(processor([*python, "pass"])() for _ in range(9))
        pair = [lambda name=name: processor([*python, f"import {name}"])() - base for name in ("cyclr", "numpy")]
        return by_turns(*pair, 15)

    yield "programs", "import cyclr", "import numpy", imports
    shown = processor([sys.executable, "-m", "cyclr", "--help"])
    yield "programs", "cyclr --help, CPU time", "250 ms", lambda: by_turns(shown, lambda: 0.25, 15)

    def study(workers: int) -> Timed:
        def timed() -> float:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "cyclr", "compare", "fashion", "--epochs", "6", "--seeds", "2"]
                return clock([*command, "--workers", str(workers), "--out", f"{folder}/study", "--json"])()

        return timed

    yield "programs", "a study, 2 workers", "1 worker", lambda: by_turns(study(2), study(1), 3)

    def demo() -> float:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "cyclr", "demo"], cwd=folder, capture_output=True, check=True)
            return time.perf_counter() - begun

    yield "programs", "the demo", "a minute", lambda: by_turns(demo, lambda: 60.0, 2)


def machine() -> dict[str, Any]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": names[0].partition(": ")[2] if names else platform.processor(), "cores": os.cpu_count(),
        "python": platform.python_version(), "load": round(os.getloadavg()[0], 1), "versions": versions,
    }  # fmt: skip


def read() -> list[dict[str, Any]]:
    return json.loads(RECORD.read_text()) if RECORD.exists() else []


def write(rows: list[dict[str, Any]]) -> None:
    RECORD.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


def run(*, again: bool, only: str | None = None) -> None:
    """Measure all that is not in the record yet, or all again, of one table or of all; write each case at once."""
    quiet()
    failed = []
    for table, what, beside, measure in cases():
        if only not in (None, table):
            continue
        rows = read()
        known = [row for row in rows if (row["table"], row["what"], row["beside"]) == (table, what, beside)]
        if known and not again:
            continue
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # the peers' progress
                found = {name: float(f"{value:.4g}") for name, value in measure().items()}
        except Exception as error:  # noqa: BLE001 (one peer that fails does not keep the others from being measured)
            failed.append(f"{table}: {what} / {beside}: {type(error).__name__}: {error}")
            continue
        row = {"table": table, "what": what, "beside": beside, **found, "machine": machine()}
        write([*(one for one in rows if one not in known), row])
        print(f"{table}: {what} / {beside}: {found['ratio']:.2f} [{found['low']:.2f}, {found['high']:.2f}]", flush=True)
    if failed:
        sys.exit("not measured:\n" + "\n".join(failed))


# ---------------------------------------------------------------- tables


TABLES = {
    "steps": ("One step of a scheduler", "µs", 1e6),
    "far": ("Many cycles and far steps", "µs", 1e6),
    "range test": ("Range tests", "s", 1.0),
    "memory": ("Memory of a range test", "MiB", 1.0),
    "programs": ("Programs", "s", 1.0),
}


def tables() -> str:
    lines = []
    rows = read()
    for table, (title, unit, scale) in TABLES.items():
        own = [row for row in rows if row["table"] == table]
        if own:
            lines += [f"### {title}", "", f"| what | beside | ours, {unit} | other, {unit} | ratio | quartiles |",
                      "|---|---|---|---|---|---|"]  # fmt: skip
            for row in own:
                cells = [row["what"], row["beside"], *(f"{scale * row[key]:,.3g}" for key in ("ours", "other"))]
                lost = row["ratio"] > 1.05
                ratio = f"**{row['ratio']:.2f}**" if lost else f"{row['ratio']:.2f}"
                lines.append("| " + " | ".join([*cells, ratio, f"{row['low']:.2f} to {row['high']:.2f}"]) + " |")
            lines.append("")
    places = {
        f"{row['machine']['processor']}, {row['machine']['cores']} cores, Python {row['machine']['python']}; "
        + ", ".join(f"{name} {one}" for name, one in row["machine"]["versions"].items() if name != "cyclr")
        for row in rows
    }
    loads = [row["machine"]["load"] for row in rows]
    if rows:
        lines += [
            f"Measured on {'; and '.join(sorted(places))}. Load of the machine: {min(loads)} to {max(loads)}.",
            "",
        ]
    return "\n".join(lines)


def page(*, check: bool) -> None:
    """Put the tables into the page, or fail if they are others."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    made = f"{before}{BEGIN}\n{tables()}\n{END}{rest.split(END)[1]}"
    if check and made != text:
        sys.exit("docs/speed.md differs from bench/records/speed.json; run python bench/speed.py table")
    if not check:
        PAGE.write_text(made)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["run", "table", "check"])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--only", choices=TABLES, help="the cases of one table")
    given = parser.parse_args()
    if given.what == "run":
        run(again=given.again, only=given.only)
    else:
        page(check=given.what == "check")


if __name__ == "__main__":
    main()
