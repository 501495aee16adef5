"""The copy on the host or on disk: it restores the same, and says before any work that there is no room."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cyclr import Ramp
from cyclr.torch import Restore, preserved, range_test
from cyclr.torch._restore.place import InFolder
from tests import forked
from tests.torch.digest import digest
from tests.torch.networks import training


@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
@pytest.mark.parametrize("folder", [False, True], ids=["cpu", "folder"])
def test_all_is_restored_and_no_file_stays(kind: str, error: Any, folder: bool, tmp_path: Path) -> None:
    made = training(kind, warm=True)
    before = digest(made.model, made.optimizer, **made.parts())
    try:
        with preserved(made.model, made.optimizer, **made.parts(), where=tmp_path if folder else "cpu") as transaction:
            made.epoch()
            transaction.rewind()
            made.epoch(fail_at=1 if error else None, error=error or RuntimeError)
            assert digest(made.model, made.optimizer, **made.parts()) != before
            assert not list(tmp_path.iterdir())  # the file has no name
    except KeyboardInterrupt:
        assert error
    assert digest(made.model, made.optimizer, **made.parts()) == before
    assert not list(tmp_path.iterdir())


def test_more_than_one_chunk_comes_back_and_is_not_held_in_memory(tmp_path: Path) -> None:
    model = nn.Linear(5000, 5000, bias=False)  # 100 MB; a chunk has 67
    first, last = model.weight[0, :9].clone(), model.weight[-1, -9:].clone()
    with preserved(model, where=tmp_path), torch.no_grad():
        model.weight.zero_()
    assert torch.equal(model.weight[0, :9], first)
    assert torch.equal(model.weight[-1, -9:], last)


def test_a_range_test_gives_the_same_curve_wherever_the_copy_is(tmp_path: Path) -> None:
    def curve(where: Any) -> Any:
        torch.manual_seed(0)
        model, x = nn.Linear(3, 1), torch.randn(64, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        ramp = Ramp(1e-4, steps=30)
        data, restore = [(x, x.sum(1, keepdim=True))], Restore(where=where)
        found = range_test(model, optimizer, data, nn.functional.mse_loss, ramp=ramp, repeats=2, restore=restore)
        return found.losses

    np.testing.assert_array_equal(curve(None), curve("cpu"))
    np.testing.assert_array_equal(curve(None), curve(tmp_path))


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_without_room_the_block_does_not_begin(tmp_path: Path) -> None:
    model = nn.Linear(9, 9)
    before, begun = digest(model), False
    with small_files(), pytest.raises(OSError), preserved(model, where=tmp_path):
        begun = True
    assert not begun
    assert digest(model) == before
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small_is_named(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    with pytest.raises(OSError, match=r"where must be on a disk with room for .* GB"):
        InFolder(tmp_path).reserve(free.f_frsize * free.f_blocks * 2)


@pytest.mark.parametrize(
    ("where", "error", "words"),
    [
        ("no/such/folder", ValueError, "where must be a folder that exists"),
        (__file__, ValueError, "where must be a folder that exists"),
        (3, TypeError, "where must be None"),
    ],
)
def test_what_is_no_place_is_refused(where: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        preserved(nn.Linear(1, 1), where=where)


def test_a_process_that_is_killed_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, torch; from cyclr.torch import preserved\n"
        "with preserved(torch.nn.Linear(9, 9), where=sys.argv[1]): os.kill(os.getpid(), signal.SIGKILL)"
    )
    ran = forked.run("-c", code, tmp_path, needs=forked.TORCH)
    assert ran.returncode == -signal.SIGKILL
    assert not list(tmp_path.iterdir())
