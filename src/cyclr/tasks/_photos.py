"""Where the photographs of ImageNet are: a folder a class, the official archives, or shards; none of it is unpacked."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from cyclr import _check

VARIABLE = "CYCLR_DATA"
ENDINGS = (".jpeg", ".jpg", ".png", ".webp", ".bmp")
TRAIN_ARCHIVE, VAL_ARCHIVE = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
KIT_ARCHIVE, KIT = "ILSVRC2012_devkit_t12.tar.gz", ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
GET = (
    "get ImageNet from https://image-net.org/download and pass data=FOLDER or set CYCLR_DATA=FOLDER: one with train/ "
    "and val/ that hold a folder for each class, or with the three official archives, or with parquet or WebDataset "
    "shards"
)


class Photos(Protocol):
    """Encoded images by number."""

    @property
    def labels(self) -> Sequence[int]:
        """The class of each."""
        ...

    def read(self, number: int) -> bytes:
        """The bytes of a file."""
        ...

    def name(self, number: int) -> str:
        """Where it is, for messages."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Both parts of a data set, and the names of its classes in the order of the labels."""

    train: Photos
    val: Photos
    classes: tuple[str, ...]


def find(data: str | Path | None, names: tuple[str, ...] = ()) -> Found:
    """The images below a folder, or below one of `names` in it; by default that in the environment variable CYCLR_DATA.

    Raises:
        TypeError: If `data` is not a path.
        FileNotFoundError: If there is no such folder, or it holds no images in a known form.
        ValueError: If a class has no images, a class of val/ is not in train/, or a link leads nowhere.
    """
    given = os.environ.get(VARIABLE) if data is None else data
    if given is not None and not isinstance(given, (str, Path)):
        raise TypeError(_check.problem("data must be a path", given, GET))
    if not given:
        raise FileNotFoundError(_check.problem("the task imagenet needs the path of its data", None, GET))
    for folder in (Path(given), *(Path(given, name) for name in names)):
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return _folders(folder)
        if (folder / TRAIN_ARCHIVE).is_file():
            return _archives(folder)
        for kind in ("parquet", "tar"):
            if (shards := _shards(folder, kind)) is not None:
                return shards
    must = "data must be a folder with train/ and val/, the official archives, or shards named train* and val*"
    raise FileNotFoundError(_check.problem(must, str(given), GET))


# ---------------------------------------------------------------- a folder a class


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """Files in a folder for each class."""

    folder: Path
    paths: Sequence[str]  # relative to the folder
    labels: Sequence[int]

    def read(self, number: int) -> bytes:
        """The bytes of a file."""
        return (self.folder / self.paths[number]).read_bytes()

    def name(self, number: int) -> str:
        """Its path."""
        return str(self.folder / self.paths[number])


def _folders(folder: Path) -> Found:
    classes = _class_names(folder / "train")
    missing = sorted(set(_class_names(folder / "val")) - set(classes))
    if missing:
        must = f"every class in {folder / 'val'} must also be in {folder / 'train'}"
        raise ValueError(_check.problem(must, ", ".join(missing[:5]), "remove it from val, or add it to train"))
    numbers = {name: number for number, name in enumerate(classes)}
    return Found(_files(folder / "train", numbers), _files(folder / "val", numbers), tuple(classes))


def _class_names(folder: Path) -> list[str]:
    found = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    if not found:
        raise ValueError(_check.problem(f"{folder} must hold a folder for each class", "none", GET))
    return found


def _files(folder: Path, numbers: dict[str, int]) -> Files:
    paths: list[str] = []
    labels: list[int] = []
    for name in _class_names(folder):
        own = []
        for entry in _entries(folder / name):
            if entry.name.lower().endswith(ENDINGS):
                if not entry.stat().st_size:
                    raise ValueError(_check.problem(f"{entry.path} must be an image", "an empty file", "get it again"))
                own.append(f"{name}/{entry.name}")
        if not own:
            must = f"the class {folder / name} must have an image ({', '.join(ENDINGS)})"
            raise ValueError(_check.problem(must, "none", "add some, or remove the folder"))
        paths += sorted(own)
        labels += [numbers[name]] * len(own)
    return Files(folder, paths, labels)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder. Links are followed; one that leads nowhere is an error before the first step."""
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if entry.is_symlink() and not Path(entry.path).exists():
            must, where = f"the link {entry.path} must lead to a file", Path(entry.path).readlink()
            raise ValueError(_check.problem(must, str(where), "mend or remove it"))
    return entries


# ---------------------------------------------------------------- the official archives


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Files in a tar archive that is not compressed: read by their place in it."""

    archive: Path
    names: Sequence[str]
    places: Sequence[tuple[int, int]]  # where each begins, and its size
    labels: Sequence[int]

    def read(self, number: int) -> bytes:
        """The bytes of a file."""
        begin, size = self.places[number]
        with self.archive.open("rb") as stream:
            stream.seek(begin)
            return stream.read(size)

    def name(self, number: int) -> str:
        """The archive, and the name in it."""
        return f"{self.archive}/{self.names[number]}"


