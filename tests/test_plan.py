"""Plans: whole cycles, exact budgets, low ends, honest reasons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cyclr import Bounds, parse, plan

bounds = st.tuples(st.floats(1e-7, 10), st.floats(1e-7, 10)).map(lambda pair: Bounds(*sorted(pair)))
SOME = Bounds(0.001, 0.01)


@st.composite
def budgets(draw):
    """Arguments of `plan` that fit together."""
    cycles = draw(st.none() | st.integers(1, 6))
    least = 2 * (cycles or 1)
    if draw(st.booleans()):
        given = {"steps": draw(st.integers(least, 5000)), "steps_per_epoch": draw(st.none() | st.integers(1, 200))}
    else:
        given = {"epochs": draw(st.integers(least, 200)), "steps_per_epoch": draw(st.integers(1, 300))}
    return {**given, "cycles": cycles, "anneal": draw(st.booleans())}


@given(bounds, budgets())
def test_a_plan_is_exactly_as_long_as_its_budget(bounds, budget):
    made = plan(bounds, **budget)
    total = budget.get("steps") or budget["epochs"] * budget["steps_per_epoch"]
    assert made.steps == made.schedule.duration == total


@given(bounds, budgets())
def test_a_plan_ends_at_the_end_of_a_cycle(bounds, budget):
    made = plan(bounds, **budget)
    assert made.snapshots[-1] == made.steps
    if budget["cycles"]:
        assert len(made.snapshots) == budget["cycles"]


@given(bounds, budgets())
def test_a_plan_never_leaves_its_bounds_except_to_anneal(bounds, budget):
    made = plan(bounds, **budget)
    rates = made.schedule(np.arange(made.steps + 1))
    assert rates.max() <= bounds.max_lr * (1 + 1e-12)
    if not budget["anneal"]:
        assert rates.min() >= bounds.base_lr * (1 - 1e-12)
        assert rates[-1] == pytest.approx(bounds.base_lr)
    else:
        assert rates[-1] == 0
        assert (rates[:-1] > 0).all()


@given(bounds, budgets())
def test_each_snapshot_is_taken_where_the_rate_is_lower_than_around_it(bounds, budget):
    made = plan(bounds, **budget)
    for step in made.snapshots:
        assert made.schedule(step) <= made.schedule(step - 1)
        assert step == made.steps or made.schedule(step) <= made.schedule(step + 1)


@given(bounds, budgets())
def test_a_plan_says_why_and_its_schedule_is_text(bounds, budget):
    made = plan(bounds, **budget)
    assert made.reasons
    assert all(reason.endswith(".") for reason in made.reasons)
    assert parse(repr(made.schedule)) == made.schedule


@pytest.mark.parametrize("epochs", [1, 10, 30, 300])
def test_nobody_has_to_say_how_many_cycles(epochs):
    made = plan(SOME, epochs=epochs, steps_per_epoch=100)
    assert made.snapshots == (100 * epochs,)
    assert made.reasons[0].startswith(f"One cycle over all {100 * epochs} steps")


def test_cycles_asked_for_are_told_in_epochs():
    assert plan(SOME, epochs=60, steps_per_epoch=100, cycles=3).reasons[0] == (
        "3 cycles, as requested: half a cycle takes 10 epochs."
    )


def test_one_cycle_starts_lower_than_many():
    assert plan(Bounds(0.004, 0.01), steps=100, cycles=1).schedule(0) < 0.004
    assert plan(Bounds(0.004, 0.01), steps=100, cycles=2).schedule(0) == 0.004


def test_steps_and_epochs_say_the_same():
    by_epochs = plan(SOME, epochs=20, steps_per_epoch=30)
    assert plan(SOME, steps=600, steps_per_epoch=30) == by_epochs


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        ({}, ValueError, "neither"),
        ({"epochs": 3, "steps": 30, "steps_per_epoch": 10}, ValueError, "both"),
        ({"epochs": 3}, ValueError, "steps_per_epoch"),
        ({"steps": 1}, ValueError, "one step up"),
        ({"steps": 0}, ValueError, "steps"),
        ({"steps": True}, TypeError, "steps"),
        ({"steps": 10.0}, TypeError, "steps"),
        ({"epochs": 1, "steps_per_epoch": 1}, ValueError, "one step up"),
        ({"epochs": -1, "steps_per_epoch": 5}, ValueError, "epochs"),
        ({"steps": 100, "steps_per_epoch": 0}, ValueError, "steps_per_epoch"),
        ({"steps": 5, "cycles": 3}, ValueError, "fewer cycles"),
        ({"steps": 100, "cycles": 0}, ValueError, "cycles"),
        ({"steps": 100, "anneal": "yes"}, TypeError, "anneal"),
    ],
)
def test_a_wrong_budget_is_refused(arguments, kind, says):
    with pytest.raises(kind, match=says):
        plan(SOME, **arguments)


def test_bounds_must_be_bounds():
    with pytest.raises(TypeError, match="write Bounds"):
        plan((0.001, 0.01), steps=100)


@given(
    steps=st.integers(8, 2000),
    more=st.integers(2, 2000),
    share=st.floats(0, 1),
    cycles=st.integers(1, 4),
    anneal=st.booleans(),
)
def test_a_longer_plan_agrees_with_the_part_already_trained(steps, more, share, cycles, anneal):
    short = plan(Bounds(0.002, 0.01), steps=steps, cycles=cycles, anneal=anneal)
    done = round(share * steps)
    longer = short.extend(more, done=done)
    assert [longer.schedule(step) for step in range(done)] == [short.schedule(step) for step in range(done)]
    assert longer.steps == longer.schedule.duration == longer.snapshots[-1] == steps + more
    assert longer.schedule(steps + more) <= short.schedule(steps)
    assert longer.schedule.highest <= 0.01
    if done < steps:
        after = [longer.schedule(step) for step in range(short._last_peak(), steps + more + 1)]
        assert after == sorted(after, reverse=True)  # never up again
    else:
        assert max(longer.schedule(step) for step in range(steps, steps + more)) == pytest.approx(0.01)
    assert longer.reasons[:-1] == short.reasons


def test_a_longer_plan_drives_a_training_on_from_its_checkpoint():
    torch = pytest.importorskip("torch")
    from cyclr.torch import Scheduler

    def scheduler(of, **how):
        return Scheduler(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), of, **how)

    short = plan(Bounds(0.001, 0.01), steps=100)
    first = scheduler(short)
    for _ in range(60):
        first.optimizer.step()
        first.step()
    longer = short.extend(50, done=60)
    second = scheduler(longer, on_mismatch="keep_new")
    second.load_state_dict(first.state_dict())
    assert second.last_epoch == 60
    assert second.get_last_lr() == pytest.approx(first.get_last_lr())
    second.optimizer.step()
    second.step()
    assert second.get_last_lr() == pytest.approx([longer.schedule(61)])


@pytest.mark.parametrize(
    ("steps", "done", "kind", "words"),
    [
        (1, None, ValueError, "steps must be an integer of at least 2, got 1"),
        (10, 101, ValueError, "done must be at most the 100 steps of the plan, got 101"),
        (10, -1, ValueError, "done must be an integer of at least 0"),
        (2.5, None, TypeError, "steps must be an integer"),
    ],
)
def test_a_plan_cannot_be_extended_by_nonsense(steps, done, kind, words):
    with pytest.raises(kind, match=words):
        plan(Bounds(0.001, 0.01), steps=100).extend(steps, done=done)


def test_an_extended_plan_says_that_its_bounds_were_for_another_length():
    bounds = Bounds(0.001, 0.01, budget=1000)
    longer = plan(bounds, steps=1000).extend(9000)
    assert longer.reasons[0].startswith("The bounds were found for 1000 steps of training, not 10000: they may be too")
    again = longer.extend(2000)
    assert sum("The bounds were found" in reason for reason in again.reasons) == 1
    assert "not 12000" in again.reasons[0]
    assert not any("The bounds were found" in reason for reason in plan(bounds, steps=1000).extend(100).reasons)


def test_what_an_extension_is_worth_is_told():
    bounds = Bounds(0.001, 0.01)
    assert "may end no better than it" in plan(bounds, steps=6000, goal="anytime").extend(600).reasons[-1]
    assert "may end" not in plan(bounds, steps=6000, goal="anytime").extend(20_000).reasons[-1]
    assert "Average the last 5 snapshots" in plan(bounds, steps=1000, goal="average").extend(1000).reasons[-1]
