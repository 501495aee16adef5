"""When a ramp ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr._range import StopRule

losses = st.lists(st.floats(-50, 50), min_size=1, max_size=80)


def stopped(values, block=1000, **rule):
    watch = StopRule(**rule)
    for start in range(0, len(values), block):
        watch.feed(enumerate(values[start : start + block], start))
    return watch.reason, watch.index


def falling_then_exploding(seed=0, steps=100):
    rng = np.random.default_rng(seed)
    x = np.linspace(-4, 4, steps)
    return 2.3 - 1.5 / (1 + np.exp(-3 * x)) + np.exp(4 * (x - 3)) + 0.05 * rng.normal(size=steps)


@given(losses, st.integers(1, 30))
def test_the_size_of_the_blocks_changes_nothing(values, block):
    assert stopped(values, block) == stopped(values)


@given(st.integers(0, 50), st.floats(-100, 100), st.floats(0.01, 100))
def test_shifted_and_scaled_losses_stop_at_the_same_step(seed, shift, scale):
    values = falling_then_exploding(seed)
    assert stopped(scale * values + shift) == stopped(values)
    assert stopped(values)[0] == "diverged"


@given(losses, st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_two_losses_in_a_row_that_are_no_numbers_end_the_ramp_at_the_first(values, bad, data):
    place = data.draw(st.integers(0, len(values)))
    values = [*values[:place], bad, math.nan, *values[place:]]
    reason, index = stopped(values)
    assert (reason, index) == ("non-finite", place) or (reason == "diverged" and index < place)


@given(losses, st.sampled_from([math.nan, math.inf, -math.inf]), st.lists(st.integers(0, 100), max_size=4))
def test_single_losses_that_are_no_numbers_are_passed_over(values, bad, places):
    holed, where = [], []
    for index, value in enumerate(values):
        holed += [bad] if index in places else []
        where.append(len(holed))
        holed.append(value)
    reason, index = stopped(values)
    assert stopped(holed) == (reason, None if index is None else where[index])


@given(st.integers(0, 50))
def test_noise_alone_does_not_stop_a_ramp(seed):
    assert stopped(np.random.default_rng(seed).normal(size=300)) == ("go", None)


@given(st.integers(0, 50), st.integers(6, 60))
def test_a_lone_spike_does_not_stop_a_ramp(seed, place):
    values = falling_then_exploding(seed)[:70]
    values[place] = 1e6
    assert stopped(values) == ("go", None)


@given(st.integers(0, 300), st.integers(2, 10))
def test_batches_that_differ_do_not_stop_a_ramp_at_its_beginning(seed, batches):
    # The first few jumps may be small by chance, as where a loader's batches come round again.
    values = np.random.default_rng(seed).exponential(size=batches)
    assert stopped(np.tile(values, 200)[:200]) == ("go", None)


def test_a_loss_below_zero_stops_like_any_other():
    values = falling_then_exploding() - 10
    assert stopped(values)[1] == stopped(values + 10)[1]


def test_a_rule_that_has_spoken_is_silent():
    watch = StopRule()
    assert watch.feed([(0, math.nan)]) == "go"
    assert watch.feed([(1, math.inf)]) == "non-finite"
    assert watch.feed([(2, 0.5)]) == "non-finite"
    assert watch.index == 0


@pytest.mark.parametrize(
    ("rule", "kind"), [({"patience": 0}, ValueError), ({"window": 0}, ValueError), ({"window": 2.5}, TypeError)]
)
def test_a_wrong_rule_is_refused(rule, kind):
    with pytest.raises(kind):
        StopRule(**rule)
