from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cyclr.tasks import _idx


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def fill(folder: Path, *, train: int = 7, test: int = 3, size: int = 28, ending: str = "") -> dict[str, np.ndarray]:
    """The four files with random pictures."""
    random = np.random.default_rng(0)
    made = {}
    for part, name in _idx.PARTS.items():
        count = train if part.startswith("train") else test
        shape = (count, size, size) if part.endswith("images") else (count,)
        made[part] = random.integers(0, 10, shape).astype(np.uint8)
        raw = idx(made[part])
        (folder / f"{name}{ending}").write_bytes(gzip.compress(raw) if ending else raw)
    return made


@given(array=arrays(np.uint8, array_shapes(max_dims=4)), ending=st.sampled_from(["", ".gz"]))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, ending: str) -> None:
    path = tmp_path_factory.mktemp("idx") / f"part{ending}"
    path.write_bytes(gzip.compress(idx(array)) if ending else idx(array))
    np.testing.assert_array_equal(_idx.read(path), array)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_gives_its_four_arrays(tmp_path: Path, ending: str) -> None:
    made = fill(tmp_path, ending=ending)
    found = _idx.read_folder(tmp_path)
    assert found.keys() == made.keys()
    for part, array in made.items():
        np.testing.assert_array_equal(found[part], array)


@pytest.mark.parametrize(
    ("raw", "name", "complaint"),
    [
        (idx(np.zeros((2, 3), np.uint8))[:-1], "part", "must have 6 bytes of data, got 5"),
        (idx(np.zeros((2, 3), np.uint8)) + b"x", "part", "must have 6 bytes of data, got 7"),
        (b"\0\0\x08\x03\0\0", "part", "must have a header of 16 bytes, got 6"),
        (b"", "part", "must be an idx file of bytes"),
        (b"\0\0\x0d\x01\0\0\0\x01abcd", "part", "must be an idx file of bytes"),  # floats
        (gzip.compress(idx(np.zeros(50, np.uint8)), mtime=0)[:-12], "part.gz", "must be a whole gzip file"),
        (b"<html>not found</html>", "part.gz", "must be a whole gzip file"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, raw: bytes, name: str, complaint: str) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=complaint) as caught:
        _idx.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named_with_the_advice(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / _idx.PARTS["test_labels"]).unlink()
    with pytest.raises(FileNotFoundError, match=r"must contain t10k-labels-idx1-ubyte.gz, got .*; ask a friend"):
        _idx.read_folder(tmp_path, advice="ask a friend")


def test_images_without_labels_are_an_error(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / _idx.PARTS["train_labels"]).write_bytes(idx(np.zeros(6, np.uint8)))
    with pytest.raises(ValueError, match="one label per train image, got 7 images and 6 labels"):
        _idx.read_folder(tmp_path)
