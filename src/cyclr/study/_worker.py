"""What a worker process does with one job, wherever it runs."""

from __future__ import annotations

import hashlib
import inspect
import os
import pkgutil
import shutil
import signal
import threading
import time
from pathlib import Path

import msgspec

from cyclr.study._records import Job, Run


class RunError(RuntimeError):
    """A run that could not be done; the message names it. Finished runs are kept."""


def do(function: str, name: str, job: Job, folder: Path) -> Run:
    """Does one job; if its function has an argument `folder`, that is a folder for its checkpoints."""
    try:
        call = pkgutil.resolve_name(function)
        takes_folder = "folder" in inspect.signature(call).parameters
        return call(job, folder=folder) if takes_folder else call(job)
    except Exception as error:
        raise RunError(f"run {name} failed: {type(error).__name__}: {error}") from error


def checkpoint_folder(folder: str | Path, name: str, job: Job) -> Path:
    """Where a job keeps its checkpoints; its name holds all that decides how it ends, so no other job finds it."""
    digest = hashlib.sha256(msgspec.json.encode(job)).hexdigest()
    return Path(folder, name, f"checkpoint-{digest[:12]}")


def forget(checkpoints: Path) -> None:
    """Removes the checkpoints of a job that is done."""
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
