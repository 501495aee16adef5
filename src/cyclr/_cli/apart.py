"""A process beside this one, for what needs torch: the driver of a long study stays small."""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import traceback
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from cyclr._cli.failure import TaskError, explain
from cyclr._study import worker


class Apart:
    """A context in which functions, by name, are called in one new process, started when it is needed.

    What goes wrong there is raised here as a `TaskError`, one line. What tasks print goes to stderr.
    """

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._ours.close()
            self._process.kill()  # it holds nothing that is to be kept
            self._process.join()

    def call(self, function: str, *arguments: Any, **options: Any) -> Any:
        """What `module:function` returns there.

        Raises:
            TaskError: If it fails, or its process dies.
        """
        if self._process is None:
            self._start()
        try:
            self._ours.send((function, arguments, options))
            failure, value = self._ours.recv()
        except (EOFError, ConnectionError):
            raise TaskError("the process that ran the task died, perhaps out of memory") from None
        if failure:
            raise TaskError(failure)
        return value

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()


def _serve(calls: Connection, driver: int) -> None:
    """Answers calls until there is nobody to ask."""
    worker.obey(driver)
    os.dup2(2, 1)  # results are the driver's to print
    while True:
        try:
            function, arguments, options = calls.recv()
        except EOFError:
            return
        try:
            answer = ("", pkgutil.resolve_name(function)(*arguments, **options))
        except (Exception, SystemExit) as error:  # noqa: BLE001 (it is raised in the driver)
            if os.environ.get("CYCLR_TRACEBACK"):
                traceback.print_exc()
            answer = (explain(error), None)
        calls.send(answer)
