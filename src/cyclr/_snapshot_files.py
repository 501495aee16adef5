"""The files of snapshots: what their headers say, and the shapes of their tensors. No tensor is read here."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec
from safetensors import SafetensorError, safe_open

FORMAT = "cyclr.snapshot.1"
KEY = "cyclr"  #: of the description, in the metadata of a file
VALUES = "values.json"  #: the metric at all cycle ends, also of those whose snapshots were not kept
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  #: of tensors, by name


class Description(msgspec.Struct, frozen=True):
    """What a file says of itself."""

    format: str
    step: int
    schedule: str
    value: float | None = None
    judged: str = ""  #: name and direction of the metric


class Values(msgspec.Struct, frozen=True):
    """What the metric was where cycles ended, so that early stopping can go on; None where it was not finite."""

    judged: str
    at: dict[int, float | None]


def files_in(folder: Path) -> list[Path]:
    """The snapshots of a folder, in the order of their steps."""
    numbered = [
        (int(match[1]), path)
        for path in folder.glob("snapshot-*.safetensors")
        if (match := re.fullmatch(r"snapshot-(\d+)\.safetensors", path.name))
    ]
    return [path for _, path in sorted(numbered)]


def header_of(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The metadata of a safetensors file, and the shapes of its tensors by all their names; no tensor is read.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: the snapshot is damaged ({error}); delete it") from None
    return metadata, shapes | {name: shapes[kept] for name, kept in shared_in(metadata, shapes).items()}


def shared_in(metadata: Mapping[str, str], tensors: Container[str]) -> dict[str, str]:
    """For each name that is another one for a tensor, the name that the file has; as safetensors' `save_model` says."""
    return {name: kept for name, kept in metadata.items() if kept in tensors and name not in tensors}


def description_in(path: Path, metadata: Mapping[str, str]) -> Description:
    """What a snapshot says of itself.

    Raises:
        ValueError: If it is not one of ours.
    """
    try:
        said = msgspec.json.decode(metadata.get(KEY, ""), type=Description)
    except msgspec.DecodeError:
        said = None
    if said is None or said.format != FORMAT:
        raise ValueError(f"{path} must be a snapshot in format {FORMAT!r}; choose another folder")
    return said


def check_shapes(path: Path, has: Shapes, shapes: Shapes) -> None:
    """Check that a file has the tensors of the model.

    Raises:
        ValueError: If not; the message names the first difference.
    """
    for name in sorted(has.keys() | shapes.keys()):
        there, own = has.get(name), shapes.get(name)
        if there != own:
            raise ValueError(
                f"{path} must hold weights of the same model: {name} is {_shape(there)} in the file and {_shape(own)} "
                "in the model; choose another folder"
            )


@contextmanager
def plain_errors() -> Iterator[None]:
    """A context manager that turns safetensors' errors of the disk into those of Python."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"of shape {list(shape)}"
