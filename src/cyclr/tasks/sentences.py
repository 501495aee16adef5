"""Sentiment of sentences: the Stanford Sentiment Treebank in two classes, or any file of sentences with labels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.optim import Adam, Optimizer

from cyclr import _check
from cyclr.torch import Task

from ._classify import Examples, classification

LONGEST = 64  # words of a sentence; the rest is cut off
PARTS = ("train", "dev", "test")
GET = (
    "get train.tsv, dev.tsv and test.tsv from https://github.com/clairett/pytorch-sentiment-classification (data/SST2) "
    "and pass data=FOLDER; each line is a sentence, a tab and its label 0 or 1"
)
GLUE = "index\tsentence"  # the heading of the test sentences of GLUE, https://gluebenchmark.com/tasks


def sentences(seed: int, *, data: str | Path | None = None, tuning: bool = False) -> Task:
    """Classify sentences with the convolutional network of Kim (2014): 3 widths, 50 channels each, Adam.

    Words are separated by blanks; those that the training sentences do not contain are one word. Each word is a vector
    of 50 numbers that begin at random, with a spread of 0.1; convolutions over 3, 4 and 5 words, the maximum over the
    sentence, dropout of one half, a linear classifier. Batches of 50, so 139 steps per epoch of SST-2's 6,920
    sentences. Adam with rate 1e-3.

    Args:
        seed: Random seed for the weights and the order of the batches. Dropout draws from torch's global generator.
        data: The folder with `train.tsv`, `dev.tsv` and `test.tsv`: on each line a sentence, a tab and a label, which
            counts from 0 without gaps. A first line `sentence`, a tab and `label` is a heading, as in GLUE's SST-2,
            whose `test.tsv` has no labels: take another one, or a part of `dev.tsv`.
        tuning: Use `dev.tsv` as `val_loader`, for tuning rates; there is then no test data.

    Returns:
        The task; its metric is the accuracy, a fraction.

    Raises:
        TypeError: If an argument is of the wrong kind.
        FileNotFoundError: If a file is missing; the message says where to get it.
        ValueError: If the seed is negative, a line is not a sentence with a label, or a label is not in `train.tsv`.

    Source:
        Socher et al. (2013), Recursive deep models for semantic compositionality over a sentiment treebank. Kim (2014),
        Convolutional neural networks for sentence classification, https://arxiv.org/abs/1408.5882.
    """
    if data is None:
        raise FileNotFoundError(_check.problem("the task sentences needs the path of its data", None, GET))
    if not isinstance(data, (str, Path)):
        raise TypeError(_check.problem("data must be a path", data, GET))
    train, dev, test, words = _read(Path(data))
    classes = int(train.labels.max()) + 1
    if not tuning:
        return classification(train, test, lambda: Kim(words, classes), _adam, seed=seed, batch=50, held_out=0)
    both = Examples(torch.cat([train.inputs, dev.inputs]), torch.cat([train.labels, dev.labels]))
    return classification(both, test, lambda: Kim(words, classes), _adam, seed=seed, batch=50, held_out=len(dev))


class Kim(nn.Module):
    """Scores of the classes of sentences (n, `LONGEST`), given as numbers of words; 0 is no word.

    Args:
        words: Number of words that are known, 0 included.
        classes: Number of classes.
        width: Numbers of a word, and channels of each convolution.
    """

    def __init__(self, words: int, classes: int, width: int = 50) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=0)
        with torch.no_grad():  # at torch's own spread of 1 the loss of a range test hardly falls
            self.words.weight.mul_(0.1)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, size, padding=size // 2) for size in (3, 4, 5))
        self.drop, self.classify = nn.Dropout(), nn.Linear(3 * width, classes)

    def forward(self, sentences: Tensor) -> Tensor:
        """Scores (n, classes)."""
        vectors = self.words(sentences).transpose(1, 2)
        found = [relu(convolution(vectors)).amax(dim=2) for convolution in self.convolutions]
        return self.classify(self.drop(torch.cat(found, dim=1)))


def _adam(model: nn.Module) -> Optimizer:
    return Adam(model.parameters(), lr=1e-3)


# Read once per process: a study makes the task anew for each run. These tensors are never modified.
@lru_cache(maxsize=1)
def _read(folder: Path) -> tuple[Examples, Examples, Examples, int]:
    read = {part: _lines(folder / f"{part}.tsv") for part in PARTS}
    known = {label for _, label in read["train"]}
    if known != set(range(len(known))):
        must = f"the labels in {folder / 'train.tsv'} must count from 0 without gaps"
        raise ValueError(_check.problem(must, sorted(known)[:9]))
    for part in PARTS[1:]:
        if strange := sorted({label for _, label in read[part]} - known):
            must = f"every label in {folder / f'{part}.tsv'} must also be in train.tsv"
            raise ValueError(_check.problem(must, strange[0], "correct it, or remove its lines"))
    words = {word: number for number, word in enumerate(sorted({w for line, _ in read["train"] for w in line}), 2)}
    train, dev, test = (_examples(read[part], words) for part in PARTS)
    return train, dev, test, len(words) + 2


def _lines(path: Path) -> list[tuple[list[str], int]]:
    """The words and the label of each line."""
    if not path.is_file():
        raise FileNotFoundError(_check.problem(f"the data folder must contain {path.name}", str(path.parent), GET))
    found = []
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")  # splitlines also splits at U+2028
    except UnicodeDecodeError as error:
        raise ValueError(_check.problem(f"{path} must be UTF-8", str(error), "save it as UTF-8")) from None
    if lines == [""]:
        raise ValueError(_check.problem(f"{path} must have a line", "none", GET))
    if lines[0].lower() == GLUE:
        advice = "GLUE does not publish them: take the test.tsv of another copy, or a part of dev.tsv"
        raise ValueError(_check.problem(f"{path} must have labels", "that of GLUE", advice))
    for number, line in enumerate(lines, 1):
        sentence, tab, label = line.rpartition("\t")
        if number == 1 and sentence.lower() == "sentence":
            continue
        if not tab or not sentence.strip() or not label.isdecimal():
            must = f"line {number} of {path} must be a sentence, a tab and a label such as 0"
            raise ValueError(_check.problem(must, line))
        found.append((sentence.split()[:LONGEST], int(label)))
    if not found:
        raise ValueError(_check.problem(f"{path} must have a line", "none", GET))
    return found


def _examples(read: list[tuple[list[str], int]], words: dict[str, int]) -> Examples:
    inputs = torch.zeros(len(read), LONGEST, dtype=torch.int64)
    for row, (sentence, _) in zip(inputs, read, strict=True):
        row[: len(sentence)] = torch.tensor([words.get(word, 1) for word in sentence])
    return Examples(inputs, torch.tensor([label for _, label in read]))
