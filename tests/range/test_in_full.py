"""Which tests `auto` makes one after the other, and what they may cost together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Curve, Ramp
from cyclr._range import Recorder, enough, size_of
from cyclr._range.horizon import FEWEST, allowed
from tests.range.test_recorder import answer, learning

RATES = np.geomspace(1e-6, 10, 100)
FLAT = np.full(100, 2.0)
FALLS = 2 - 1.5 / (1 + (1e-3 / RATES) ** 2) + RATES**2


def made_by(curves, **how):
    """The kinds of tests that are made, and the curve; `curves` holds what each kind gives."""
    made = []

    def make(kind):
        made.append(kind)
        return curves[kind]

    return made, enough(make, lambda: 2000, steps=300, **how).curve


def referenced(values):
    return Curve(RATES, np.full(100, 2.0), reference=values)


def test_a_test_with_an_answer_is_the_only_one():
    assert made_by({"within": Curve(RATES, FALLS)}, evaluates=True)[0] == ["within"]
    assert made_by({"within": referenced(FALLS)}, evaluates=True)[0] == ["within"]


def test_reference_batches_are_asked_before_a_test_of_full_size_which_costs_more():
    made, curve = made_by({"within": Curve(RATES, FLAT), "reference": referenced(FALLS)}, evaluates=True)
    assert made == ["within", "reference"]
    assert curve.reference.size
    assert curve.tuning_cost == 100 + 100 + 67


@pytest.mark.parametrize(
    ("first", "evaluates", "kinds"),
    [
        (Curve(RATES, FLAT), False, ["within", "full"]),
        (Curve(RATES, FLAT), True, ["within", "reference", "full"]),
        (referenced(FLAT), True, ["within", "full"]),
        (Curve(np.geomspace(1e-6, 10, 300), np.full(300, 2.0)), True, ["within", "reference"]),
    ],
)
def test_whatever_is_inconclusive_is_followed_by_what_was_not_made_yet(first, evaluates, kinds):
    full = Curve(np.geomspace(1e-6, 10, 300), np.full(300, 2.0))
    made, curve = made_by({"within": first, "reference": referenced(FLAT), "full": full}, evaluates=evaluates)
    assert made == kinds
    assert len(curve.rates) == 300  # the longest, whose refusal says most
    parts = {"within": first, "reference": referenced(FLAT), "full": full}
    assert curve.tuning_cost == sum(parts[kind].tuning_cost for kind in kinds)


@given(st.integers(1, 30_000), st.sampled_from(["quick", "thorough"]), st.integers(1, 9), st.booleans())
def test_sweeps_share_what_a_training_pays_for(budget, effort, repeats, reference):
    size = size_of("within", effort, budget, repeats)
    assert 1 <= size.repeats <= repeats
    recorder = Recorder(Ramp(furthest=10), **size._asdict(), reference=reference)
    assert max(recorder.most_steps, recorder.extent.cost) <= allowed(budget) == max(FEWEST, int(0.15 * budget))
    if allowed(budget) >= FEWEST * repeats:
        assert size.repeats == repeats


@given(st.integers(1, 30_000), st.integers(1, 9))
def test_a_test_of_full_size_is_one_sweep_and_one_of_reference_batches_costs_150_steps(budget, repeats):
    assert Recorder(Ramp(furthest=10), **size_of("full", "thorough", budget, repeats)._asdict()).most_steps == 300
    short = Recorder(Ramp(furthest=10), **size_of("reference", "thorough", budget, repeats)._asdict(), reference=True)
    assert short.extent.reference
    assert short.most_steps * 5 / 3 <= 150


def test_all_sweeps_that_are_asked_for_are_made_without_a_budget():
    recorder = Recorder(Ramp(), **size_of("within", "quick", None, 4)._asdict())
    answer(recorder, learning)
    assert recorder.curve().losses.shape[0] == 4
