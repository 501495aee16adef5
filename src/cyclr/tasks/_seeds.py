"""Weights that come from a task's seed, and leave all other randomness alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights are drawn from `seed`. Not `torch.manual_seed`: that one seeds the accelerators too."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
