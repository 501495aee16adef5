"""Overhead of a study over its runs: time on two cores, memory of the driver, and reading a record of 1,000 runs.

    python bench/study.py [--epochs 30] [--seeds 5]

Fails if a study of seven policies takes more than 1.15 times its runs' seconds divided by its workers, if its driver
needs 300 MiB or more, or if the record takes a second or longer to read. Other work on the machine distorts the first
number: it slows the runs, too, but waiting for the last one takes longer. So the ratio is also computed from CPU time,
in which the work before the first run counts fully and everything else is divided by the cores; the better one counts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cyclr.study._files import read_json, write_json
from cyclr.study._records import Run, Study

WORKERS = 2
# The driver: the CPU time of everything before the runs, and of each run; at its end, the peak memory.
DRIVER = """
import re, resource, sys
from pathlib import Path
from cyclr._cli import main
from cyclr.study import _compare as study

def run_in(*arguments, whole=study.run_in, **options):
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print("BEFORE", sum(time.ru_utime + time.ru_stime for time in times), file=sys.stderr)
    return whole(*arguments, **options)

study.run_in, study._MAKE_RUN = run_in, "timed:run"
code = main(sys.argv[1:])
print("VmHWM", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)
sys.exit(code)
"""


TIMED = """
import os, time
from cyclr.tasks._run import make_study_run

def run(setup, folder):
    started = time.process_time()
    made = make_study_run(setup, folder)
    with open(os.environ["CYCLR_TIMES"], "a") as file:
        print(time.process_time() - started, file=file)
    return made
"""


def study(folder: Path, epochs: int, seeds: int) -> tuple[float, float, float, float]:
    """Total seconds, seconds of its runs, the ratio by CPU time, and the driver's peak memory in MiB."""
    times, timed = folder.with_name("times"), folder.with_name("timed.py")
    timed.write_text(TIMED)
    command = ["compare", "fashion", "--epochs", epochs, "--seeds", seeds, "--workers", WORKERS]
    command += ["--out", folder, "--json"]
    path = os.pathsep.join(filter(None, (str(timed.parent), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path, "CYCLR_TIMES": str(times)}
    started = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", DRIVER, *map(str, command)], capture_output=True, text=True, env=env)
    whole = time.perf_counter() - started
    if ran.returncode:
        sys.exit(ran.stderr)
    runs = sum(json.loads(path.read_text())["seconds"] for path in folder.glob("runs/*/run.json"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = float(re.search(r"BEFORE (\S+)", ran.stderr)[1])
    shared = used.ru_utime + used.ru_stime - before
    by_cpu = (before + shared / WORKERS) / (sum(map(float, times.read_text().split())) / WORKERS)
    return whole, runs, by_cpu, int(re.search(r"VmHWM (\d+)", ran.stderr)[1]) / 1024


def reading(folder: Path) -> float:
    """Seconds to read a study of 1,000 runs with 30 points each."""
    points = [{"step": 120 * (k + 1), "lr": 0.1, "loss": 1 / (k + 1), "test_accuracy": 0.8, "test_loss": 0.5}
              for k in range(30)]  # fmt: skip
    runs = [
        Run(task="fashion", policy=f"policy {k // 100}", schedule="Constant(0.1)", seed=k % 100, steps=3600,
            eval_every=120, steps_per_epoch=120, points=points, seconds=1.0, versions={"torch": "2.13.0"})
        for k in range(1000)
    ]  # fmt: skip
    path = folder / "study.json"
    write_json(path, Study(task="fashion", runs=runs, baseline="policy 0"))
    started = time.perf_counter()
    assert len(read_json(path, Study).runs) == 1000
    return time.perf_counter() - started


def main() -> None:
    """Measure and judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        took = reading(Path(folder))
        print(f"a record of 1,000 runs is read in {took:.3f} s (bound: 1)", flush=True)
        whole, runs, by_cpu, memory = study(Path(folder, "study"), given.epochs, given.seeds)
    ratio = whole / (runs / WORKERS)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"7 policies x {given.seeds} seeds: {whole:.1f} s, its runs {runs:.1f} s on {WORKERS} cores: {ratio:.2f} "
          f"by the clock, {by_cpu:.2f} by CPU time (bound: 1.15)")  # fmt: skip
    print(f"the driver's peak is {memory:.0f} MiB (bound: 300)")
    if took >= 1 or min(ratio, by_cpu) > 1.15 or memory >= 300:
        sys.exit("out of bounds")


if __name__ == "__main__":
    main()
