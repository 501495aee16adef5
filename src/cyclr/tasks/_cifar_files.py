"""Reads CIFAR-10 and CIFAR-100: the official files, in their archive or in a folder, or one `.npz` file."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cyclr import _check

VARIABLE = "CYCLR_DATA"
"""The environment variable with the path of the data, used if no path is given."""
PIXELS = 3 * 32 * 32  # 1,024 red, green and blue values, row by row
ENDINGS = (".tar.gz", ".tgz", ".tar")
LARGEST = 200_000 * (PIXELS + 100)  # maximum bytes of a file in an archive; the official ones hold 50,000 images
Take = Callable[[str], bytes | None]  # the contents of a file by its name, or None if there is no such file


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One of the two official forms of a data set."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: str


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How the files of a data set are named and what labels they contain.

    Args:
        task: The task that reads them.
        binary: The form of records: a byte for each kind of label, then the pixels.
        python: The form of pickled dictionaries.
        labels: The number of classes for each kind of label, in the order of the bytes.
        keys: The key of each kind of label in the dictionaries.
        arrays: The name of each kind of label in an `.npz` file, after `train_` and `test_`.
    """

    task: str
    binary: Version
    python: Version
    labels: Mapping[str, int]
    keys: Mapping[str, str]
    arrays: Mapping[str, str]

    @property
    def record(self) -> int:
        """Bytes of a binary record."""
        return len(self.labels) + PIXELS

    @property
    def advice(self) -> str:
        """What to do if there is no data."""
        return (
            f"download https://www.cs.toronto.edu/~kriz/{self.binary.archive} and pass data=PATH or set "
            f"{VARIABLE}=PATH: that file, the folder with {self.binary.train[0]}, or an .npz file"
        )


CIFAR10 = Layout(
    task="cifar10",
    binary=Version(
        "cifar-10-binary.tar.gz",
        "cifar-10-batches-bin",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test_batch.bin",
    ),
    python=Version(
        "cifar-10-python.tar.gz",
        "cifar-10-batches-py",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test_batch",
    ),
    labels={"label": 10},
    keys={"label": "labels"},
    arrays={"label": "labels"},
)
CIFAR100 = Layout(
    task="cifar100",
    binary=Version("cifar-100-binary.tar.gz", "cifar-100-binary", ("train.bin",), "test.bin"),
    python=Version("cifar-100-python.tar.gz", "cifar-100-python", ("train",), "test"),
    labels={"coarse": 20, "fine": 100},
    keys={"coarse": "coarse_labels", "fine": "fine_labels"},
    arrays={"coarse": "coarse_labels", "fine": "fine_labels"},
)


def locate(data: str | Path | None, layout: Layout) -> Path:
    """The folder with the files, their archive, or the `.npz` file, from `data` or the environment variable.

    Raises:
        TypeError: If `data` is not a path.
        FileNotFoundError: If no path is given, or it does not exist.
    """
    given = os.environ.get(VARIABLE) if data is None else data
    if given is not None and not isinstance(given, (str, Path)):
        raise TypeError(_check.problem("data must be a path", given, layout.advice))
    if not given:
        raise FileNotFoundError(
            _check.problem(f"the task {layout.task} needs the path of its data", None, layout.advice)
        )
    path = Path(given)
    if path.name.endswith((".npz", *ENDINGS)) and path.is_file():
        return path
    for version in (layout.binary, layout.python):
        for folder in (path, path / version.folder):
            if (folder / version.test).is_file():
                return folder
    for version in (layout.binary, layout.python):
        if (path / version.archive).is_file():
            return path / version.archive
    must = f"the data must be a folder with {layout.binary.test} and the training files, their archive, or an .npz file"
    raise FileNotFoundError(_check.problem(must, str(path), layout.advice))


def read(path: Path, layout: Layout, labels: str) -> dict[str, np.ndarray]:
    """The arrays `train_images` (n, 32, 32, 3), `train_labels` (n,) and the same of `test`, in the order of the files.

    Args:
        path: The place from `locate`.
        layout: The names of the files.
        labels: The kind of label, a key of `layout.labels`.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file has other contents.
    """
    if path.suffix == ".npz":
        arrays = _read_npz(path, layout, labels)
    elif path.is_file():
        try:
            with tarfile.open(path) as archive:
                members = {PurePosixPath(member.name).name: member for member in archive if member.isfile()}
                arrays = _halves(path, _from_archive(path, archive, members), sorted(members), layout, labels)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            what = _check.problem("the data must be a complete tar archive", str(path), "download it again")
            raise ValueError(f"{what} ({error})") from None
    else:
        names = sorted(file.name for file in path.iterdir() if file.is_file())
        arrays = _halves(path, _from_folder(path), names, layout, labels)
    return _checked(path, arrays, layout.labels[labels])


