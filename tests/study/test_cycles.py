"""The verdict on numbers of cycles: another number takes the place of the default only if it is really better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclr import Bounds, Goal, plan
from cyclr._page.registry import describe
from cyclr.study._cycles import Trial, measured

DEFAULT = plan(Bounds(0.01, 0.1), steps=6400, goal="ensemble")
USUAL = len(DEFAULT.snapshots)


def verdict(values, better="max"):
    given = {one if isinstance(one, Goal) else Goal("ensemble", one): own for one, own in values.items()}
    return measured(DEFAULT, given, "accuracy", better, 1000)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_a_clear_difference_is_found_in_either_direction(seed):
    base = 0.8 + 0.001 * np.random.default_rng(seed).standard_normal(4)
    ahead = base + 0.05 + 0.001 * np.random.default_rng(seed + 1).standard_normal(4)
    for better, number in (("max", 8), ("min", USUAL)):
        found = verdict({USUAL: {400: tuple(base)}, 8: {400: tuple(ahead)}}, better)
        assert len(found.plan.snapshots) == number
        assert found.trials[1].real
        assert found.plan.steps == DEFAULT.steps
        assert found.plan.reasons[0] == found.verdict


def test_chance_seldom_changes_the_plan():
    """Three numbers besides the default, all alike: at most one plan in twenty is another than the default's."""
    changed, simulations = 0, 300
    for seed in range(simulations):
        draws = np.random.default_rng(seed).normal(0.8, 0.01, (4, 3))
        values = {number: {400: tuple(own)} for number, own in zip((USUAL, 2, 3, 8), draws, strict=True)}
        changed += len(verdict(values).plan.snapshots) != USUAL
    assert changed / simulations <= 0.05  # one-sided, so about 0.025 is expected


def test_those_that_fell_behind_are_named_and_not_compared():
    values = {USUAL: {100: (0.5, 0.6), 200: (0.6, 0.7)}, 2: {100: (0.4, 0.5)}, 3: {100: (0.6, 0.6), 200: (0.6, 0.71)}}
    found = verdict(values)
    assert found.trials[1].difference is None
    assert found.trials[2].difference[0] == pytest.approx(0.005)
    assert "2 fell behind" in found.verdict
    assert f"keeps {USUAL}" in found.verdict


def test_another_shape_is_planned_and_named():
    other = Goal("ensemble", 3, first=0.7)
    values = {USUAL: {100: (0.5, 0.51, 0.53)}, 3: {100: (0.5, 0.52, 0.51)}, other: {100: (0.8, 0.82, 0.82)}}
    found = verdict(values)
    assert found.plan.schedule == plan(Bounds(0.01, 0.1), steps=6400, goal=other).schedule
    assert found.verdict.startswith(f"3 cycles (first 0.7) ended better than the usual {USUAL} in trainings")
    assert [trial.label for trial in found.trials] == [str(USUAL), "3", "3 (first 0.7)"]
    assert [trial.cycles for trial in found.trials] == [USUAL, 3, 3]
    assert describe(found).parts[0].blocks[0].rows[2][0] == "3 (first 0.7)"
    assert Trial(Goal("average", 5, anneal=False), {}).label == "5 (no annealing)"


def test_a_default_that_diverged_is_said_so():
    found = verdict({USUAL: {100: (float("nan"),) * 2}, 2: {100: (0.5, 0.6), 200: (0.7, 0.8)}})
    assert "diverged" in found.verdict
    assert found.plan.schedule == DEFAULT.schedule


def test_it_can_be_shown():
    section = describe(verdict({USUAL: {100: (0.5, 0.6), 200: (0.6, 0.7)}, 3: {100: (0.6, 0.6), 200: (0.6, 0.71)}}))
    assert section.parts[0].heading == "Measured numbers of cycles"
    table = section.parts[0].blocks[0]
    assert table.rows[0][:3] == (str(USUAL), "0.55", "0.65")
    assert "not significant" in table.rows[1][3]
