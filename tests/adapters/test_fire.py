"""Signals at random moments, a few for each framework; `make fire` sends 1,000."""

import importlib.util
import os

import pytest

from tests import forked

FRAMEWORKS = {"torch": "torch", "lightning": "lightning", "transformers": "transformers", "jax": "jax",
              "keras:torch": "keras", "keras:jax": "keras"}  # fmt: skip
NEEDS = {"lightning": forked.LIGHTNING, "transformers": forked.TRAINER, "jax": (), "keras": forked.KERAS}


@pytest.mark.parametrize("one", FRAMEWORKS)
def test_everything_is_restored_whatever_signal_arrives(one):
    name, _, backend = one.partition(":")
    if any(importlib.util.find_spec(need) is None for need in (FRAMEWORKS[one], backend or "torch")):
        pytest.skip(f"{one} not installed")
    environment = os.environ | ({"KERAS_BACKEND": backend} if backend else {})
    command = ["-m", "tests.adapters.fire", name, "4", "1"]  # one signal of each kind
    done = forked.run(*command, needs=NEEDS.get(name, forked.TORCH), env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not restored: 0" in done.stdout
