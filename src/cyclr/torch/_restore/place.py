"""Where the copy of a training's tensors is kept: beside them, in the host's memory, or in a file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import torch

from cyclr._check import problem

_CHUNK = 1 << 26  #: bytes that are read from a file at once
Kept = Callable[[torch.Tensor], None]  #: writes what was kept into a tensor of bytes


class Place(Protocol):
    """Keeps bytes until they are put back."""

    @property
    def beside(self) -> bool:
        """Whether copies are on the devices of what is copied."""
        ...

    def reserve(self, size: int) -> None:
        """Make sure, before anything is kept, that there is room for that number of bytes.

        Raises:
            OSError: If there is not.
        """
        ...

    def keep(self, present: torch.Tensor) -> Kept:
        """Keep the contents of a row of bytes."""
        ...

    def close(self) -> None:
        """Give up what is kept."""
        ...


class InMemory:
    """Keeps copies in memory.

    Args:
        device: Where; None for the device of each tensor.
    """

    def __init__(self, device: str | None = None) -> None:
        self._device, self.beside = device, device is None

    def reserve(self, size: int) -> None:
        """Nothing: memory cannot be asked for without taking it."""

    def keep(self, present: torch.Tensor) -> Kept:
        """Keep a copy."""
        saved = present.clone() if self._device is None else present.to(self._device, copy=True)

        def put_back(present: torch.Tensor) -> None:
            _write(present, saved)

        return put_back

    def close(self) -> None:
        """Nothing: what holds the copies is freed."""


class InFolder:
    """Keeps copies in a file of a folder. It has no name there, so that it is gone whatever ends the process.

    Args:
        folder: The folder, which must exist.
    """

    beside = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: BinaryIO | None = None
        self._end = 0

    def reserve(self, size: int) -> None:
        """Take the room on the disk."""
        free = shutil.disk_usage(self._folder).free
        if free < size:
            what = f"where must be on a disk with room for {size / 1e9:,.3f} GB"
            raise OSError(problem(what, f"{free / 1e9:,.3f} GB free in {self._folder}", "pass another folder"))
        file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 (open as long as its place)
        self._file = file  # type: ignore[assignment]
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)

    def keep(self, present: torch.Tensor) -> Kept:
        """Append to the file."""
        assert self._file is not None
        file, start = self._file, self._end
        for part in present.split(_CHUNK):
            left = part.cpu().numpy().data
            while left:
                left = left[file.write(left) :]
        self._end += len(present)

        def put_back(present: torch.Tensor) -> None:
            file.seek(start)
            for part in present.split(_CHUNK):
                saved = torch.empty(len(part), dtype=torch.uint8)
                left = saved.numpy().data
                while left:
                    left = left[file.readinto(left) :]  # type: ignore[attr-defined]
                _write(part, saved)

        return put_back

    def close(self) -> None:
        """Close the file, which is the end of it."""
        if self._file is not None:
            self._file.close()


def place_of(where: str | os.PathLike[str] | None) -> Place:
    """The place that a user names: None, "cpu", or a folder.

    Raises:
        TypeError: If it is nothing of these.
        ValueError: If the folder does not exist, or cannot be written to.
    """
    if where is None or where == "cpu":
        return InMemory(device=None if where is None else "cpu")
    advice = 'pass None, "cpu", or a folder'
    if not isinstance(where, (str, os.PathLike)):
        raise TypeError(problem('where must be None, "cpu" or a folder', where, advice))
    folder = Path(where)
    if not folder.is_dir():
        raise ValueError(problem("where must be a folder that exists", str(where), advice))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(problem("where must be a folder that can be written to", str(where), advice))
    return InFolder(folder)


def _write(present: torch.Tensor, saved: torch.Tensor) -> None:
    # On a CPU comparing costs no more than copying, and memory that is mapped read-only must not be written to.
    if present.device.type != "cpu" or not torch.equal(present, saved):
        present.copy_(saved)
