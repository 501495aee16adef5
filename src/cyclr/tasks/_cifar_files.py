"""CIFAR-10 as people have it: the official binary files, in their archive or in a folder, or one `.npz` file."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from cyclr import _check

VARIABLE = "CYCLR_DATA"
"""The environment variable that names the data where no path is given."""
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
PARTS = ("train_images", "train_labels", "test_images", "test_labels")
RECORD = 1 + 3 * 32 * 32  # a label, then 1,024 red, green and blue values, row by row
ARCHIVE = "cifar-10-binary.tar.gz"
ENDINGS = (".tar.gz", ".tgz", ".tar")
LARGEST = 200_000 * RECORD  # bytes of one file in an archive; the official ones hold 10,000 records
ADVICE = (
    f"download https://www.cs.toronto.edu/~kriz/{ARCHIVE} and pass data=PATH or set {VARIABLE}=PATH: "
    "that file, the folder with data_batch_1.bin, or an .npz file"
)


def locate(data: str | Path | None) -> Path:
    """The folder with the binary files, their archive, or the `.npz` file that `data` or the variable names.

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
    if path.name.endswith((".npz", *ENDINGS)) and path.is_file():
        return path
    for folder in (path, path / "cifar-10-batches-bin"):
        if (folder / TEST_FILE).is_file():
            return folder
    if (path / ARCHIVE).is_file():
        return path / ARCHIVE
    raise FileNotFoundError(_check.problem(f"the data must be {TEST_FILE} and its fellows", str(path), ADVICE))


def read(path: Path) -> dict[str, np.ndarray]:
    """The four arrays by name as in `PARTS`: pictures (n, 32, 32, 3), labels (n,), bytes in the order of the files.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file holds something else.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.is_file():
        try:
            with tarfile.open(path) as archive:
                return _halves(path, _from_archive(path, archive))
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = _check.problem("the data must be a whole tar archive", str(path), "fetch it again")
            raise ValueError(f"{what} ({error})") from None
    return _halves(path, _from_folder(path))


def _halves(path: Path, take: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {}
    for half, names in (("train", TRAIN_FILES), ("test", (TEST_FILE,))):
        rows = np.concatenate([take(name) for name in names])
        arrays[f"{half}_images"] = np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        arrays[f"{half}_labels"] = rows[:, 0]
    return _checked(path, arrays)


def _from_folder(folder: Path) -> Callable[[str], np.ndarray]:
    def take(name: str) -> np.ndarray:
        if not (folder / name).is_file():
            raise FileNotFoundError(_check.problem(f"the data folder must hold {name}", str(folder), ADVICE))
        return _records(folder / name, np.fromfile(folder / name, np.uint8))

    return take


def _from_archive(path: Path, archive: tarfile.TarFile) -> Callable[[str], np.ndarray]:
    """Files are found by their last name and read into memory: nothing is unpacked, so no path in it matters."""
    members = {PurePosixPath(member.name).name: member for member in archive if member.isfile()}

    def take(name: str) -> np.ndarray:
        member = members.get(name)
        stream = None if member is None else archive.extractfile(member)
        if member is None or stream is None:
            must = f"{path} must hold {name}"
            raise FileNotFoundError(_check.problem(must, sorted(members)[:8], f"take the binary version: {ADVICE}"))
        if member.size > LARGEST:
            raise ValueError(_check.problem(f"{path}/{name} must hold {LARGEST} bytes at most", member.size))
        return _records(path / name, np.frombuffer(stream.read(), np.uint8))

    return take


def _records(path: Path, raw: np.ndarray) -> np.ndarray:
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
