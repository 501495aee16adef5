"""Reads CIFAR-10: the official binary files, in their archive or in a folder, or one `.npz` file."""

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
"""The environment variable with the path of the data, used if no path is given."""
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
PARTS = ("train_images", "train_labels", "test_images", "test_labels")
RECORD = 1 + 3 * 32 * 32  # a label, then 1,024 red, green and blue values, row by row
ARCHIVE = "cifar-10-binary.tar.gz"
ENDINGS = (".tar.gz", ".tgz", ".tar")
LARGEST = 200_000 * RECORD  # maximum bytes of a file in an archive; the official files contain 10,000 records
ADVICE = (
    f"download https://www.cs.toronto.edu/~kriz/{ARCHIVE} and pass data=PATH or set {VARIABLE}=PATH: "
    "that file, the folder with data_batch_1.bin, or an .npz file"
)


def locate(data: str | Path | None) -> Path:
    """The folder with the binary files, their archive, or the `.npz` file, from `data` or the environment variable.

    Raises:
        TypeError: If `data` is not a path.
        FileNotFoundError: If no path is given, or it does not exist.
    """
    given = os.environ.get(VARIABLE) if data is None else data
    if given is not None and not isinstance(given, (str, Path)):
        raise TypeError(_check.problem("data must be a path", given, ADVICE))
    if not given:
        raise FileNotFoundError(_check.problem("the task cifar10 needs the path of its data", None, ADVICE))
    path = Path(given)
    if path.name.endswith((".npz", *ENDINGS)) and path.is_file():
        return path
    for folder in (path, path / "cifar-10-batches-bin"):
        if (folder / TEST_FILE).is_file():
            return folder
    if (path / ARCHIVE).is_file():
        return path / ARCHIVE
    must = f"the data must be a folder with {TEST_FILE} and the training files, their archive, or an .npz file"
    raise FileNotFoundError(_check.problem(must, str(path), ADVICE))


def read(path: Path) -> dict[str, np.ndarray]:
    """The four arrays by name as in `PARTS`: images (n, 32, 32, 3), labels (n,), bytes in the order of the files.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file has other contents.
    """
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.is_file():
        try:
            with tarfile.open(path) as archive:
                return _halves(path, _from_archive(path, archive))
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = _check.problem("the data must be a complete tar archive", str(path), "download it again")
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
            raise FileNotFoundError(_check.problem(f"the data folder must contain {name}", str(folder), ADVICE))
        return _records(folder / name, np.fromfile(folder / name, np.uint8))

    return take


def _from_archive(path: Path, archive: tarfile.TarFile) -> Callable[[str], np.ndarray]:
    """Files are found by their base names and read into memory: nothing is unpacked, so paths in it do no harm."""
    members = {PurePosixPath(member.name).name: member for member in archive if member.isfile()}

    def take(name: str) -> np.ndarray:
        member = members.get(name)
        stream = None if member is None else archive.extractfile(member)
        if member is None or stream is None:
            must = f"{path} must contain {name}"
            raise FileNotFoundError(_check.problem(must, sorted(members)[:8], f"take the binary version: {ADVICE}"))
        if member.size > LARGEST:
            raise ValueError(_check.problem(f"{path}/{name} must have at most {LARGEST} bytes", member.size))
        return _records(path / name, np.frombuffer(stream.read(), np.uint8))

    return take


def _records(path: Path, raw: np.ndarray) -> np.ndarray:
    if not raw.size or raw.size % RECORD:
        must = f"{path} must consist of records of {RECORD} bytes"
        raise ValueError(_check.problem(must, f"{raw.size} bytes", "download the binary version again"))
    return raw.reshape(-1, RECORD)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError(_check.problem("the data must be a complete .npz file", str(path), "create it again"))
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        if not set(PARTS) <= set(file):
            raise ValueError(_check.problem(f"{path} must contain {', '.join(PARTS)}", sorted(file)))
        return _checked(path, {part: file[part] for part in PARTS})


def _checked(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for half in ("train", "test"):
        images, labels = arrays[f"{half}_images"], arrays[f"{half}_labels"]
        if images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
            must = f"{half}_images of {path} must be bytes of shape (n, 32, 32, 3)"
            raise ValueError(_check.problem(must, (images.shape, images.dtype.name)))
        if labels.shape != (len(images),) or not len(labels) or labels.min() < 0 or labels.max() > 9:
            must = f"{half}_labels of {path} must be a label from 0 to 9 for each of {len(images)} images"
            given = (labels.shape, *((labels.min().item(), labels.max().item()) if labels.size else ()))
            raise ValueError(_check.problem(must, given))
    return arrays
