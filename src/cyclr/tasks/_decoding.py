"""Batches of photographs: decoded and augmented by a kept library in worker processes, normalised on the device."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cyclr import _check

from ._photos import Photos
from ._seeds import seeded

try:
    from PIL import Image, UnidentifiedImageError
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "the task imagenet needs Pillow; install it with: pip install 'cyclr[images]'", name="PIL"
    ) from None

Transform = Callable[[Image.Image], Image.Image]
Key = tuple[int, int]  # the number of an image, and the seed of its augmentation
Example = tuple[Tensor, int] | str  # a string says what is wrong with the image
RATIO, SMALLEST = (3 / 4, 4 / 3), 0.08  # of a random part: width to height, and the least share of the area
SPARE = 2  # pixels that are decoded for one of the result, on a side: as in Pillow's thumbnails


# ---------------------------------------------------------------- transforms


@dataclass(frozen=True, slots=True)
class Crop:
    """How an image becomes a square of `size` pixels.

    Args:
        size: Height and width of the result.
        full: For "warp", both sides of the whole image before the crop; for "random part", its shorter side in
            evaluations.
        kind: "warp": the whole image as a square of `full` pixels, as in Caffe, then a random crop; "random part": a
            part of at least 8 % of the area, with a ratio of 3:4 to 4:3, scaled to `size`. Both are mirrored with a
            probability of one half. In evaluations: a crop from the centre.
    """

    size: int
    full: int
    kind: str


def decoded_side(crop: Crop, *, train: bool) -> int:
    """The sides down to which a large JPEG may be reduced while it is decoded, without a visible difference."""
    if train and crop.kind == "random part":  # so that even the smallest part has as many pixels as its result
        return math.ceil(crop.size / math.sqrt(SMALLEST * RATIO[0]))
    return SPARE * crop.full


def transform(crop: Crop, *, train: bool, library: str) -> Transform:
    """The function of an image, in torchvision or in Pillow; it draws from torch's global generator.

    Args:
        crop: What to do.
        train: Whether to draw at random.
        library: "torchvision", "pillow", or "auto": torchvision if it can be loaded.
    """
    _check.choice("library", library, ("auto", "torchvision", "pillow"))
    if library != "pillow":
        try:
            return _torchvision(crop, train)
        except (ImportError, RuntimeError, OSError) as error:  # a torchvision that was built for another torch
            if library == "torchvision":
                what = f"library='torchvision' needs a torchvision that fits torch {torch.__version__}"
                raise ImportError(
                    _check.problem(what, str(error), "install the fitting one, or leave it out")
                ) from None
    if not train:
        return lambda image: _centre(image, crop)
    return lambda image: _mirrored(_random_part(image, crop) if crop.kind == "random part" else _warped(image, crop))


def _torchvision(crop: Crop, train: bool) -> Transform:
    from torchvision.transforms import v2  # pyrefly: ignore[missing-import] it must fit torch, so it is not listed

    whole = [crop.full, crop.full] if crop.kind == "warp" else crop.full
    if not train:
        return v2.Compose([v2.Resize(whole), v2.CenterCrop(crop.size)])
    if crop.kind == "random part":
        return v2.Compose([v2.RandomResizedCrop(crop.size, (SMALLEST, 1), RATIO), v2.RandomHorizontalFlip()])
    return v2.Compose([v2.Resize(whole), v2.RandomCrop(crop.size), v2.RandomHorizontalFlip()])


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if torch.rand(()).item() < 0.5 else image


def _warped(image: Image.Image, crop: Crop) -> Image.Image:
    """A random square of the image that is warped to `full` pixels: cut out before it is scaled."""
    left, top = (torch.randint(crop.full - crop.size + 1, (2,))).tolist()
    return _part(image, crop, left, top)


def _part(image: Image.Image, crop: Crop, left: int, top: int) -> Image.Image:
    across, down = image.width / crop.full, image.height / crop.full
    box = (left * across, top * down, (left + crop.size) * across, (top + crop.size) * down)
    return _scaled(image, crop.size, box)


def _random_part(image: Image.Image, crop: Crop) -> Image.Image:
    for _ in range(10):
        area = image.width * image.height * torch.empty(()).uniform_(SMALLEST, 1).item()
        ratio = torch.empty(()).uniform_(*np.log(RATIO)).exp().item()
        width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
        if 0 < width <= image.width and 0 < height <= image.height:
            left = int(torch.randint(image.width - width + 1, ()))
            top = int(torch.randint(image.height - height + 1, ()))
            return _scaled(image, crop.size, (left, top, left + width, top + height))
    side = min(image.width, image.height)  # a very long image
    return _scaled(image, crop.size, _centred(image, side, side))


def _centre(image: Image.Image, crop: Crop) -> Image.Image:
    if crop.kind == "warp":
        begin = (crop.full - crop.size) // 2
        return _part(image, crop, begin, begin)
    side = min(image.width, image.height) * crop.size / crop.full
    return _scaled(image, crop.size, _centred(image, side, side))


def _centred(image: Image.Image, width: float, height: float) -> tuple[float, float, float, float]:
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return (left, top, left + width, top + height)


def _scaled(image: Image.Image, size: int, box: tuple[float, float, float, float]) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)


# ---------------------------------------------------------------- batches


def _coloured(image: Image.Image) -> Image.Image:
    """Three bytes a pixel. Pillow would cut 16 bits of grey off at 255, where their upper 8 are meant.

    Transparency is dropped, as by Pillow, which would warn of a palette of colours that are transparent by degrees.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")
    return image.convert("RGB")


