"""Images as bytes on one device, and the loaders that make batches of them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

SHIFT = 4  # maximum shift of an augmented image in pixels


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images (n, height, width, channels) as bytes, and their labels."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class InOrder:
    """A loader of batches in the order of the file, minus the mean, in the fastest memory layout for convolutions.

    Args:
        dataset: The images.
        mean: The mean to subtract.
        batch: Batch size.
        spread: What to divide by after that, if anything.
    """

    dataset: Images
    mean: Tensor
    batch: int
    spread: Tensor | None = None

    def __len__(self) -> int:
        """Number of batches per pass."""
        return -(-len(self.dataset) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass."""
        for start in range(0, len(self.dataset), self.batch):
            chosen = slice(start, start + self.batch)
            # the view is already channels-last in memory
            inputs = centred(self.dataset.images[chosen], self.mean, self.spread)
            yield inputs.permute(0, 3, 1, 2), self.dataset.labels[chosen]


class Drawn:
    """A loader like `InOrder`, with the order, the augmentation or both drawn from a generator.

    All random numbers of a pass are drawn on the CPU at its start and moved to the device at once: the same seed gives
    the same batches on every device, and no step waits for random numbers.

    Args:
        dataset: The images.
        mean: The mean to subtract.
        batch: Batch size.
        generator: Source of random numbers, on the CPU.
        shuffled: Whether to draw a new order for each pass.
        augment: Whether to shift each image by up to 4 pixels in each direction, padded with the mean, and to mirror it
            with a probability of one half.
        spread: What to divide by after subtracting the mean, if anything.
    """

    def __init__(
        self,
        dataset: Images,
        mean: Tensor,
        batch: int,
        generator: torch.Generator,
        *,
        shuffled: bool = True,
        augment: bool = False,
        spread: Tensor | None = None,
    ) -> None:
        self.spread = spread
        self.dataset, self.mean, self.batch, self.generator = dataset, mean, batch, generator
        self.shuffle, self.augment = (
            shuffled,
            augment,
        )  # a range test asks for `shuffle`

    def __len__(self) -> int:
        """Number of batches per pass."""
        return -(-len(self.dataset) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass."""
        count, device = len(self.dataset), self.dataset.labels.device
        drawn = torch.randperm(count, generator=self.generator) if self.shuffle else torch.arange(count)
        order = drawn.to(device)
        moves = _draw(count, self.generator).to(device) if self.augment else None
        for start in range(0, count, self.batch):
            chosen = order[start : start + self.batch]
            inputs = centred(self.dataset.images[chosen], self.mean, self.spread)
            if moves is not None:
                inputs = moved(inputs, moves[:, start : start + self.batch])
            yield inputs.permute(0, 3, 1, 2), self.dataset.labels[chosen]


def centred(images: Tensor, mean: Tensor, spread: Tensor | None) -> Tensor:
    """Bytes minus the mean, divided by the spread."""
    return images - mean if spread is None else (images - mean) / spread


def moved(images: Tensor, moves: Tensor) -> Tensor:
    """Crops of images (n, height, width, channels) that are padded with a border of `SHIFT` zeros.

    Args:
        images: The images.
        moves: (3, n): the row and the column at which each crop begins, and 1 if it is mirrored.
    """
    _, height, width, _ = images.shape
    down, across, mirrored = moves[:, :, None]
    rows = down + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    columns = across + torch.where(mirrored == 1, width - 1 - columns, columns)
    numbers = torch.arange(len(images), device=images.device)
    bordered = pad(images, (0, 0, SHIFT, SHIFT, SHIFT, SHIFT))
    return bordered[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]


def _draw(count: int, generator: torch.Generator) -> Tensor:
    begins = torch.randint(2 * SHIFT + 1, (2, count), generator=generator)
    return torch.cat([begins, torch.randint(2, (1, count), generator=generator)])
