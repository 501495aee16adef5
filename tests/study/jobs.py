"""What the engine's tests let workers do; run as a script it is the driver that the tests kill."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from cyclr._study.engine import run_jobs
from cyclr._study.record import Job, Run


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
    """A run that takes a moment, and leaves a line in the log when it starts."""
    if job.options["log"]:
        with Path(str(job.options["log"])).open("a") as log:
            print(job.seed, os.getpid(), os.environ.get("OMP_NUM_THREADS"), file=log, flush=True)
    time.sleep(float(job.options.get("seconds", 0)))
    if job.options.get("fail"):
        raise ValueError("boom")
    if job.options.get("die"):
        os._exit(3)
    fields = {field: getattr(job, field) for field in Job.__struct_fields__}
    points = [{"step": 10, "lr": 0.1, "loss": 1.0 / (1 + job.seed), "accuracy": float("nan") if job.seed == 3 else 0.5}]
    return Run(**fields, steps_per_epoch=5, points=points, seconds=0.0, versions={})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    slow = {f"p-{seed}": job(seed, seconds=0.3, log=str(folder / "log")) for seed in range(6)}
    folder.mkdir(exist_ok=True)
    run_jobs("tests.study.jobs:do", slow, folder, workers=2, on_run=lambda name, run: print(name, flush=True))  # noqa: T201
