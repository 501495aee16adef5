"""Worker processes on this machine, for runs and other work that needs a framework; the driver imports none."""

from __future__ import annotations

import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from cyclr._failure import TaskError
from cyclr.study import _worker as worker

Call: TypeAlias = tuple[Any, ...]  # "module:function" and its arguments
Tell: TypeAlias = Callable[[int, int, float, float], None]
_EVERY = 0.2  # seconds between two readings of a progress report


class DiedError(RuntimeError):
    """A worker process died."""


def each(calls: Mapping[str, Call], workers: int, threads: int) -> Generator[tuple[str, Any]]:
    """Yield the keys and results of the calls as they end; closing the generator stops the active ones.

    Args:
        calls: Each is `module:function` and its arguments.
        workers: Number of processes.
        threads: Threads per process.

    Raises:
        DiedError: If a process dies.
        RunError: As soon as a call raises one.
        TaskError: The first that a call raises, after the other calls have ended.
    """
    import joblib

    failed: TaskError | None = None

    with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=threads):
        parallel = joblib.Parallel(return_as="generator_unordered", pre_dispatch="n_jobs", batch_size=1)
        driver, here = os.getpid(), Path.cwd()
        results = parallel(joblib.delayed(_keyed)(key, driver, here, *call) for key, call in calls.items())
        try:
            for key, result in results:
                if not isinstance(result, TaskError):
                    yield key, result
                elif failed is None:
                    failed = result
        except BrokenProcessPool:
            raise DiedError from None
        finally:
            with warnings.catch_warnings():  # joblib's warning about cancelled tasks does not apply here
                warnings.filterwarnings("ignore", r"\d+ tasks", UserWarning)
                results.close()
    if failed is not None:
        raise failed


def _keyed(key: str, *call: Any) -> tuple[str, Any]:
    """The key and the result, or the error: joblib ends all processes when a call raises one."""
    try:
        return key, worker.call(*call)
    except TaskError as error:
        return key, error


class Apart:
    """A context manager that calls functions, by name, in another process, which is started on first use.

    It is one of the processes that later make the runs, as loading torch takes seconds. Errors there are raised here as
    a `TaskError` with a one-line message. Output that tasks print goes to stderr.

    Args:
        workers: Number of processes for the later runs; the others load torch meanwhile. None if they run elsewhere.
        threads: Threads per process.
    """

    def __init__(self, workers: int | None = None, threads: int = 1) -> None:
        self._kept = workers is not None and workers > 1
        self._workers = (
            workers if workers is not None and workers > 1 else 2
        )  # joblib runs a single one in this process
        self._threads = threads
        self._started = False

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started and not self._kept:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(kill_workers=True)

    def call(self, function: str, *arguments: Any, tell: Tell | None = None) -> Any:
        """Call `module:function` in the other process and return its result.

        Args:
            function: `module:function`.
            arguments: Those of the function.
            tell: Called with step, steps, rate and loss as it progresses; the function then takes as its last argument
                the file to which it reports these, see `worker.reporter`.

        Raises:
            TaskError: If it fails, or its process dies.
        """
        if tell is not None:
            with _reported(tell) as file:
                return self.call(function, *arguments, file)
        others = self._workers - 1 if self._kept and not self._started else 0
        calls: dict[str, Call] = {"": (function, *arguments)}
        calls |= {f"other {n}": ("cyclr.study._worker:load", "cyclr.torch") for n in range(others)}
        self._started = True
        try:
            return dict(each(calls, self._workers, self._threads))[""]
        except DiedError:
            raise TaskError("the process that ran the task died, perhaps out of memory") from None


@contextmanager
def _reported(tell: Tell) -> Iterator[Path]:
    """A file to which a worker writes its progress, which is reported in this process."""
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report")

        def listen() -> None:
            last = b""
            over = False
            while not over:
                over = ended.wait(_EVERY)
                text = file.read_bytes() if file.exists() else b""
                if text != last:
                    tell(*msgspec.msgpack.decode(text))
                last = text

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield file
        finally:
            ended.set()
            thread.join()
