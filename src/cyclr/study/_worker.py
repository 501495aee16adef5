"""What a worker process does, wherever it runs. It imports what a call names, and no shell."""

from __future__ import annotations

import hashlib
import inspect
import os
import pkgutil
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from cyclr._failure import TaskError, explain
from cyclr.study._records import Run, Setup

_EVERY = 0.1  # seconds between two reports


class RunError(RuntimeError):
    """A run that could not be made; the message names it. Finished runs are kept."""


def call(driver: int, here: Path, function: str, *arguments: object, **options: object) -> Any:
    """What `module:function` returns, in a worker process.

    Args:
        driver: The process that waits for the answer.
        here: Its current folder.
        function: `module:function`.
        arguments: Those of the function.
        options: Those with a name.

    Raises:
        RunError: If the function raises one.
        TaskError: If it fails in another way; as text, for an exception of the user's own might be unknown to the
            driver.
    """
    obey(driver)
    os.chdir(here)  # a process of an earlier call may be used again
    os.dup2(2, 1)  # stdout belongs to the driver's results
    try:
        return pkgutil.resolve_name(function)(*arguments, **options)
    except RunError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (it is raised in the driver)
        if os.environ.get("CYCLR_TRACEBACK"):
            traceback.print_exc()
        raise TaskError(explain(error)) from None


def reporter(file: Path) -> Callable[[int, int, float, float], None]:
    """What writes step, steps, rate and loss to a file for the driver to read."""
    last = 0.0

    def report(*numbers: float) -> None:
        nonlocal last
        if time.monotonic() - last > _EVERY:
            draft = file.with_suffix(".draft")
            draft.write_bytes(msgspec.msgpack.encode(numbers))  # JSON has no NaN
            draft.replace(file)
            last = time.monotonic()

    return report


def load(module: str) -> None:
    """Imports a module, while others work."""
    pkgutil.resolve_name(module)


def make_run(function: str, name: str, setup: Setup, folder: Path) -> Run:
    """The run of a set-up; if the function that makes it has an argument `folder`, it may keep checkpoints there."""
    try:
        make = pkgutil.resolve_name(function)
        takes_folder = "folder" in inspect.signature(make).parameters
        return make(setup, folder=folder) if takes_folder else make(setup)
    except Exception as error:
        raise RunError(f"run {name} failed: {type(error).__name__}: {error}") from error


def checkpoint_folder(folder: str | Path, name: str, setup: Setup) -> Path:
    """Where a run keeps its checkpoints; its name holds all that decides how it ends, so no other run finds it."""
    digest = hashlib.sha256(msgspec.json.encode(setup)).hexdigest()
    return Path(folder, name, f"checkpoint-{digest[:12]}")


def forget(checkpoints: Path) -> None:
    """Removes the checkpoints of a run that is finished."""
    shutil.rmtree(checkpoints, ignore_errors=True)


def obey(driver: int) -> None:
    """Leaves Ctrl-C to the driver, and does not outlive it: a killed study must not go on in the background."""
    if any(thread.name == "cyclr-orphan" for thread in threading.enumerate()):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="cyclr-orphan", daemon=True).start()
