"""From files to what a page shows. Files are data: nothing in them is executed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from cyclr import _check
from cyclr._page.numbers import count
from cyclr._plan import Plan
from cyclr._range.curve import FORMAT, Curve
from cyclr._schedules import Schedule, parse
from cyclr.study._records import RecordError, Run, Study, read_json

Thing = Study | Curve | Plan

_NAMES = ("curve.json", "plan.json")
_RUNS = ("run.json", "*/run.json", "*/*/run.json")


def read(path: str | os.PathLike[str]) -> tuple[Thing, ...]:
    """Reads what a file, or the folder of a study, holds for a page.

    A file is a study (`study.json`), a run (`run.json`), a curve (`Curve.save`, `cyclr find --out`) or a plan
    (`cyclr plan --out`), told apart by what is in it. In a folder the study comes first: `study.json`, or else the
    `run.json` files of the folder and of two levels below; then `curve.json` and `plan.json`.

    Args:
        path: The file or folder.

    Returns:
        One thing for a file, up to three for a folder.

    Raises:
        ValueError: If it holds nothing that can be shown, or is damaged; one line that names the file.
        OSError: If it is missing or cannot be read.

    >>> import tempfile
    >>> from cyclr import Curve
    >>> with tempfile.NamedTemporaryFile(suffix=".json") as file:
    ...     Curve([0.1, 0.2, 0.4], [2.0, 1.5, 1.0]).save(file.name)
    ...     read(file.name)[0].rates.tolist()
    [0.1, 0.2, 0.4]
    """
    path = Path(path)
    if not path.is_dir():
        return (_file(path),)
    study = path / "study.json"
    runs = [file for pattern in _RUNS if not study.exists() for file in sorted(path.glob(pattern))]
    found: list[Thing] = [_file(study)] if study.exists() else []
    if runs:
        found.append(_study([read_json(file, Run) for file in runs], path))
    found += [_file(path / name) for name in _NAMES if (path / name).exists()]
    if not found:
        raise ValueError(f"{path}: no study.json, run.json, curve.json or plan.json in this folder")
    return tuple(found)


def _file(path: Path) -> Thing:
    fields = read_json(path, Any)
    if not isinstance(fields, dict):
        raise RecordError(f"{path}: not a study, run, curve or plan")
    if fields.get("format") == FORMAT:
        return Curve.load(path)
    if "runs" in fields:
        return read_json(path, Study)
    if "points" in fields:
        return _study([read_json(path, Run)], path)
    if "reasons" in fields:
        return _plan(fields, path)
    raise RecordError(f"{path}: not a study, run, curve or plan; a curve is what `cyclr find --out` writes")


def _plan(fields: dict[str, Any], path: Path) -> Plan:
    def schedule(kind: type, text: Any) -> Schedule:
        if kind is not Schedule:
            raise NotImplementedError(kind)
        return parse(text)

    try:
        return msgspec.convert(fields, Plan, dec_hook=schedule)
    except (TypeError, ValueError) as error:  # of the schedule's text, the bounds' own checks or a field's type
        raise RecordError(f"{path}: {error}") from None


def _study(runs: list[Run], path: Path) -> Study:
    """Runs without a study record. Those that only tried a rate, on held-out training data, are left out."""
    kept = [run for run in runs if not run.options.get("tuning")] or runs
    if len(tasks := sorted({run.task for run in kept})) > 1:
        raise ValueError(_check.problem(f"{path}: runs must be of one task to be compared", tasks))
    tried = [run for run in runs if run not in kept]
    steps = count(sum(run.steps for run in tried), "step")
    which = "1 run that tuned a rate is" if len(tried) == 1 else f"{len(tried)} runs that tuned rates are"
    took = "it took" if len(tried) == 1 else "they took"
    notes = [f"{which} not shown; {took} {steps}."] if tried else []
    return Study(task=tasks[0], runs=kept, notes=notes)
