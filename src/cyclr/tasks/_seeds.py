"""Drawing weights from a task's seed without changing other random states."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights from `seed`. Without `torch.manual_seed`, which would also seed the accelerators."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
