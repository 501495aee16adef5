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
    """A run that leaves a line in the log when it starts, and may wait at a gate and fail."""
    note(setup, os.environ.get("OMP_NUM_THREADS"))
    wait(setup)
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
            if setup.options["die"] == "at the gate":
                wait(setup)
            os.kill(os.getpid(), signal.SIGKILL)
        if setup.options.get("fail") and step == 2:
            raise ValueError("boom")
        if step == 3:
            wait(setup)
        with kept.open("a") as file:
            file.write(".")
    return run_of(setup)


def wait(setup: Setup) -> None:
    """Until the gate is there, a path; so that what happens when is no matter of speed."""
    while "gate" in setup.options and not Path(str(setup.options["gate"])).exists():
        time.sleep(0.02)


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
    gates = {seed: {"gate": str(folder / "gate")} for seed in (3, 4, 5)}  # the others are done by then
    slow = {f"p-{seed}": setup(seed, log=str(folder / "log"), **gates.get(seed, {})) for seed in range(6)}
    folder.mkdir(exist_ok=True)
    make_runs("tests.study.setups:go_on", slow, folder, engine=engine, on_run=lambda name, run: print(name, flush=True))  # noqa: T201
