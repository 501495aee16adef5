"""A short way to write the arguments of a range test in tests."""

from __future__ import annotations

from typing import Any

from cyclr import HeldOut, Ramp
from cyclr.torch import Restore, Update

RAMP = {"low", "high", "steps", "scale"}
UPDATE = {"scaler", "clip_norm", "accumulate", "autocast", "device"}


def grouped(**given: Any) -> dict[str, Any]:
    """Single settings put into the objects that they belong to; all others as they are."""
    ramp = {name: given.pop(name) for name in RAMP & given.keys()}
    update = {name: given.pop(name) for name in UPDATE & given.keys()}
    if "val_loader" in given:
        given["held_out"] = HeldOut(given.pop("val_loader"), given.pop("metrics", {}), given.pop("val_every", None))
    if "scheduler" in given:
        given["restore"] = Restore(given.pop("scheduler"))
    return given | ({"ramp": Ramp(**ramp)} if ramp else {}) | ({"update": Update(**update)} if update else {})
