"""Held-out signals, looked at now and then: what they say, and when they say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve, Inconclusive

STEPS, EVERY = 600, 30
RATES = np.linspace(0, 1, STEPS)
LOOKS = np.array([0, *range(EVERY - 1, STEPS, EVERY)])


def looked_at(values: np.ndarray, *, name: str = "accuracy") -> Curve:
    """A straight ramp whose metric was measured at the first step and then every so often."""
    rows = np.full((1, STEPS), np.nan)
    rows[0, LOOKS] = values
    return Curve(RATES, np.ones((1, STEPS)), {name: rows}, "linear", maximize=frozenset({name} - {"val_loss"}))


def accuracy(seed: int, noise: float) -> np.ndarray:
    """It rises within the first twentieth of the ramp, as a network does that learns fast, and falls after 0.3."""
    rates = RATES[LOOKS]
    truth = 0.1 + 0.7 * np.minimum(1, rates / 0.05 * 0.8 + 0.2 * rates) - 0.5 * np.maximum(0, rates - 0.3)
    truth[0] = 0.1
    return truth + np.random.default_rng(seed).normal(scale=noise, size=len(LOOKS))


@given(st.integers(0, 1000), st.sampled_from([0.005, 0.02]))
def test_the_papers_protocol_is_answered_though_its_second_look_is_at_a_trained_network(seed, noise):
    bounds = looked_at(accuracy(seed, noise)).bounds("accuracy")
    assert 0.02 < bounds.max_lr < 0.6


@given(st.integers(0, 1000))
def test_a_metric_that_never_rises_is_refused(seed):
    values = 0.5 + np.random.default_rng(seed).normal(scale=0.02, size=len(LOOKS))
    values[0] = 0.5
    with pytest.raises(Inconclusive):
        looked_at(values).bounds("accuracy")


def test_a_signal_that_smooths_to_a_rise_from_the_first_rate_on_is_refused():
    seen = [1.156, 0.978, 0.895, 0.783, 0.784, 0.559, 0.729, 0.702, 0.860, 0.596, 1.628, 0.954, 1.357, 1.076, 1.067,
            1.001, 1.090, 1.078, 0.991, 1.057, 1.088]  # fmt: skip
    with pytest.raises(Inconclusive, match="lowest at the first rate"):
        looked_at(np.array(seen), name="val_loss").bounds("val_loss")