def _archives(folder: Path) -> Found:
    for name in (VAL_ARCHIVE, KIT_ARCHIVE):
        if not (folder / name).is_file():
            raise FileNotFoundError(_check.problem(f"{folder} must also contain {name}", None, GET))
    try:
        inner = {}
        with (folder / TRAIN_ARCHIVE).open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as outer:
            for member in sorted(outer, key=lambda member: member.name):
                stream.seek(member.offset_data)  # an archive for each class, at its place in the outer one
                with tarfile.open(fileobj=stream, mode="r:") as archive:
                    inner[PurePosixPath(member.name).stem] = [(m.name, m.offset_data, m.size) for m in archive]
        with tarfile.open(folder / VAL_ARCHIVE, "r:") as archive:
            val = sorted((member.name, member.offset_data, member.size) for member in archive if member.isfile())
        truth = _truth(folder / KIT_ARCHIVE)
    except (tarfile.TarError, EOFError, KeyError) as error:
        must = f"the archives in {folder} must be complete"
        raise ValueError(_check.problem(must, str(error), "compare their MD5 sums with the published ones")) from None
    if len(truth) != len(val) or not set(truth) <= set(inner):
        must = f"{KIT_ARCHIVE} must give a class of {TRAIN_ARCHIVE} for each image of {VAL_ARCHIVE}"
        raise ValueError(_check.problem(must, f"{len(truth)} for {len(val)}", "get the three archives of ILSVRC2012"))
    numbers = {name: number for number, name in enumerate(sorted(inner))}
    train = [(*one, numbers[name]) for name in numbers for one in sorted(inner[name])]
    return Found(
        _members(folder / TRAIN_ARCHIVE, train),
        _members(folder / VAL_ARCHIVE, [(*one, numbers[name]) for one, name in zip(val, truth, strict=True)]),
        tuple(numbers),
    )


def _members(archive: Path, found: list[tuple[str, int, int, int]]) -> Members:
    names, begins, sizes, labels = zip(*found, strict=True)
    return Members(archive, names, list(zip(begins, sizes, strict=True)), labels)


def _truth(path: Path) -> list[str]:
    """The class of each validation image, in the order of their names, from the development kit."""
    from scipy.io import loadmat

    with tarfile.open(path) as kit:
        members = {PurePosixPath(member.name).name: member for member in kit if member.isfile()}
        meta, truth = (kit.extractfile(members[name]) for name in KIT)
        assert meta is not None
        assert truth is not None
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        names = {int(one["ILSVRC2012_ID"]): str(one["WNID"]) for one in synsets}
        return [names[int(line)] for line in truth.read().split()]


# ---------------------------------------------------------------- shards


@dataclass(frozen=True, slots=True, eq=False)
class Shards:
    """Rows of a data set of the library `datasets`."""

    rows: Any
    key: str
    labels: Sequence[int]

    def read(self, number: int) -> bytes:
        """The bytes of a file."""
        return self.rows[number][self.key]["bytes"]

    def name(self, number: int) -> str:
        """The name in the shard, if it has one."""
        return f"image {number} ({self.rows[number][self.key].get('path') or 'no name'})"


def _shards(folder: Path, kind: str) -> Found | None:
    """Parquet as on the Hugging Face hub (columns image, label), or WebDataset (.jpg or .jpeg, .cls)."""
    parts = {half: sorted(map(str, folder.rglob(f"*{half}*.{kind}"))) for half in ("train", "val")}
    if not all(parts.values()):
        return None
    try:
        from datasets import Image, load_dataset  # pyrefly: ignore[missing-import] only for shards
    except ModuleNotFoundError:
        what = "shards of images need the library datasets; install it with: pip install 'cyclr[shards]'"
        raise ModuleNotFoundError(what, name="datasets") from None
    reader = "parquet" if kind == "parquet" else "webdataset"
    loaded = load_dataset(reader, data_files=parts)
    photos: list[Shards] = []
    highest = 0
    for half in parts:
        rows = loaded[half]
        key = next((name for name in ("image", "jpg", "jpeg", "png") if name in rows.column_names), None)
        label = next((name for name in ("label", "cls") if name in rows.column_names), None)
        if key is None or label is None:
            must = f"the shards of {half} in {folder} must have columns image and label, or files .jpg and .cls"
            raise ValueError(_check.problem(must, rows.column_names))
        labels = [int(one) for one in rows[label]]
        photos.append(Shards(rows.cast_column(key, Image(decode=False)), key, labels))
        highest = max(highest, *labels)
    lacking = sorted(set(photos[1].labels) - set(photos[0].labels))
    if lacking:
        raise ValueError(_check.problem("every class in the shards of val must also be in those of train", lacking[:5]))
    return Found(photos[0], photos[1], tuple(map(str, range(highest + 1))))
