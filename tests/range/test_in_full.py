"""How a range test that shows nothing within the budget goes on: the cheapest test that may answer comes next."""

from __future__ import annotations

import numpy as np
import pytest

from cyclr import Curve
from cyclr._range import enough

BUDGET = 2000
RATES = {steps: np.geomspace(1e-6, 10, steps) for steps in (60, 100, 300)}


def parabola(steps: int) -> np.ndarray:
    """A loss that falls until a rate of 0.1 and rises beyond it."""
    return 2 + np.clip(np.log(RATES[steps] / 0.1) / 3, -1, 2) ** 2


def flat(steps: int, **more: object) -> Curve:
    return Curve(RATES[steps], 2 + np.random.default_rng(0).normal(size=steps), **more)


def clear(steps: int) -> Curve:
    return Curve(RATES[steps], parabola(steps))


def reference(losses: np.ndarray) -> Curve:
    return Curve(RATES[60], losses, reference=losses)


def asked(within: Curve, short: Curve | None, full: Curve) -> tuple[Curve, list[str]]:
    """What comes of these tests, and which of them were made."""
    made: list[str] = []

    def make(whole: bool) -> Curve:
        made.append("full" if whole else "within")
        return full if whole else within

    def other() -> Curve:
        made.append("short")
        assert short is not None
        return short

    curve = enough(make, lambda: BUDGET, steps=300, other=None if short is None else other)
    return curve, made


def test_a_test_that_answers_is_the_only_one():
    curve, made = asked(clear(100), reference(parabola(60)), clear(300))
    assert made == ["within"]
    assert curve.tuning_cost == 100


def test_reference_batches_are_asked_before_a_test_of_full_size():
    curve, made = asked(flat(100), reference(parabola(60)), clear(300))
    assert made == ["within", "short"]
    assert curve.reference.size
    assert curve.tuning_cost == 100 + reference(parabola(60)).tuning_cost


def test_a_test_of_full_size_comes_last_and_costs_all_of_them():
    still = np.full(60, 2.0)
    curve, made = asked(flat(100), reference(still), clear(300))
    assert made == ["within", "short", "full"]
    assert curve.tuning_cost == 100 + reference(still).tuning_cost + 300


@pytest.mark.parametrize("steps", [100, 300])
def test_where_no_batch_can_be_evaluated_only_a_short_test_is_made_again(steps: int):
    curve, made = asked(flat(steps), None, clear(300))
    assert made == (["within", "full"] if steps < 300 else ["within"])
    assert curve.tuning_cost == (400 if steps < 300 else 300)


def test_a_refusal_keeps_the_longer_curve():
    still = np.full(60, 2.0)
    curve, made = asked(flat(300), reference(still), clear(300))
    assert made == ["within", "short"]
    assert len(curve.rates) == 300
    assert curve.tuning_cost == 300 + reference(still).tuning_cost
