"""Policies by name: equal budgets, equal peaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, parse, policy
from cyclr._policies import POLICIES, free_names, uses_bounds
from tests.schedules.knee import Knee

names = st.sampled_from(sorted(POLICIES))
SOME = Bounds(0.001, 0.01)


@given(names, st.integers(20, 3000), st.none() | st.integers(1, 100))
def test_all_policies_have_the_same_length_and_the_same_peak(name, steps, steps_per_epoch):
    schedule = policy(name, SOME, steps=steps, steps_per_epoch=steps_per_epoch)
    rates = schedule(np.arange(steps))
    assert schedule.duration == steps
    assert schedule.highest == 0.01
    assert rates.max() <= 0.01 * (1 + 1e-12)
    # ExpRange has decayed before its first peak.
    assert rates.max() > (0.002 if name == "exp_range" else 0.0099)


@given(st.sampled_from(["auto", "linear", "cosine", "rex", "one_cycle", "wsd"]), st.integers(100, 3000))
def test_annealing_policies_end_at_zero(name, steps):
    schedule = policy(name, SOME, steps=steps)
    assert schedule(steps) == pytest.approx(0, abs=1e-12)
    assert schedule(steps - 1) > 0


@given(st.integers(20, 3000), st.integers(1, 100))
def test_triangular_is_a_whole_number_of_cycles(steps, steps_per_epoch):
    assert policy("triangular", SOME, steps=steps, steps_per_epoch=steps_per_epoch).cycle_ends()[-1] == steps


# What each policy made before it was a text, for two budgets and epochs: bounds 0.01 and 0.1.
BEFORE = {
    ("auto", 1001, 50): "Linear(0.01, 0.1, steps=300) >> Linear(0.1, 0.0, steps=701)",
    ("auto", 21, 7): "Linear(0.01, 0.1, steps=6) >> Linear(0.1, 0.0, steps=15)",
    ("fixed", 1001, 50): "Constant(0.1).take(1001)",
    ("fixed", 21, 7): "Constant(0.1).take(21)",
    ("step", 1001, 50): "(Constant(0.1).take(500) >> Constant(0.01).take(250) >> Constant(0.001)).take(1001)",
    ("step", 21, 7): "(Constant(0.1).take(10) >> Constant(0.01).take(5) >> Constant(0.001)).take(21)",
    ("exp", 1001, 50): "Exponential(0.1, 0.001, steps=1001)",
    ("exp", 21, 7): "Exponential(0.1, 0.001, steps=21)",
    ("linear", 1001, 50): "Linear(0.1, 0.0, steps=1001)",
    ("linear", 21, 7): "Linear(0.1, 0.0, steps=21)",
    ("cosine", 1001, 50): "Cosine(0.1, 0.0, steps=1001)",
    ("cosine", 21, 7): "Cosine(0.1, 0.0, steps=21)",
    ("rex", 1001, 50): "Rex(0.1, 0.0, steps=1001)",
    ("rex", 21, 7): "Rex(0.1, 0.0, steps=21)",
    ("wsd", 1001, 50): "Linear(0.0, 0.1, steps=50) >> Constant(0.1).take(751) >> Sqrt(0.1, 0.0, steps=200)",
    ("wsd", 21, 7): "Linear(0.0, 0.1, steps=1) >> Constant(0.1).take(16) >> Sqrt(0.1, 0.0, steps=4)",
    ("one_cycle", 1001, 50): "Cosine(0.004, 0.1, steps=300) >> Cosine(0.1, 0.0, steps=701)",
    ("one_cycle", 21, 7): "Cosine(0.004, 0.1, steps=6) >> Cosine(0.1, 0.0, steps=15)",
    ("triangular", 1001, 50): "Triangular(0.01, 0.1, step_size=166, step_size_down=167).take(666) >> "
    "Linear(0.01, 0.1, steps=167) >> Linear(0.1, 0.01, steps=168)",
    ("triangular", 21, 7): "Triangular(0.01, 0.1, step_size=10, step_size_down=11).take(21)",
    ("triangular2", 1001, 50): "Triangular2(0.01, 0.1, step_size=167).take(1001)",
    ("triangular2", 21, 7): "Triangular2(0.01, 0.1, step_size=10, step_size_down=11).take(21)",
    ("exp_range", 1001, 50): "ExpRange(0.01, 0.1, step_size=167, gamma=0.9974799751683031).take(1001)",
    ("exp_range", 21, 7): "ExpRange(0.01, 0.1, step_size=10, step_size_down=11, gamma=0.8866785243949981).take(21)",
    ("warm_restarts", 1001, 50): "WarmRestarts(0.0, 0.1, period=143, growth=2).take(1001)",
    ("warm_restarts", 21, 7): "WarmRestarts(0.0, 0.1, period=3, growth=2).take(21)",
}


def test_the_references_are_of_all_policies() -> None:
    assert {name for name, *_ in BEFORE} == {*POLICIES}


@pytest.mark.parametrize(("name", "steps", "steps_per_epoch"), BEFORE)
def test_a_policy_makes_what_it_made_before_it_was_a_text(name: str, steps: int, steps_per_epoch: int) -> None:
    made = policy(name, Bounds(0.01, 0.1), steps=steps, steps_per_epoch=steps_per_epoch)
    assert made == parse(BEFORE[name, steps, steps_per_epoch])


def test_a_text_may_use_bounds_budget_and_epoch() -> None:
    text = "Linear(base_lr, max_lr, steps=epoch) >> Cosine(max_lr, base_lr / 2, steps=steps - epoch)"
    made = policy(text, Bounds(0.01, 0.1), steps=90, steps_per_epoch=30)
    assert made == parse("Linear(0.01, 0.1, steps=30) >> Cosine(0.1, 0.005, steps=60)")
    assert policy(POLICIES["linear"], SOME, steps=50) == policy("linear", SOME, steps=50)


def test_a_text_may_call_a_class_of_the_users_own() -> None:
    text = "tests.schedules.knee.Knee(max_lr, steps // 2, steps)"
    assert policy(text, SOME, steps=100) == Knee(0.01, 50, 100)
    assert free_names(text) == {"max_lr", "steps"}
    assert uses_bounds(text)
    assert not uses_bounds("tests.schedules.knee.Knee(0.4, 60, steps)")
    assert free_names("max_lr >> (base_lr * Constant(1)).take(max_rl)") == {"max_lr", "base_lr", "max_rl"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Linear(max_rl, 0, steps=steps)", r"policy may use the names base_lr, .* did you mean 'max_lr'\?"),
        ("Linear(max_lr, 0, steps=steps", "policy must be a Python expression"),
        ("Linear(max_lr, 0, steps=99)", "must last the whole budget of 100 steps, got .* which lasts 99 steps"),
        ("Constant(max_lr)", r"which lasts endlessly; .*\.take\(steps\)"),
        ("Linear(max_lr, 0, steps=epoch)", "bound: steps, base_lr, max_lr"),
        ("__import__('os')", "known schedule"),
        ("no_such_module.Knee(max_lr, 60, steps)", "import no_such_module first, if it defines the class"),
        ("max_lr.take(steps)", "must be called on a schedule, got 'max_lr'"),
    ],
)
def test_a_wrong_text_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        policy(text, SOME, steps=100)


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("cosin", SOME, 100), ValueError, "did you mean 'cosine'"),
        ((3, SOME, 100), TypeError, "policy"),
        (("cosine", (1, 2), 100), TypeError, "Bounds"),
        (("cosine", SOME, 0), ValueError, "steps"),
        (("cosine", SOME, 10.0), TypeError, "steps"),
    ],
)
def test_a_wrong_policy_is_refused(arguments, kind, says):
    name, bounds, steps = arguments
    with pytest.raises(kind, match=says):
        policy(name, bounds, steps=steps)
