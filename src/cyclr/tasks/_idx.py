"""The idx files of MNIST and its descendants: a header that names type and shape, then the bytes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from cyclr import _check

PARTS = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def read_folder(folder: str | Path, *, advice: str = "") -> dict[str, np.ndarray]:
    """The four arrays of a data set, by name as in `PARTS`; the files may be gzipped.

    Raises:
        FileNotFoundError: If one of the four files is missing.
        ValueError: If a file is not a complete idx file of bytes, or the numbers of images and labels differ.
    """
    files = {part: _find(Path(folder), name, advice) for part, name in PARTS.items()}
    arrays = {part: read(path) for part, path in files.items()}
    for half in ("train", "test"):
        images, labels = len(arrays[f"{half}_images"]), len(arrays[f"{half}_labels"])
        if images != labels:
            must = f"{folder} must contain one label per {half} image"
            raise ValueError(f"{must}, got {images} images and {labels} labels; download the files again")
    return arrays


def read(path: Path) -> np.ndarray:
    """One idx file of unsigned bytes, as a read-only array."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(_check.problem(f"{path} must be a whole gzip file", str(error), "download it again")) from None
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":  # two zeros, then 8 for unsigned bytes
        raise ValueError(_check.problem(f"{path} must be an idx file of bytes, beginning with 000008", raw[:3].hex()))
    header = 4 + 4 * raw[3]  # the fourth byte is the number of axes
    if len(raw) < header:
        raise ValueError(_check.problem(f"{path} must have a header of {header} bytes", len(raw), "download it again"))
    shape = struct.unpack(f">{raw[3]}I", raw[4:header])
    body = np.frombuffer(raw, np.uint8, offset=header)
    if body.size != (size := math.prod(shape)):
        raise ValueError(_check.problem(f"{path} must have {size} bytes of data", body.size, "download it again"))
    return body.reshape(shape)


def _find(folder: Path, name: str, advice: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise FileNotFoundError(_check.problem(f"the data folder must contain {name}.gz", str(folder), advice))
