from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cyclr import Constant
from cyclr.tasks.sentences import LONGEST, sentences
from cyclr.torch import train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sentences whose label says whether they contain the word `good`."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 300), ("dev", 60), ("test", 60)):
        lines = []
        for number in range(count):
            words = [f"w{one}" for one in rng.integers(30, size=rng.integers(3, 12))]
            words.insert(int(rng.integers(len(words))), "good" if number % 2 else "bad")
            lines.append(f"{' '.join(words)}\t{number % 2}")
        (tmp_path / f"{part}.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_a_word_that_decides_is_learnt(folder: Path) -> None:
    torch.manual_seed(0)
    task = sentences(0, data=folder)
    assert task.steps_per_epoch == 6
    (point,) = train(task, Constant(0.01), steps=48, eval_every=48)
    assert point["test_accuracy"] > 0.9


def test_tuning_uses_the_development_sentences_and_hides_the_test_ones(folder: Path) -> None:
    task, tuned = sentences(0, data=folder), sentences(0, data=folder, tuning=True)
    assert tuned.test_loader is None
    assert [len(loader.dataset) for loader in (tuned.train_loader, tuned.val_loader, task.test_loader)] == [300, 60, 60]


def test_unknown_words_are_one_word_and_long_sentences_are_cut(folder: Path) -> None:
    (folder / "test.tsv").write_text(f"sentence\tlabel\nnever seen good\t1\n{'w1 ' * 100}\t0\n")
    inputs, labels = sentences(0, data=folder).test_loader.dataset.tensors
    assert inputs[0, :2].tolist() == [1, 1]
    assert inputs[0, 2] > 1
    assert not inputs[0, 3:].any()
    assert inputs.shape == (2, LONGEST)
    assert len(set(inputs[1].tolist())) == 1
    assert labels.tolist() == [1, 0]


def test_only_the_end_of_a_line_ends_a_sentence(folder: Path) -> None:
    (folder / "test.tsv").write_bytes("one\u2028sentence\x85 good\t1\r\nanother\x0c one\t0\r\n".encode())
    _, labels = sentences(0, data=folder).test_loader.dataset.tensors
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        (
            "dev.tsv",
            None,
            FileNotFoundError,
            "must contain dev.tsv, got .*; get train.tsv, dev.tsv and test.tsv from https://github.com",
        ),
        (
            "train.tsv",
            b"fine\t1\nno label\n",
            ValueError,
            "line 2 of .*train.tsv must be a sentence, a tab and a",
        ),
        ("train.tsv", b"fine\t-1\n", ValueError, "line 1 of .*train.tsv must be"),
        ("train.tsv", b"", ValueError, "train.tsv must have a line"),
        ("train.tsv", b"sentence\tlabel\n", ValueError, "train.tsv must have a line"),
        ("train.tsv", b"fine\t0\nbad\t2\n", ValueError, r"must count from 0 without gaps, got \[0, 2\]"),
        (
            "test.tsv",
            b"fine\t7\n",
            ValueError,
            "every label in .*test.tsv must also be in train.tsv, got 7; correct",
        ),
        ("dev.tsv", b"fine\t2\n", ValueError, "every label in .*dev.tsv must also be in train.tsv, got 2"),
        ("test.tsv", b"index\tsentence\n0\tfine\n", ValueError, "test.tsv must have labels, got .*a part of dev.tsv"),
        ("train.tsv", b"\xff\t1\n", ValueError, "train.tsv must be UTF-8"),
    ],
)
def test_what_is_wrong_is_one_line(
    folder: Path, name: str, content: bytes | None, error: type[Exception], words: str
) -> None:
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(error, match=words) as caught:
        sentences(0, data=folder)
    assert "\n" not in str(caught.value)


def test_without_data_it_says_where_to_get_it() -> None:
    with pytest.raises(FileNotFoundError, match=r"needs the path of its data, got None; get train.tsv, dev.tsv"):
        sentences(0)
