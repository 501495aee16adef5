"""What a worker process executes. It imports the functions that calls name, and nothing of the command line."""

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
    """A run that failed; the message names it. Finished runs are kept."""


def call(driver: int, here: Path, function: str, *arguments: object, **options: object) -> Any:
    """Call `module:function` in a worker process and return its result.

    Args:
        driver: The process that waits for the answer.
        here: The driver's current folder.
        function: `module:function`.
        arguments: Positional arguments of the function.
        options: Keyword arguments of the function.

    Raises:
        RunError: If the function raises one.
        TaskError: If it fails in another way; as text, as the driver might not know the user's exception class.
    """
    obey(driver)
    os.chdir(here)  # the process may have served an earlier call
    os.dup2(2, 1)  # stdout is reserved for the driver's results
    try:
        return pkgutil.resolve_name(function)(*arguments, **options)
    except RunError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 (it is raised in the driver)
        if os.environ.get("CYCLR_TRACEBACK"):
            traceback.print_exc()
        raise TaskError(explain(error)) from None


def reporter(file: Path) -> Callable[[int, int, float, float], None]:
    """A function that writes step, steps, rate and loss to a file for the driver to read."""
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
    """Import a module in advance."""
    pkgutil.resolve_name(module)


def make_run(function: str, name: str, setup: Setup, folder: Path) -> Run:
    """Make the run of a set-up; a function with a `folder` argument may keep checkpoints there."""
    try:
        make = pkgutil.resolve_name(function)
        takes_folder = "folder" in inspect.signature(make).parameters
        return make(setup, folder=folder) if takes_folder else make(setup)
    except Exception as error:
        raise RunError(f"run {name} failed: {type(error).__name__}: {error}") from error


def checkpoint_folder(folder: str | Path, name: str, setup: Setup) -> Path:
    """The folder for a run's checkpoints; its name encodes the run's whole set-up, so no other run uses it."""
    said = msgspec.to_builtins(setup)
    if setup.finish == "single":  # as it was before there were others: what is under way is resumed
        del said["finish"], said["members"]
    digest = hashlib.sha256(msgspec.json.encode(said)).hexdigest()
    return Path(folder, name, f"checkpoint-{digest[:12]}")


def forget(checkpoints: Path) -> None:
    """Remove the checkpoints of a finished run."""
    shutil.rmtree(checkpoints, ignore_errors=True)


def obey(driver: int) -> None:
    """Leave Ctrl-C to the driver and exit with it: a killed study must not go on in the background."""
    if any(thread.name == "cyclr-orphan" for thread in threading.enumerate()):
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, name="cyclr-orphan", daemon=True).start()
