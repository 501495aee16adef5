"""CIFAR-10 as people have it: the official binary files in a folder, or one `.npz` file."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np

from cyclr import _check

VARIABLE = "CYCLR_DATA"
"""The environment variable that names the data where no path is given."""
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
PARTS = ("train_images", "train_labels", "test_images", "test_labels")
RECORD = 1 + 3 * 32 * 32  # a label, then 1,024 red, green and blue values, row by row
ADVICE = (
    f"pass data=PATH or set {VARIABLE}: the folder with data_batch_1.bin (cs.toronto.edu/~kriz/cifar.html), or .npz"
)


def locate(data: str | Path | None) -> Path:
    """The folder with the binary files, or the `.npz` file, that `data` or the environment variable names.

    Raises:
        TypeError: If `data` is no path.
        FileNotFoundError: If none is named, or there is none.
    """
    given = os.environ.get(VARIABLE) if data is None else data
    if given is not None and not isinstance(given, (str, Path)):
        raise TypeError(_check.problem("data must be a path", given, ADVICE))
    if not given:
        raise FileNotFoundError(_check.problem("the task cifar10 needs its data", None, ADVICE))
    path = Path(given)
    if path.suffix == ".npz" and path.is_file():
        return path
    for folder in (path, path / "cifar-10-batches-bin"):
        if (folder / TEST_FILE).is_file():
            return folder
    raise FileNotFoundError(_check.problem(f"the data must be {TEST_FILE} and its fellows", str(path), ADVICE))


def read(path: Path) -> dict[str, np.ndarray]:
    """The four arrays by name as in `PARTS`: pictures (n, 32, 32, 3), labels (n,), bytes in the order of the files.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file holds something else.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    halves = {"train": [_records(path / name) for name in TRAIN_FILES], "test": [_records(path / TEST_FILE)]}
    arrays = {}
    for half, blocks in halves.items():
        rows = np.concatenate(blocks)
        arrays[f"{half}_images"] = np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        arrays[f"{half}_labels"] = rows[:, 0]
    return _checked(path, arrays)


def _records(path: Path) -> np.ndarray:
    if not path.is_file():
        raise FileNotFoundError(_check.problem(f"the data folder must hold {path.name}", str(path.parent), ADVICE))
    raw = np.fromfile(path, np.uint8)
    if not raw.size or raw.size % RECORD:
        must = f"{path} must hold records of {RECORD} bytes"
        raise ValueError(_check.problem(must, f"{raw.size} bytes", "fetch the binary version again"))
    return raw.reshape(-1, RECORD)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError(_check.problem("the data must be a whole .npz file", str(path), "make it again"))
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        if not set(PARTS) <= set(file):
            raise ValueError(_check.problem(f"{path} must hold {', '.join(PARTS)}", sorted(file)))
        return _checked(path, {part: file[part] for part in PARTS})


def _checked(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for half in ("train", "test"):
        pictures, labels = arrays[f"{half}_images"], arrays[f"{half}_labels"]
        if pictures.shape[1:] != (32, 32, 3) or pictures.dtype != np.uint8:
            must = f"{half}_images of {path} must be bytes of shape (n, 32, 32, 3)"
            raise ValueError(_check.problem(must, (pictures.shape, pictures.dtype.name)))
        if labels.shape != (len(pictures),) or not len(labels) or labels.min() < 0 or labels.max() > 9:
            must = f"{half}_labels of {path} must be a label from 0 to 9 for each of {len(pictures)} pictures"
            given = (labels.shape, *((labels.min().item(), labels.max().item()) if labels.size else ()))
            raise ValueError(_check.problem(must, given))
    return arrays
