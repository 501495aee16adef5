"""What the engine's tests let workers do; run as a script it is the driver that the tests kill."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from cyclr.study._engine import Engine, make_runs
from cyclr.study._records import Run, Setup


def setup(seed: int, **options: bool | float | str) -> Setup:
    return Setup(
        task="t",
        policy="p",
        schedule="Constant(0.1)",
        seed=seed,
        steps=10,
        eval_every=5,
        options={"log": "", **options},
    )


def make(setup: Setup) -> Run:
    """A run that takes a moment, and leaves a line in the log when it starts."""
    note(setup, os.environ.get("OMP_NUM_THREADS"))
    time.sleep(float(setup.options.get("seconds", 0)))
    if setup.options.get("fail"):
        raise ValueError("boom")
    return run_of(setup)


def go_on(setup: Setup, folder: Path) -> Run:
    """A run that keeps its steps and goes on from the last one. It may kill itself once, fail, or wait at a gate."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "steps"
    at = len(kept.read_text()) if kept.exists() else 0
    note(setup, os.getppid(), at)
    for step in range(at, setup.steps):
        if setup.options.get("die") and step == 2 and at == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if setup.options.get("fail") and step == 2:
            raise ValueError("boom")
        while step == 3 and "gate" in setup.options and not Path(str(setup.options["gate"])).exists():
            time.sleep(0.02)
        time.sleep(float(setup.options.get("seconds", 0)) / setup.steps)
        with kept.open("a") as file:
            file.write(".")
    return run_of(setup)


def note(setup: Setup, *what: object) -> None:
    if setup.options["log"]:
        with Path(str(setup.options["log"])).open("a") as log:
            print(setup.seed, os.getpid(), *what, file=log, flush=True)


def run_of(setup: Setup) -> Run:
    fields = {field: getattr(setup, field) for field in Setup.__struct_fields__}
    point = {
        "step": 10,
        "lr": 0.1,
        "loss": 1.0 / (1 + setup.seed),
        "accuracy": float("nan") if setup.seed == 3 else 0.5,
    }
    return Run(**fields, steps_per_epoch=5, points=[point], seconds=0.0, versions={})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    engine = Engine(workers=2) if len(sys.argv) == 2 else Engine("ray", address=sys.argv[2])
    slow = {f"p-{seed}": setup(seed, seconds=0.3, log=str(folder / "log")) for seed in range(6)}
    folder.mkdir(exist_ok=True)
    make_runs("tests.study.setups:go_on", slow, folder, engine=engine, on_run=lambda name, run: print(name, flush=True))  # noqa: T201
