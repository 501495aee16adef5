from __future__ import annotations

import subprocess
import sys

import pytest
import torch


def test_digits_has_its_pictures_and_holds_some_out() -> None:
    pytest.importorskip("sklearn")
    from cyclr.tasks.digits import digits

    final, tuning = digits(0), digits(0, tuning=True)
    assert (final.steps_per_epoch, tuning.steps_per_epoch) == (28, 22)
    sizes = [len(loader.dataset) for loader in (final.train_loader, final.test_loader, tuning.val_loader)]
    assert sizes == [1400, 397, 300]
    pictures, labels = final.train_loader.dataset.tensors
    assert (pictures.min(), pictures.max(), pictures.dtype) == (0, 1, torch.float32)
    assert set(labels.tolist()) == set(range(10))


def test_digits_without_scikit_learn_says_what_to_install() -> None:
    code = """
import sys
sys.modules["sklearn"] = None  # as Python itself marks a module that must not be found
from cyclr.tasks.digits import digits
try:
    digits(0)
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "the task digits needs scikit-learn; install it with: pip install 'cyclr[digits]'\n"
