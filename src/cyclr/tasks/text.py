"""Next-byte prediction with a small transformer, on half of Moby-Dick or on your own text file."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from cyclr import _check
from cyclr.torch import Task

from ._seeds import seeded
from ._transformer import Transformer

WINDOW = 64  # bytes of context
BATCH = 16  # windows per batch
JUDGED_AT_ONCE = 64
SHARE = 10  # the text is divided by this: one part is the test text, and one is held out for tuning
BASE_LR = 1e-3
WEIGHT_DECAY = 0.1


def text(seed: int, *, data: str | Path | None = None, tuning: bool = False, device: str = "cpu") -> Task:
    """Predict the next byte of English prose: a transformer of 2 layers, width 64, 4 heads and 136,000 weights, AdamW.

    The first nine tenths of the text are for training, the last is the test text. A batch is 16 windows of 64 bytes,
    so 425 steps per epoch. In each epoch the training text is cut into non-overlapping windows at a new random
    offset, in a new random order. No window extends into another part. AdamW has a weight decay of 0.1
    on the matrices, and betas 0.9 and 0.95.

    The loss is in nats per byte, which is a character of this text; divide by log(2) for bits. The metric is the
    next-byte accuracy.

    Args:
        seed: Random seed for the weights and for the offsets and the order of the windows.
        data: Path of a text file in UTF-8; by default the first 50 chapters of Moby-Dick, 483,895 bytes.
        tuning: Hold out the last ninth of the training text as `val_loader`, for tuning rates; there is then no test
            text.
        device: The device of the network and the text.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If there is no such file.
        ValueError: If the seed is negative, or the file is not valid UTF-8 or too short.

    >>> task = text(0)
    >>> task.steps_per_epoch, sum(parameter.numel() for parameter in task.model.parameters())
    (425, 135808)
    >>> inputs, targets = next(iter(task.test_loader))
    >>> bytes(inputs[0, :20].tolist()), bytes(targets[0, :20].tolist())
    (b' that early hour of ', b'that early hour of t')

    Source:
        Melville (1851), Moby-Dick; or, The Whale.
    """
    seed = _check.count("seed", seed, "pass an int such as 0", least=0)
    whole = _embedded() if data is None else _file(data)
    tenth = len(whole) // SHARE
    if tenth <= WINDOW:
        must = f"{data} must have at least {SHARE * (WINDOW + 1)} bytes"
        raise ValueError(_check.problem(must, f"{len(whole)} bytes", "pass a longer text"))
    whole = whole.to(device)
    train, held, test = whole.split([len(whole) - 2 * tenth, tenth, tenth])
    if not tuning:
        train = whole[: len(whole) - tenth]
    with seeded(seed):
        model = Transformer(symbols=256, window=WINDOW, width=64, heads=4, layers=2).to(device)
    return Task(
        model=model,
        optimizer=AdamW(model.groups(WEIGHT_DECAY), lr=BASE_LR, betas=(0.9, 0.95)),
        loss_fn=loss,
        train_loader=Shuffled(train, torch.Generator().manual_seed(seed)),
        val_loader=InOrder(held) if tuning else None,
        test_loader=None if tuning else InOrder(test),
        metrics={"accuracy": accuracy},
        outputs="logits",
    )


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Nats per byte, averaged over all positions of all windows."""
    return cross_entropy(outputs.flatten(0, 1), targets.flatten())


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The fraction of positions whose largest output is that of the next byte."""
    return (outputs.argmax(dim=-1) == targets).float().mean()


@dataclass(frozen=True, slots=True, eq=False)
class InOrder:
    """A loader of a text from its beginning on: non-overlapping windows as inputs, shifted by one byte as targets."""

    text: Tensor  # bytes

    def __len__(self) -> int:
        """Number of batches per pass."""
        return -(-((len(self.text) - 1) // WINDOW) // JUDGED_AT_ONCE)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass."""
        windows = _windows(self.text)
        for start in range(0, len(windows), JUDGED_AT_ONCE):
            yield _pair(windows[start : start + JUDGED_AT_ONCE])


class Shuffled:
    """A loader with different windows of a text in each pass, in random order; the number of batches is constant.

    Args:
        text: The text as bytes.
        generator: Source of the offset of the first window and of the order.
    """

    def __init__(self, text: Tensor, generator: torch.Generator) -> None:
        self.text, self.generator = text, generator
        self.shuffle = True  # a range test asks for this
        self._windows = (len(text) - WINDOW) // WINDOW  # the number of windows for every offset
        self._batch = min(BATCH, self._windows)

    def __len__(self) -> int:
        """Number of batches per pass."""
        return self._windows // self._batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass."""
        begin = int(torch.randint(WINDOW, (), generator=self.generator))
        order = torch.randperm(self._windows, generator=self.generator).to(self.text.device)
        windows = _windows(self.text[begin:])
        for batch in range(len(self)):
            yield _pair(windows[order[batch * self._batch : (batch + 1) * self._batch]])


def _windows(text: Tensor) -> Tensor:
    """All windows, with the byte after each, as a view."""
    return text.unfold(0, WINDOW + 1, WINDOW)


def _pair(windows: Tensor) -> tuple[Tensor, Tensor]:
    symbols = windows.long()
    return symbols[:, :-1], symbols[:, 1:]


def _file(data: str | Path) -> Tensor:
    if not isinstance(data, (str, Path)):
        raise TypeError(_check.problem("data must be a path", data, "pass the path of a text file"))
    path = Path(data)
    if not path.is_file():
        raise FileNotFoundError(_check.problem("data must be an existing text file", str(data), "check the path"))
    raw = path.read_bytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        advice = "save it as UTF-8"
        given = f"an invalid byte at position {error.start}"
        raise ValueError(_check.problem(f"{path} must be UTF-8", given, advice)) from None
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)


# Read once per process: a study makes the task anew for each run. This tensor is never modified.
@lru_cache(maxsize=1)
def _embedded() -> Tensor:
    packed = (files("cyclr.tasks") / "data/moby_dick.txt.bz2").read_bytes()
    return torch.frombuffer(bytearray(bz2.decompress(packed)), dtype=torch.uint8)
