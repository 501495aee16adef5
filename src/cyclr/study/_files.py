"""The files of a study: JSON that is validated on reading and replaced atomically on writing.

Records are data, never code: nothing is unpickled or evaluated here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cyclr import _check
from cyclr._files import replacing
from cyclr.study._records import Run, Study

T = TypeVar("T")

CURVE, RUNS, STUDY, SETTINGS, RECORD = "curve.json", "runs", "study.json", "settings.json", "run.json"
_RECORDS = (RECORD, f"*/{RECORD}", f"*/*/{RECORD}")  # in a run's folder, a folder of runs, or the folder of a study


class RecordError(ValueError):
    """A record with a missing or invalid field, or that is not valid JSON; the message names file and field."""


def load(path: str | os.PathLike[str]) -> Study:
    """Load a study from its file, from a single run, or from a folder of either.

    Args:
        path: `study.json`, `run.json`, or a folder. In a folder, `study.json` takes precedence; without it, the
            `run.json` files of the folder and of two levels below are read. Tuning runs are then left out, and a note
            states their number.

    Returns:
        The study. If it was assembled from single runs, its metric, baseline and tuning cost are not set.

    Raises:
        ValueError: If there is no study, the runs are of different tasks, or a file is damaged; one line names it.
        OSError: If the path does not exist or cannot be read.

    >>> load("no-such-folder")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no-such-folder'
    """
    path = Path(path)
    if not path.is_dir():
        return _file(path)
    if (path / STUDY).exists():
        return read_json(path / STUDY, Study)
    if not holds_study(path):
        raise ValueError(f"{path}: no {STUDY} and no {RECORD} in this folder; pass a folder that `cyclr compare` wrote")
    return _of_runs([read_json(file, Run) for file in _records(path)], path)


def holds_study(folder: Path) -> bool:
    """Whether `load` finds a study or runs in a folder."""
    return (folder / STUDY).exists() or bool(_records(folder))


def _records(folder: Path) -> list[Path]:
    return [file for pattern in _RECORDS for file in sorted(folder.glob(pattern))]


def _file(path: Path) -> Study:
    fields = read_json(path, Any)
    if isinstance(fields, dict) and "runs" in fields:
        return read_json(path, Study)
    if isinstance(fields, dict) and "points" in fields:
        return _of_runs([read_json(path, Run)], path)
    raise RecordError(f"{path}: neither a study nor a run; pass a {STUDY}, a {RECORD} or their folder")


def _of_runs(runs: Sequence[Run], path: Path) -> Study:
    """A study assembled from single runs, without tuning runs."""
    kept = [run for run in runs if not run.options.get("tuning")] or list(runs)
    if len(tasks := sorted({run.task for run in kept})) > 1:
        raise ValueError(_check.problem(f"{path}: runs must be of one task to be compared", tasks))
    tried = [run for run in runs if run not in kept]
    steps = f"{sum(run.steps for run in tried):,} steps"
    which = "1 tuning run is" if len(tried) == 1 else f"{len(tried)} tuning runs are"
    took = "it took" if len(tried) == 1 else "they took"
    notes = [f"{which} not shown; {took} {steps}."] if tried else []
    return Study(task=tasks[0], runs=kept, notes=notes)


def write_json(path: str | Path, value: Any) -> None:
    """Replace `path` atomically by the JSON of `value`.

    Raises:
        OSError: If the folder cannot be written to; an existing file is left unchanged.
    """
    write_bytes(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Replace `path` atomically by `data`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(data)


def read_json(path: str | Path, kind: type[T]) -> T:
    """The value of type `kind` in the JSON file `path`.

    Raises:
        RecordError: If it is not valid JSON or not of that type; one line names file and field.
        OSError: If it cannot be read.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is a DecodeError
        raise RecordError(f"{path}: {error}") from None


def claim(path: str | Path, settings: msgspec.Struct) -> None:
    """Write `settings` to `path`, or check that the file has the same ones.

    The same command can thus be resumed in its folder, and another one cannot mix its results with existing ones.

    Raises:
        ValueError: If the file has other settings; the message names the first that differs.
        RecordError: If the file cannot be parsed.
    """
    path = Path(path)
    if not path.exists():
        # Temporary files of a killed process do not count.
        if path.parent.is_dir() and any(not file.name.startswith(".") for file in path.parent.iterdir()):
            raise ValueError(f"{path.parent} contains other files and no {path.name}; choose a new folder")
        return write_json(path, settings)
    there = claimed(path, type(settings))
    for field in settings.__struct_fields__:
        old, new = getattr(there, field), getattr(settings, field)
        if old != new:
            raise ValueError(
                f"{path.parent} was made with other settings ({field} {old!r}, now {new!r}); choose another folder"
            )
    return None


def claimed(path: str | Path, kind: type[T]) -> T:
    """The settings in `path`, which identify the owner of its folder.

    Raises:
        RecordError: If they are damaged, or belong to another command.
    """
    try:
        return read_json(path, kind)
    except RecordError as error:
        raise RecordError(f"{error}; the folder belongs to another command or is damaged; choose another one") from None
