"""The loop of a range test, driven by hand: what it orders, and what it keeps of the answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr._range import Ramp, Recorder, StopRule
from cyclr._range.orders import Rewind, Steps

losses = st.lists(st.floats(-50, 50), min_size=2, max_size=80)


def answer(recorder, loss_of):
    """Carry out all orders; the rates of all steps, in order."""
    orders, given, rates = recorder.orders(), None, []
    while True:
        try:
            order = orders.send(given)
        except StopIteration:
            return rates
        given = None
        if isinstance(order, Steps):
            given = [loss_of(len(rates) + index, rate) for index, rate in enumerate(order.rates)]
            rates.extend(order.rates)


def curve_of(rows, block):
    """The curve of sweeps with these losses."""
    values = np.concatenate(rows)
    steps = len(rows[0])
    recorder = Recorder(Ramp(steps=steps), repeats=len(rows), block=block)
    orders, given, row, place = recorder.orders(), None, 0, 0
    while True:
        try:
            order = orders.send(given)
        except StopIteration as done:
            return done.value
        if isinstance(order, Rewind):
            row, place, given = row + 1, 0, None
        else:
            given = values[row * steps + place : row * steps + place + len(order.rates)].tolist()
            place += len(order.rates)


@given(st.lists(losses, min_size=1, max_size=3), st.integers(1, 30), st.data())
def test_losses_are_kept_up_to_the_end_of_each_sweep_whatever_the_blocks(rows, block, data):
    steps = min(map(len, rows))
    rows = [row[:steps] for row in rows]
    for bad in data.draw(st.lists(st.integers(1, steps - 1), max_size=3)):
        rows[0][bad] = data.draw(st.sampled_from([math.nan, math.inf]))
    curve = curve_of(rows, block)
    for row, kept, stop in zip(rows, curve.losses, curve.stops, strict=True):
        rule = StopRule()
        rule.feed(enumerate(row))
        end = steps if rule.index is None else rule.index + 1
        ended = "end" if np.isfinite(row[-1]) else "non-finite"
        assert stop == (ended if rule.index is None else rule.reason)
        expected = np.where(np.isfinite(row[:end]), row[:end], np.nan)
        np.testing.assert_array_equal(kept[:end], expected)
        assert np.isnan(kept[end:]).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_first_loss_that_is_not_finite_is_an_error_and_no_sweep(bad):
    recorder = Recorder(Ramp(steps=5))
    with pytest.raises(ValueError, match="finite at the first step, before any update"):
        answer(recorder, lambda step, rate: bad)
    with pytest.raises(ValueError, match="at least one complete sweep is needed"):
        recorder.curve()


def test_a_sweep_that_is_given_up_is_not_recorded_and_those_before_are():
    recorder = Recorder(Ramp(steps=5), block=1)
    answer(recorder, lambda step, rate: 1.0)
    orders = recorder.orders()
    next(orders)
    orders.send([2.0])
    assert recorder.curve().losses.shape == (2, 5)
    orders.close()
    assert recorder.curve().losses.tolist() == [[1.0] * 5]


def learning(step, rate):
    """Falls while the rate is useful, and rises beyond."""
    return 2.0 - 1.5 / (1 + (1e-2 / max(rate, 1e-9)) ** 2) + rate**2


def test_what_is_noted_belongs_to_sweeps_and_not_to_probe_cycles():
    recorder = Recorder(Ramp(1e-4, 10.0, steps=80), effort="thorough", block=1)
    orders, given, made = recorder.orders(), None, 0
    while True:
        try:
            order = orders.send(given)
        except StopIteration:
            break
        recorder.note({"mae": made})  # also before the first step, and after a rewind
        given = None
        if isinstance(order, Steps):
            made += 1
            given = [learning(made, order.rates[0])]
    curve = recorder.curve()
    assert len(curve.peaks) >= 3
    swept = np.isfinite(curve.losses[0]).sum()
    assert curve.metrics["mae"][0, :swept].tolist() == list(range(1, swept + 1))
    assert np.isfinite(curve.metrics["mae"]).sum() == swept


@pytest.mark.parametrize("repeats", [1, 2])
@pytest.mark.parametrize("loss_of", [learning, lambda step, rate: 1.0], ids=["conclusive", "flat"])
@pytest.mark.parametrize("effort", ["quick", "thorough"])
def test_the_number_of_steps_has_a_bound_that_is_known_before(repeats, loss_of, effort):
    recorder = Recorder(Ramp(1e-4, 10.0, steps=80, furthest=10.0), repeats=repeats, effort=effort)
    most = recorder.most_steps
    rates = answer(recorder, loss_of)
    assert recorder.curve().tuning_cost <= len(rates) <= most
    assert effort == "thorough" or len(rates) <= 80 * repeats == most


def test_an_unfinished_thorough_test_has_the_curve_of_its_sweeps():
    recorder = Recorder(Ramp(1e-4, 10.0, steps=80), effort="thorough")
    orders, order = recorder.orders(), None
    order = next(orders)
    while not isinstance(order, Rewind):
        order = orders.send([learning(0, rate) for rate in order.rates])
    order = orders.send(None)
    orders.send([learning(0, rate) for rate in order.rates])
    orders.close()
    curve = recorder.curve()
    assert curve.losses.shape == (1, 80)
    assert not len(curve.peaks)
