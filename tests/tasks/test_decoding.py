"""Photographs of every kind go through the whole input path, and come out as Pillow decodes them."""

from __future__ import annotations

import importlib
import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("PIL")
from PIL import Image

from cyclr.tasks._decoding import Crop, Loader, Looks, transform
from cyclr.tasks._photos import Files
from cyclr.tasks.imagenet import imagenet

CROPS = [Crop(40, 45, "warp"), Crop(40, 46, "random part")]  # in the proportions of the networks
SAMPLE = "CYCLR_IMAGENET_SAMPLE"


def has_torchvision() -> bool:
    try:
        importlib.import_module("torchvision.transforms.v2")
    except (ImportError, RuntimeError):
        return False
    return True


fits = pytest.mark.skipif(not has_torchvision(), reason="no torchvision that fits torch is installed")
LIBRARIES = ["pillow", pytest.param("torchvision", marks=fits)]


def scene(width: int, height: int) -> Image.Image:
    """Smooth colours with a dark stripe: nothing in it is symmetric."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([255 * across, 255 * down, 120 + 100 * np.sin(7 * across + 3 * down)], axis=2)
    pixels[:, width // 5 : width // 4] /= 3
    return Image.fromarray(pixels.astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to show"
    return exif


def see_through(image: Image.Image) -> bytes:
    """A palette of which some colours are transparent, each to its own degree."""
    return saved(image.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))


SMALL, LARGE = scene(90, 70), scene(700, 520)
PICTURES: dict[str, Callable[[], bytes]] = {
    "500x1": lambda: saved(scene(500, 1), "JPEG"),
    "1x500": lambda: saved(scene(1, 500), "JPEG"),
    "1x1": lambda: saved(scene(1, 1), "JPEG"),
    "panorama": lambda: saved(scene(1500, 60), "JPEG"),
    "tower": lambda: saved(scene(60, 1500), "JPEG"),
    "smaller than the crop": lambda: saved(scene(17, 23), "JPEG"),
    "grey": lambda: saved(SMALL.convert("L"), "JPEG"),
    "CMYK": lambda: saved(SMALL.convert("CMYK"), "JPEG", quality=95),
    "progressive": lambda: saved(SMALL, "JPEG", progressive=True),
    "all colours sampled": lambda: saved(SMALL, "JPEG", subsampling=0),
    "turned by its EXIF": lambda: saved(SMALL, "JPEG", exif=turned()),
    "EXIF that is damaged": lambda: saved(SMALL, "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x09\x01"),
    "with bytes after its end": lambda: saved(SMALL, "JPEG") + bytes(1000),
    "PNG": lambda: saved(SMALL, "PNG"),
    "PNG of 16 bits and colours": lambda: png_of_16_bits(SMALL),
    "interlaced by rows": lambda: saved(SMALL, "GIF", interlace=1),
    "palette": lambda: saved(SMALL.quantize(16), "PNG"),
    "palette, one colour transparent": lambda: saved(SMALL.quantize(16), "PNG", transparency=3),
    "palette, transparent by degrees": lambda: see_through(SMALL),
    "transparent": lambda: saved(SMALL.convert("RGBA"), "PNG"),
    "grey and transparent": lambda: saved(SMALL.convert("LA"), "PNG"),
    "black and white": lambda: saved(SMALL.convert("1"), "PNG"),
    "WebP": lambda: saved(SMALL, "WEBP"),
    "BMP": lambda: saved(SMALL, "BMP"),
}


def png_of_16_bits(image: Image.Image) -> bytes:
    """Colours of 16 bits, which Pillow reads and does not write."""
    import struct
    import zlib

    rows = (np.asarray(image).astype(">u2") * 257).tobytes()
    width, height = image.size
    lines = b"".join(b"\0" + rows[6 * width * row : 6 * width * (row + 1)] for row in range(height))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def decoded(folder: Path, names: list[str], crop: Crop, library: str, *, train: bool) -> np.ndarray:
    """What the loader makes of files, as bytes: images, height, width, colours."""
    generator = torch.Generator().manual_seed(0) if train else None
    looks = Looks("cpu", (0, 0, 0), (1, 1, 1))
    photos = Files(folder, names, [0] * len(names))
    loader = Loader(photos, range(len(names)), len(names), crop, looks, generator=generator, library=library)
    ((images, _),) = loader
    return images.permute(0, 2, 3, 1).numpy()


def plainly(path: Path, crop: Crop, library: str) -> np.ndarray:
    """The same of one file, decoded in full."""
    with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
        colours = image.convert("RGB")
    return np.asarray(transform(crop, train=False, library=library)(colours)).astype(float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pictures, whatever they are, with the name of a JPEG: ImageNet has a PNG of this kind."""
    place = tmp_path_factory.mktemp("pictures")
    for name, encoded in PICTURES.items():
        (place / f"{name}.JPEG").write_bytes(encoded())
    return place


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("crop", CROPS, ids=["warp", "random part"])
def test_a_picture_of_any_kind_is_decoded_as_pillow_does(folder: Path, crop: Crop, library: str) -> None:
    names = [f"{name}.JPEG" for name in PICTURES]
    found = decoded(folder, names, crop, library, train=False)
    assert found.shape == (len(names), 40, 40, 3)
    different = [
        name for name, one in zip(names, found, strict=True) if not (one == plainly(folder / name, crop, library)).all()
    ]
    assert different == []


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("crop", CROPS, ids=["warp", "random part"])
def test_a_picture_of_any_kind_is_augmented(folder: Path, crop: Crop, library: str) -> None:
    found = decoded(folder, [f"{name}.JPEG" for name in PICTURES], crop, library, train=True)
    assert found.shape == (len(PICTURES), 40, 40, 3)
    assert found.min() >= 0
    assert found.max() <= 255
    flat = found.std(axis=(1, 2)).max(axis=1) < 1
    single = 3 if crop.kind == "random part" else 1  # what is one pixel high or wide has no part but a single pixel
    assert flat.sum() <= single


