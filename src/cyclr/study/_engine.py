"""Does a list of jobs in several processes or on a cluster, each one's run written as soon as it is done.

The engine knows no framework: the function that does a job is passed by name and imported where it runs.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path, PurePath

from cyclr import _check
from cyclr.study import _worker as worker
from cyclr.study._cluster import Cluster
from cyclr.study._records import Job, RecordError, Run, read_json, write_json
from cyclr.study._worker import RunError as RunError

RECORD = "run.json"
LOCK = ".lock"
ENGINES = ("joblib", "ray")
LONGEST = 255  #: bytes in the name of a file or folder, on all common file systems
_log = logging.getLogger("cyclr")


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
    workers: int | None = None,
    on_run: Callable[[str, Run], None] | None = None,
    engine: str = "joblib",
    address: str | None = None,
    cpus_per_run: int = 1,
    gpus_per_run: float = 0,
    working_dir: str | Path | None = None,
) -> dict[str, Run]:
    """Does what is left of `jobs`, `workers` at a time, and returns all their runs.

    Each job has a folder of its own, named by its key; its `run.json` appears there at once and whole, written by this
    process. So the call can be killed at any moment and made again: what is done is read, the rest is done. A function
    with an argument `folder` is given one for its checkpoints, which are removed when the record is written.

    Args:
        function: `module:function` of what does a job: Job -> Run, or (Job, folder: Path) -> Run.
        jobs: The jobs by the names of their folders.
        folder: Where those folders are.
        workers: Most runs at a time. By default 1, and with Ray as many as the cluster has room for. With joblib 1 does
            all in this process.
        on_run: Called with name and run as each one ends, in the order in which they end.
        engine: `joblib`, processes on this machine, or `ray`, a cluster: a run whose node dies is done by another one.
        address: Of the Ray cluster, `HOST:PORT` or `auto` for one that runs on this machine; by default that of the
            variable RAY_ADDRESS, and where there is none Ray is started here for this call.
        cpus_per_run: Cores, and so threads, of each run.
        gpus_per_run: GPUs that Ray keeps for each run; 0.5 lets two runs share one.
        working_dir: A folder of code that Ray sends to its nodes; runs start in it.

    Returns:
        The runs by name, in the order of `jobs`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If a record is of another job, or an argument is out of range, such as more than any node has.
        ConnectionError: If there is no cluster at `address`.
        ImportError: If Ray is asked for and not installed.
        RunError: If a run fails, its process dies, or another call is at work in the folder.
    """
    most = None if workers is None else _check.count("workers", workers)
    cluster = _cluster(engine, address, cpus_per_run, gpus_per_run, working_dir)
    _check_names(jobs)
    folder = Path(folder).absolute()  # the current folder of a worker may be another one
    done = finished_runs(folder, jobs)
    if len(done) < len(jobs):
        with _alone_in(folder):
            done = finished_runs(folder, jobs)
            left = {name: job for name, job in jobs.items() if name not in done}
            if cluster is not None:
                results = cluster.do(function, left, folder, most)
            else:
                results = _on_this_machine(function, left, folder, most or 1, cpus_per_run)
            with closing(results):
                for name, run in results:
                    record = Path(folder, name, RECORD)
                    write_json(record, run)
                    worker.forget(worker.checkpoint_folder(folder, name, jobs[name]))
                    done[name] = read_json(record, Run)  # as a later call finds it: JSON has no NaN
                    if on_run is not None:
                        on_run(name, done[name])
    return {name: done[name] for name in jobs}


def check_engine(
    engine: str,
    *,
    address: str | None = None,
    cpus_per_run: int = 1,
    gpus_per_run: float = 0,
    working_dir: str | Path | None = None,
) -> None:
    """Says at once what `run_jobs` would say of these arguments, where other work comes before it.

    Raises:
        TypeError, ValueError, ConnectionError, ImportError: As `run_jobs`.
    """
    cluster = _cluster(engine, address, cpus_per_run, gpus_per_run, working_dir)
    if cluster is not None:
        cluster.check()


def _cluster(
    engine: str, address: str | None, cpus: int, gpus: float, working_dir: str | Path | None
) -> Cluster | None:
    """The cluster that the arguments of `run_jobs` mean; None is this machine."""
    _check.choice("engine", engine, ENGINES)
    _check.count("cpus_per_run", cpus)
    _check.non_negative("gpus_per_run", gpus)
    if engine == "joblib":
        if address is not None or gpus or working_dir is not None:
            raise ValueError(
                "address, gpus_per_run and working_dir are for a cluster; pass engine='ray', or leave them out"
            )
        return None
    if working_dir is not None and not Path(working_dir).is_dir():
        raise ValueError(_check.problem("working_dir must be a folder", str(working_dir)))
    return Cluster(address, cpus, gpus, working_dir)


def _on_this_machine(
    function: str, jobs: Mapping[str, Job], folder: Path, workers: int, threads: int
) -> Generator[tuple[str, Run]]:
    """Runs as they end, by joblib."""
    import joblib

    alone = min(workers, len(jobs)) <= 1
    settings = {} if alone else {"inner_max_num_threads": threads}
    driver = None if alone else os.getpid()
    with joblib.parallel_config("sequential" if alone else "loky", n_jobs=min(workers, len(jobs)) or 1, **settings):
        parallel = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
        calls = (joblib.delayed(_do)(function, name, job, folder, driver) for name, job in jobs.items())
        results = parallel(calls)
        try:
            for result in results:  # noqa: UP028 (`yield from` would close them out of reach of the filter below)
                yield result
        except BrokenProcessPool:
            raise RunError(
                "a worker process died, perhaps out of memory; finished runs are kept: go on with fewer workers"
            ) from None
        finally:
            with warnings.catch_warnings():  # joblib's advice on what was cancelled helps nobody here
                warnings.filterwarnings("ignore", r"\d+ tasks", UserWarning)
                results.close()


def _do(function: str, name: str, job: Job, folder: Path, driver: int | None) -> tuple[str, Run]:
    """One job, in whatever process it landed."""
    if driver is not None:
        worker.obey(driver)
    return name, worker.do(function, name, job, worker.checkpoint_folder(folder, name, job))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps other calls out of the folder; the system takes the lock away from a process that is killed."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise RunError(f"another study is at work in {folder}; wait for its end, or choose another folder") from None
    with lock:
        yield


def _check_names(jobs: Mapping[str, Job]) -> None:
    for name in jobs:
        parts = PurePath(name).parts
        inside = bool(parts) and not PurePath(name).is_absolute() and ".." not in parts and "\0" not in name
        if not inside or max(len(os.fsencode(part)) for part in parts) > LONGEST:
            must = f"the name of a job must be a path inside the folder, each part at most {LONGEST} bytes"
            raise ValueError(_check.problem(must, name, "choose another name"))


def _differences(run: Job, job: Job, fields: list[str]) -> str:
    return "; ".join(f"{field} {getattr(run, field)!r}, now {getattr(job, field)!r}" for field in fields)
