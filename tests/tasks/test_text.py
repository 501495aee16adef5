from __future__ import annotations

import bz2
import hashlib
import json
import math
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from cyclr import Linear
from cyclr.tasks._transformer import Transformer
from cyclr.tasks.text import BATCH, WINDOW, Shuffled, text
from cyclr.torch import train

EMBEDDED = bz2.decompress((files("cyclr.tasks") / "data/moby_dick.txt.bz2").read_bytes())
SCRIPT = Path(__file__).parents[2] / "scripts/make_text.py"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text("".join(f"line {number} of a text, naïve but long\n" for number in range(600)), encoding="utf-8")
    return path


def test_the_embedded_text_is_the_first_fifty_chapters() -> None:
    assert hashlib.sha256(EMBEDDED).hexdigest() == "02daa9456d33289b317f5543c34966d4e040fd7024746d965f63087ad2af1435"
    assert EMBEDDED.isascii()
    assert EMBEDDED.startswith(b"CHAPTER 1. Loomings.\n\nCall me Ishmael. Some years ago--never mind how long")
    assert re.findall(rb"^CHAPTER (\d+)\. ", EMBEDDED, re.MULTILINE) == [
        str(number).encode() for number in range(1, 51)
    ]


def test_the_script_packs_chapters(tmp_path: Path) -> None:
    for number in range(1, 51):
        chapter = {"chapter": str(number), "title": "The Whale.", "text": "A whale—white.\n"}
        (tmp_path / f"chapter_{number}.json").write_text(json.dumps(chapter), encoding="utf-8")
    subprocess.run([sys.executable, SCRIPT, tmp_path, "--out", tmp_path / "out"], check=True, capture_output=True)
    made = bz2.decompress((tmp_path / "out").read_bytes()).decode("ascii")
    assert made.startswith("CHAPTER 1. The Whale.\n\nA whale--white.\n\nCHAPTER 2. The Whale.\n\n")
    assert made.count("\n\nCHAPTER ") == 49


def everything(loader: object) -> list[bytes]:
    """Each window of a pass, with the byte after it."""
    return [
        bytes([*window.tolist(), after.tolist()[-1]])
        for inputs, targets in loader
        for window, after in zip(inputs, targets, strict=True)
    ]


def test_targets_are_the_inputs_one_byte_later() -> None:
    task = text(0)
    for loader in (task.train_loader, task.test_loader):
        inputs, targets = next(iter(loader))
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        assert (inputs.dtype, inputs.shape[1]) == (torch.int64, WINDOW)


def test_the_parts_are_contiguous_and_no_window_reaches_into_another_part() -> None:
    final, tuning = text(0), text(0, tuning=True)
    assert (final.val_loader, tuning.test_loader) == (None, None)
    tenth = len(EMBEDDED) // 10
    parts = {"test": final.test_loader.text.numpy().tobytes(), "held": tuning.val_loader.text.numpy().tobytes()}
    assert parts["test"] == EMBEDDED[-tenth:]
    assert parts["held"] == EMBEDDED[-2 * tenth : -tenth]
    assert tuning.train_loader.text.numpy().tobytes() == EMBEDDED[: -2 * tenth]
    assert final.train_loader.text.numpy().tobytes() == EMBEDDED[:-tenth]
    for task, loader in ((tuning, tuning.val_loader), (final, final.test_loader)):
        learnt = task.train_loader.text.numpy().tobytes()
        judged = everything(loader)
        assert b"".join(window[:-1] for window in judged) == loader.text.numpy().tobytes()[: len(judged) * WINDOW]
        assert len(loader.text) - len(judged) * WINDOW <= WINDOW
        assert not [window for window in judged[::25] if window in learnt]
        assert all(window in learnt for window in everything(task.train_loader)[::500])


