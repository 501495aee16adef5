"""All tasks by name, in the suites that they were written for."""

from __future__ import annotations

import torch
from finetune import FINETUNE
from fresh import FRESH
from problem import Problem
from programs import PROGRAMS
from tasks import TASKS
from unseen import UNSEEN

__all__ = ["FINETUNE", "FRESH", "PROGRAMS", "TASKS", "UNSEEN", "make"]


def make(name: str, seed: int) -> Problem:
    """The task of that name; the seed sets its weights and its data order."""
    torch.manual_seed(seed)
    return (TASKS | UNSEEN | FRESH | PROGRAMS | FINETUNE)[name](seed)
