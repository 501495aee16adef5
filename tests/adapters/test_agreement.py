"""Every schedule, every framework: the same numbers."""

from functools import cache

import numpy as np

from tests.adapters.frameworks import steps_to
from tests.schedules.strategies import EXAMPLES


@cache
def reference(last):
    """What each schedule says in Python's own floats."""
    return np.array([[schedule(step) for step in steps_to(last).tolist()] for schedule in EXAMPLES])


def test_every_schedule_gives_the_reference_rates(framework, record):
    found = np.load(record / "rates.npy")
    for schedule, rates, expected in zip(EXAMPLES, found, reference(framework.last), strict=True):
        # a rate is a share of the way between two bounds: what it may be off is measured by the upper one
        error = np.abs(rates - expected) / (schedule.highest * framework.precision)
        assert error.max() <= 8, f"{schedule}: off by {error.max():.3g} at {steps_to(framework.last)[error.argmax()]}"
