"""Every schedule, every framework: the same numbers."""

import numpy as np

from tests.adapters.frameworks import steps_of
from tests.schedules.strategies import EXAMPLES


def test_every_schedule_gives_the_reference_rates(framework, record):
    for schedule, rates in zip(EXAMPLES, np.load(record / "rates.npy"), strict=True):
        reference = np.array([schedule(step) for step in steps_of(framework).tolist()])  # Python's own floats
        # a rate is a share of the way between two bounds: what it may be off is measured by the upper one
        error = np.abs(rates - reference) / (schedule.highest * framework.precision)
        assert error.max() <= 8, f"{schedule}: off by {error.max():.3g} at {steps_of(framework)[error.argmax()]}"
