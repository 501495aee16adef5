"""Where the photographs of ImageNet are: a folder a class, the official archives, or shards; none of it is unpacked."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from cyclr import _check

VARIABLE = "CYCLR_DATA"
ENDINGS = (".jpeg", ".jpg", ".png", ".webp", ".bmp")
TRAIN_ARCHIVE, VAL_ARCHIVE = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
KIT_ARCHIVE, KIT = "ILSVRC2012_devkit_t12.tar.gz", ("meta.mat", "ILSVRC2012_validation_ground_truth.txt")
ANNOTATIONS = "val_annotations.txt"  # of Tiny-ImageNet as published: which class each image of val/images has
NAMES = ("imagenet", "ILSVRC2012", "tiny-imagenet-200")  # the folders that are looked for below that of all data
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


def find(data: str | Path | None) -> Found:
    """The images in a folder, or in the only one of `NAMES` below it.

    Args:
        data: The folder; by default that in the environment variable CYCLR_DATA.

    Raises:
        TypeError: If `data` is not a path.
        FileNotFoundError: If there is no such folder, or it holds no images in a known form.
        ValueError: If several data sets are below the folder, a class has no images, a class of val/ is not in train/,
            or a link leads nowhere.
    """
    given = os.environ.get(VARIABLE) if data is None else data
    if given is not None and not isinstance(given, (str, Path)):
        raise TypeError(_check.problem("data must be a path", given, GET))
    if not given:
        raise FileNotFoundError(_check.problem("the task imagenet needs the path of its data", None, GET))
    here = Path(given)
    below = () if _is_data(here) else tuple(here / name for name in NAMES)
    readers = {folder: reader for folder in below if folder.is_dir() and (reader := _reader(folder)) is not None}
    if len(readers) > 1:
        names = ", ".join(folder.name for folder in readers)
        raise ValueError(_check.problem(f"{here} must hold one data set", names, "pass the path of one of them"))
    reader = next(iter(readers.values()), None) or _reader(here)  # shards are looked for at any depth, so here last
    if reader is None:
        must = "data must be a folder with train/ and val/, the official archives, or shards named train* and val*"
        raise FileNotFoundError(_check.problem(must, str(given), GET))
    return reader()


def _is_data(folder: Path) -> bool:
    """Whether a folder is itself a data set, in another form than shards."""
    return ((folder / "train").is_dir() and (folder / "val").is_dir()) or (folder / TRAIN_ARCHIVE).is_file()


def _reader(folder: Path) -> Callable[[], Found] | None:
    """The function that reads a folder; None if it holds no images in a known form."""
    if _is_data(folder):
        return partial(_archives if (folder / TRAIN_ARCHIVE).is_file() else _folders, folder)
    for kind in ("parquet", "tar"):
        parts = {half: sorted(map(str, folder.rglob(f"*{half}*.{kind}"))) for half in ("train", "val")}
        if all(parts.values()):
            return partial(_shards, folder, kind, parts)
    return None


def check_labels(train: Sequence[int], val: Sequence[int], classes: Sequence[str], where: tuple[str, str]) -> None:
    """Every class must have a training image, and no image another label.

    Args:
        train: The labels of the training images.
        val: Those of the validation images.
        classes: The names of the classes; labels count from 0.
        where: What holds the images of train and of val, for messages.

    Raises:
        ValueError: If not.
    """
    own = set(train)
    for labels, place in ((own, where[0]), (set(val), where[1])):
        if strange := sorted(label for label in labels if not 0 <= label < len(classes)):
            advice = "-1 marks images without a label: leave them out" if strange[0] < 0 else ""
            raise ValueError(
                _check.problem(f"the labels in {place} must be 0 to {len(classes) - 1}", strange[:5], advice)
            )
    if lacking := [name for number, name in enumerate(classes) if number not in own]:
        must = f"the class {lacking[0]} in {where[0]} must have an image"
        raise ValueError(_check.problem(must, "none", "add some, or remove the class"))


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
    numbers = {name: number for number, name in enumerate(classes)}
    annotated = (folder / "val" / ANNOTATIONS).is_file()
    labels = _annotations(folder / "val") if annotated else {}
    missing = sorted((set(labels.values()) if annotated else set(_class_names(folder / "val"))) - set(classes))
    if missing:
        must = f"every class in {folder / 'val'} must also be in {folder / 'train'}"
        raise ValueError(_check.problem(must, ", ".join(missing[:5]), "remove it from val, or add it to train"))
    val = folder / "val"
    if not annotated:
        return Found(_files(folder / "train", numbers), _files(val, numbers), tuple(classes))
    names = _images_in(val / "images")
    if set(names) != set(labels):
        odd = sorted(set(names) ^ set(labels))
        must = f"{val / ANNOTATIONS} must have a line for each image of {val / 'images'}, and no other"
        raise ValueError(_check.problem(must, ", ".join(odd[:5]), "get Tiny-ImageNet again"))
    paths = [f"images/{name}" for name in names]
    return Found(
        _files(folder / "train", numbers), Files(val, paths, [numbers[labels[n]] for n in names]), tuple(classes)
    )


def _annotations(folder: Path) -> dict[str, str]:
    """The class of each image of Tiny-ImageNet's val/images."""
    rows = [line.split("\t") for line in (folder / ANNOTATIONS).read_text(encoding="utf-8").split("\n") if line]
    if bad := [row for row in rows if len(row) < 2]:
        must = f"each line of {folder / ANNOTATIONS} must be a file, a tab and its class"
        raise ValueError(_check.problem(must, bad[0][0], "get Tiny-ImageNet again"))
    return {row[0]: row[1] for row in rows}