def _halves(path: Path, take: Take, names: list[str], layout: Layout, labels: str) -> dict[str, np.ndarray]:
    """Both halves of the binary form, or of the Python form if only its test file is there."""
    binary = layout.binary.test in names or layout.python.test not in names
    version, decode = (layout.binary, _records) if binary else (layout.python, _pickled)
    arrays = {}
    for half, files in (("train", version.train), ("test", (version.test,))):
        found = []
        for name in files:
            raw = take(name)
            if raw is None:
                advice = f"take the binary version: {layout.advice}"
                raise FileNotFoundError(_check.problem(f"{path} must contain {name}", names[:8], advice))
            found.append(decode(path / name, raw, layout, labels))
        images = np.concatenate([planes for planes, _ in found]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"{half}_images"] = np.ascontiguousarray(images)
        arrays[f"{half}_labels"] = np.concatenate([own for _, own in found])
    return arrays


def _from_folder(folder: Path) -> Take:
    return lambda name: (folder / name).read_bytes() if (folder / name).is_file() else None


def _from_archive(path: Path, archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo]) -> Take:
    """Files are found by their base names and read into memory: nothing is unpacked, so paths in it do no harm."""

    def take(name: str) -> bytes | None:
        member = members.get(name)
        if member is None or (stream := archive.extractfile(member)) is None:
            return None
        if member.size > LARGEST:
            raise ValueError(_check.problem(f"{path}/{name} must have at most {LARGEST} bytes", member.size))
        return stream.read()

    return take


def _records(path: Path, raw: bytes, layout: Layout, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """The pixels (n, 3072) and the labels of a binary file."""
    if not raw or len(raw) % layout.record:
        must = f"{path} must consist of records of {layout.record} bytes"
        raise ValueError(_check.problem(must, f"{len(raw)} bytes", "download the binary version again"))
    rows = np.frombuffer(raw, np.uint8).reshape(-1, layout.record)
    return rows[:, len(layout.labels) :], rows[:, list(layout.labels).index(labels)]


def _pickled(path: Path, raw: bytes, layout: Layout, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """The same of a file of the Python form."""
    advice = "download it again, or take the binary version"
    try:
        found = _Unpickler(io.BytesIO(raw), encoding="latin1").load()
        pixels, own = found["data"], np.asarray(found[layout.keys[labels]])
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        what = _check.problem(f"{path} must be a file of {layout.python.archive}", str(error), advice)
        raise ValueError(what) from None
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != PIXELS or pixels.dtype != np.uint8:
        must = f"'data' of {path} must be bytes of shape (n, {PIXELS})"
        raise ValueError(_check.problem(must, getattr(pixels, "shape", type(pixels)), advice))
    return pixels, own


class _Unpickler(pickle.Unpickler):
    """Makes arrays and plain containers only: a pickle could otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that a pickled array refers to, from wherever NumPy has them now."""
        if (module.partition(".")[0], name) in (("numpy", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")):
            return super().find_class("numpy._core.multiarray" if name == "_reconstruct" else "numpy", name)
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def _read_npz(path: Path, layout: Layout, labels: str) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise ValueError(_check.problem("the data must be a complete .npz file", str(path), "create it again"))
    own = layout.arrays[labels]
    parts = {f"{half}_{kind}": f"{half}_{name}" for half in ("train", "test") for kind, name in
             (("images", "images"), ("labels", own))}  # fmt: skip
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        if not set(parts.values()) <= set(file):
            raise ValueError(_check.problem(f"{path} must contain {', '.join(parts.values())}", sorted(file)))
        return {part: file[name] for part, name in parts.items()}


def _checked(path: Path, arrays: dict[str, np.ndarray], classes: int) -> dict[str, np.ndarray]:
    for half in ("train", "test"):
        images, labels = arrays[f"{half}_images"], arrays[f"{half}_labels"]
        if images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
            must = f"{half}_images of {path} must be bytes of shape (n, 32, 32, 3)"
            raise ValueError(_check.problem(must, (images.shape, images.dtype.name)))
        if labels.shape != (len(images),) or not len(labels) or labels.min() < 0 or labels.max() >= classes:
            must = f"{half}_labels of {path} must be a label from 0 to {classes - 1} for each of {len(images)} images"
            given = (labels.shape, *((labels.min().item(), labels.max().item()) if labels.size else ()))
            raise ValueError(_check.problem(must, given))
    return arrays
