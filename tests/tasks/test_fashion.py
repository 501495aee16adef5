from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclr.tasks.fashion import DEBIAN, full, small
from cyclr.torch import Task
from tests.tasks.test_idx import fill

EMBEDDED = files("cyclr.tasks") / "data/fashion14.npz"
SCRIPT = Path(__file__).parents[2] / "scripts/make_fashion.py"
MADE_FROM = pytest.mark.skipif(not Path(DEBIAN).is_dir(), reason=f"needs Debian's dataset-fashion-mnist in {DEBIAN}")

TRAIN_COUNTS = [560, 643, 608, 612, 584, 594, 590, 617, 590, 602]
TEST_COUNTS = [200, 203, 214, 190, 219, 195, 197, 200, 194, 188]


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def test_the_embedded_pictures_are_the_published_ones() -> None:
    found = arrays(EMBEDDED)
    assert {part: (array.shape, array.dtype.name) for part, array in found.items()} == {
        "train_images": ((6000, 14, 14), "uint8"),
        "train_labels": ((6000,), "uint8"),
        "test_images": ((2000, 14, 14), "uint8"),
        "test_labels": ((2000,), "uint8"),
    }
    digest = hashlib.sha256(b"".join(found[part].tobytes() for part in sorted(found))).hexdigest()
    assert digest == "3ab5c90829519f8b16537d08638c0e6b40eece88f19f0f82ae899ae9c76815dd"
    assert np.bincount(found["train_labels"]).tolist() == TRAIN_COUNTS
    assert np.bincount(found["test_labels"]).tolist() == TEST_COUNTS


@MADE_FROM
def test_the_script_makes_the_embedded_data_again_byte_for_byte(tmp_path: Path) -> None:
    once, twice = tmp_path / "once.npz", tmp_path / "twice.npz"
    for out in (once, twice):
        subprocess.run([sys.executable, SCRIPT, "--out", out], check=True, capture_output=True)
    assert once.read_bytes() == twice.read_bytes()
    again, embedded = arrays(once), arrays(EMBEDDED)  # not the bytes: another zlib may pack them otherwise
    assert again.keys() == embedded.keys()
    for part, array in embedded.items():
        np.testing.assert_array_equal(again[part], array)


def batches(task: Task) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [tuple(batch) for batch in task.train_loader]


def same(first: Task, second: Task) -> tuple[bool, bool]:
    """Whether two tasks have the same weights, and the same batches in the same order."""
    weights = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    pairs = zip(batches(first), batches(second), strict=True)
    return (
        all(torch.equal(one, other) for one, other in weights),
        all(torch.equal(one, other) for pair in pairs for one, other in zip(*pair, strict=True)),
    )


def test_the_seed_decides_weights_and_order() -> None:
    torch.manual_seed(1)
    first = small(3)
    torch.manual_seed(2)
    assert same(first, small(3)) == (True, True)
    assert same(small(3), small(4)) == (False, False)


def test_each_epoch_has_another_order() -> None:
    task = small(0)
    first, second = batches(task), batches(task)
    assert not torch.equal(first[0][1], second[0][1])


def test_making_and_reading_a_task_leaves_the_global_random_state_as_it_was() -> None:
    before = torch.get_rng_state()
    task = small(5)
    for loader in (task.train_loader, task.test_loader, small(5, tuning=True).val_loader):
        for _ in loader:
            pass
    assert torch.equal(torch.get_rng_state(), before)


def test_every_picture_comes_once_an_epoch() -> None:
    task = small(0)
    found = batches(task)
    assert [len(labels) for _, labels in found] == [50] * 120
    assert torch.cat([labels for _, labels in found]).bincount().tolist() == TRAIN_COUNTS
    pictures = torch.cat([pictures for pictures, _ in found]).flatten(1)
    assert torch.equal(pictures.sum(1).sort()[0], task.train_loader.dataset.tensors[0].flatten(1).sum(1).sort()[0])


def test_tuning_holds_out_training_pictures_and_knows_no_test_data() -> None:
    final, tuning = small(0), small(0, tuning=True)
    assert (final.val_loader, tuning.test_loader) == (None, None)
    parts = [loader.dataset.tensors for loader in (tuning.train_loader, tuning.val_loader)]
    assert [len(labels) for _, labels in parts] == [5000, 1000]
    for index in (0, 1):
        assert torch.equal(torch.cat([part[index] for part in parts]), final.train_loader.dataset.tensors[index])


def test_the_pictures_have_mean_0_and_spread_1() -> None:
    pictures = small(0).train_loader.dataset.tensors[0]
    spread, mean = torch.std_mean(pictures)
    assert (spread.item(), mean.item()) == (pytest.approx(1, abs=1e-4), pytest.approx(0, abs=1e-4))


def test_two_epochs_teach_it_most_of_the_clothes() -> None:
    task = small(0)
    for _ in range(2):
        for pictures, labels in task.train_loader:
            task.optimizer.zero_grad()
            task.loss_fn(task.model(pictures), labels).backward()
            task.optimizer.step()
    with torch.no_grad():
        shares = [task.metrics["accuracy"](task.model(pictures), labels) for pictures, labels in task.test_loader]
    assert torch.stack(shares).mean() > 0.7  # 0.1 by chance; 0.77 to 0.80 on ten seeds


@pytest.mark.parametrize("seed", [True, 1.0, "1", None, float("nan")])
def test_a_seed_of_another_kind_is_refused(seed: object) -> None:
    with pytest.raises(TypeError, match="seed must be an integer of at least 0"):
        small(seed)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        small(-1)


def test_the_full_task_reads_any_folder(tmp_path: Path) -> None:
    made = fill(tmp_path, train=230, test=11)
    task = full(0, data=tmp_path)
    assert task.steps_per_epoch == 3
    pictures, labels = task.train_loader.dataset.tensors
    assert labels.tolist() == made["train_labels"].tolist()
    flat = made["train_images"].astype(float)
    np.testing.assert_allclose(pictures[:, 0], (flat - flat.mean()) / flat.std(), atol=1e-2)
    assert task.loss_fn(task.model(pictures), labels).isfinite()
    assert [len(labels) for _, labels in task.test_loader] == [11]


def test_the_full_task_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist") as caught:
        full(0, data=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_full_task_takes_no_pictures_of_another_size(tmp_path: Path) -> None:
    fill(tmp_path, size=14)
    with pytest.raises(ValueError, match=r"must contain images of 28x28, got \(7, 14, 14\)"):
        full(0, data=tmp_path)


def test_too_few_pictures_to_hold_some_out_are_an_error(tmp_path: Path) -> None:
    fill(tmp_path, train=100)
    with pytest.raises(ValueError, match="tuning needs more than 10000 training examples, got 100"):
        full(0, data=tmp_path, tuning=True)


@MADE_FROM
def test_the_embedded_pictures_are_the_full_ones_made_smaller() -> None:
    whole = full(0).train_loader.dataset.tensors
    assert [len(part) for part in whole] == [60_000, 60_000]
    assert torch.equal(whole[1][:6000], small(0).train_loader.dataset.tensors[1])
