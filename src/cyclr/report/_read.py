"""Reads the files that a page shows. Files are data: nothing in them is executed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from cyclr._plan import Plan
from cyclr._range.curve import FORMAT, Curve
from cyclr._schedules import Schedule, parse
from cyclr.study import Run, Study, load
from cyclr.study._files import RecordError, holds_study, read_json

Thing = Study | Run | Curve | Plan

_NAMES = ("curve.json", "plan.json")


def read(path: str | os.PathLike[str]) -> tuple[Thing, ...]:
    """Read the records in a file, or in the folder of a study, for a page.

    A file is a study (`study.json`), a run (`run.json`), a curve (`Curve.save`, `cyclr find --out`) or a plan
    (`cyclr plan --out`), recognised by its content. In a folder, the study comes first: `study.json`, or else the
    `run.json` files of the folder and of two levels below; then `curve.json` and `plan.json`.

    Args:
        path: The file or folder.

    Returns:
        One object for a file, up to three for a folder.

    Raises:
        ValueError: If it contains nothing that can be shown, or is damaged; one line names the file.
        OSError: If the path does not exist or cannot be read.

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
    found: list[Thing] = [load(path)] if holds_study(path) else []
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
        return load(path)
    if "points" in fields:
        return load(path).runs[0]
    if "reasons" in fields:
        return _plan(fields, path)
    raise RecordError(f"{path}: not a study, run, curve or plan; `cyclr find --out` writes a curve")


def _plan(fields: dict[str, Any], path: Path) -> Plan:
    def schedule(kind: type, text: Any) -> Schedule:
        if kind is not Schedule:
            raise NotImplementedError(kind)
        return parse(text)

    try:
        return msgspec.convert(fields, Plan, dec_hook=schedule)
    except (TypeError, ValueError) as error:  # from the schedule's text, the checks of the bounds or a field's type
        raise RecordError(f"{path}: {error}") from None
