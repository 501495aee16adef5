"""What the engine's tests let workers do; run as a script it is the driver that the tests kill."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from cyclr.study._engine import run_jobs
from cyclr.study._records import Job, Run


def job(seed: int, **options: bool | float | str) -> Job:
    return Job(
        task="t",
        policy="p",
        schedule="Constant(0.1)",
        seed=seed,
        steps=10,
        eval_every=5,
        options={"log": "", **options},
    )


def do(job: Job) -> Run:
    """A run that leaves a line in the log when it starts, and may wait at a gate and fail."""
    note(job, os.environ.get("OMP_NUM_THREADS"))
    wait(job)
    if job.options.get("fail"):
        raise ValueError("boom")
    return run_of(job)


def go_on(job: Job, folder: Path) -> Run:
    """A run that keeps its steps and goes on from the last one. It may kill itself once, fail, or wait at a gate."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "steps"
    at = len(kept.read_text()) if kept.exists() else 0
    note(job, os.getppid(), at)
    for step in range(at, job.steps):
        if job.options.get("die") and step == 2 and at == 0:
            if job.options["die"] == "at the gate":
                wait(job)
            os.kill(os.getpid(), signal.SIGKILL)
        if job.options.get("fail") and step == 2:
            raise ValueError("boom")
        if step == 3:
            wait(job)
        with kept.open("a") as file:
            file.write(".")
    return run_of(job)


def wait(job: Job) -> None:
    """Until the gate is there, a path; so that what happens when is no matter of speed."""
    while "gate" in job.options and not Path(str(job.options["gate"])).exists():
        time.sleep(0.02)


def note(job: Job, *what: object) -> None:
    if job.options["log"]:
        with Path(str(job.options["log"])).open("a") as log:
            print(job.seed, os.getpid(), *what, file=log, flush=True)


def run_of(job: Job) -> Run:
    fields = {field: getattr(job, field) for field in Job.__struct_fields__}
    point = {"step": 10, "lr": 0.1, "loss": 1.0 / (1 + job.seed), "accuracy": float("nan") if job.seed == 3 else 0.5}
    return Run(**fields, steps_per_epoch=5, points=[point], seconds=0.0, versions={})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    engine = {"workers": 2} if len(sys.argv) == 2 else {"engine": "ray", "address": sys.argv[2]}
    gates = {seed: {"gate": str(folder / "gate")} for seed in (3, 4, 5)}  # the others are done by then
    jobs = {f"p-{seed}": job(seed, log=str(folder / "log"), **gates.get(seed, {})) for seed in range(6)}
    folder.mkdir(exist_ok=True)
    run_jobs("tests.study.jobs:go_on", jobs, folder, **engine, on_run=lambda name, run: print(name, flush=True))  # noqa: T201
