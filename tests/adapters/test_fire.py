"""Signals at random moments, a few for each framework; `make fire` sends 1,000."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

FRAMEWORKS = {"torch": "torch", "lightning": "lightning", "transformers": "transformers", "jax": "jax",
              "keras:torch": "keras", "keras:jax": "keras"}  # fmt: skip


@pytest.mark.parametrize("one", FRAMEWORKS)
def test_everything_is_restored_whatever_signal_arrives(one):
    name, _, backend = one.partition(":")
    if any(importlib.util.find_spec(need) is None for need in (FRAMEWORKS[one], backend or "torch")):
        pytest.skip(f"{one} not installed")
    command = [sys.executable, "-m", "tests.adapters.fire", name, "4", "1"]  # one of each kind
    environment = os.environ | ({"KERAS_BACKEND": backend} if backend else {})
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not restored: 0" in done.stdout
