"""Atomic file writes: the whole file or nothing."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

DRAFTS = ".drafts"  #: hidden folder for what `drafted` writes


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to, which replaces `path` atomically on success; killing the process cannot damage `path`.

    Raises:
        OSError: If the folder cannot be written to; an existing file is left unchanged.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # the same folder: a rename stays on one disk
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # "no space left on device" alone does not say where
        raise


@contextmanager
def drafted(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, for libraries that want a name and not a file; what is there replaces `path` on success.

    The draft has the same name, in a hidden folder `DRAFTS` beside `path`, together with whatever the library leaves
    behind when it is killed; `clear_drafts` removes that.

    Raises:
        OSError: If the folder cannot be written to; an existing file is left unchanged.
    """
    path = Path(path)
    folder = path.parent / DRAFTS / secrets.token_hex(4)
    try:
        folder.mkdir(parents=True)
        draft = folder / path.name
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another process may write there
            folder.parent.rmdir()


def clear_drafts(folder: Path) -> None:
    """Remove the drafts that a killed process has left in `folder`."""
    shutil.rmtree(folder / DRAFTS, ignore_errors=True)