def _opened(content: bytes) -> Image.Image:
    """The image of a file, without the warning about damaged EXIF data: some of ImageNet's are, and none is used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(Possibly c|C)orrupt EXIF data", UserWarning)
        return Image.open(io.BytesIO(content))


class _Decoded(Dataset[Example]):
    """Images by number and seed, as bytes (height, width, 3) with their labels; or what is wrong with one."""

    def __init__(self, photos: Photos, change: Transform, least: int) -> None:
        self.photos, self.change, self.least = photos, change, least

    def __getitem__(self, index: Key) -> Example:
        number, seed = index
        try:
            with _opened(self.photos.read(number)) as image:
                image.draft("RGB", (self.least, self.least))  # JPEG: decode at 1/2, 1/4 or 1/8 if that is enough
                colours = _coloured(image)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            advice = "get it again, or remove it"
            must = f"the image {self.photos.name(number)} must be complete and undamaged"
            return _check.problem(must, str(error).partition(": <")[0], advice)
        with seeded(seed):
            pixels = np.asarray(self.change(colours))
        return torch.from_numpy(pixels.copy()), self.photos.labels[number]


def _together(examples: list[Example]) -> tuple[Tensor, Tensor] | str:
    """A batch, or what is wrong with its first damaged image: an exception would come with a worker's whole trace."""
    good = [example for example in examples if not isinstance(example, str)]
    if len(good) < len(examples):
        return next(example for example in examples if isinstance(example, str))
    return torch.stack([pixels for pixels, _ in good]), torch.tensor([label for _, label in good])


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """What makes tensors of decoded images: the device, and the mean and spread of the pixels (0 to 255)."""

    device: str
    mean: tuple[float, ...]
    spread: tuple[float, ...]


