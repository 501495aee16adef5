"""Early stopping at cycle ends, and what it costs to stop elsewhere."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, Constant, EarlyStopping, Linear, Schedule, Triangular, one_cycle, plan

LENGTHS = st.lists(st.integers(2, 9), min_size=1, max_size=8)
VALUES = st.floats(-10, 10) | st.sampled_from([math.nan, math.inf, -math.inf])


def chain(lengths: list[int]) -> Schedule:
    first, *rest = (one_cycle(0.1, steps=length, base_lr=0.01, shape="linear") for length in lengths)
    for part in rest:
        first = first >> part
    return first


def ends_of(lengths: list[int]) -> list[int]:
    return [sum(lengths[: number + 1]) for number in range(len(lengths))]


@given(LENGTHS, st.integers(1, 3), st.sampled_from(["min", "max"]), st.data())
def test_it_stops_after_so_many_cycle_ends_without_a_better_value(lengths, patience, better, data):
    stopping, ends = EarlyStopping(chain(lengths), patience, better=better), ends_of(lengths)
    best, waited, at = None, 0, None
    for end in ends:
        value = data.draw(VALUES)
        sign = 1 if better == "max" else -1
        if math.isfinite(value) and (best is None or sign * value > sign * best):
            best, waited, at = value, 0, end
        else:
            waited += 1
        assert stopping.step(end, value) == (waited >= patience)
        assert (stopping.best, stopping.waited, stopping.best_step) == (best, waited, at)
        if waited >= patience:
            break


@given(LENGTHS)
def test_what_is_measured_in_the_middle_of_a_cycle_does_not_count_and_is_not_computed(lengths):
    stopping, asked = EarlyStopping(chain(lengths), 1, better="max"), []

    def measure(step: int) -> float:
        asked.append(step)
        return float(len(asked))  # ever better

    for step in range(1, sum(lengths) + 1):
        for _ in range(2):  # as in batches whose gradients are accumulated
            assert not stopping.step(step, lambda step=step: measure(step))
    assert asked == ends_of(lengths)


@given(LENGTHS, st.data())
def test_the_cost_of_stopping_is_the_rate_and_the_distance_to_cycle_ends(lengths, data):
    schedule, ends = chain(lengths), ends_of(lengths)
    done = data.draw(st.integers(1, sum(lengths) + 3))
    cost = EarlyStopping(schedule, better="min").cost(done)
    assert cost.rate == schedule(done - 1)
    assert cost.share == pytest.approx(cost.rate / schedule.highest)
    assert cost.left == min((end - done for end in ends if end >= done), default=None)
    assert cost.last == min((done - end for end in ends if end <= done), default=None)
    assert str(done) in str(cost)
    assert ("nothing is lost" in str(cost)) == (done in ends)


def test_the_ends_are_those_of_the_plan_also_without_a_decay():
    base = plan(Bounds(0.001, 0.01), steps=100, goal="average", anneal=False)
    stopping = EarlyStopping(base, 1, better="min")
    assert [stopping.step(step, float(step)) for step in (50, 84, 86, 88)] == [False, False, False, True]


def test_a_smaller_change_than_min_delta_is_no_improvement():
    stopping = EarlyStopping(chain([5, 5, 5]), 2, better="max", min_delta=0.1)
    assert [stopping.step(step, value) for step, value in ((5, 0.5), (10, 0.55), (15, 0.59))] == [False, False, True]
    assert stopping.best == 0.5


@given(LENGTHS, st.integers(0, 8), st.data())
def test_a_resumed_one_goes_on_where_it_was(lengths, at, data):
    values = [data.draw(st.floats(0, 1)) for _ in lengths]
    whole = EarlyStopping(chain(lengths), 2, better="min")
    first = EarlyStopping(chain(lengths), 2, better="min")
    pairs = list(zip(ends_of(lengths), values, strict=True))
    expected = [whole.step(*pair) for pair in pairs]
    found = [first.step(*pair) for pair in pairs[:at]]
    again = EarlyStopping(chain(lengths), 2, better="min")
    again.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert found + [again.step(*pair) for pair in pairs[at:]] == expected
    assert again.state_dict() == whole.state_dict()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"plan": 3}, TypeError, "plan must be a Plan or a Schedule"),
        ({"plan": Triangular(0.1, 0.2, step_size=3)}, ValueError, "the schedule must end"),
        ({"plan": Linear(0.1, 0.2, steps=5)}, ValueError, "must have a cycle that ends"),
        ({"plan": Constant(0.1).take(5)}, ValueError, "must have a cycle that ends"),
        ({"patience": 0}, ValueError, "patience must be a positive integer"),
        ({"better": "higher"}, ValueError, "better must be one of 'min', 'max'"),
        ({"min_delta": -1}, ValueError, "min_delta must not be negative"),
    ],
)
def test_bad_arguments_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        EarlyStopping(**{"plan": chain([5]), "better": "min"} | options)


def test_bad_counts_and_states_are_refused():
    stopping = EarlyStopping(chain([5]), better="min")
    with pytest.raises(TypeError, match="done must be"):
        stopping.step(2.5, 1.0)
    with pytest.raises(ValueError, match="done must be a positive integer"):
        stopping.cost(0)
    with pytest.raises(ValueError, match="the state must be of an EarlyStopping"):
        stopping.load_state_dict({"best": 1.0})
