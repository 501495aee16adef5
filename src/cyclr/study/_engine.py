"""Makes a list of runs, in several processes or on a cluster; each one is recorded as soon as it finishes.

The engine knows no framework: the function that makes a run is passed by name and imported by the worker.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from cyclr import _check
from cyclr.study import _pool as pool
from cyclr.study import _worker as worker
from cyclr.study._cluster import Cluster
from cyclr.study._files import RECORD, RecordError, read_json, write_json
from cyclr.study._records import Run, Setup
from cyclr.study._worker import RunError as RunError

LOCK = ".lock"
ENGINES = ("joblib", "ray")
WORKERS = 2  # default on one machine
LONGEST = 255  #: bytes in the name of a file or folder, on all common file systems
_log = logging.getLogger("cyclr")


@dataclass(frozen=True, slots=True)
class Engine:
    """Where and how the runs of a study are executed.

    Args:
        kind: `joblib` (processes on this machine) or `ray` (a cluster, where a run whose node dies is resumed on
            another one).
        workers: Maximum number of concurrent runs; by default 2, or with Ray as many as fit on the cluster. With
            joblib, 1 makes all runs in this process.
        address: Address of the Ray cluster, `HOST:PORT`, or `auto` for one that runs on this machine; by default the
            environment variable RAY_ADDRESS, and if it is not set, Ray is started on this machine for the study.
        cpus_per_run: CPU cores, and thus threads, of each run.
        gpus_per_run: GPUs that Ray reserves for each run; 0.5 lets two runs share one.
        working_dir: A folder of code that Ray sends to its nodes; runs start in it.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If there is no such engine, a number is out of range, or joblib is given an option of a cluster.

    >>> Engine(workers=4).workers
    4
    """

    kind: str = "joblib"
    workers: int | None = None
    address: str | None = None
    cpus_per_run: int = 1
    gpus_per_run: float = 0
    working_dir: str | Path | None = None

    def __post_init__(self) -> None:
        _check.choice("engine", self.kind, ENGINES)
        if self.workers is not None:
            _check.count("workers", self.workers)
        _check.count("cpus_per_run", self.cpus_per_run)
        _check.non_negative("gpus_per_run", self.gpus_per_run)
        if self.kind == "joblib" and (self.address is not None or self.gpus_per_run or self.working_dir is not None):
            raise ValueError(
                "address, gpus_per_run and working_dir need engine 'ray', got 'joblib'; choose 'ray', or leave them out"
            )
        if self.working_dir is not None and not Path(self.working_dir).is_dir():
            raise ValueError(_check.problem("working_dir must be a folder", str(self.working_dir)))

    @property
    def cluster(self) -> Cluster | None:
        """The cluster; None means this machine."""
        if self.kind == "joblib":
            return None
        return Cluster(self.address, self.cpus_per_run, self.gpus_per_run, self.working_dir)

    def check(self) -> None:
        """Check, before other work, that the cluster, if any, exists and that a run fits on one of its nodes.

        Raises:
            ValueError: If a run needs more than any node has, or the address is invalid.
            ConnectionError: If there is no cluster at `address`.
            ImportError: If Ray is not installed.
        """
        if (cluster := self.cluster) is not None:
            cluster.check()

    def apart(self) -> pool.Apart:
        """A context manager for work before the runs, in one of their processes if they run on this machine."""
        return pool.Apart((self.workers or WORKERS) if self.kind == "joblib" else None, self.cpus_per_run)


IN_PROCESS = Engine(workers=1)


def finished_runs(folder: str | Path, setups: Mapping[str, Setup]) -> dict[str, Run]:
    """The finished runs of `setups`, by name.

    A record that cannot be read is kept as `run.json.broken`, with a warning in the log, and its run is repeated.

    Raises:
        ValueError: If a record has other settings.
    """
    done = {}
    for name, setup in setups.items():
        path = Path(folder, name, RECORD)
        if not path.exists():
            continue
        try:
            run = read_json(path, Run)
        except RecordError as error:
            path.replace(path.with_name(f"{RECORD}.broken"))
            _log.warning("%s; kept as %s.broken, and the run is repeated", error, RECORD)
            continue
        if run.setup != setup:
            fields = [f for f in Setup.__struct_fields__ if getattr(run, f) != getattr(setup, f)]
            changed = _differences(run, setup, fields)
            raise ValueError(f"{path} was made with other settings ({changed}); choose another folder")
        done[name] = run
    return done


def make_runs(
    function: str,
    setups: Mapping[str, Setup],
    folder: str | Path,
    *,
    engine: Engine = IN_PROCESS,
    on_run: Callable[[str, Run], None] | None = None,
) -> dict[str, Run]:
    """Make the runs that are not finished yet, and return all of them.

    Each run has its own folder, named by its key, in which this process writes `run.json` atomically. The call can
    therefore be killed at any time and repeated: finished runs are loaded, the others are made. A function with an
    argument `folder` gets one for its checkpoints, which are removed once the record is written.

    Args:
        function: The function that makes a run, as `module:function`: Setup -> Run, or (Setup, folder: Path) -> Run.
        setups: The set-ups of the runs, by the names of their folders.
        folder: The folder that contains those folders.
        engine: Where the runs are executed; by default in this process.
        on_run: Called with name and run as each one ends, in the order in which they end.

    Returns:
        The runs by name, in the order of `setups`.

    Raises:
        ValueError: If a record has other settings, a name is not a path inside the folder, or a run needs more than any
            node has.
        ConnectionError: If there is no cluster at the engine's address.
        ImportError: If Ray is needed and not installed.
        RunError: If a run fails, its process dies, or another call is using the folder.
    """
    _check_names(setups)
    folder = Path(folder).absolute()  # a worker may have another current folder
    done = finished_runs(folder, setups)
    if len(done) < len(setups):
        with _alone_in(folder):
            done = finished_runs(folder, setups)
            left = {name: setup for name, setup in setups.items() if name not in done}
            with closing(_results(function, left, folder, engine)) as results:
                for name, run in results:
                    record = Path(folder, name, RECORD)
                    write_json(record, run)
                    worker.forget(worker.checkpoint_folder(folder, name, setups[name]))
                    done[name] = read_json(record, Run)  # as a later call reads it: JSON has no NaN
                    if on_run is not None:
                        on_run(name, done[name])
    return {name: done[name] for name in setups}


def _results(function: str, setups: Mapping[str, Setup], folder: Path, engine: Engine) -> Generator[tuple[str, Run]]:
    """Yield runs as they end."""
    if (cluster := engine.cluster) is not None:
        yield from cluster.make(function, setups, folder, engine.workers)
        return
    calls = {
        name: (function, name, setup, worker.checkpoint_folder(folder, name, setup)) for name, setup in setups.items()
    }
    workers = min(engine.workers or WORKERS, len(calls))
    if workers == 1:
        for name, call in calls.items():
            yield name, worker.make_run(*call)
        return
    named = {name: ("cyclr.study._worker:make_run", *call) for name, call in calls.items()}
    try:
        yield from pool.each(named, workers, engine.cpus_per_run)
    except pool.DiedError:
        raise RunError(
            "a worker process died, perhaps out of memory; finished runs are kept: resume with fewer workers"
        ) from None


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lock the folder; the operating system releases the lock of a killed process."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout:
        raise RunError(f"another process is using {folder}; wait until it ends, or choose another folder") from None
    with lock:
        yield


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        parts = PurePath(name).parts
        inside = bool(parts) and not PurePath(name).is_absolute() and ".." not in parts and "\0" not in name
        if not inside or max(len(os.fsencode(part)) for part in parts) > LONGEST:
            must = f"the name of a run must be a path inside the folder, each part at most {LONGEST} bytes"
            raise ValueError(_check.problem(must, name, "choose another name"))


def _differences(run: Setup, setup: Setup, fields: list[str]) -> str:
    return "; ".join(f"{field} {getattr(run, field)!r}, now {getattr(setup, field)!r}" for field in fields)