def _class_names(folder: Path) -> list[str]:
    found = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    if not found:
        raise ValueError(_check.problem(f"{folder} must hold a folder for each class", "none", GET))
    return found


def _files(folder: Path, numbers: dict[str, int]) -> Files:
    paths: list[str] = []
    labels: list[int] = []
    for name in _class_names(folder):
        inner = f"{name}/images" if (folder / name / "images").is_dir() else name  # as in Tiny-ImageNet as published
        own = _images_in(folder / inner)
        if not own:
            must = f"the class {folder / name} must have an image ({', '.join(ENDINGS)})"
            raise ValueError(_check.problem(must, "none", "add some, or remove the folder"))
        paths += [f"{inner}/{one}" for one in own]
        labels += [numbers[name]] * len(own)
    return Files(folder, paths, labels)


def _images_in(folder: Path) -> list[str]:
    """The names of the images in a folder, sorted."""
    entries = [entry for entry in _entries(folder) if entry.name.lower().endswith(ENDINGS)]
    for entry in entries:
        if not entry.stat().st_size:
            raise ValueError(_check.problem(f"{entry.path} must be an image", "an empty file", "get it again"))
    return sorted(entry.name for entry in entries)


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
                    inner[PurePosixPath(member.name).stem] = [
                        (m.name, m.offset_data, m.size) for m in archive if m.isfile()
                    ]
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
    kept = [(*one, numbers[name]) for one, name in zip(val, truth, strict=True)]
    where = (str(folder / TRAIN_ARCHIVE), str(folder / VAL_ARCHIVE))
    check_labels([one[3] for one in train], [one[3] for one in kept], tuple(numbers), where)
    return Found(_members(folder / TRAIN_ARCHIVE, train), _members(folder / VAL_ARCHIVE, kept), tuple(numbers))


def _members(archive: Path, found: list[tuple[str, int, int, int]]) -> Members:
    names, begins, sizes, labels = zip(*found, strict=True)
    if 0 in sizes:
        must = f"{archive}/{names[sizes.index(0)]} must be an image"
        raise ValueError(_check.problem(must, "an empty file", "get the archive again"))
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


def _shards(folder: Path, kind: str, parts: dict[str, list[str]]) -> Found:
    """Parquet as on the Hugging Face hub (columns image, label), or WebDataset (.jpg or .jpeg, .cls)."""
    try:
        from datasets import Image, load_dataset
    except ModuleNotFoundError:
        what = "shards of images need the library datasets; install it with: pip install 'cyclr[shards]'"
        raise ModuleNotFoundError(what, name="datasets") from None
    reader = "parquet" if kind == "parquet" else "webdataset"
    loaded = load_dataset(reader, data_files=parts)
    photos: list[Shards] = []
    for half in parts:
        rows = loaded[half]
        key = next((name for name in ("image", "jpg", "jpeg", "png") if name in rows.column_names), None)
        label = next((name for name in ("label", "cls") if name in rows.column_names), None)
        if key is None or label is None:
            must = f"the shards of {half} in {folder} must have columns image and label, or files .jpg and .cls"
            raise ValueError(_check.problem(must, rows.column_names))
        labels = [int(one) for one in rows[label]]
        photos.append(Shards(rows.cast_column(key, Image(decode=False)), key, labels))
    train, val = photos
    classes = tuple(map(str, range(max([*train.labels, *val.labels, 0]) + 1)))
    where = (f"the shards of train in {folder}", f"the shards of val in {folder}")
    check_labels(train.labels, val.labels, classes, where)
    return Found(train, val, classes)