def test_a_pass_takes_each_byte_at_most_once_and_nearly_all(own: Path) -> None:
    numbered = torch.arange(5000)  # in place of bytes, so that each says where it stood
    loader = Shuffled(numbered, torch.Generator().manual_seed(0))
    passes = [[inputs for inputs, _ in loader] for _ in range(20)]
    assert {len(batches) for batches in passes} == {len(loader)} == {(5000 - WINDOW) // WINDOW // BATCH}
    assert {tuple(inputs.shape) for batches in passes for inputs in batches} == {(BATCH, WINDOW)}
    for batches in passes:
        seen = torch.cat(batches).flatten()
        assert len(seen.unique()) == len(seen)
    assert len({batches[0][0, 0].item() % WINDOW for batches in passes}) > 10  # cut from another place on


def test_the_seed_decides_weights_windows_and_order(own: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = text(3, data=own), text(3, data=own), text(4, data=own)
    found = [everything(task.train_loader) for task in (first, again, other)]
    assert torch.equal(torch.get_rng_state(), before)
    assert found[0] == found[1] != found[2]
    weights = [torch.cat([p.detach().flatten() for p in task.model.parameters()]) for task in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert everything(first.train_loader) != found[0]  # each epoch has another order


def test_no_position_knows_what_follows() -> None:
    model = Transformer(symbols=256, window=16, width=32, heads=4, layers=2)
    symbols = torch.randint(256, (2, 16))
    changed = symbols.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 256
    with torch.no_grad():
        difference = (model(symbols) - model(changed)).abs().amax(dim=(0, 2))
    assert torch.equal(difference[:9], torch.zeros(9))
    assert (difference[9:] > 0).all()


def test_matrices_decay_and_norms_and_embeddings_do_not() -> None:
    task = text(0)
    decay = {id(p): group["weight_decay"] for group in task.optimizer.param_groups for p in group["params"]}
    found = {name: decay[id(p)] for name, p in task.model.named_parameters()}
    assert {name for name, value in found.items() if value == 0.1} == {
        *(f"blocks.{i}.{part}.weight" for i in (0, 1) for part in ("attend", "gather", "widen", "narrow")),
        "scores.weight",
    }


def test_at_first_it_knows_nothing_and_then_it_learns(own: Path) -> None:
    task = text(0)
    points = train(task, Linear(3e-3, 0, steps=40), steps=40, eval_every=20)
    inputs, targets = next(iter(text(0).train_loader))
    assert task.loss_fn(text(0).model(inputs), targets).item() == pytest.approx(math.log(256), abs=0.05)
    assert points[-1]["test_loss"] < points[0]["test_loss"] < 4
    assert points[-1]["test_accuracy"] > 0.17  # of 100 bytes 17 are spaces; 0.22 with this seed


def test_a_file_of_one_s_own_is_read_byte_by_byte(own: Path) -> None:
    raw = own.read_bytes()
    assert "ï".encode() in raw
    task = text(0, data=str(own))
    assert task.train_loader.text.numpy().tobytes() + task.test_loader.text.numpy().tobytes() == raw


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must have at least 650 bytes, got '0 bytes'"),
        (b"x" * 649, "must have at least 650 bytes, got '649 bytes'"),
        (b"fine " * 200 + b"\xff\xfe", "must be UTF-8, got 'an invalid byte at position 1000'"),
    ],
)
def test_a_file_that_will_not_do_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        text(0, data=path)
    assert str(path) in str(caught.value)


def test_the_shortest_text_still_trains(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_bytes(b"0123456789" * 65)
    task = text(0, data=path, tuning=True)
    assert train(task, Linear(1e-3, 0, steps=2), steps=2)[-1]["val_loss"] < 6


def test_a_missing_file_and_another_kind_of_path_are_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"data must be an existing text file, got .*nowhere"):
        text(0, data=tmp_path / "nowhere")
    with pytest.raises(TypeError, match="data must be a path, got 3"):
        text(0, data=3)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        text(-1)
