"""What holds for every schedule and every operator."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cyclr
from tests.schedules.strategies import EXAMPLES, bounds, finite_or_taken, rates, schedules, sizes, steps, waves


@given(schedules)
def test_parse_is_the_inverse_of_repr(schedule):
    assert cyclr.parse(repr(schedule)) == schedule


@given(schedules, steps)
def test_every_value_lies_between_lowest_and_highest(schedule, step):
    slack = 1e-12 * schedule.highest  # a factor rounds once more
    assert schedule.lowest - slack <= schedule(step) <= schedule.highest + slack


@given(schedules, st.lists(st.integers(0, 100_000), min_size=1, max_size=20))
def test_an_array_of_steps_has_the_values_of_its_steps(schedule, several):
    values = schedule(np.array(several))
    assert values.dtype == np.float64
    assert values.shape == (len(several),)
    assert values == pytest.approx([schedule(step) for step in several], rel=1e-9, abs=1e-12)


@given(schedules, steps)
def test_a_step_may_be_int_float_or_a_numpy_scalar(schedule, step):
    expected = schedule(step)
    assert type(expected) is float
    assert schedule(np.int64(step)) == expected
    assert type(schedule(np.int64(step))) is float
    assert schedule(float(step)) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(schedules)
def test_copies_are_equal_and_hash_alike(schedule):
    for twin in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), dataclasses.replace(schedule)):
        assert twin == schedule
        assert hash(twin) == hash(schedule)


@given(schedules)
def test_a_schedule_cannot_be_changed(schedule):
    field = dataclasses.fields(schedule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, field, 1.0)
    assert not hasattr(schedule, "__dict__")


@given(schedules)
def test_past_the_end_the_last_value_is_held(schedule):
    if schedule.duration < math.inf:
        end = schedule(schedule.duration)
        assert schedule(schedule.duration + 1) == schedule(2 * schedule.duration + 17) == end


@given(schedules, st.integers(1, 5000))
def test_a_cycle_ends_lower_than_the_step_before(schedule, until):
    ends = schedule.cycle_ends(until=until)
    assert list(ends) == sorted(set(ends))
    assert all(0 < end <= until for end in ends)
    if not isinstance(schedule, cyclr.Opposed) and "Opposed" not in repr(schedule):
        for end in ends[:5]:
            held = schedule.take(end)(end)  # where a schedule jumps at its end, the value before the jump
            assert held <= schedule(end - 1) * (1 + 1e-12)


@given(finite_or_taken, schedules, st.integers(0, 20_000))
def test_a_sequence_is_its_parts_with_clocks_of_their_own(first, then, step):
    expected = first(step) if step < first.duration else then(step - int(first.duration))
    assert (first >> then)(step) == expected


@given(finite_or_taken, finite_or_taken, schedules)
def test_sequences_are_associative(a, b, c):
    assert (a >> b) >> c == a >> (b >> c)
    assert ((a >> b) >> c).duration == a.duration + b.duration + c.duration


@given(schedules, st.floats(1e-3, 1e3), steps)
def test_a_factor_scales_the_value_and_nothing_else(schedule, factor, step):
    scaled = factor * schedule
    assert scaled(step) == factor * schedule(step)
    assert scaled == schedule * factor == np.float64(factor) * schedule
    assert scaled.duration == schedule.duration
    assert scaled.cycle_ends(until=999) == schedule.cycle_ends(until=999)


@given(schedules, sizes, steps)
def test_taking_cuts_and_holds(schedule, length, step):
    taken = schedule.take(length)
    assert taken.duration == length
    if step < length:
        assert taken(step) == schedule(step)
    else:
        assert taken(step) == taken(length)


@given(finite_or_taken, st.integers(1, 20), st.integers(0, 10_000))
def test_repeating_starts_the_clock_again(schedule, times, step):
    repeated = schedule.repeat(times)
    assert repeated.duration == times * schedule.duration
    if step < repeated.duration:
        assert repeated(step) == schedule.repeat()(step) == schedule(step % int(schedule.duration))
    else:
        assert repeated(step) == repeated(int(repeated.duration))


@given(waves(), steps)
def test_what_opposes_falls_where_the_other_rises(wave, step):
    if wave.lowest < wave.highest:
        opposed = cyclr.Opposed(wave, 0.85, 0.95)
        share = (wave(step) - wave.lowest) / (wave.highest - wave.lowest)
        assert opposed(step) == pytest.approx(0.95 - 0.1 * share)


def test_what_opposes_reaches_both_bounds_exactly():
    wave = cyclr.Triangular(0.1, 0.7, step_size=3)
    opposed = cyclr.Opposed(wave, 0.85, 0.95)
    assert [opposed(0), opposed(3), opposed(6)] == [0.95, 0.85, 0.95]


@given(bounds(), sizes, st.none() | sizes, st.sampled_from(["linear", "log"]), st.integers(0, 2**40))
def test_waves_touch_their_bounds_exactly_at_the_turning_points(limits, up, down, scale, cycle):
    low, high = limits
    for kind in (cyclr.Triangular, cyclr.Welch, cyclr.Hann):
        wave = kind(low, high, step_size=up, step_size_down=down, scale=scale)
        start = min(cycle, (2**53 - 1) // wave.period - 1) * wave.period
        assert wave(start) == low
        assert wave(start + up) == high
        far = np.array([start, start + up, start + wave.period])
        assert wave(far).tolist() == [low, high, low]


@given(rates, sizes)
def test_the_amplitude_of_triangular2_fades_without_overflow(rate, size):
    wave = cyclr.Triangular2(0, rate, step_size=size)
    peaks = [wave(size + cycle * wave.period) for cycle in (0, 1, 2, 10)]
    assert peaks == [rate, rate / 2, rate / 4, rate / 1024]
    assert wave(size + 5_000 * wave.period) == 0
    assert wave(2**53 - 1) == 0


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_bad_steps_are_refused(schedule):
    for step in (-1, -0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="step must be a finite number of at least 0, got"):
            schedule(step)
    for step in (True, "1", None, [1], np.array([True]), np.array([1j])):
        with pytest.raises(TypeError, match="step must be a number or an array"):
            schedule(step)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_negative_steps_in_an_array_count_as_zero(schedule):
    assert schedule(np.array([-5, 0, -1])).tolist() == [schedule(0)] * 3


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"])
def test_every_integer_type_is_a_step(schedule, dtype):
    several = np.array([0, 1, 100], dtype=dtype)
    assert schedule(several).tolist() == pytest.approx([schedule(0), schedule(1), schedule(100)], rel=1e-12)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_an_endless_schedule_needs_until_for_its_cycle_ends(schedule):
    if schedule.duration == math.inf:
        with pytest.raises(ValueError, match="until must be given"):
            schedule.cycle_ends()
    else:
        assert schedule.cycle_ends() == schedule.cycle_ends(until=schedule.duration)