class Loader:
    """Batches of chosen images, in order or in a new random order in each pass.

    The order and the seed of each image's augmentation come from the generator at the beginning of a pass, so that they
    do not depend on the number of workers, and a pass can be resumed in the middle without decoding what came before.

    Args:
        photos: The images.
        chosen: The numbers of those to use.
        batch: Batch size of all processes together.
        crop: How an image becomes a square.
        looks: How it becomes a tensor.
        generator: Source of random numbers for training; None for images in order and without augmentation.
        workers: Processes that decode; 0 decodes in this one.
        share: The index of this process, and the number of processes that train the model together.
        library: "auto", "torchvision" or "pillow".

    Raises:
        ValueError: If the batch cannot be divided by the number of processes, or there are fewer images than processes.
    """

    def __init__(
        self,
        photos: Photos,
        chosen: Sequence[int],
        batch: int,
        crop: Crop,
        looks: Looks,
        *,
        generator: torch.Generator | None = None,
        workers: int = 0,
        share: tuple[int, int] = (0, 1),
        library: str = "auto",
    ) -> None:
        if batch % share[1]:
            advice = f"choose a multiple of {share[1]}, or start as many processes as divide it"
            raise ValueError(_check.problem(f"batch must be divisible by the {share[1]} processes", batch, advice))
        if len(chosen) < share[1]:
            raise ValueError(_check.problem(f"{share[1]} processes need as many images at least", len(chosen)))
        self.photos, self.chosen, self.looks, self.generator = photos, chosen, looks, generator
        self.workers, self.share = workers, share
        self.shuffle = generator is not None  # a range test asks for this
        self.batch = batch // share[1]
        change = transform(crop, train=self.shuffle, library=library)
        self.data = _Decoded(photos, change, decoded_side(crop, train=self.shuffle))
        self.mean, self.spread = (torch.tensor(values, device=looks.device) for values in (looks.mean, looks.spread))

    def __len__(self) -> int:
        """Number of batches per pass: alike in all processes."""
        return len(self._parts())

    def __iter__(self) -> Pass:
        """One pass."""
        count, (rank, size) = len(self.chosen), self.share
        if self.generator is None:
            order, seeds = torch.arange(count), torch.zeros(count, dtype=torch.int64)
        else:
            order = torch.randperm(count, generator=self.generator)
            seeds = torch.randint(2**62, (count,), generator=self.generator)
        keys = [(self.chosen[place], seed) for place, seed in zip(order.tolist(), seeds.tolist(), strict=True)]
        return Pass(self, [keys[begin + rank : end : size] for begin, end in self._parts()])

    def _parts(self) -> list[tuple[int, int]]:
        """Where the batches of all processes together begin and end; each process has an image of every batch.

        Images that cannot be divided are left out of a pass of training, whose order is new each time. In evaluations
        none is left out, and a last batch of fewer images than processes belongs to the one before.
        """
        whole, size = self.batch * self.share[1], self.share[1]
        count = len(self.chosen) if self.generator is None else len(self.chosen) - len(self.chosen) % size
        begins = list(range(0, count, whole))
        if len(begins) > 1 and count - begins[-1] < size:
            del begins[-1]
        return list(zip(begins, [*begins[1:], count], strict=True))


class Pass(Iterator[tuple[Tensor, Tensor]]):
    """One pass over a loader; workers begin with the first batch."""

    def __init__(self, loader: Loader, batches: list[list[Key]]) -> None:
        self.loader, self.batches = loader, batches
        self.decoded: Iterator[tuple[Tensor, Tensor] | str] | None = None

    def skip(self, count: int) -> None:
        """Leave out the next batches without decoding them; only before the first one."""
        self.batches = self.batches[count:]

    def __next__(self) -> tuple[Tensor, Tensor]:
        looks = self.loader.looks
        if self.decoded is None:
            on_gpu = torch.device(looks.device).type == "cuda"
            self.decoded = iter(
                DataLoader(
                    self.loader.data,
                    batch_sampler=self.batches,
                    collate_fn=_together,
                    num_workers=self.loader.workers,
                    pin_memory=on_gpu,
                    generator=torch.Generator(),  # else it would draw from the global one
                )
            )
        found = next(self.decoded)
        if isinstance(found, str):
            raise ValueError(found)
        pixels, labels = (part.to(looks.device, non_blocking=True) for part in found)
        return ((pixels - self.loader.mean) / self.loader.spread).permute(0, 3, 1, 2), labels  # channels-last in memory
