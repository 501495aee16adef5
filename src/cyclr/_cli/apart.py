"""Processes beside this one, for what needs torch: the driver of a long study stays small."""

from __future__ import annotations

import os
import pkgutil
import traceback
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from cyclr._cli.failure import TaskError, explain
from cyclr.study import _worker as worker

Call: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]


class Apart:
    """A context in which functions, by name, are called in another process, started when it is needed.

    It is one of joblib's, which the runs of a study find started: to load torch takes seconds. What goes wrong there
    is raised here as a `TaskError`, one line. What tasks print goes to stderr.

    Args:
        workers: How many processes the runs will want; the others load torch meanwhile. None: they run elsewhere.
        threads: Of each.
    """

    def __init__(self, workers: int | None = None, threads: int = 1) -> None:
        self._kept = workers is not None and workers > 1
        self._workers = workers if workers is not None and workers > 1 else 2  # by one joblib means this process
        self._threads = threads
        self._started = False

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._started and not self._kept:
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(kill_workers=True)

    def call(self, function: str, *arguments: Any, **options: Any) -> Any:
        """What `module:function` returns there.

        Raises:
            TaskError: If it fails, or its process dies.
        """
        import joblib

        others = self._workers - 1 if self._kept and not self._started else 0
        load: Call = ("importlib:import_module", ("cyclr.torch",), {})
        calls = [(function, arguments, options), *[load] * others]
        self._started = True
        with joblib.parallel_config("loky", n_jobs=self._workers, inner_max_num_threads=self._threads):
            try:
                answers = joblib.Parallel(batch_size=1)(
                    joblib.delayed(_do)(os.getpid(), Path.cwd(), *call) for call in calls
                )
            except BrokenProcessPool:
                raise TaskError("the process that ran the task died, perhaps out of memory") from None
        failure, value = answers[0]
        if failure:
            raise TaskError(failure)
        return value


def _do(
    driver: int, folder: Path, function: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[str, Any]:
    """What went wrong, as text: an exception of the user's own might not be known in the driver."""
    worker.obey(driver)
    os.chdir(folder)  # a process of an earlier call may be used again
    os.dup2(2, 1)  # results are the driver's to print
    try:
        value = pkgutil.resolve_name(function)(*arguments, **options)
        return "", None if isinstance(value, ModuleType) else value
    except (Exception, SystemExit) as error:  # noqa: BLE001 (it is raised in the driver)
        if os.environ.get("CYCLR_TRACEBACK"):
            traceback.print_exc()
        return explain(error), None
