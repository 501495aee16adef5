"""The function that a plain number goes through is the formula itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cyclr
from cyclr._schedules.compiled import Recorder
from cyclr._schedules.xp import scalars
from tests.schedules.strategies import EXAMPLES, schedules, steps


@given(schedules, steps | st.floats(0, 2.0**53))
def test_a_number_has_the_value_of_the_formula_to_the_last_bit(schedule, step):
    assert schedule(step) == schedule.value(step, scalars)


@pytest.mark.parametrize("growth", [2, 3, 10])
def test_warm_restarts_find_their_cycle_at_any_step(growth):
    schedule = cyclr.WarmRestarts(0.0, 0.1, period=7, growth=growth)
    start = 7 * (growth**50 - 1) // (growth - 1)  # far beyond what an int64 holds, where growth is more than 2
    assert schedule(start) == 0.1
    assert schedule(start - 1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("schedule", EXAMPLES, ids=repr)
def test_a_large_array_has_the_values_of_its_parts_to_the_last_bit(schedule):
    several = np.arange(50_000) * 7 % 50_021
    values = schedule(several)
    assert values.tolist() == np.concatenate([schedule(part) for part in np.split(several, 50)]).tolist()
    square = several[:40_000].reshape(200, 200)
    assert schedule(square).tolist() == values[:40_000].reshape(200, 200).tolist()
    assert schedule(square.T).tolist() == schedule(square).T.tolist()
    assert schedule(several.astype(np.float32)).dtype == np.float32
    assert schedule(several[:0]).shape == (0,)


def test_a_part_of_a_sequence_is_asked_for_its_own_steps_only():
    parts = [cyclr.Cosine(1, 0, steps=100), cyclr.Rex(1, 0, steps=50), cyclr.Triangular(0, 1, step_size=9)]
    joined = cyclr.Sequential(*parts)
    mixed = np.random.default_rng(0).integers(0, 400, size=1000)
    starts = np.array([0, 100, 150])
    place = np.searchsorted(starts, mixed, side="right") - 1
    expected = [parts[k](int(step) - int(starts[k])) for k, step in zip(place, mixed, strict=True)]
    assert joined(mixed) == pytest.approx(expected, rel=1e-14, abs=1e-16)


def test_a_sequence_may_have_very_many_parts():
    stages = cyclr.Sequential(*(cyclr.Constant(1 + stage).take(3) for stage in range(3000)))
    assert [stages(step) for step in (0, 2, 3, 8_999, 10**9)] == [1, 1, 2, 3000, 3000]
    assert stages(np.array([0, 2, 3, 8_999])).tolist() == [1, 1, 2, 3000]


def test_a_formula_that_branches_on_the_step_cannot_be_written_down():
    with pytest.raises(TypeError, match=r"must not branch on the step; use xp\.where"):
        bool(Recorder().step < 3)


@pytest.mark.slow
@pytest.mark.parametrize("called_before", [True, False])
def test_torch_compiles_calls_with_an_int_in_one_graph(called_before):
    torch = pytest.importorskip("torch")
    fresh = [cyclr.parse(repr(schedule)) for schedule in EXAMPLES]
    if called_before:
        assert all(schedule(3) >= 0 for schedule in fresh)
    compiled = torch.compile(
        lambda one, step: [one * schedule(step) for schedule in fresh], fullgraph=True, backend="eager"
    )
    one = torch.ones((), dtype=torch.float64)
    for step in (0, 1, 150):
        assert [float(value) for value in compiled(one, step)] == [schedule(step) for schedule in EXAMPLES]
