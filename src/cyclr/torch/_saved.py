"""What is read from the saved state of a scheduler, checked before anything is changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cyclr._check import count, problem


def read_state(state: Any, groups: int, *, others: bool) -> tuple[int, list[float]]:
    """The step and the factors of the groups' rates in a saved state.

    Args:
        state: What `Scheduler.state_dict` gave, or another scheduler's.
        groups: The number of groups now.
        others: Whether the state may be that of another scheduler.

    Raises:
        TypeError: If the state or its step is of the wrong kind.
        ValueError: If it is another scheduler's but must not be, or does not fit.
    """
    what = "the state must be of a cyclr.torch.Scheduler, with 'last_epoch' and 'schedule'"
    if not isinstance(state, Mapping):
        raise TypeError(problem(what, state, "pass what state_dict() gave"))
    if "last_epoch" not in state or ("schedule" not in state and not others):
        advice = "to continue from another scheduler, pass Scheduler(..., on_mismatch='keep_new')"
        raise ValueError(problem(what, sorted(map(str, state)), advice))
    if "schedule" not in state and "num_bad_epochs" in state:
        advice = "pass last_epoch=, the number of optimizer steps made less one"
        raise ValueError(problem("the state must count steps", "a ReduceLROnPlateau's, which counts epochs", advice))
    step = count("last_epoch", state["last_epoch"], least=-2)  # below 0: a part of a SequentialLR
    factors = state.get("factors", [1.0] * groups)
    if not isinstance(factors, (list, tuple)) or len(factors) != groups:
        raise ValueError(problem(f"the saved factors must be one for each of the {groups} groups", factors))
    if not all(isinstance(one, (int, float)) and math.isfinite(one) and one >= 0 for one in factors):
        raise ValueError(problem("the saved factors must be finite numbers of at least 0", factors))
    return step, [float(one) for one in factors]