def test_what_is_decoded_smaller_looks_as_what_is_decoded_in_full(tmp_path: Path) -> None:
    (tmp_path / "large.JPEG").write_bytes(saved(LARGE, "JPEG", quality=95))
    for crop in CROPS:
        (found,) = decoded(tmp_path, ["large.JPEG"], crop, "pillow", train=False)
        with Image.open(tmp_path / "large.JPEG") as image:
            image.draft("RGB", (2 * crop.full, 2 * crop.full))
            assert image.width < 700, "it is large enough to be decoded at a fraction of its size"
        assert np.abs(found - plainly(tmp_path / "large.JPEG", crop, "pillow")).mean() < 1


def test_a_random_part_keeps_the_details_of_a_large_picture(tmp_path: Path) -> None:
    """At an eighth of the size, which is enough for an evaluation, nothing would be left of the stripes."""
    stripes = np.tile(np.repeat(np.array([0, 255], np.uint8), 4), (400, 50))  # four pixels wide
    (tmp_path / "stripes.JPEG").write_bytes(saved(Image.fromarray(stripes), "JPEG", quality=95))
    crop = CROPS[1]
    several = decoded(tmp_path, ["stripes.JPEG"] * 60, crop, "pillow", train=True)
    assert several.std(axis=2).max() > 40, "in the smallest parts the stripes are seen"


@pytest.mark.skipif(SAMPLE not in os.environ, reason=f"{SAMPLE} names no folder with photographs of ImageNet")
@pytest.mark.parametrize("network", ["alexnet", "resnet50"])
def test_photographs_of_imagenet_are_decoded_as_pillow_does(tmp_path: Path, network: str) -> None:
    """A folder that holds one for each class, or such a folder named val."""
    sample = Path(os.environ[SAMPLE])
    sample = sample / "val" if (sample / "val").is_dir() else sample
    for half in ("train", "val"):
        (tmp_path / half).symlink_to(sample.resolve())
    task = imagenet(0, data=tmp_path, network=network, batch=4, width=0.05, library="pillow")
    count = 0
    for images, labels in task.train_loader:
        assert images.isfinite().all()
        assert len(images) == len(labels) <= 4
        count += len(images)
    loader = task.test_loader
    assert count == len(loader.photos.labels) > 0
    crop = Crop(227, 256, "warp") if network == "alexnet" else Crop(224, 256, "random part")
    worst: dict[str, float] = {}
    for number in range(count):
        pixels, _ = loader.data[number, 0]
        path = Path(loader.photos.name(number))
        worst[path.name] = float(np.abs(pixels.numpy() - plainly(path, crop, "pillow")).mean())
    assert {name: difference for name, difference in worst.items() if difference > 0.6} == {}
