"""Does a list of jobs in several processes, each one's run written as soon as it is done.

The engine knows no framework: the function that does a job is passed by name and imported where it runs.
"""

from __future__ import annotations

import logging
import os
import pkgutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

from cyclr import _check
from cyclr._study.record import Job, RecordError, Run, read_json, write_json

RECORD = "run.json"
_log = logging.getLogger("cyclr")


class RunError(RuntimeError):
    """A run that could not be done; the message names it. Finished runs are kept."""


def finished_runs(folder: str | Path, jobs: Mapping[str, Job]) -> dict[str, Run]:
    """The runs of `jobs` that are done already, by name.

    A record that cannot be read is kept as `run.json.broken` (a line in the log says so), and its job is not done.

    Raises:
        ValueError: If a record is of another job, one of other settings.
    """
    done = {}
    for name, job in jobs.items():
        path = Path(folder, name, RECORD)
        if not path.exists():
            continue
        try:
            run = read_json(path, Run)
        except RecordError as error:
            path.replace(path.with_name(f"{RECORD}.broken"))
            _log.warning("%s; kept as %s.broken, and its job is done again", error, RECORD)
            continue
        if run.job != job:
            fields = [f for f in Job.__struct_fields__ if getattr(run, f) != getattr(job, f)]
            raise ValueError(f"{path} is of other settings ({_differences(run, job, fields)}); choose another folder")
        done[name] = run
    return done


def run_jobs(
    function: str,
    jobs: Mapping[str, Job],
    folder: str | Path,
    *,
    workers: int = 1,
    on_run: Callable[[str, Run], None] | None = None,
) -> dict[str, Run]:
    """Does what is left of `jobs`, `workers` at a time, and returns all their runs.

    Each job has a folder of its own, named by its key; its `run.json` appears there at once and whole. So the call
    can be killed at any moment and made again: what is done is read, the rest is done.

    Args:
        function: `module:function` of what does a job: Job -> Run.
        jobs: The jobs by the names of their folders.
        folder: Where those folders are.
        workers: Number of processes; with 1, all is done in this one.
        on_run: Called with name and run as each one ends, in the order in which they end.

    Returns:
        The runs by name, in the order of `jobs`.

    Raises:
        ValueError: If a record is of another job.
        RunError: If a run fails or its process dies.
    """
    import joblib

    workers = _check.count("workers", workers)
    done = finished_runs(folder, jobs)
    left = {name: job for name, job in jobs.items() if name not in done}
    alone = min(workers, len(left)) <= 1
    settings = {"inner_max_num_threads": 1} if not alone else {}
    with joblib.parallel_config("sequential" if alone else "loky", n_jobs=min(workers, len(left)) or 1, **settings):
        parallel = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
        calls = (
            joblib.delayed(_do)(function, name, job, str(folder), None if alone else os.getpid())
            for name, job in left.items()
        )
        try:
            with closing(parallel(calls)) as results:
                for name, run in results:
                    done[name] = run
                    if on_run is not None:
                        on_run(name, run)
        except BrokenProcessPool:
            raise RunError(
                "a worker process died, perhaps out of memory; finished runs are kept: go on with fewer workers"
            ) from None
    return {name: done[name] for name in jobs}


def _do(function: str, name: str, job: Job, folder: str, driver: int | None) -> tuple[str, Run]:
    """One job, in whatever process it landed."""
    if driver is not None:
        _be_worker(driver)
    try:
        run = pkgutil.resolve_name(function)(job)
    except Exception as error:
        raise RunError(f"run {name} failed: {type(error).__name__}: {error}") from error
    write_json(Path(folder, name, RECORD), run)
    return name, run


def _be_worker(driver: int) -> None:
    """Leaves Ctrl-C to the driver, and does not outlive it: a killed study must not go on in the background."""
    if any(thread.name == "cyclr-orphan" for thread in threading.enumerate()):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="cyclr-orphan", daemon=True).start()


def _differences(run: Job, job: Job, fields: list[str]) -> str:
    return "; ".join(f"{field} {getattr(run, field)!r}, now {getattr(job, field)!r}" for field in fields)
