"""Reads the records of range tests: their curves, and the bounds that `cyclr` finds in them."""

from __future__ import annotations

import numpy as np

from cyclr import Curve, Inconclusive
from cyclr._range.bounds import Bounds
from cyclr.study._records import Run

NAMES = {"accuracy": "test accuracy", "loss": "training loss"}


def curve_of(run: Run) -> Curve:
    """The record of a range test as a curve, with the test accuracy as its metric."""
    seen = [point for point in run.points if point["test_accuracy"] is not None]
    rates, accuracies, losses = np.array([[point[key] for point in seen] for key in ("lr", "test_accuracy", "loss")])
    return Curve(rates, losses, {"accuracy": accuracies}, scale="linear", maximize=frozenset({"accuracy"}))


def bounds_of(curve: Curve, signal: str) -> Bounds | None:
    """The bounds in a signal of `NAMES`; None if there are none."""
    try:
        return curve.bounds(signal)
    except Inconclusive:
        return None
